"""The law of `Sync`: while it is live, its book is the true book at its number. Losses, repeats and swaps are the test's."""

import zlib
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamer import sync as module
from streamer.checksum import Crc32, shortest
from streamer.rules import chained, counted, overlap, straddled_chain, unnumbered
from streamer.sync import Sync
from streamer.types import BookDelta, BookSnapshot, Instrument

INSTRUMENT = Instrument("x", "A/B", None, 0, "AB", "A", "B")
CRC = Crc32(5, "interleaved", shortest, ":")
SECOND = 1_000_000_000
Side = dict[float, float]
change = st.tuples(st.integers(0, 1), st.integers(1, 10), st.integers(0, 3))


def snapshot_of(state: tuple[Side, Side], seq: int | None, ts: int = 0) -> BookSnapshot[float]:
    return BookSnapshot("x", "A/B", None, ts, sorted(state[0].items(), reverse=True), sorted(state[1].items()), seq)


class TrueBook:
    """The venue's side: every state it was in, and the updates between them."""

    def __init__(self) -> None:
        self.states: list[tuple[Side, Side]] = [({}, {})]
        self.deltas: list[BookDelta[float]] = []

    @property
    def seq(self) -> int:
        return len(self.states) - 1

    def move(self, changes: list[tuple[int, int, int]]) -> BookDelta[float]:
        """One number for each change, one delta for all."""
        first, levels = self.seq + 1, ({}, {})
        for side, price, size in changes:
            self.states.append((dict(self.states[-1][0]), dict(self.states[-1][1])))
            at = float(price + 10 * side)
            levels[side][at] = self.states[-1][side][at] = float(size)
            if not size:
                del self.states[-1][side][at]
        prev = self.deltas[-1].last if self.deltas else 0
        bids, asks = list(levels[0].items()), list(levels[1].items())
        self.deltas.append(BookDelta("x", "A/B", None, 0, bids, asks, first, self.seq, prev))
        return self.deltas[-1]


class Lossy(RuleBasedStateMachine):
    """A book over a line that loses, repeats and swaps."""

    numberings: Any = ()
    hold = True

    @initialize(data=st.data())
    def start(self, data: Any) -> None:
        self.numbering = data.draw(st.sampled_from(self.numberings))
        self.true = TrueBook()
        self.sync: Sync[float] = Sync(INSTRUMENT, self.numbering, hold=self.hold)
        self.heard = 0

    def moved(self, changes: list[tuple[int, int, int]]) -> BookDelta[float]:
        return self.true.move(changes[:1] if self.numbering is counted else changes)

    def deliver(self, delta: BookDelta[float]) -> None:
        was, seq = self.sync.live, self.sync.book.seq
        taken = self.sync.delta(delta)
        self.heard = max(self.heard, delta.last or 0)
        assert (taken == "stale") == (was and not self.sync.live)
        assert taken != "held" or self.hold
        if taken == "stale":
            assert not self.sync.asked
        if taken == "dropped":
            assert self.sync.book.seq == seq

    @rule(changes=st.lists(change, min_size=1, max_size=3))
    def goes_well(self, changes: list[tuple[int, int, int]]) -> None:
        self.deliver(self.moved(changes))

    @rule(changes=st.lists(change, min_size=1, max_size=3))
    def is_lost(self, changes: list[tuple[int, int, int]]) -> None:
        self.moved(changes)

    @precondition(lambda self: self.true.deltas)
    @rule(back=st.integers(1, 5))
    def comes_again(self, back: int) -> None:
        self.deliver(self.true.deltas[-min(back, len(self.true.deltas))])

    @rule(one=st.lists(change, min_size=1, max_size=2), two=st.lists(change, min_size=1, max_size=2))
    def are_swapped(self, one: list[tuple[int, int, int]], two: list[tuple[int, int, int]]) -> None:
        first, second = self.moved(one), self.moved(two)
        self.deliver(second)
        self.deliver(first)

    @rule(reason=st.sampled_from(["disconnect", "bad_frame"]))
    def falls(self, reason: str) -> None:
        was = self.sync.live
        assert self.sync.fall(reason) is was
        assert not self.sync.live
        assert self.sync.stale_reason == reason

    @invariant()
    def live_is_true(self) -> None:
        sync = self.sync
        assert len(sync.held) <= module.MAX_HELD
        if sync.live:
            assert sync.book.seq is not None
            bids, asks = self.true.states[sync.book.seq]
            assert (sync.book.bids.sizes, sync.book.asks.sizes) == (bids, asks)
            assert not sync.held
            assert sync.stale_reason is None
        if not self.hold:
            assert not sync.held


