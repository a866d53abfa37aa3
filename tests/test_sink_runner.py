"""A sink at work: batches, retries, spilling, the end within its time; sinks that hang, lie or raise whatever they like."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import SlowConsumer, UsageError
from streamer.sinks import SinkDown, SinkGone
from streamer.sinks.runner import SinkRunner
from streamer.sinks.spool import Spool
from streamer.types import Gap, Instrument, Trade
from tests.shelf import Believer, Market, Shelf, law
from tests.world import clock, virtual, virtual_logging


def ids(ticks: list[Any], symbol: str = "A/B") -> list[int]:
    return [int(t.id) for t in ticks if isinstance(t, Trade) and t.symbol == symbol]


class Stage:
    """A market, a shelf, and the runner between them, fed from the trades of A/B."""

    def __init__(self, spool: Spool | None = None, streams: tuple[str, ...] = ("A/B trade",), **options: Any) -> None:
        self.market = Market()
        self.shelf = Shelf()
        bounds = {k: options.pop(k) for k in ("policy", "max_items", "max_bytes") if k in options}
        self.sub = self.market.subscribe(*streams, **bounds)
        self.runner = SinkRunner(self.shelf, self.sub, spool=spool, **options)

    def trades(self, n: int) -> None:
        self.market.trades(n)

    @property
    def stats(self) -> Any:
        stats = self.runner.stats()
        assert law(stats)
        return stats

    @property
    def got(self) -> list[int]:
        return ids(self.shelf.ticks)

    async def until(self, n: int, seconds: float = 60) -> None:
        """Until so many trades are safe."""
        async with asyncio.timeout(seconds):
            while len(self.got) < n:
                assert self.stats
                await asyncio.sleep(0.05)


def stage(tmp_path: Path | None = None, **options: Any) -> Stage:
    spool = None
    if tmp_path is not None:
        given = {k: options.pop(k) for k in ("on_full", "max_bytes_of_spool", "segment_bytes") if k in options}
        if "max_bytes_of_spool" in given:
            given["max_bytes"] = given.pop("max_bytes_of_spool")
        spool = Spool(tmp_path / "spool", fsync="never", **given)
    made = Stage(spool, **options)
    made.runner.start()
    return made


# up


@virtual
async def test_everything_arrives_in_batches() -> None:
    s = stage()
    assert s.runner.state == "opening"
    for _ in range(5):
        s.trades(100)
        await asyncio.sleep(0.1)
    await s.until(500)
    assert s.got == list(range(1, 501))
    assert (s.stats.state, s.runner.ready, s.stats.writes) == ("up", True, 5)
    assert (s.stats.confirmed, s.stats.in_flight, s.stats.lag_s, s.stats.lost) == (s.stats.accepted, 0, 0, {})
    end = await s.runner.drain(5)
    assert (end.state, s.shelf.calls[-1]) == ("closed", "close")
    assert s.sub.box.closed


@virtual
async def test_ticks_that_come_one_by_one_are_gathered() -> None:
    s = stage(linger=0.1)
    for _ in range(200):
        s.trades(1)
        await asyncio.sleep(0.005)
    await s.until(200)
    assert s.stats.writes <= 11
    await s.runner.drain(5)


@virtual
async def test_a_batch_is_no_larger_than_was_asked_for() -> None:
    sizes: list[int] = []
    s = stage(batch=30)
    take = s.shelf._take
    s.shelf._take = lambda ticks: (sizes.append(len(ticks)), take(ticks))[1]  # type: ignore[method-assign]
    s.trades(100)
    await s.until(100)
    assert sizes[:3] == [30, 30, 30]
    await s.runner.drain(5)


@virtual
async def test_subscriptions_come_and_go() -> None:
    s = stage()
    other = s.market.subscribe("C/D trade")
    s.runner.attach(other)
    with pytest.raises(UsageError, match="attached already"):
        s.runner.attach(other)
    s.market.trades(10, "C/D")
    await asyncio.sleep(1)
    assert ids(s.shelf.ticks, "C/D") == list(range(1, 11))
    s.market.trades(5, "C/D")
    s.runner.detach(other)  # what it held is not lost
    s.runner.detach(other)
    assert other.box.closed
    s.trades(3)
    await s.until(3)
    assert ids(s.shelf.ticks, "C/D") == list(range(1, 16))
    assert s.market.released == [other.box]
    await s.runner.drain(5)
    with pytest.raises(UsageError, match="sink shelf has ended"):
        s.runner.attach(s.market.subscribe("C/D trade"))


@virtual
async def test_the_end_of_all_subscriptions() -> None:
    """As in a replay: the hub's mailbox ends, what it held is written."""
    s = stage()
    s.shelf.takes_s = 0.5
    s.trades(50)
    waiting = asyncio.ensure_future(s.runner.ended())
    await asyncio.sleep(2)
    assert not waiting.done()
    s.trades(50)
    s.sub.box.finish()
    await asyncio.wait_for(waiting, 5)
    assert s.got == list(range(1, 101))
    await s.runner.drain(5)
    await asyncio.wait_for(s.runner.ended(), 1)


