"""Snapshots of the best levels only: what lies beyond is unknown, and the book is renewed before the known part is used up."""

import asyncio
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from feeds.binance import FEED
from streamer.rules import overlap
from streamer.sync import Sync
from streamer.types import BookDelta, BookSnapshot, BookStale, Instrument
from tests.venues import Binance, levels, text
from tests.world import only, streaming, virtual

INSTRUMENT: Instrument[float] = Instrument("x", "A/B", None, 0, "AB", "A", "B")
REACH = 10
Side = dict[float, float]


class Truth:
    """Every state of a deep book, by its number."""

    def __init__(self) -> None:
        self.states: list[tuple[Side, Side]] = [({100.0 - i: 1.0 for i in range(40)}, {101.0 + i: 1.0 for i in range(40)})]

    @property
    def seq(self) -> int:
        return len(self.states) - 1

    def best(self, seq: int) -> tuple[list[Any], list[Any]]:
        bids, asks = self.states[seq]
        return sorted(bids.items(), reverse=True), sorted(asks.items())

    def change(self, side: int, price: float, size: float) -> BookDelta[float]:
        state: Any = tuple(dict(x) for x in self.states[-1])
        state[side].pop(price, None)
        if size:
            state[side][price] = size
        self.states.append(state)
        change = [(price, size)]
        return BookDelta("x", "A/B", None, 0, () if side else change, change if side else (), self.seq, self.seq)

    def snapshot(self, seq: int) -> BookSnapshot[float]:
        bids, asks = self.best(seq)
        return BookSnapshot("x", "A/B", None, 0, bids[:REACH], asks[:REACH], seq)


class Renewed(RuleBasedStateMachine):
    """Changes anywhere in the book, and answers that are up to eight changes old."""

    def __init__(self) -> None:
        super().__init__()
        self.true = Truth()
        self.sync: Sync[float] = Sync(INSTRUMENT, overlap, hold=True, reach=REACH)
        self.falls: list[str | None] = []

    def take(self, delta: BookDelta[float]) -> None:
        taken = self.sync.delta(delta)
        if taken == "stale":
            self.falls.append(self.sync.stale_reason)
        if self.sync.thin or not self.sync.live:
            self.sync.asked = True

    @rule(side=st.integers(0, 1), level=st.integers(0, 30), size=st.integers(0, 3))
    def changes(self, side: int, level: int, size: int) -> None:
        best = self.true.best(self.true.seq)[side]
        self.take(self.true.change(side, best[min(level, len(best) - 1)][0], float(size) if len(best) > 1 else 1.0))

    @rule(side=st.integers(0, 1), n=st.integers(1, 9))
    def is_eaten(self, side: int, n: int) -> None:
        for price, _ in self.true.best(self.true.seq)[side][:n]:
            if len(self.true.states[-1][side]) > 1:
                self.take(self.true.change(side, price, 0.0))

    @rule(age=st.integers(0, 8))
    def is_answered(self, age: int) -> None:
        if self.sync.asked:
            self.sync.snapshot(self.true.snapshot(max(0, self.true.seq - age)))
            self.sync.asked = self.sync.asked or not self.sync.live or self.sync.thin

    @rule()
    def is_answered_now(self) -> None:
        if self.sync.asked:
            assert self.sync.snapshot(self.true.snapshot(self.true.seq))
            assert self.sync.live

    @invariant()
    def what_is_live_is_the_true_book_as_far_as_it_is_known(self) -> None:
        sync = self.sync
        assert set(self.falls) <= {"thin"}
        if not sync.live:
            return
        assert sync.book.seq == self.true.seq
        for side, edge, true in zip((sync.book.bids, sync.book.asks), sync.edges, self.true.best(self.true.seq), strict=True):
            known = [x for x in true if edge is None or (x[0] <= edge if side.ascending else x[0] >= edge)]
            assert side.top() == known
            assert edge is None or known


Renewed.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRenewed = Renewed.TestCase