class Requested(Lossy):
    """The snapshot is asked for and may be old."""

    numberings = (overlap, straddled_chain, chained, counted)

    def take(self, seq: int) -> None:
        was, held, before = self.sync.live, len(self.sync.held), self.sync.book.seq
        self.sync.asked = True
        out = self.sync.snapshot(snapshot_of(self.true.states[seq], seq))
        if out:
            assert self.sync.live
            assert out[0].last if isinstance(out[0], BookDelta) else out[0].seq == seq
        elif was:
            assert (self.sync.live, self.sync.book.seq) == (True, before), "a late answer changes nothing"
        else:
            assert not self.sync.live
            assert not self.sync.asked, "refused: to be asked for again"
            assert len(self.sync.held) == held, "what is held is kept"
        self.heard = max(self.heard, seq) if out else self.heard
        if self.sync.live and self.numbering in (overlap, straddled_chain):  # elsewhere a lower number may be one begun anew
            assert self.sync.book.seq is not None
            assert self.sync.book.seq >= self.heard, "nothing older than what was heard goes live"

    @rule(age=st.integers(0, 8))
    def answered(self, age: int) -> None:
        self.take(max(0, self.true.seq - age))

    @rule()
    def answered_now_it_is_live(self) -> None:
        self.take(self.true.seq)
        assert self.sync.live
        assert self.sync.book.seq == self.true.seq


class InStream(Lossy):
    """The snapshot comes in the stream, in its place."""

    numberings = (chained, counted, overlap)
    hold = False

    @rule()
    def snapshot_comes(self) -> None:
        assert self.sync.snapshot(snapshot_of(self.true.states[-1], self.true.seq))
        assert self.sync.live


