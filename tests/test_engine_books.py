"""Books whose snapshots come by REST, and that one book never disturbs another."""

import asyncio
import random

import pytest

from streamer.io import Response
from streamer.types import BookDelta, BookSnapshot, BookStale, Trade
from tests.venues import Binance, levels
from tests.world import most_in, only, streaming, virtual

BTC, ETH = "binance:BTC/USDT", "binance:ETH/USDT"
BOTH = ("trade", "book")


def kinds_of(ticks):
    return [type(t).__name__ for t in only(ticks, BookSnapshot, BookDelta, BookStale)]


@virtual
async def test_deltas_before_the_snapshot_are_held_and_follow_it():
    venue = Binance()
    venue.fault = lambda path: 2.0 if "depth" in path else None
    async with streaming(venue) as s:
        sub = s.subscribe(BTC, kinds=("book",))
        await asyncio.sleep(0.1)
        old = venue.snapshot("BTCUSDT")
        for _ in range(5):
            venue.delta("BTCUSDT")
            await asyncio.sleep(0.1)
        venue.old["BTCUSDT"] = old
        await s.ready(sub)
        assert kinds_of(sub.take()) == ["BookSnapshot"] + 5 * ["BookDelta"]
        assert levels(s.book(BTC)) == venue.book("BTCUSDT")


@virtual
async def test_a_snapshot_that_is_too_old_is_asked_for_again_and_what_is_held_is_kept():
    venue = Binance()
    async with streaming(venue) as s:
        venue.old["BTCUSDT"] = venue.snapshot("BTCUSDT")
        venue.delta("BTCUSDT", lose=True)
        sub = s.subscribe(BTC, kinds=("book",))
        await asyncio.sleep(0.1)
        venue.delta("BTCUSDT")
        between = venue.snapshot("BTCUSDT")
        venue.delta("BTCUSDT")
        await asyncio.sleep(5)
        assert s.book(BTC) is None
        assert 2 <= len(venue.asked("depth")) <= 8
        venue.old["BTCUSDT"] = between
        await s.ready(sub, 61)
        assert kinds_of(sub.take()) == ["BookSnapshot", "BookDelta"]
        assert levels(s.book(BTC)) == venue.book("BTCUSDT")


@virtual
async def test_a_slow_snapshot_stops_neither_trades_nor_other_books_and_is_asked_for_once():
    venue = Binance()
    venue.fault = lambda path: 14.9 if "symbol=BTCUSDT" in path else None
    async with streaming(venue) as s:
        slow, other = s.subscribe(BTC, kinds=BOTH), s.subscribe(ETH, kinds=("book",))
        await s.ready(other, 2)
        for _ in range(100):
            venue.trade("BTCUSDT")
            venue.delta("BTCUSDT")
            venue.delta("ETHUSDT")
            await asyncio.sleep(0.1)
        assert len(only(slow.take(), Trade)) == 100
        assert levels(s.book(ETH)) == venue.book("ETHUSDT")
        await s.ready(slow)
        assert levels(s.book(BTC)) == venue.book("BTCUSDT")
        assert len(venue.asked("symbol=BTCUSDT")) == 1


@pytest.mark.parametrize("answer", [Response(500, {}, b"oops"), Response(200, {}, b"{"), Response(200, {}, b'{"lastUpdateId":"x"}'), 60.0])
@virtual
async def test_a_snapshot_that_fails_for_ever_leaves_only_that_book_stale(answer):
    venue = Binance()
    venue.fault = lambda path: answer if "symbol=BTCUSDT" in path else None
    async with streaming(venue) as s:
        sub, other = s.subscribe(BTC, kinds=BOTH), s.subscribe(ETH, kinds=("book",))
        await s.ready(other)
        for _ in range(1800):
            venue.trade("BTCUSDT")
            venue.delta("BTCUSDT")
            venue.delta("ETHUSDT")
            await asyncio.sleep(1)
        assert len(only(sub.take(), Trade)) == 1800
        assert s.book(BTC) is None
        assert levels(s.book(ETH)) == venue.book("ETHUSDT")
        assert len(venue.attempts) == 1
        assert 25 < len(venue.asked("symbol=BTCUSDT")) < 100
        venue.fault = lambda path: None
        await s.ready(sub, 80)
        assert levels(s.book(BTC)) == venue.book("BTCUSDT")


@virtual
async def test_a_quiet_book_gets_its_snapshot_too():
    venue = Binance()
    async with streaming(venue) as s:
        sub = s.subscribe(BTC, kinds=("book",))
        await s.ready(sub, 2)
        assert levels(s.book(BTC)) == venue.book("BTCUSDT")
        assert len(venue.asked("depth")) == 1


@virtual
async def test_a_gap_is_told_before_anything_else_and_mended_with_one_snapshot():
    venue = Binance()
    async with streaming(venue) as s:
        sub = s.subscribe(BTC, ETH, kinds=("book",))
        await s.ready(sub)
        venue.delta("BTCUSDT", lose=True)
        asked = len(venue.asked("depth"))
        sub.take()
        for _ in range(20):
            venue.delta("BTCUSDT")
            venue.delta("ETHUSDT")
        ticks = sub.take()
        assert kinds_of([t for t in ticks if t.symbol == "BTC/USDT"]) == ["BookStale"]
        assert ticks[0].reason == "gap"
        assert kinds_of([t for t in ticks if t.symbol == "ETH/USDT"]) == 20 * ["BookDelta"]
        assert s.book(BTC) is None
        await s.ready(sub)
        assert levels(s.book(BTC)) == venue.book("BTCUSDT")
        assert len(venue.asked("depth")) == asked + 1
        assert len(venue.attempts) == len(venue.commands()) == 1
        (entry,) = s.ledger.entries()
        assert (entry.cause, entry.recovered, entry.proof) == ("gap", "snapshot", "sequence")


@virtual
async def test_a_snapshot_that_comes_after_the_connection_is_gone_is_not_believed():
    random.seed(1)  # else, once in twenty times, the next try to connect is due later than `ready` waits
    venue = Binance()
    venue.fault = lambda path: 3.0 if "depth" in path else None
    async with streaming(venue) as s:
        sub = s.subscribe(BTC, kinds=("book",))
        await asyncio.sleep(2)
        venue.refuse = "refused"
        venue.wire.drop()
        await asyncio.sleep(10)
        assert s.book(BTC) is None
        assert kinds_of(sub.take()) == []
        venue.refuse = ""
        await s.ready(sub, 30)
        assert levels(s.book(BTC)) == venue.book("BTCUSDT")


@virtual
async def test_a_book_that_falls_again_and_again_is_left_alone_for_a_while():
    venue = Binance()
    async with streaming(venue) as s:
        sub, other = s.subscribe(BTC, kinds=("book",)), s.subscribe(ETH, kinds=("book",))
        await s.ready(sub)
        for _ in range(6000):
            venue.delta("BTCUSDT", lose=True)
            venue.delta("BTCUSDT")
            venue.delta("ETHUSDT")
            await asyncio.sleep(0.1)
        asked = venue.asked("symbol=BTCUSDT")
        assert 15 < len(asked) < 60
        assert most_in(asked, 60) <= 9
        assert not only(other.take(), BookStale)
        await s.ready(sub, 61)
