"""Connecting for ever: backoff, what subscribers hear of it, and that a venue is never hammered."""

import asyncio
from itertools import pairwise

import orjson
import pytest
from msgspec.structs import replace

from streamer.errors import NotReady
from streamer.spec import Endpoint
from streamer.types import BookStale, Gap, Status, Trade
from tests.venues import TOY, Binance, Toy, command
from tests.world import Wire, clock, most_in, only, streaming, virtual, virtual_logging


def states(ticks):
    return [t.state for t in only(ticks, Status)]


@virtual
async def test_a_refusing_venue_is_asked_for_ever_with_capped_full_jitter():
    venue = Toy()
    venue.refuse = "refused"
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=("trade", "book"))
        await asyncio.sleep(4 * 3600)
        waits = [b - a - venue.latency for a, b in pairwise(venue.attempts)]
        assert waits[0] <= 0.5
        assert all(w <= bound + 0.01 for w, bound in zip(waits, (0.5, 1, 2, 4, 8, 16, 32), strict=False))
        assert max(waits) <= 60.01
        late = waits[10:]
        assert len(late) > 200
        assert min(late) < 10 < 50 < max(late)  # full jitter, not a fixed wait
        assert [(t.channel, t.state, t.reason) for t in only(sub.take(), Status)] == [
            ("trade", "down", "refused"),
            ("book", "down", "refused"),
        ]
        with pytest.raises(NotReady, match=r"not live after 5 s: toy:A/B trade \(down\), toy:A/B book \(down\)"):
            await s.ready(sub, 5)
        venue.refuse = ""
        await s.ready(sub, 61)
        assert states(sub.take()) == ["live", "live"]


@virtual
async def test_who_subscribes_while_the_venue_is_down_hears_that_at_once():
    venue = Toy()
    async with streaming(venue) as s:
        first = s.subscribe("toy:A/B")
        await s.ready(first)
        venue.refuse = "tls"
        venue.wire.drop()
        await asyncio.sleep(300)
        late = s.subscribe("toy:C/B", "toy:A/B")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [(t.symbol, t.state, t.reason) for t in late.take()] == [("C/B", "down", "tls"), ("A/B", "down", "tls")]


@virtual
async def test_a_loss_is_told_before_the_first_retry():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=("trade", "book"))
        await s.ready(sub)
        venue.trade("AB")
        sub.take()
        at = clock()
        venue.wire.drop("reset")
        while clock() == at:
            await asyncio.sleep(1e-6)
        assert len(venue.attempts) == 1
        gap, status, stale = sub.take()
        assert [type(t) for t in (gap, status, stale)] == [Gap, Status, BookStale]
        assert (gap.channel, gap.cause, status.state, status.reason, stale.reason) == (
            "trade",
            "disconnect",
            "stale",
            "reset",
            "disconnect",
        )
        assert s.book("toy:A/B") is None
        await s.ready(sub)
        assert venue.attempts[1] - at <= 0.51
        assert states(sub.take()) == ["live", "live"]


@virtual
async def test_a_hanging_connect_is_given_up():
    venue = Toy()
    venue.refuse = "hang"
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await asyncio.sleep(11)
        assert [(t.state, t.reason) for t in sub.take()] == [("down", "timeout")]
        await asyncio.sleep(600)
        assert len(venue.attempts) > 5


@pytest.mark.parametrize("reason", ["http_403", "http_451"])
@virtual
async def test_a_venue_that_does_not_want_us_is_asked_every_five_minutes(reason):
    venue = Toy()
    venue.refuse = reason
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await asyncio.sleep(3600)
        assert len(venue.attempts) == 12
        assert [(t.state, t.reason) for t in sub.take()] == [("down", reason)]
        assert min(b - a for a, b in pairwise(venue.attempts)) >= 300


@pytest.mark.parametrize(("reason", "silence"), [("http_429", 10), ("http_418", 120)])
@virtual
async def test_an_order_to_be_silent_given_to_a_handshake_holds_for_rest_too(reason, silence):
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        venue.refuse = reason
        venue.wire.drop()
        await asyncio.sleep(1)
        refused = venue.attempts[-1]
        venue.refuse = ""
        unknown = s.subscribe("toy:N/O")  # would have the list read again
        await s.ready(sub, silence + 60)
        assert venue.attempts[-1] >= refused + silence
        assert not [at for at in venue.asked("instruments") if refused < at < refused + silence]
        unknown.close()