class Small(Requested):
    """With next to no room for what is held."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(module, "MAX_HELD", 4)

    def teardown(self) -> None:
        self.patch.undo()


for machine in (Requested, InStream, Small):
    machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRequested, TestInStream, TestSmall = Requested.TestCase, InStream.TestCase, Small.TestCase


def delta(first: int, last: int, bids: Any = (), asks: Any = (), ts: int = 0) -> BookDelta[float]:
    return BookDelta("x", "A/B", None, ts, list(bids), list(asks), first, last, first - 1)


def snap(seq: int | None, bids: Any = ((10.0, 1.0),), asks: Any = ((11.0, 1.0),), ts: int = 0) -> BookSnapshot[float]:
    return BookSnapshot("x", "A/B", None, ts, list(bids), list(asks), seq)


def test_what_came_before_the_snapshot_follows_it() -> None:
    sync: Sync[float] = Sync(INSTRUMENT, overlap, hold=True)
    one, two, three = delta(1, 5), delta(6, 9, [(9.0, 2.0)]), delta(10, 12, [(8.0, 3.0)])
    assert [sync.delta(d) for d in (one, two, three)] == ["held"] * 3
    first = snap(7)
    assert list(sync.snapshot(first)) == [first, two, three]
    assert (sync.book.seq, sync.book.bids.sizes) == (12, {10.0: 1.0, 9.0: 2.0, 8.0: 3.0})


def test_a_snapshot_older_than_what_is_held_is_refused_and_asked_for_again() -> None:
    sync: Sync[float] = Sync(INSTRUMENT, overlap, hold=True)
    sync.asked = True
    sync.delta(delta(6, 9))
    assert sync.snapshot(snap(4)) == ()
    assert (sync.live, sync.asked, sync.refused, len(sync.held)) == (False, False, 1, 1)
    assert sync.snapshot(snap(5))
    assert sync.live


def test_an_answer_that_comes_late_changes_nothing() -> None:
    sync: Sync[float] = Sync(INSTRUMENT, overlap, hold=True)
    sync.snapshot(snap(5))
    sync.delta(delta(6, 6, [(9.0, 2.0)]))
    assert sync.snapshot(snap(5)) == ()
    assert (sync.live, sync.book.seq, sync.refused) == (True, 6, 1)


def test_after_a_stall_an_answer_from_before_it_is_refused() -> None:
    """Nothing is held then, yet it is known how far the book had come."""
    sync: Sync[float] = Sync(INSTRUMENT, overlap, hold=True)
    sync.snapshot(snap(5))
    sync.delta(delta(6, 8))
    sync.fall("stall")
    assert sync.snapshot(snap(7)) == ()
    assert sync.snapshot(snap(8))
    assert sync.live


@pytest.mark.parametrize("bad", [snap(9, [(10.0, -1.0)]), snap(9, [(0.0, 1.0)])])
def test_a_bad_snapshot_does_not_cost_what_is_held(bad: BookSnapshot[float]) -> None:
    sync: Sync[float] = Sync(INSTRUMENT, overlap, hold=True)
    sync.delta(delta(8, 10))
    assert sync.snapshot(bad) == ()
    assert (sync.live, sync.asked, sync.stale_reason) == (False, False, "bad_level")
    assert [d.last for d in sync.held] == [10]
    assert sync.snapshot(snap(6)) == (), "older than what is held, still"
    assert sync.snapshot(snap(7))


def test_a_chain_that_was_reset_while_it_was_held_is_replayed_whole() -> None:
    """OKX's example: 10 to 15, reset to 3, 3 to 5; the snapshot is numbered 15."""
    sync: Sync[float] = Sync(INSTRUMENT, chained, hold=True)
    chain = [
        BookDelta("x", "A/B", None, 0, [(p, 1.0)], [], None, last, prev) for p, prev, last in ((1.0, 10, 15), (2.0, 15, 3), (3.0, 3, 5))
    ]
    for d in chain:
        sync.delta(d)
    assert len(sync.snapshot(snap(15))) == 3
    assert (sync.live, sync.book.seq, sorted(sync.book.bids.sizes)) == (True, 5, [2.0, 3.0, 10.0])


def test_what_is_held_is_bounded_in_levels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD_LEVELS", 100)
    sync: Sync[float] = Sync(INSTRUMENT, overlap, hold=True)
    for i in range(1, 200):
        sync.delta(delta(i, i, [(float(p), 1.0) for p in range(1, 11)]))
        assert sum(len(d.bids) for d in sync.held) <= 100
    sync.delta(delta(200, 200, [(float(p), 1.0) for p in range(1, 500)]))
    assert sync.held[-1].last == 200
    assert len(sync.snapshot(snap(200))) == 1
    assert sync.live


@pytest.mark.parametrize("hold", [True, False])
def test_a_gap_says_so_once_and_asks_once(hold: bool) -> None:
    sync: Sync[float] = Sync(INSTRUMENT, overlap, hold=hold)
    sync.snapshot(snap(5))
    assert sync.delta(delta(8, 9)) == "stale"
    assert (sync.stale_reason, sync.asked) == ("gap", False)
    sync.asked = True
    assert sync.delta(delta(10, 10)) == ("held" if hold else "dropped")
    assert sync.delta(delta(12, 12)) == ("held" if hold else "dropped"), "another gap asks for nothing more"
    assert sync.asked
    assert sync.snapshot(snap(12))
    assert (sync.live, sync.asked) == (True, False)


