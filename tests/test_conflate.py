"""The newest of each stream; books merged level by level. (At random: test_policies.)"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streamer.book import Book
from streamer.conflate import Conflate
from streamer.errors import SlowConsumer
from streamer.mailbox import LEVEL_BYTES, TICK_BYTES
from streamer.types import BookDelta, BookSnapshot, BookStale, Candle, Gap, Status, Ticker
from tests.hubs import START, Desk, Reader, law, levels, market

KINDS = ("book", "ticker", "candle")


def reader_of(**bounds: int) -> tuple[Desk, Reader, Any]:
    """A reader of streams that are live already, and its box."""
    desk = Desk(market("A/B"), market("C/D"))
    for symbol in desk.listed:
        desk.ticker(symbol)
        desk.candle(symbol)
    reader = Reader(desk, Conflate(**bounds), kinds=KINDS)
    return desk, reader, reader.box


def test_the_newest_of_each_stream_in_the_order_of_waiting() -> None:
    desk, reader, box = reader_of()
    for _ in range(3):
        desk.ticker("A/B")
        desk.candle("A/B")
        desk.ticker("C/D")
    assert (box.queued, box.conflated, box.dropped) == (3, 6, 0)
    a, candle, c = reader.read()
    assert isinstance(a, Ticker)
    assert isinstance(candle, Candle)
    assert (a.last, a.symbol, candle.ts_open, c.last, c.symbol) == (4.0, "A/B", 4, 4.0, "C/D")
    assert law(box)


def test_candles_of_two_intervals_are_two_streams() -> None:
    box = Conflate()
    for interval, n in (("1m", 1), ("5m", 2), ("1m", 3)):
        box.offer(Candle("toy", "A/B", None, n, interval, n, 1.0, 1.0, 1.0, 1.0))
    assert [(t.interval, t.ts_open) for t in box.drain()] == [("1m", 3), ("5m", 2)]


def test_deltas_are_one_delta_that_reaches_over_all() -> None:
    desk, reader, box = reader_of()
    desk.snapshot("A/B")
    reader.read()
    desk.delta("A/B", [(100.0, 0.0)], [(101.0, 9.0)])
    desk.delta("A/B", [(100.0, 3.0), (99.0, 0.0)])
    desk.delta("A/B", [(98.5, 1.0)])
    assert (box.queued, box.held_bytes) == (1, TICK_BYTES + 4 * LEVEL_BYTES)
    (delta,) = reader.read()
    assert isinstance(delta, BookDelta)
    assert (delta.prev, delta.last, delta.ts_recv) == (0, 3, desk.now)
    assert (dict(delta.bids), dict(delta.asks)) == ({100.0: 3.0, 99.0: 0.0, 98.5: 1.0}, {101.0: 9.0})


def test_a_snapshot_and_deltas_are_a_snapshot() -> None:
    desk, reader, _ = reader_of()
    desk.snapshot("A/B")
    desk.delta("A/B", [(100.0, 0.0), (99.5, 2.0)])
    _, snapshot = reader.read()
    assert isinstance(snapshot, BookSnapshot)
    assert snapshot.bids == [(99.5, 2.0), (99.0, 2.0), (98.0, 3.0), (97.0, 4.0)]
    assert snapshot.seq == desk.seq["A/B"]


def test_stale_replaces_what_was_unread_and_is_replaced_by_a_snapshot() -> None:
    desk, reader, box = reader_of()
    desk.snapshot("A/B")
    reader.read()
    desk.delta("A/B", [(100.0, 2.0)])
    desk.delta("A/B", [(100.0, 2.0)], lost=1)
    desk.delta("A/B", [(100.0, 3.0)])
    assert [type(t) for t in reader.read()] == [BookStale]
    desk.snapshot("A/B")
    desk.delta("A/B", [(100.0, 2.0)], lost=1)
    desk.snapshot("A/B")
    assert [type(t) for t in reader.read()] == [Status, BookSnapshot]
    assert law(box)


def test_a_book_too_heavy_is_owed() -> None:
    desk, reader, box = reader_of(max_bytes=6 * TICK_BYTES)
    desk.snapshot("A/B")
    reader.read()
    for n in range(30):
        desk.delta("A/B", [(50.0 + n, 1.0)])
        assert box.held_bytes <= box.max_bytes
    assert box.queued == 1
    (snapshot,) = reader.read()
    assert isinstance(snapshot, BookSnapshot)
    assert len(snapshot.bids) == 30 + 4
    desk.delta("A/B", [(100.0, 7.0)])
    assert [type(t) for t in reader.read()] == [BookDelta]
    assert law(box)


def test_what_is_light_pushes_out_what_is_heavy() -> None:
    """The bytes of a waiting book give way to other streams: the bound is one for all."""
    desk, reader, box = reader_of(max_bytes=6 * TICK_BYTES)
    desk.snapshot("A/B")
    assert box._heavy == 8 * LEVEL_BYTES
    for _ in range(2):
        for symbol in desk.listed:
            desk.ticker(symbol)
            desk.candle(symbol)
            assert box.held_bytes <= box.max_bytes
    assert box._heavy == 0
    assert BookSnapshot in [type(t) for t in reader.read()]
    assert law(box)


def test_an_owed_book_that_is_gone_is_told_as_stale() -> None:
    desk, reader, box = reader_of(max_bytes=6 * TICK_BYTES)
    desk.snapshot("A/B", (START[0] * 3, [(200.0 + i, 1.0) for i in range(9)]))
    box.repair = lambda key: None
    stale = box.drain()[-1]
    assert isinstance(stale, BookStale)
    assert stale.reason == "overflow"
    assert law(box)
    assert reader.box is box


def test_controls_come_before_what_came_after_them() -> None:
    desk, reader, box = reader_of()
    desk.ticker("A/B")
    desk.stream("A/B", "ticker").lost("reset", 100)
    desk.ticker("A/B")
    desk.ticker("A/B")
    assert [type(t) for t in reader.read()] == [Gap, Status, Ticker]
    assert law(box)
    desk.snapshot("A/B")
    reader.read()
    desk.delta("A/B", [(100.0, 2.0)])
    desk.book("A/B").status("rejected", "for a test", 100)
    desk.delta("A/B", [(100.0, 3.0)])
    assert [type(t) for t in reader.read()] == [Status, BookDelta]


def test_too_many_streams_end_it() -> None:
    desk, _, box = reader_of(max_items=2)
    for symbol in desk.listed:
        desk.ticker(symbol)
    desk.candle("A/B")
    assert isinstance(box.error, SlowConsumer)
    assert "more than 2 streams" in str(box.error)
    assert (box.queued, box.dropped) == (0, 3)
    assert law(box)


PRICES = st.integers(90, 99).map(float)
STEPS = st.lists(st.tuples(st.lists(st.tuples(PRICES, st.integers(0, 3).map(float)), max_size=3), st.booleans()), max_size=20)


@given(STEPS)
def test_conflated_and_full_are_the_same_book_at_each_delivery(steps: list[Any]) -> None:
    desk = Desk(market("A/B"))
    conflated = Reader(desk, Conflate(), kinds=("book",))
    full: Book[Any] = Book()
    desk.snapshot("A/B")
    full.replace(BookSnapshot("toy", "A/B", None, 0, *START))
    for bids, read in steps:
        desk.delta("A/B", bids)
        full.bids.update(bids)
        if read:
            conflated.read()
            assert levels(conflated.books["A/B"]) == levels(full)
