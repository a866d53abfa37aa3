"""Polled topics in the scripted world: when they are asked for, what failures make of their streams, and that all of it mends itself."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from streamer.decode import HANDLER_ERRORS
from streamer.errors import IoFailure, NotReady, UsageError
from streamer.io import Response
from streamer.poller import FAILURES
from streamer.spec import Limits, Poll, Unknown, on
from streamer.topics import RETRY_REJECTED_S
from streamer.types import BookSnapshot, BookStale, Gap, MarkPrice, Quote, Status, Ticker, Trade
from tests.kiosk import LATEST, SIZE, TOPICS, Kiosk
from tests.venues import levels
from tests.world import clock, most_in, only, streaming, virtual, virtual_logging


def failing(part: str, how: Callable[[], Any]) -> Callable[[str], Any]:
    return lambda path: how() if part in path else None


def dead() -> IoFailure:
    return IoFailure("no route", "refused")


@virtual
async def test_each_url_is_asked_at_its_own_pace_from_the_moment_of_subscribing() -> None:
    venue = Kiosk()
    async with streaming(venue) as s:
        sub = s.subscribe("kiosk:A/B", kinds=("trade", "book", "ticker"))
        await s.ready(sub)
        began = clock()
        await asyncio.sleep(60)
        for part, every in (("trades/AB", 2.0), ("book/AB", 2.0), ("latest", 5.0)):
            asked = venue.asked(part)
            assert len(asked) == pytest.approx(60 / every + 1, abs=1)
            assert began - asked[0] < 0.1
            assert [round(b - a, 2) for a, b in itertools.pairwise(asked)] == [every] * (len(asked) - 1)
        assert s.stats()["kiosk"]["connections"] == 0


@virtual
async def test_one_url_feeds_every_kind_and_instrument_that_it_tells_of() -> None:
    venue = Kiosk()
    async with streaming(venue) as s:
        sub = s.subscribe("kiosk:A/B", "kiosk:C/B", kinds=("ticker", "mark"))
        await s.ready(sub)
        await asyncio.sleep(11)
        told = {(t.symbol, type(t)) for t in only(sub.take(), Ticker, MarkPrice)}
        assert told == {(symbol, kind) for symbol in ("A/B", "C/B") for kind in (Ticker, MarkPrice)}
        assert len(venue.asked("latest")) == 3
        late = s.subscribe("kiosk:C/B", kinds=("mark",))
        await s.ready(late, 0.1)
        sub.close()
        await asyncio.sleep(10)
        assert only(late.take(), MarkPrice)
        assert len(venue.asked("latest")) == 5


@virtual
async def test_a_book_is_each_answer_and_quotes_are_cut_from_it() -> None:
    venue = Kiosk()
    async with streaming(venue) as s:
        sub = s.subscribe("kiosk:A/B", kinds=("book", "quote"), depth=2)
        await s.ready(sub)
        for _ in range(5):
            venue.markets["AB"].change()
            await asyncio.sleep(2.1)
            assert levels(s.book("kiosk:A/B")) == venue.book("AB")
        ticks = sub.take()
        assert len(only(ticks, BookSnapshot)) >= 5
        assert {t.source for t in only(ticks, Quote)} == {"book"}


@virtual
async def test_trades_come_once_over_failures_and_longer_outages_and_only_a_hole_is_a_gap() -> None:
    venue = Kiosk()
    async with streaming(venue) as s:
        sub = s.subscribe("kiosk:A/B")
        await s.ready(sub)
        for outage in (0, 3, 9, 300):
            venue.fault = failing("trades", dead)
            await asyncio.sleep(outage)
            venue.sell("AB", 3)
            venue.fault = lambda path: None
            await asyncio.sleep(70)
        ticks = sub.take()
        assert [t.ts_event for t in only(ticks, Trade)] == list(range(4, 16))
        assert [t.state for t in only(ticks, Status)] == ["live", "stale", "live", "stale", "live"][: len(only(ticks, Status))]
        assert len(only(ticks, Status)) >= 3
        assert not only(ticks, Gap)
        assert not s.ledger.entries()
        venue.sell("AB", 20)
        await asyncio.sleep(3)
        gap, *new = only(sub.take(), Gap, Trade)
        assert (gap.cause, gap.channel, len(new)) == ("poll", "trade", SIZE)
        assert gap.ts_to - gap.ts_from == 2_000_000_000
        assert [e.cause for e in s.ledger.entries()] == ["poll"]


@virtual
async def test_a_few_failures_are_nothing_and_more_are_told_once_and_end_with_the_next_answer() -> None:
    venue = Kiosk()
    async with streaming(venue) as s:
        sub = s.subscribe("kiosk:A/B", kinds=("ticker", "book"))
        await s.ready(sub)
        sub.take()
        fails = iter([dead] * (FAILURES - 1))
        venue.fault = failing("latest", lambda: (next(fails, None) or (lambda: None))())
        await asyncio.sleep(30)
        assert not only(sub.take(), Status, Gap)
        venue.fault = lambda path: dead()
        down = clock()
        await asyncio.sleep(100)
        ticks = sub.take()
        (gap,) = only(ticks, Gap)
        (stale,) = only(ticks, BookStale)
        assert [(t.channel, t.state, t.reason) for t in only(ticks, Status)] == [("ticker", "stale", "refused")]
        assert (gap.channel, gap.cause, stale.reason) == ("ticker", "disconnect", "disconnect")
        assert s.book("kiosk:A/B") is None
        assert len([t for t in venue.asked("latest") if t > down]) < 20, "a dead venue is asked less and less"
        venue.fault = lambda path: None
        await s.ready(sub, 61)
        ticks = sub.take()
        assert [(t.channel, t.state) for t in only(ticks, Status)].count(("ticker", "live")) == 1
        assert only(ticks, BookSnapshot)
        assert levels(s.book("kiosk:A/B")) == venue.book("AB")


@virtual
async def test_a_venue_that_never_answers_is_down() -> None:
    venue = Kiosk()
    async with streaming(venue) as s:
        await s.instruments("kiosk")
        venue.fault = lambda path: dead()
        sub = s.subscribe("kiosk:A/B", kinds=("trade", "book"))
        with pytest.raises(NotReady, match="down"):
            await s.ready(sub, 30)
        assert {(t.channel, t.state) for t in only(sub.take(), Status)} == {("trade", "down"), ("book", "down")}
        venue.fault = lambda path: None
        await s.ready(sub, 61)


@pytest.mark.parametrize("body", [b"no JSON", b'{"a":1}', b'[[[1e999,"x"]],[]]'])
def test_an_answer_that_makes_no_sense_is_a_failure_and_counted(body: bytes) -> None:
    @virtual
    async def run() -> None:
        venue = Kiosk()
        async with streaming(venue) as s:
            sub = s.subscribe("kiosk:A/B", kinds=("book", "ticker"))
            await s.ready(sub)
            venue.fault = lambda path: Response(200, {}, body) if "book" in path else None
            await asyncio.sleep(20)
            assert [t.reason for t in only(sub.take(), BookStale)] == ["bad_frame"]
            assert sum(s.stats()["kiosk"]["bad"].values()) >= FAILURES
            venue.fault = lambda path: None
            await s.ready(sub, 61)

    run()


@virtual_logging("kiosk/shop polls: an answer to https://kiosk.test/trades/AB could not be handled")
async def test_a_handler_that_raises_costs_its_own_stream_only() -> None:
    assert not issubclass(RuntimeError, HANDLER_ERRORS)
    venue = Kiosk()
    async with streaming(venue) as s:
        sub = s.subscribe("kiosk:A/B", "kiosk:C/B")
        await s.ready(sub)
        venue.sold["AB"].append(-1)
        await asyncio.sleep(100)
        venue.sell("CB")
        await asyncio.sleep(3)
        ticks = sub.take()
        assert [(t.symbol, t.reason) for t in only(ticks, Status) if t.state == "stale"] == [("A/B", "internal_error")]
        assert [t.symbol for t in only(ticks, Trade)] == ["C/B"]
        venue.sold["AB"].remove(-1)
        venue.sell("AB")
        await s.ready(sub, 61)
        assert [t.symbol for t in only(sub.take(), Trade)] == ["A/B"]


@virtual
async def test_what_the_venue_does_not_know_is_rejected_and_asked_for_slowly() -> None:
    venue = Kiosk()
    async with streaming(venue) as s:
        await s.instruments("kiosk")
        venue.fault = failing("trades/AB", lambda: Response(400, {}, b'{"message":"Coin not found"}'))
        bad, good = s.subscribe("kiosk:A/B"), s.subscribe("kiosk:C/B")
        await s.ready(good)
        with pytest.raises(UsageError, match="Coin not found"):
            await s.ready(bad)
        late = s.subscribe("kiosk:A/B")
        await asyncio.sleep(RETRY_REJECTED_S - 5)
        assert [t.state for t in only(late.take(), Status)] == ["rejected"]
        assert len(venue.asked("trades/AB")) == 1
        venue.fault = lambda path: None
        await asyncio.sleep(10)
        await s.ready(bad, 1)
        assert [t.state for t in only(bad.take(), Status)] == ["rejected", "live"]


@virtual
async def test_one_that_was_known_is_not_given_up_for_a_hiccup() -> None:
    venue = Kiosk()
    async with streaming(venue) as s:
        sub = s.subscribe("kiosk:A/B", kinds=("trade", "ticker"))
        await s.ready(sub)
        sub.take()
        fails = iter([Response(404, {}, b"")] * (FAILURES - 1))
        venue.fault = failing("trades", lambda: next(fails, None))
        await asyncio.sleep(20)
        assert not only(sub.take(), Status)
        venue.fault = failing("trades", lambda: Response(404, {}, b"gone"))
        await asyncio.sleep(20)
        assert [t.state for t in only(sub.take(), Status)] == ["stale", "rejected"]


@virtual
async def test_an_order_to_be_silent_is_obeyed_by_all_and_told() -> None:
    venue = Kiosk()
    async with streaming(venue) as s:
        sub = s.subscribe("kiosk:A/B", "kiosk:C/B", kinds=("trade", "ticker", "book"))
        await s.ready(sub)
        await asyncio.sleep(5.5)
        sub.take()
        orders = iter([Response(429, {"retry-after": "60"}, b"")])
        venue.fault = failing("trades/AB", lambda: next(orders, None))
        await asyncio.sleep(2)
        told = venue.asked("trades/AB")[-1]
        await asyncio.sleep(50)
        assert not [at for at, _ in venue.requests if told + 0.1 < at < told + 59]
        ticks = sub.take()
        assert {(t.channel, t.symbol, t.reason) for t in only(ticks, Status)} == {
            (kind, symbol, "rate_limited") for kind in ("trade", "ticker") for symbol in ("A/B", "C/B")
        }  # fmt: skip
        assert len(only(ticks, BookStale)) == 2
        await s.ready(sub, 15)
        assert venue.asked("trades/AB")[-1] > told + 59


@virtual
async def test_a_short_silence_is_nothing_to_tell() -> None:
    venue = Kiosk()
    async with streaming(venue) as s:
        sub = s.subscribe("kiosk:A/B", kinds=("trade", "book"))
        await s.ready(sub)
        sub.take()
        orders = iter([Response(429, {"retry-after": "3"}, b"")])
        venue.fault = failing("trades/AB", lambda: next(orders, None))
        await asyncio.sleep(20)
        assert not only(sub.take(), Status, BookStale, Gap)


@virtual
async def test_more_than_the_venue_allows_is_spread_over_all_evenly() -> None:
    names = [f"{a}{b}" for a in "ABCDEFGHIJ" for b in "KLMNOPQRST"]
    topics = {key: Poll(2.0, p.url, p.parse, weight=2) if key[1] == "book" else p for key, p in TOPICS.items()}
    venue = Kiosk(*names, limits=Limits(rest=(16, 1.0)), topics=topics)
    async with streaming(venue) as s:
        sub = s.subscribe(*(f"kiosk:{n[0]}/{n[1]}" for n in names), kinds=("trade", "book"))
        await s.ready(sub, 60)
        began = clock()
        await asyncio.sleep(300)
        weighted = [at for at, path in venue.requests for _ in range(2 if "book" in path else 1)]
        assert most_in(weighted, 1.0) <= 16
        assert len([at for at in weighted if at > began]) > 0.9 * 16 * 300, "and what it allows is used"
        each = [len([at for at in venue.asked(f"{what}/{n}") if at > began]) for n in names for what in ("trades", "book")]
        assert max(each) - min(each) <= 1
        assert not only(sub.take(), Gap, BookStale)


@virtual
async def test_what_nobody_wants_is_not_asked_for_any_more() -> None:
    venue = Kiosk()
    async with streaming(venue) as s:
        sub, other = s.subscribe("kiosk:A/B", kinds=("trade", "ticker")), s.subscribe("kiosk:C/B", kinds=("ticker",))
        await s.ready(sub)
        await s.ready(other)
        venue.sell("AB")
        await asyncio.sleep(3)
        sub.close()
        await asyncio.sleep(1)
        venue.requests.clear()
        await asyncio.sleep(20)
        assert not venue.asked("trades")
        assert len(venue.asked("latest")) == 4
        other.close()
        await asyncio.sleep(1)
        venue.requests.clear()
        await asyncio.sleep(60)
        assert not venue.requests
        venue.sell("AB")
        again = s.subscribe("kiosk:A/B")
        await s.ready(again)
        venue.sell("AB")
        await asyncio.sleep(3)
        assert [t.ts_event for t in only(again.take(), Trade)] == [6], "what happened before is history"


@virtual
async def test_closing_leaves_nothing_behind_even_while_a_request_hangs() -> None:
    venue = Kiosk()
    async with streaming(venue) as s:
        sub = s.subscribe("kiosk:A/B", kinds=("trade", "book"))
        await s.ready(sub)
        venue.fault = lambda path: 14.0
        await asyncio.sleep(5)


@virtual
async def test_an_instrument_that_the_list_does_not_hold_makes_it_be_read_again() -> None:
    venue = Kiosk()
    async with streaming(venue) as s:
        sub = s.subscribe("kiosk:A/B", kinds=("ticker",))
        await s.ready(sub)
        await asyncio.sleep(400)
        venue.markets["XB"] = venue.markets["AB"]
        venue.listed.append("XB")
        await asyncio.sleep(20)
        stats = s.stats()["kiosk"]
        assert (stats["unknown_ids"], stats["bad"]) == ({"XB": 1}, {})
        assert len(venue.asked("list")) == 2
        await s.ready(sub, 1)


@virtual
async def test_what_it_does_not_understand_is_counted_as_unknown() -> None:
    topics = TOPICS | {("shop", "ticker"): Poll(5.0, LATEST.url, on(dict[str, float], lambda m, ctx, i: Unknown("prices")))}
    topics.pop(("shop", "mark"))
    venue = Kiosk(topics=topics)
    async with streaming(venue) as s:
        sub = s.subscribe("kiosk:A/B", kinds=("ticker",))
        await s.ready(sub)
        assert s.stats()["kiosk"]["unknown"] == {"prices": 1}
