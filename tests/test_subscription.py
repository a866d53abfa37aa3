"""Reading: nothing is lost, doubled or leaked however a reader is cancelled; callbacks; ends."""

import asyncio
import gc
import logging
import random
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest

from streamer.errors import SlowConsumer, UsageError
from streamer.mailbox import POLICIES, Mailbox, Policy
from streamer.policies import mailbox
from streamer.subscription import Pump, Subscription
from streamer.types import Trade
from tests.hubs import Desk, Reader, law, market


class Open(Desk):
    """A desk that manages subscriptions: each stream is the trades of a symbol."""

    def __init__(self) -> None:
        super().__init__(market("A/B"), market("C/D"))
        self.released: list[Mailbox] = []

    def add(self, box: Mailbox, streams: Sequence[str]) -> None:
        for symbol in streams:
            self.stream(symbol, "trade").attach(box)

    def remove(self, box: Mailbox, streams: Sequence[str]) -> None:
        for symbol in streams:
            self.stream(symbol, "trade").detach(box)

    def release(self, box: Mailbox) -> None:
        self.released.append(box)
        self.hub.detach(box)

    def subscribe(self, *symbols: str, policy: Policy = "drop_oldest", **bounds: int) -> Subscription:
        sub = Subscription(mailbox(policy, **bounds), self, "mine")
        sub.add(*symbols or ("A/B",))
        return sub

    def trades(self, n: int, symbol: str = "A/B") -> None:
        for _ in range(n):
            self.trade(symbol)


def ids(ticks: Sequence[Any]) -> list[int]:
    return [int(t.id) for t in ticks if isinstance(t, Trade)]


async def turns(n: int = 5) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


# reading


async def test_one_wake_for_a_turn() -> None:
    desk = Open()
    sub = desk.subscribe()
    taken: list[Any] = []

    async def read() -> None:
        async for tick in sub:
            taken.append(tick)  # noqa: PERF401

    task = asyncio.create_task(read())
    await turns()
    for n in range(1, 4):
        desk.trades(1000)
        await turns()
        assert (len(ids(taken)), sub._waker.slept) == (1000 * n, n + 1)
    assert sub.published == sub.delivered == len(taken)
    sub.close()
    await task


async def test_batches_hold_what_came_in_a_turn() -> None:
    desk = Open()
    sub = desk.subscribe()
    batches = sub.batches(most=4)
    desk.trades(10)
    got = [await anext(batches) for _ in range(3)]
    assert [len(b) for b in got] == [4, 4, 3]
    assert ids([t for b in got for t in b]) == list(range(1, 11))
    with pytest.raises(UsageError, match="at least 1"):
        sub.batches(0)


async def test_what_a_batch_had_no_room_for_stays() -> None:
    desk = Open()
    sub = desk.subscribe()
    desk.trades(9)
    async for batch in sub.batches(most=5):
        first = batch
        break
    assert (sub.delivered, sub.queued) == (5, 5)
    assert ids(first + sub.take()) == list(range(1, 10))


async def test_batches_go_on_after_a_timeout() -> None:
    desk = Open()
    sub = desk.subscribe()
    batches = sub.batches()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(batches), 0.001)
    desk.trades(1)
    assert ids(await anext(batches)) == [1]


async def test_take_does_not_wait() -> None:
    desk = Open()
    sub = desk.subscribe()
    assert sub.take() == []
    desk.trades(3)
    assert ids(sub.take()) == [1, 2, 3]
    assert law(sub)


async def test_two_readers_at_once_are_told() -> None:
    desk = Open()
    sub = desk.subscribe()
    first = asyncio.create_task(anext(sub))
    await turns()
    with pytest.raises(RuntimeError, match=r"two tasks read subscription 'mine' at once; give each its own"):
        await anext(sub)
    desk.trades(1)
    assert (await first).state == "live"
    assert ids([await anext(sub)]) == [1]