def test_crossed_within_the_grace_is_borne_and_locked_always() -> None:
    sync: Sync[float] = Sync(INSTRUMENT, overlap, hold=True, grace=SECOND)
    sync.snapshot(snap(1, ts=0))
    assert sync.delta(delta(2, 2, [(11.0, 1.0)], ts=0)) == "applied", "locked"
    assert sync.delta(delta(3, 3, ts=99 * SECOND)) == "applied", "locked for long"
    assert sync.delta(delta(4, 4, [(12.0, 1.0)], ts=100 * SECOND)) == "applied"
    assert sync.delta(delta(5, 5, ts=101 * SECOND)) == "applied"
    assert sync.delta(delta(6, 6, [(12.0, 0.0)], ts=101 * SECOND + 1)) == "applied", "not crossed any more"
    assert sync.delta(delta(7, 7, [(12.0, 1.0)], ts=102 * SECOND)) == "applied", "the time starts anew"
    assert sync.delta(delta(8, 8, ts=103 * SECOND + 1)) == "stale"
    assert sync.stale_reason == "crossed"


def test_a_crossed_snapshot_starts_the_grace() -> None:
    sync: Sync[float] = Sync(INSTRUMENT, grace=SECOND)
    crossed = [(12.0, 1.0)]
    assert sync.snapshot(snap(None, crossed, ts=0))
    assert sync.snapshot(snap(None, crossed, ts=SECOND))
    assert sync.snapshot(snap(None, crossed, ts=SECOND + 1)) == ()
    assert (sync.live, sync.stale_reason) == (False, "crossed")


def test_the_book_is_cut_to_the_depth_before_it_is_summed() -> None:
    sync: Sync[float] = Sync(INSTRUMENT, unnumbered, checksum=CRC, depth=2)
    full = snap(None, [(10.0, 1.0), (9.0, 1.0)], [(11.0, 1.0), (12.0, 1.0)])
    assert sync.snapshot(full, crc_of(full.bids, full.asks))
    after = [(10.5, 2.0), (10.0, 1.0)]
    assert sync.delta(delta(1, 1, [(10.5, 2.0)]), crc_of(after, full.asks)) == "applied"
    assert sync.book.bids.top() == after


def crc_of(bids: Any, asks: Any) -> int:
    pairs = [level for pair in zip(bids, asks, strict=True) for level in pair]
    return zlib.crc32(":".join(shortest(x) for level in pairs for x in level).encode())


def test_a_wrong_checksum_brings_the_book_down() -> None:
    def made() -> Sync[float]:
        return Sync(INSTRUMENT, unnumbered, checksum=CRC)

    right = crc_of([(10.0, 1.0)], [(11.0, 1.0)])
    sync = made()
    assert sync.snapshot(snap(None), right ^ 1) == ()
    assert (sync.live, sync.stale_reason, sync.asked) == (False, "checksum", False)
    assert sync.verify(0), "nothing to verify while it waits"
    assert sync.snapshot(snap(None), right)
    assert sync.delta(delta(1, 1), right) == "applied"
    assert sync.verify(right)
    assert not sync.verify(right ^ 1)
    assert (sync.live, sync.stale_reason) == (False, "checksum")
    sync = made()
    sync.snapshot(snap(None))
    assert sync.delta(delta(1, 1, [(9.0, 1.0)]), right) == "stale"


def test_a_bad_level_brings_the_book_down() -> None:
    sync: Sync[float] = Sync(INSTRUMENT, overlap, hold=True)
    sync.snapshot(snap(1))
    assert sync.delta(delta(2, 2, [(9.0, -1.0)])) == "stale"
    assert sync.stale_reason == "bad_level"
    assert sync.snapshot(snap(2)), "the next snapshot has it behind it"