def test_an_answer_from_since_the_asking_is_taken_although_the_book_went_on() -> None:
    true, sync = Truth(), Sync[float](INSTRUMENT, overlap, hold=True, reach=REACH)
    sync.snapshot(true.snapshot(0))
    for price, _ in true.best(0)[1][:6]:
        assert not sync.thin
        assert sync.delta(true.change(1, price, 0.0)) == "applied"
    assert sync.thin
    sync.asked, asked = True, true.seq
    assert sync.renewing
    for price in (100.0, 99.0):
        sync.delta(true.change(0, price, 7.0))
    assert sync.snapshot(true.snapshot(asked - 1)) == (), "the delta after it was not held"
    assert (sync.live, sync.renewing) == (True, True), "the next answer may do"
    assert [getattr(t, "seq", None) for t in sync.snapshot(true.snapshot(asked))] == [asked, None, None]
    assert (sync.live, sync.renewing, sync.thin, sync.held, sync.book.seq) == (True, False, False, [], true.seq)
    assert sync.book.bids.top() == true.best(true.seq)[0][:REACH]
    assert sync.book.asks.top() == true.best(true.seq)[1][:REACH]


class Deep(Binance):
    """Tells twenty levels of a deeper book."""

    def __init__(self) -> None:
        super().__init__("BTCUSDT")
        market = self.markets["BTCUSDT"]
        market.bids, market.asks = {100.0 - i / 10: 1.0 for i in range(200)}, {101.0 + i / 10: 1.0 for i in range(200)}
        self.feed = replace(FEED, book={"spot": replace(FEED.book["spot"], reach=20)})

    def snapshot(self, name: str) -> Any:
        bids, asks = self.book(name)
        return {"lastUpdateId": self.markets[name].seq, "bids": text(bids[:20]), "asks": text(asks[:20])}

    def eaten(self, n: int, far: float = 130.0) -> None:
        """The best asks go, one change each, and something happens far away."""
        market = self.markets["BTCUSDT"]
        for price in sorted(market.asks)[:n]:
            del market.asks[price]
            market.asks[far] = market.asks.get(far, 0.0) + 1.0
            market.seq += 1
            changes = text([[price, 0.0], [far, market.asks[far]]])
            data = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": market.seq, "u": market.seq, "b": [], "a": changes}
            self.publish("btcusdt@depth@100ms", {"stream": "btcusdt@depth@100ms", "data": data})


async def ready(s: Any) -> Any:
    sub = s.subscribe("binance:BTC/USDT", kinds=("book",))
    await s.ready(sub)
    return sub


@virtual
async def test_a_book_is_renewed_while_it_is_live():
    venue = Deep()
    async with streaming(venue) as s:
        sub = await ready(s)
        assert len(venue.asked("depth")) == 1
        venue.eaten(10)
        await asyncio.sleep(1)
        assert len(venue.asked("depth")) == 1, "half of it is left"
        venue.fault = lambda path: 2.0 if "depth" in path else None  # meanwhile it goes on
        venue.eaten(1)
        await asyncio.sleep(0.5)
        assert len(venue.asked("depth")) == 2
        venue.eaten(3)
        bids, asks = levels(s.book("binance:BTC/USDT"))
        assert (len(asks), asks) == (6, venue.book("BTCUSDT")[1][:6])
        await asyncio.sleep(3)
        bids, asks = levels(s.book("binance:BTC/USDT"))
        assert [bids, asks] == [side[:20] for side in venue.book("BTCUSDT")]
        assert len(venue.asked("depth")) == 2
        ticks = sub.take()
        assert only(ticks, BookStale) == []
        assert len(only(ticks, BookSnapshot)) == 2
        assert all(t.asks[-1][0] < 130.0 for t in only(ticks, BookSnapshot)), "what is unknown is not told"
        assert all(size == 0 for t in only(ticks, BookDelta) for price, size in t.asks if price == 130.0)


@virtual
async def test_a_book_that_is_used_up_before_is_stale_until_it_is_renewed():
    venue = Deep()
    async with streaming(venue) as s:
        sub = await ready(s)
        venue.fault = lambda path: 2.0 if "depth" in path else None
        venue.eaten(19)
        await asyncio.sleep(0.5)
        assert s.book("binance:BTC/USDT") is None
        assert [t.reason for t in only(sub.take(), BookStale)] == ["thin"]
        await asyncio.sleep(3)
        assert levels(s.book("binance:BTC/USDT")) == [side[:20] for side in venue.book("BTCUSDT")]
        assert len(venue.asked("depth")) == 2, "one request was on its way already"