@virtual_logging("ended: subscriber too slow")
async def test_a_subscription_that_is_cut_off() -> None:
    s = stage(policy="disconnect", max_items=10)
    s.shelf.down()
    s.trades(5)
    await asyncio.sleep(1)
    s.trades(20)
    assert isinstance(s.sub.box.error, SlowConsumer)
    s.shelf.mend()
    await asyncio.wait_for(s.runner.ended(), 100)
    assert s.got == [1, 2, 3, 4, 5]
    await s.runner.drain(5)


# down


@virtual
async def test_what_is_not_confirmed_is_written_again_from_there() -> None:
    s = stage()
    s.shelf.after = 3
    s.trades(10)
    await s.until(10)
    assert s.got == list(range(1, 11))
    assert (s.stats.errors, s.stats.state) == ({"broke": 1}, "up")
    await s.runner.drain(5)


@virtual
async def test_without_a_spool_the_mailbox_decides() -> None:
    s = stage(streams=("A/B trade", "A/B book"), max_items=100)
    believer = Believer(s.market)
    await asyncio.sleep(1)
    s.shelf.down()
    s.trades(10)
    await asyncio.sleep(1)
    for _ in range(300):
        s.trades(1)
        s.market.delta("A/B", bids=[(99.0, 1.0)])
    await asyncio.sleep(100)
    assert (s.stats.state, s.stats.reason, s.runner.ready) == ("down", "the shelf is gone", False)
    assert 100 < s.stats.lag_s < 102
    assert s.stats.errors["gone"] > 5
    s.shelf.mend()
    await asyncio.sleep(31)
    assert (s.runner.state, s.stats.in_flight) == ("up", 0)
    assert s.stats.dropped > 400
    believer.read(s.shelf.ticks)
    s.market.snapshot("C/D")
    believer.read([s.market.book("C/D").own_snapshot(None)])
    believer.knows_the_books()
    await s.runner.drain(5)


@virtual
async def test_how_often_it_is_tried() -> None:
    """Full jitter, never in a hot loop, at least every half minute."""
    s = stage()
    s.shelf.down()
    s.trades(1)
    await asyncio.sleep(600)
    assert 20 < s.shelf.calls.count("write") < 60
    s.shelf.mend()
    await asyncio.sleep(31)
    s.shelf.calls.clear()
    s.shelf.down()
    s.trades(1)
    await asyncio.sleep(2)
    assert s.shelf.calls.count("write") >= 3, "it begins anew with short waits"
    s.shelf.mend()
    await s.runner.drain(5)


@virtual
async def test_an_outage_with_a_spool(tmp_path: Path) -> None:
    s = stage(tmp_path, max_items=100)
    s.trades(50)
    await s.until(50)
    s.shelf.after = 10
    s.trades(50)
    await asyncio.sleep(0.02)
    s.shelf.down()
    for _ in range(100):
        s.trades(40)
        await asyncio.sleep(0.1)
    assert (s.stats.state, s.stats.dropped) == ("down", 0)
    assert s.stats.spooled >= 3900
    assert s.stats.spool_bytes > 300_000
    s.shelf.mend()
    for _ in range(40):  # live data goes on while the spool is emptied
        s.trades(40)
        await asyncio.sleep(1)
    await s.until(5700)
    assert s.got == list(range(1, 5701)), "all of it, in order, the spool before what came live"
    await s.runner.drain(5)
    assert (s.stats.spooled, s.stats.spool_bytes, s.stats.lost) == (0, 0, {})