async def test_a_cancelled_reader_does_not_put_the_next_one_to_sleep() -> None:
    desk = Open()
    sub = desk.subscribe()
    first = asyncio.create_task(anext(sub))
    await turns()
    asyncio.get_running_loop().call_later(0.001, desk.trades, 1)
    first.cancel()
    async with asyncio.timeout(1):
        tick = await anext(sub)  # it begins to wait before the first has been thrown its cancellation
    assert tick.state == "live"
    assert first.cancelled()


async def test_a_reader_robbed_of_what_woke_it_does_not_disturb_the_robber() -> None:
    desk = Open()
    sub = desk.subscribe()
    first = asyncio.create_task(anext(sub))
    await turns()
    desk.trades(1)  # wakes the first, in the next turn
    sub.take()
    asyncio.get_running_loop().call_later(0.001, desk.trades, 1)
    async with asyncio.timeout(1):
        assert ids([await anext(sub)]) == [2]
    with pytest.raises(RuntimeError, match="two tasks read"):
        await first


# cancelling


async def wait_for(sub: Subscription, take: Any) -> int:
    try:
        take(await asyncio.wait_for(anext(sub), random.choice([0, 0, 1e-5, 2e-4])))
    except TimeoutError:
        return 1
    return 0


async def wait_for_batch(sub: Subscription, take: Any) -> int:
    try:
        for tick in await asyncio.wait_for(anext(sub.batches(random.randint(1, 3))), random.choice([0, 1e-5])):
            take(tick)
    except TimeoutError:
        return 1
    return 0


async def cancel(sub: Subscription, take: Any) -> int:
    async def read() -> None:
        async for tick in sub:
            take(tick)
            if random.random() < 0.3:
                await asyncio.sleep(0)

    task = asyncio.create_task(read())
    await turns(random.randint(0, 6))
    task.cancel()
    if random.random() < 0.5:
        await asyncio.wait([task])
    return 1


async def leave(sub: Subscription, take: Any) -> int:
    async with asyncio.timeout(2e-4):
        async for tick in sub:
            take(tick)
            if random.random() < 0.5:
                break
    return 1


WAYS = (wait_for, wait_for_batch, cancel, cancel, leave)


@pytest.mark.parametrize("policy", POLICIES)
async def test_cancelled_anywhere(policy: Policy) -> None:
    random.seed(policy)
    desk = Open()
    roomy = policy in ("block", "disconnect", "conflate")
    kinds = ("book", "ticker") if policy == "conflate" else ("book", "trade", "ticker")
    reader = Reader(desk, mailbox(policy, 10_000 if roomy else 4), kinds=kinds)
    sub = Subscription(reader.box, desk, "mine")
    over = asyncio.Event()

    async def publish() -> None:
        while not over.is_set():
            symbol = random.choice(["A/B", "C/D"])
            for _ in range(random.choice([0, 0, 0, 1, 1, 2, 8])):
                do = random.choice([desk.trade, desk.ticker, desk.delta, desk.delta, desk.snapshot])
                do(symbol, *([[(99.0, float(random.randint(0, 3)))]] if do == desk.delta else []))
            await asyncio.sleep(0)

    def take(tick: Any) -> None:
        reader.runs.clear()
        reader.take(tick)

    publisher = asyncio.create_task(publish())
    cancelled = 0
    while cancelled < 300:
        try:
            cancelled += await random.choice(WAYS)(sub, take)
        except TimeoutError:
            cancelled += 1
        assert law(sub)
    over.set()
    await publisher
    await turns()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    reader.read()
    assert (sub.queued, sub.box.asleep) == (0, False)
    assert sub.delivered > 300
    assert law(sub)


# ends


async def test_nothing_comes_after_close() -> None:
    desk = Open()
    async with desk.subscribe() as sub:
        desk.trades(3)
        first = await anext(sub)
        assert first.state == "live"
    desk.trades(3)
    assert desk.released == [sub.box]
    assert [t async for t in sub] == []
    assert [b async for b in sub.batches()] == []
    assert (sub.take(), sub.dropped, sub.published) == ([], 3, 4)
    sub.close()
    assert desk.released == [sub.box]
    assert law(sub)


