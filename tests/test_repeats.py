"""Snapshots that come again and again, late: each replaces the book, and the deltas after it are applied once more."""

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from streamer import sync as module
from streamer.rules import rising
from streamer.sync import Sync
from streamer.types import BookDelta, BookSnapshot, Instrument, Trade
from tests.test_engine_watch import speak
from tests.test_reach import Truth
from tests.venues import Toy
from tests.world import only, streaming, virtual

INSTRUMENT: Instrument[float] = Instrument("x", "A/B", None, 0, "AB", "A", "B")
REACH = 10


def a_sync(**how: Any) -> Sync[float]:
    return Sync(INSTRUMENT, rising, hold=True, repeats=True, **how)


class Repeated(RuleBasedStateMachine):
    """Changes of the best levels are told, of others not; wholes are up to eight changes old, but each newer than the last."""

    def __init__(self) -> None:
        super().__init__()
        self.true = Truth()
        self.sync = a_sync(reach=REACH)
        self.oldest = self.told = 0

    def change(self, side: int, price: float, size: float, lost: bool = False) -> None:
        before = self.true.best(self.true.seq)[side][:REACH]
        delta = self.true.change(side, price, size)
        if any(price == level[0] for level in before + self.true.best(self.true.seq)[side][:REACH]):
            self.told = self.true.seq
            if not lost:
                self.sync.delta(delta)

    @rule(side=st.integers(0, 1), level=st.integers(0, 30), size=st.integers(0, 3))
    def changes(self, side: int, level: int, size: int) -> None:
        best = self.true.best(self.true.seq)[side]
        if best:
            self.change(side, best[min(level, len(best) - 1)][0], float(size))

    @rule(side=st.integers(0, 1), better=st.integers(1, 3))
    def improves(self, side: int, better: int) -> None:
        bids, asks = self.true.best(self.true.seq)
        if bids and asks and asks[0][0] - bids[0][0] > 1:
            self.change(side, (bids if side == 0 else asks)[0][0] + (1 - 2 * side) * better / 8, 1.0)

    @rule(side=st.integers(0, 1), n=st.integers(1, 9))
    def is_eaten(self, side: int, n: int) -> None:
        for price, _ in self.true.best(self.true.seq)[side][:n]:
            if len(self.true.states[-1][side]) > 1:
                self.change(side, price, 0.0)

    @rule(age=st.integers(0, 8))
    def comes_again(self, age: int) -> None:
        was, before = self.sync.live, self.sync.book.seq
        self.oldest = max(self.oldest, self.true.seq - age)
        out = self.sync.snapshot(self.true.snapshot(self.oldest))
        if not self.sync.live:
            assert self.sync.stale_reason == "thin" or (not was and self.oldest < (before or 0))
            return
        (told,) = out
        assert isinstance(told, BookSnapshot)
        assert (told.bids, told.asks) == (self.sync.book.bids.top(), self.sync.book.asks.top())
        assert not was or (told.seq or 0) >= (before or 0)

    @rule()
    def comes_anew(self) -> None:
        self.oldest = self.true.seq
        assert self.sync.snapshot(self.true.snapshot(self.oldest))
        assert self.sync.live

    @rule(side=st.integers(0, 1))
    def a_frame_cannot_be_read(self, side: int) -> None:
        """It may have been a change. What comes next was asked for after it."""
        best = self.true.best(self.true.seq)[side]
        if best:
            self.change(side, best[0][0], 3.0, lost=True)
        self.sync.fall("bad_frame")
        self.oldest = self.true.seq
        assert not self.sync.live

    @invariant()
    def what_is_live_is_the_true_book_as_far_as_it_is_known(self) -> None:
        sync = self.sync
        if not sync.live:
            assert sync.stale_reason in ("waiting", "bad_frame", "thin")
            return
        assert self.told <= (sync.book.seq or 0) <= self.true.seq
        for side, edge, true in zip((sync.book.bids, sync.book.asks), sync.edges, self.true.best(self.true.seq), strict=True):
            assert side.top() == [x for x in true if edge is None or (x[0] <= edge if side.ascending else x[0] >= edge)]
            assert len(side.sizes) <= REACH