@virtual
async def test_while_memory_is_short_what_waits_is_on_the_disk(tmp_path: Path) -> None:
    s = stage(tmp_path, max_items=100_000)
    s.shelf.takes_s = 60.0
    s.trades(1)
    await asyncio.sleep(1)
    s.trades(1000)
    await asyncio.sleep(1)
    assert (s.sub.queued, s.stats.spooled) == (1000, 0), "otherwise it waits in memory until that is half full"
    s.runner.press(True)
    await asyncio.sleep(1)
    assert (s.sub.queued, s.stats.spooled) == (0, 1000)
    s.runner.press(False)
    s.shelf.takes_s = 0.0
    s.trades(1)
    await s.until(1002, 200)
    assert s.got == list(range(1, 1003))
    await s.runner.drain(5)


@virtual
async def test_what_is_to_be_told_first_stands_before_all_that_waits(tmp_path: Path) -> None:
    """But behind the spool: that is of before."""
    s = stage(tmp_path)
    s.shelf.down()
    s.trades(3)
    await asyncio.sleep(1)
    assert s.stats.spooled + s.stats.in_flight == 4, "with the status"
    await s.runner.drain(1)
    again = Stage(Spool(tmp_path / "spool", fsync="never"))
    again.market.trade("A/B")
    told = [Gap("x", "A/B", None, n, "trade", "process_restart", None, n) for n in (7, 8)]
    again.runner.tell(told[:1])
    again.runner.tell(told[1:])
    again.runner.start()
    await again.until(4)
    assert [t for t in again.shelf.ticks if isinstance(t, Gap)] == told
    assert again.shelf.ticks.index(told[0]) == 4
    end = await again.runner.drain(1)
    assert end.accepted == end.confirmed == 8
    again.runner.tell(told)
    assert again.runner.stats() == end, "the end: nobody is told any more"


@virtual
async def test_a_sink_without_instruments_neither_gets_nor_counts_them() -> None:
    for wanted in (True, False):
        s = stage(instruments=wanted)
        listed = [x.instrument for x in s.market.listed.values()]
        s.sub.box.offer(listed[0])
        s.runner.tell([listed[1]])
        s.trades(2)
        await s.until(2)
        s.sub.box.offer(listed[0])
        s.runner.detach(s.sub)
        end = await s.runner.drain(1)
        assert [t for t in s.shelf.ticks if isinstance(t, Instrument)] == ([listed[1], listed[0], listed[0]] if wanted else [])
        assert end.accepted == end.confirmed == (6 if wanted else 3), "two trades and a status among them"


@virtual
async def test_a_sink_that_is_slow_does_not_make_the_mailbox_drop(tmp_path: Path) -> None:
    s = stage(tmp_path, max_items=1000)
    s.shelf.takes_s = 5.0
    for _ in range(300):
        s.trades(100)
        await asyncio.sleep(0.05)
        assert s.stats.state in ("up", "opening")
    assert s.stats.dropped == 0
    assert s.stats.spooled > 5000
    s.shelf.takes_s = 0.0
    await s.until(30_000)
    assert s.got == list(range(1, 30_001))
    await s.runner.drain(5)


@virtual
async def test_nothing_goes_to_the_disk_while_it_keeps_up(tmp_path: Path) -> None:
    s = stage(tmp_path)
    for _ in range(20):
        s.trades(500)
        await asyncio.sleep(0.1)
    await s.until(10_000)
    assert list((tmp_path / "spool").glob("*.ticks")) == []
    await s.runner.drain(5)


@virtual
async def test_a_full_spool_that_blocks(tmp_path: Path) -> None:
    """Nothing more is taken; the mailbox drops and says so; nothing is lost beyond that."""
    s = stage(tmp_path, on_full="block", max_bytes_of_spool=64 << 10, max_items=200)
    await asyncio.sleep(1)
    s.shelf.down()
    for _ in range(60):
        s.trades(50)
        await asyncio.sleep(0.5)
    assert s.stats.dropped > 1000
    assert s.stats.lost == {}
    s.shelf.mend()
    await asyncio.sleep(60)
    assert len(s.got) + s.stats.dropped == 3000
    believer = Believer(s.market)
    believer.read(s.shelf.ticks)
    await s.runner.drain(5)