async def test_close_wakes_who_waits() -> None:
    sub = Open().subscribe()
    task = asyncio.create_task(anext(sub))
    await turns()
    sub.close()
    with pytest.raises(StopAsyncIteration):
        await task


async def test_finish_lets_it_be_read_to_its_end() -> None:
    desk = Open()
    sub = desk.subscribe()
    desk.trades(2)
    sub.box.finish()
    desk.trades(1)
    assert ids([t async for t in sub]) == [1, 2]


async def test_added_and_removed_while_it_runs() -> None:
    desk = Open()
    sub = desk.subscribe("A/B")
    sub.add("C/D")
    desk.trades(1, "C/D")
    sub.remove("A/B")
    desk.trades(1, "A/B")
    assert [t.symbol for t in sub.take() if isinstance(t, Trade)] == ["C/D"]


async def test_garbage_is_unsubscribed_in_a_turn_of_its_own() -> None:
    desk = Open()
    sub = desk.subscribe()
    box = sub.box
    task = asyncio.create_task(anext(sub))
    await turns()
    task.cancel()
    await turns()
    del sub, task
    gc.collect()
    assert desk.released == []  # it could have happened in the middle of anything
    await asyncio.sleep(0)
    assert desk.released == [box]
    assert box.closed
    assert not desk.stream("A/B", "trade").wanted


async def test_garbage_of_another_thread_is_unsubscribed_here() -> None:
    desk = Open()
    subs = [desk.subscribe()]
    await asyncio.to_thread(subs.clear)
    await turns()
    assert len(desk.released) == 1


async def test_who_waits_is_not_garbage() -> None:
    desk = Open()
    taken: list[Any] = []

    async def read(sub: Subscription) -> None:
        taken.append(await anext(sub))

    asyncio.create_task(read(desk.subscribe()))  # noqa: RUF006  (that is the point: nobody but the hub holds it)
    await turns()
    gc.collect()
    desk.trades(1)
    await turns()
    assert len(taken) == 1


async def test_only_the_slow_one_is_disconnected() -> None:
    desk = Open()
    slow, quick = desk.subscribe(policy="disconnect", max_items=5), desk.subscribe(policy="disconnect", max_items=100)
    desk.trades(50)
    assert (slow.dropped, slow.queued, quick.queued) == (slow.published, 0, 51)
    for _ in range(2):
        with pytest.raises(SlowConsumer, match=r"too slow: 5 ticks .* were queued; read faster"):
            await anext(slow)
    with pytest.raises(SlowConsumer):
        await anext(slow.batches())
    assert desk.released == [slow.box]
    assert ids(quick.take()) == list(range(1, 51))
    assert law(slow)


# the callback form


async def test_a_callback_gets_everything_in_order(caplog: pytest.LogCaptureFixture) -> None:
    desk = Open()
    sub = desk.subscribe()
    desk.trades(2)
    taken: list[Any] = []
    Pump(sub, taken.append)
    await turns()
    desk.trades(3)
    assert ids(taken) == [1, 2]  # not in the publisher's turn
    await turns()
    assert ids(taken) == [1, 2, 3, 4, 5]
    assert not caplog.records


async def test_a_callbacks_exception_is_its_own(caplog: pytest.LogCaptureFixture) -> None:
    desk = Open()
    bad, good, other = desk.subscribe(), [], desk.subscribe()
    pump = Pump(bad, lambda tick: 1 / 0)
    Pump(other, good.append)
    desk.trades(3)
    await turns()
    desk.trades(1)
    await turns()
    assert (pump.errors, bad.delivered, ids(good)) == (5, 5, [1, 2, 3, 4])
    assert {r.message for r in caplog.records} == {"subscription mine: its callback raised"}
    assert all(r.exc_info and r.exc_info[0] is ZeroDivisionError for r in caplog.records)