@virtual
async def test_a_server_that_accepts_and_drops_is_not_hammered():
    class Dropping(Toy):
        def accepted(self, wire: Wire) -> None:
            wire.drop("abnormal", 1006)

    venue = Dropping()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=("trade", "book"))
        await asyncio.sleep(3600)
        assert 60 < len(venue.attempts) < 200
        assert [(t.channel, t.state, t.reason) for t in only(sub.take(), Status)] == [
            ("trade", "stale", "abnormal"),
            ("book", "stale", "abnormal"),
        ]


@virtual
async def test_a_flapping_link_stays_within_the_connects_that_the_venue_allows():
    venue = Toy(limits=replace(TOY.limits, connects=(5, 60.0)))
    async with streaming(venue) as s:
        subs = [s.subscribe(f"toy:{x}/B", kinds=("trade", "candle")) for x in "ACD"]
        while len(venue.wires) < 100:
            await asyncio.sleep(2)
            for wire in venue.up:
                wire.drop()
        assert most_in(venue.attempts, 60) <= 5
        assert all(sub.dropped == 0 for sub in subs)
        for sub in subs:
            await s.ready(sub, 120)


@virtual
async def test_failures_are_forgotten_after_sixty_healthy_seconds_and_not_before():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")

        async def wait_after(healthy: float) -> float:
            """How long it waits to connect again after a session of so many seconds that came after many failures."""
            venue.refuse = "refused"
            for wire in venue.up:
                wire.drop()
            await asyncio.sleep(1800)
            venue.refuse = ""
            await s.ready(sub, 61)
            for _ in range(int(healthy)):
                await asyncio.sleep(1)
                venue.trade("AB")
            at, before = clock(), len(venue.attempts)
            venue.wire.drop()
            while len(venue.attempts) == before:
                await asyncio.sleep(0.1)
            return clock() - at

        assert max([await wait_after(50) for _ in range(6)]) > 5
        assert max([await wait_after(65) for _ in range(6)]) < 0.7


@virtual
async def test_the_trouble_of_one_venue_does_not_touch_another():
    toy, binance = Toy(), Binance()
    async with streaming(toy, binance) as s:
        good, bad = s.subscribe("binance:BTC/USDT", kinds=("trade", "book")), s.subscribe("toy:A/B", kinds=("trade", "book"))
        await s.ready(good)
        await s.ready(bad)
        toy.refuse = "refused"
        toy.wire.drop()
        toy.fault = lambda path: 20.0
        good.take()
        for _ in range(200):
            binance.trade("BTCUSDT")
            binance.delta("BTCUSDT")
            await asyncio.sleep(1)
        ticks = good.take()
        assert len(only(ticks, Trade)) == 200
        assert len(ticks) == 400
        assert len(binance.attempts) == 1


@virtual_logging("toy/pub#1 ended unexpectedly, and will be made anew")
async def test_a_feed_that_cannot_say_its_commands_is_tried_again_with_backoff():
    faulty = [True]

    def subscribe(topics, n):
        if faulty[0]:
            raise LookupError("no such command")
        return command("sub", topics, n)

    venue = Toy(subscribe=subscribe)
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await asyncio.sleep(600)
        assert 5 < len(venue.attempts) < 60
        assert not venue.up
        assert "down" in states(sub.take())
        faulty[0] = False
        await s.ready(sub, 61)


@virtual_logging("a frame could not be handled")
async def test_a_frame_that_breaks_our_own_code_costs_that_session_only():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=("book",))
        await s.ready(sub)
        source = next(iter(s._running().hub.book("toy", "A/B").sources.values()))
        source.sync.rule = lambda seq, delta, fresh: 1 / 0
        venue.delta("AB")
        assert s.book("toy:A/B") is None
        await s.ready(sub)
        venue.delta("AB")
        assert s.book("toy:A/B").best_bid is not None
        assert len(venue.wires) == 2


@virtual
async def test_an_answer_that_does_not_tell_where_to_connect_is_asked_for_again():
    venue = Toy()
    answers = ['{"code":"500000"}', "<html>", '["wss://toy.test/pub"]']
    venue.rest = lambda path: venue.listed if "instruments" in path else None

    async def endpoint(fetch):
        return Endpoint(orjson.loads(answers.pop(0) if len(answers) > 1 else answers[0])[0])

    venue.feed = replace(venue.feed, endpoints={**venue.feed.endpoints, "pub": endpoint})
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub, 10)
        assert [(t.state, t.reason) for t in only(sub.take(), Status)] == [("down", "bad_answer"), ("live", None)]