@virtual
async def test_opening_is_tried_again(tmp_path: Path) -> None:
    s = stage(tmp_path)
    s.shelf.opening = [SinkDown("not yet", "refused")] * 3
    s.trades(10)
    await s.until(10)
    assert s.shelf.calls[:4] == ["open"] * 4
    assert s.stats.errors == {"refused": 3}
    await s.runner.drain(5)


@virtual
async def test_a_sink_that_wants_to_be_opened_anew() -> None:
    s = stage()
    s.shelf.reopen, s.shelf.after = True, 4
    s.trades(10)
    await s.until(10)
    assert s.shelf.calls[:5] == ["open", "write", "close", "open", "write"]
    assert s.got == list(range(1, 11))
    await s.runner.drain(5)


@virtual
async def test_refused_ticks() -> None:
    s = stage()
    s.shelf.refuse = lambda t: isinstance(t, Trade) and t.id == "5"
    s.trades(10)
    await s.until(9)
    await asyncio.sleep(1)
    assert (s.stats.lost, s.got) == ({"too_dear": 1}, [1, 2, 3, 4, 6, 7, 8, 9, 10])
    gap = s.shelf.ticks[-1]
    assert (gap.cause, gap.channel, gap.count) == ("refused", "trade", 1)
    await s.runner.drain(5)


# faults of the sink itself


@virtual_logging("a fault of its own: ValueError")
async def test_a_sink_that_raises_what_it_should_not() -> None:
    s = stage()
    s.shelf.breaks(ValueError("nonsense"))
    s.trades(10)
    await asyncio.sleep(60)
    assert (s.stats.state, s.stats.reason) == ("down", "a fault of this sink: ValueError('nonsense')")
    assert s.stats.errors["fault"] > 3
    s.shelf.mend()
    await s.until(10)
    await s.runner.drain(5)


@virtual
async def test_a_sink_that_confirms_what_it_was_not_given() -> None:
    s = stage()
    s.trades(10)
    s.shelf._take = lambda ticks: (10**9, [])  # type: ignore[method-assign]
    s.shelf.after = 10**6
    await asyncio.sleep(60)
    assert s.stats.accepted == s.stats.confirmed == 11
    await s.runner.drain(5)


@virtual_logging("has failed: nobody reads")
async def test_a_sink_that_is_gone_for_good() -> None:
    s = stage()
    s.shelf.breaks(SinkGone("nobody reads", "closed"))
    s.trades(10)
    await asyncio.wait_for(s.runner.ended(), 5)
    assert (s.runner.state, str(s.runner.failure)) == ("failed", "nobody reads")
    assert s.stats.lost == {"failed": 11}
    assert s.sub.box.closed
    end = await s.runner.drain(5)
    assert end.state == "failed"


@virtual_logging("has failed: no such topic")
async def test_a_sink_that_can_never_open_leaves_what_came_in_the_spool(tmp_path: Path) -> None:
    s = stage(tmp_path)
    s.shelf.opening = [UsageError("no such topic")]
    s.trades(10)
    await asyncio.wait_for(s.runner.ended(), 5)
    assert (s.stats.spooled, s.stats.lost) == (11, {})
    assert s.shelf.calls == ["open"]


@virtual_logging("in use by another process")
async def test_a_spool_that_another_has(tmp_path: Path) -> None:
    s = stage(tmp_path)
    await asyncio.sleep(1)
    other = stage(tmp_path)
    other.trades(10)
    await asyncio.wait_for(other.runner.ended(), 5)
    assert isinstance(other.runner.failure, UsageError)
    assert other.stats.lost == {"failed": 11}
    s.trades(5)
    await s.until(5)
    await s.runner.drain(5)


# the end


@virtual
async def test_the_end_writes_what_is_there() -> None:
    s = stage(linger=10)
    s.trades(100)
    await asyncio.sleep(0.01)
    s.trades(100)
    s.shelf.takes_s = 1.0
    end = await s.runner.drain(10)
    assert s.got == list(range(1, 201))
    assert (end.state, end.in_flight, end.lost) == ("closed", 0, {})
    assert s.market.released == [s.sub.box]


@virtual
async def test_the_end_of_one_that_never_began() -> None:
    s = Stage()
    s.trades(10)
    await s.runner.drain(5)
    assert s.got == list(range(1, 11))