async def test_a_callback_that_stops() -> None:
    desk = Open()
    sub = desk.subscribe()
    pump = Pump(sub, lambda tick: 1 / 0, on_error="stop")
    desk.trades(3)
    await turns()
    desk.trades(3)
    await turns()
    assert (pump.errors, sub.delivered, desk.released) == (1, 1, [sub.box])
    assert law(sub)


async def test_a_cancelled_error_of_a_callback_does_not_end_it() -> None:
    desk = Open()
    sub = desk.subscribe()

    def raises(tick: Any) -> None:
        raise asyncio.CancelledError

    pump = Pump(sub, raises)
    for n in (2, 3):
        desk.trades(1)
        await turns()
        assert pump.errors == n


async def test_a_callback_may_do_as_it_likes() -> None:
    """Publish, subscribe and unsubscribe: it takes effect with the next event, without recursion."""
    desk = Open()
    sub, late = desk.subscribe(), []
    taken: list[Any] = []
    depth = 0

    def callback(tick: Any) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1
        taken.append(tick)
        if isinstance(tick, Trade) and len(taken) < 10:
            desk.trades(1)
            if tick.id == "3":
                late.append(desk.subscribe())
            if tick.id == "6":
                late.pop().close()
                sub.add("C/D")
                sub.remove("A/B")
                desk.trades(1, "C/D")
        depth -= 1

    Pump(sub, callback)
    desk.trades(1)
    await turns(20)
    assert [(t.symbol, t.id) for t in taken if isinstance(t, Trade)] == [("A/B", str(n)) for n in range(1, 8)] + [("C/D", "1")]
    assert not late


async def test_a_callback_that_feeds_itself_does_not_hold_up_the_loop() -> None:
    desk = Open()
    sub = desk.subscribe()
    Pump(sub, lambda tick: desk.trade("A/B"))
    desk.trades(1)
    await turns(10)  # would never come back
    assert sub.delivered >= 8
    sub.close()
    await turns()
    assert sub.queued == 0


async def test_a_callback_gets_what_was_queued_at_the_end() -> None:
    desk = Open()
    sub = desk.subscribe()
    taken: list[Any] = []
    Pump(sub, taken.append)
    await turns()
    desk.trades(3)
    sub.box.finish()
    await turns()
    assert ids(taken) == [1, 2, 3]
    assert desk.released == [sub.box]


async def test_nothing_is_called_back_after_close() -> None:
    desk = Open()
    sub = desk.subscribe()
    taken: list[Any] = []
    Pump(sub, taken.append)
    await turns()
    desk.trades(3)
    sub.close()
    await turns()
    assert taken == []
    assert law(sub)


async def test_a_callback_too_slow_is_logged_and_released(caplog: pytest.LogCaptureFixture) -> None:
    desk = Open()
    sub = desk.subscribe(policy="disconnect", max_items=2)
    Pump(sub, lambda tick: None)
    await turns()
    desk.trades(9)
    await turns()
    assert desk.released == [sub.box]
    assert [(r.levelno, r.message[:40]) for r in caplog.records] == [(logging.ERROR, "subscription mine: subscriber too slow: ")]


async def test_callbacks_that_cannot_be() -> None:
    desk = Open()

    async def later(tick: Any) -> None:
        """Would never run."""

    with pytest.raises(UsageError, match="coroutine function"):
        Pump(desk.subscribe(), later)
    with pytest.raises(UsageError, match="neither 'log' nor 'stop'"):
        Pump(desk.subscribe(), print, on_error="ignore")


async def test_an_idle_subscription_is_small() -> None:
    desk = Open()
    n = 200
    desk.subscribe()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    subs = [desk.subscribe() for _ in range(n)]
    each = (tracemalloc.get_traced_memory()[0] - before) / n
    tracemalloc.stop()
    assert len(subs) == n
    assert each < 2048