Repeated.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRepeated = Repeated.TestCase


def delta(seq: int, *bids: tuple[float, float]) -> BookDelta[float]:
    return BookDelta("x", "A/B", seq * 10, seq * 10 + 1, bids, (), seq, seq)


def whole(seq: int, *bids: tuple[float, float], ts: int = 0) -> BookSnapshot[float]:
    return BookSnapshot("x", "A/B", seq * 10, ts or seq * 10 + 1, bids, ((200.0, 1.0),), seq)


def test_the_example_of_bitbanks_page() -> None:
    """diff 3, diff 5, diff 6, diff 8, whole 5: the whole, then diff 6 and diff 8."""
    sync = a_sync()
    for seq in (3, 5, 6, 8):
        assert sync.delta(delta(seq, (100.0 + seq, 1.0))) == "held"
    (told,) = sync.snapshot(whole(5, (90.0, 2.0), ts=85))
    assert told == BookSnapshot("x", "A/B", 80, 85, [(108.0, 1.0), (106.0, 1.0), (90.0, 2.0)], [(200.0, 1.0)], 8)
    assert [d.last for d in sync.held] == [6, 8]
    assert sync.delta(delta(8, (50.0, 1.0))) == "dropped"
    (told,) = sync.snapshot(whole(6, (90.0, 3.0)))
    assert (told.bids, told.asks) == ([(108.0, 1.0), (90.0, 3.0)], [(200.0, 1.0)])
    (told,) = sync.snapshot(whole(9, (95.0, 1.0)))
    assert (told.bids, told.seq, sync.held) == ([(95.0, 1.0)], 9, [])


def test_a_whole_older_than_the_last_is_refused() -> None:
    sync = a_sync()
    sync.snapshot(whole(5, (90.0, 2.0)))
    assert sync.snapshot(whole(4, (91.0, 2.0))) == ()
    assert (sync.live, sync.refused, sync.book.bids.top()) == (True, 1, [(90.0, 2.0)])
    assert sync.snapshot(whole(5, (90.0, 2.5)))


def test_what_was_forgotten_for_its_mass_is_not_missed_by_an_old_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 10)
    sync = a_sync()
    sync.snapshot(whole(1, (90.0, 1.0)))
    for seq in range(2, 13):
        assert sync.delta(delta(seq, (90.0, float(seq)))) == "applied"
    assert [d.last for d in sync.held] == list(range(7, 13))
    assert sync.snapshot(whole(5, (90.0, 5.0))) == ()
    (told,) = sync.snapshot(whole(6, (90.0, 6.0)))
    assert told.bids == [(90.0, 12.0)]


def test_after_a_bad_level_a_whole_from_before_it_brings_the_book_back_only_with_all_that_followed() -> None:
    sync = a_sync()
    sync.snapshot(whole(1, (90.0, 1.0)))
    assert sync.delta(delta(2, (91.0, 1.0))) == "applied"
    assert sync.delta(delta(3, (92.0, -1.0))) == "stale"
    assert sync.snapshot(whole(1, (90.0, 1.0))) == (), "2 was thrown away"
    sync.snapshot(whole(2, (91.0, 1.0)))
    assert not sync.live, "3 is as bad as it was"
    assert sync.snapshot(whole(3, (92.0, 1.0)))
    assert sync.live


@virtual
async def test_where_nothing_is_answered_what_was_sent_stands() -> None:
    """A market without trades is live, and nothing is asked for again."""
    venue = Toy()
    venue.mute.add("trade.AB")
    venue.feed = replace(venue.feed, acks=False)
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub, 1)
        await asyncio.sleep(100)
        assert len(venue.commands()) == 1
        assert len(venue.wires) == 1
        venue.wire.topics.add("trade.AB")
        await speak(venue, 3, "AB", books=False)
        assert len(only(sub.take(), Trade)) == 3