@virtual
async def test_the_end_while_it_is_down_does_not_wait_when_there_is_a_spool(tmp_path: Path) -> None:
    s = stage(tmp_path)
    s.shelf.down()
    s.trades(100)
    await asyncio.sleep(5)
    s.trades(100)
    began = clock()
    end = await s.runner.drain(30)
    assert clock() - began < 1
    assert (end.state, end.spooled, end.in_flight, end.lost) == ("closed", 201, 0, {})
    again = stage(tmp_path)  # the next start delivers it, before what comes new
    again.market.number["A/B", "trade"] = 200
    again.trades(50)
    await again.until(250)
    assert again.got == list(range(1, 251))
    assert again.stats.accepted == 201 + 51
    await again.runner.drain(5)


@virtual
async def test_the_end_while_it_is_down_uses_its_time_when_there_is_no_spool() -> None:
    s = stage()
    s.shelf.down()
    s.trades(100)
    await asyncio.sleep(5)
    began = clock()
    drain = asyncio.ensure_future(s.runner.drain(20))
    await asyncio.sleep(10)
    s.shelf.mend()
    await drain
    assert 10 <= clock() - began < 12
    assert s.got == list(range(1, 101))


@virtual
async def test_the_end_of_one_that_stays_down_without_a_spool() -> None:
    s = stage()
    s.shelf.down()
    s.trades(100)
    await asyncio.sleep(5)
    began = clock()
    end = await s.runner.drain(20)
    assert 17 < clock() - began < 20
    assert (end.lost, end.state) == ({"shutdown": 101}, "closed")


@virtual
async def test_the_end_of_one_that_hangs(tmp_path: Path) -> None:
    s = stage(tmp_path)
    s.shelf.hold = True
    s.trades(100)
    await asyncio.sleep(1)
    s.trades(100)
    began = clock()
    end = await s.runner.drain(8)
    assert 5 < clock() - began <= 8
    assert (end.spooled, end.state) == (201, "closed")
    s.shelf.release()
    again = stage(tmp_path)
    await again.until(200)
    assert again.got == list(range(1, 201))
    await again.runner.drain(5)


@virtual
async def test_the_end_of_one_that_does_not_even_heed_that(tmp_path: Path) -> None:
    s = stage(tmp_path)
    s.shelf.hold = s.shelf.stubborn = True
    s.trades(100)
    await asyncio.sleep(1)
    began = clock()
    end = await s.runner.drain(8)
    assert clock() - began <= 8
    assert end.spooled == 101
    s.shelf.release()
    await asyncio.sleep(0)


@virtual
async def test_a_second_signal_hurries_the_end(tmp_path: Path) -> None:
    s = stage(tmp_path)
    s.shelf.hold = True
    s.trades(100)
    await asyncio.sleep(1)
    began = clock()
    first = asyncio.ensure_future(s.runner.drain(60))
    await asyncio.sleep(3)
    end = await s.runner.drain(0)
    assert clock() - began < 4.1
    assert end.spooled == 101
    assert (await first).spooled == 101


@virtual
async def test_a_long_spool_is_not_emptied_at_the_end_beyond_the_time(tmp_path: Path) -> None:
    s = stage(tmp_path, batch=100)
    s.shelf.down()
    for _ in range(10):
        s.trades(500)
        await asyncio.sleep(0.5)
    s.shelf.takes_s = 1.0
    s.shelf.mend()
    await asyncio.sleep(32)
    began = clock()
    end = await s.runner.drain(8)
    assert clock() - began <= 8
    assert end.spooled > 1000
    assert s.got == list(range(1, len(s.got) + 1))
    again = stage(tmp_path)
    await again.until(5000 - len(s.got))
    assert again.got == list(range(len(s.got) + 1, 5001))
    await again.runner.drain(5)


async def test_the_end_of_the_whole_loop_spools_what_is_left(tmp_path: Path) -> None:
    """Ctrl-C: asyncio cancels every task."""
    s = stage(tmp_path)
    s.shelf.down()
    s.trades(100)
    await asyncio.sleep(0.1)
    s.trades(100)
    task = s.runner._task
    assert task is not None
    task.cancel()
    await asyncio.wait({task})
    assert (s.stats.spooled, s.stats.in_flight) == (201, 0)
    again = stage(tmp_path)
    await again.until(200)
    assert again.got == list(range(1, 201))
    await again.runner.drain(5)
