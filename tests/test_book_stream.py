"""A book in the hub: late subscribers, depth views, quotes cut from it, and which of two connections is followed."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.book import Book
from streamer.hub import Carrier
from streamer.mailbox import Mailbox
from streamer.policies import mailbox
from streamer.rules import chained
from streamer.spec import Checked
from streamer.streams import Need
from streamer.sync import Sync
from streamer.types import BookDelta, BookSnapshot, BookStale, Gap, Quote, Status
from tests.hubs import START, Desk, controls, levels, market, needs


def attached(stream: Any, depth: int | None = None) -> Mailbox:
    """A new subscriber."""
    box = mailbox("drop_oldest")
    stream.attach(box, depth)
    return box


def live(*listed: Any) -> tuple[Desk, Any]:
    """A desk whose first book is live, and that book."""
    desk = Desk(*listed or (market("A/B"),))
    symbol = next(iter(desk.listed))
    desk.snapshot(symbol)
    return desk, desk.book(symbol)


def types(box: Mailbox) -> list[type]:
    return [type(t) for t in box.drain()]


# subscribers


@pytest.mark.parametrize("depth", [None, 2, 50])
def test_a_late_subscriber_first_gets_the_book(depth: int | None) -> None:
    desk, book = live()
    desk.delta("A/B", [(100.0, 9.0)])
    (snapshot,) = attached(book, depth).drain()
    assert levels(snapshot) == ([(100.0, 9.0), *START[0][1:]][:depth], START[1][:depth])
    assert (snapshot.seq, snapshot.ts_event, snapshot.ts_recv) == (1, None, desk.now)


def test_a_late_subscriber_of_a_stale_book_is_told_so_and_gets_no_snapshot() -> None:
    desk, book = live()
    desk.delta("A/B", lost=1)
    for depth in (None, 2):
        box = attached(book, depth)
        assert box.drain() == [Status("toy", "A/B", None, desk.now, "book", "stale", "gap")]
    desk.snapshot("A/B")
    assert types(box) == [Status, BookSnapshot]


def test_of_a_waiting_book_nothing_is_served() -> None:
    desk = Desk(market("A/B"))
    book = desk.book("A/B")
    box = attached(book)
    desk.delta("A/B", [(1.0, 1.0)])
    assert (book.book, book.own_snapshot(), book.live, box.drain()) == (None, None, False, [])


def test_it_falls_once_and_says_so_before_anything_else() -> None:
    desk, book = live()
    boxes = [attached(book), attached(book, 2)]
    quotes = desk.stream("A/B", "quote")
    book.quote(quotes)
    boxes.append(attached(quotes))
    for box in boxes:
        box.drain()
    assert desk.delta("A/B", [(1.0, 1.0)], lost=1) == [Need("A/B", "gap")]
    desk.delta("A/B", [(2.0, 1.0)])
    desk.delta("A/B", [(2.0, 1.0)], lost=3)
    stale = BookStale("toy", "A/B", None, desk.now - 2, "gap")
    assert [box.drain() for box in boxes[:2]] == [[stale], [stale]]
    told = boxes[2].drain()
    assert [(type(t), t.ts_recv) for t in told] == [(Gap, stale.ts_recv), (Status, stale.ts_recv)]
    assert told[0].cause == "sequence"
    assert book.own_snapshot() is None


def test_a_venue_that_truncates_is_followed_by_readers_that_do_not() -> None:
    """Kraken sends no removal for a level that leaves the depth: the hub adds it, or it would come back from the dead."""
    desk = Desk(market("A/B", keep=4))
    box = attached(desk.book("A/B"))
    desk.snapshot("A/B", (START[0] + [(90.0, 1.0)], START[1]))
    mine: Book[Any] = Book()
    for bids in ([(100.5, 1.0)], [(100.6, 1.0), (97.5, 3.0)], [(100.5, 0.0), (100.6, 0.0)], [(98.0, 0.0)]):
        desk.delta("A/B", bids)
        for tick in box.drain():
            if isinstance(tick, BookSnapshot):
                assert len(tick.bids) == 4
                mine.replace(tick)
            elif isinstance(tick, BookDelta):
                mine.bids.update(tick.bids)
        assert levels(mine) == levels(desk.book("A/B").own_snapshot())
    assert desk.book("A/B").live


# depth views

PRICE = st.integers(90, 99)
SIDE = st.lists(st.tuples(PRICE, st.integers(0, 3)), max_size=4, unique_by=lambda x: x[0])


@given(st.lists(st.tuples(SIDE, SIDE, st.booleans()), max_size=12), st.sampled_from([float, Decimal]))
def test_views_are_the_top_of_the_true_book_after_every_message(steps: list[Any], num: Callable[[Any], Any]) -> None:
    desk = Desk(market("A/B", contract="0.1"))
    stream = desk.book("A/B")
    readers: list[tuple[int, Mailbox, Book[Any]]] = [(n, attached(stream, n), Book()) for n in (1, 3)]
    desk.snapshot("A/B", ([(num(90), num(1))], [(num(110), num(1))]))
    for bids, asks, whole in steps:
        changes = [(num(p), num(s)) for p, s in bids], [(num(p) + 20, num(s)) for p, s in asks]
        if whole:
            desk.snapshot("A/B", ([x for x in changes[0] if x[1]], [x for x in changes[1] if x[1]]))
        else:
            desk.delta("A/B", *changes)
        for depth, box, mine in readers:
            for tick in box.drain():
                if isinstance(tick, BookSnapshot):
                    mine.replace(tick)
                elif isinstance(tick, BookDelta):
                    assert tick.bids or tick.asks
                    mine.bids.update(tick.bids)
                    mine.asks.update(tick.asks)
            assert levels(mine) == levels(stream.own_snapshot(depth))
            assert max(len(mine.bids.sizes), len(mine.asks.sizes)) <= depth


def test_a_change_below_a_view_is_not_sent_to_it() -> None:
    desk, book = live()
    boxes = {depth: attached(book, depth) for depth in (1, 3, None)}
    for box in boxes.values():
        box.drain()
    desk.delta("A/B", [(98.0, 9.0)])
    assert {depth: len(box.drain()) for depth, box in boxes.items()} == {1: 0, 3: 1, None: 1}


def test_a_view_goes_with_its_last_reader() -> None:
    desk, book = live()
    first, second = attached(book, 2), attached(book, 2)
    book.detach(first)
    desk.delta("A/B", [(100.0, 9.0)])
    assert (types(first), types(second), book.wanted) == ([BookSnapshot], [BookSnapshot, BookDelta], True)
    book.detach(second)
    assert (book.views, book.wanted) == ({}, False)
    assert types(attached(book, 2)) == [BookSnapshot]


# snapshots that bring deltas with them


def resting(desk: Desk) -> Any:
    """The source of a book that is kept by REST: deltas are held until the snapshot comes."""
    carrier = desk.carriers["rest"] = Carrier("rest")
    return desk.hub.carry(carrier, desk.book("A/B"), Sync(desk.listed["A/B"].instrument, chained, hold=True))


@pytest.mark.parametrize(
    ("depth", "quoted", "came"),
    [(None, False, [Status, BookSnapshot, BookDelta, BookDelta]), (None, True, [Status, BookSnapshot]), (2, False, [Status, BookSnapshot])],
)
def test_held_deltas_follow_the_snapshot_but_no_view_sees_a_state_between(depth: int | None, quoted: bool, came: list[type]) -> None:
    desk = Desk(market("A/B"))
    desk.lose()
    book = desk.book("A/B")
    source = resting(desk)
    box = attached(book, depth)
    box.drain()
    quotes = attached(desk.stream("A/B", "quote"))
    if quoted:
        book.quote(desk.stream("A/B", "quote"))
    for price, size in ((100.0, 0.0), (99.5, 7.0)):
        desk.delta("A/B", [(price, size)], line="rest")
    assert source.snapshot(BookSnapshot(*desk.head("A/B"), *START, 0)) is None
    ticks = box.drain()
    assert [type(t) for t in ticks] == came
    mine: Book[Any] = Book()
    mine.replace(ticks[1])
    for tick in ticks[2:]:
        mine.bids.update(tick.bids)
    assert levels(mine) == levels(book.own_snapshot(depth))
    assert [t.bid for t in quotes.drain() if isinstance(t, Quote)] == ([99.5] if quoted else [])


def test_held_deltas_that_bring_the_book_down_publish_nothing() -> None:
    desk = Desk(market("A/B"))
    desk.lose()
    source = resting(desk)
    box = attached(desk.book("A/B"))
    box.drain()
    desk.delta("A/B", [(99.5, 7.0)], line="rest")
    desk.delta("A/B", [(99.5, -7.0)], line="rest")
    answer = source.snapshot(BookSnapshot(*desk.head("A/B"), *START, 0))
    assert answer == Need("A/B", "bad_level")
    assert box.drain() == []


@pytest.mark.parametrize("size", [-1.0, 1.0])
def test_a_snapshot_that_cannot_be_trusted_brings_a_live_book_down(size: float) -> None:
    desk, book = live()
    box = attached(book)
    box.drain()
    desk.source("A/B").sync.checksum = lambda *_: 1
    bad = BookSnapshot(*desk.head("A/B"), [(100.0, size)], [(101.0, 1.0)], 5)
    desk.push(Checked("A/B", 2, bad))
    assert types(box) == [BookStale]
    desk.push(Checked("A/B", 1, BookSnapshot(*desk.head("A/B"), *START, 6)))
    assert types(box) == [Status, BookSnapshot]
    assert book.live


# two connections


def two() -> tuple[Desk, Any, Mailbox]:
    """A book that two connections carry, led by `line`; their seconds differ in the size at 100."""
    desk, book = live()
    desk.connect("next")
    desk.snapshot("A/B", ([(100.0, 50.0)], [(101.0, 50.0)]), line="next")
    box = attached(book)
    box.drain()
    return desk, book, box


def test_the_leader_is_followed_alone() -> None:
    desk, book, box = two()
    desk.delta("A/B", [(99.0, 1.0)], line="next")
    assert box.drain() == []
    desk.seq["A/B"] = 0
    desk.delta("A/B", [(99.0, 2.0)])
    assert types(box) == [BookDelta]
    assert book.book.best_bid == (100.0, 1.0)


@pytest.mark.parametrize("how", ["gap", "lost", "distrust", "checksum"])
def test_when_the_leader_falls_a_live_one_takes_over_with_its_snapshot(how: str) -> None:
    desk, book, box = two()
    wants: list[Any] = []
    if how == "gap":
        wants = desk.delta("A/B", [(99.0, 1.0)], lost=5)
    elif how == "lost":
        desk.lose()
    elif how == "distrust":
        wants = [desk.source("A/B").distrust("stall", 9)]
    else:
        desk.source("A/B").sync.checksum = lambda *_: 1
        wants = desk.push(Checked("A/B", 2))
    ticks = box.drain()
    assert levels(ticks[-1]) == ([(100.0, 50.0)], [(101.0, 50.0)])
    assert [type(t) for t in ticks] == ([BookSnapshot] if how == "lost" else [BookStale, Status, BookSnapshot])
    assert len(needs(wants)) == (how != "lost")
    assert book.live
    assert desk.hub.ledger.open() == []


def test_without_another_live_one_it_is_stale_until_one_is() -> None:
    desk, _, box = two()
    desk.source("A/B", "next").distrust("stall", 9)
    assert box.drain() == []
    desk.lose()
    assert types(box) == [BookStale]
    desk.snapshot("A/B", line="next")
    assert types(box) == [Status, BookSnapshot]


def test_the_one_that_is_whole_first_leads() -> None:
    desk = Desk(market("A/B"))
    box = attached(desk.book("A/B"))
    desk.connect("next")
    desk.snapshot("A/B", line="next")
    desk.delta("A/B", [(100.0, 9.0)], line="next")
    assert types(box) == [Status, BookSnapshot, BookDelta]
    assert desk.book("A/B").leader is desk.source("A/B", "next")


# quotes


def quoted() -> tuple[Desk, Any, Mailbox]:
    """Quotes cut from a live book, and who reads them."""
    desk, book = live(market("A/B", contract="0.01"))
    box = attached(desk.stream("A/B", "quote"))
    book.quote(desk.stream("A/B", "quote"))
    return desk, book, box


def quotes_of(box: Mailbox) -> list[Any]:
    return [(t.bid, t.bid_size, t.ask, t.ask_size, t.source) for t in box.drain() if isinstance(t, Quote)]


def test_quotes_begin_with_what_the_book_is_and_come_when_the_best_changes() -> None:
    desk, book, box = quoted()
    assert quotes_of(box) == [(100.0, 0.01, 101.0, 0.01, "book")]
    book.quote(desk.stream("A/B", "quote"))
    desk.delta("A/B", [(99.0, 7.0)])
    assert quotes_of(box) == []
    desk.delta("A/B", [(100.0, 7.0)])
    desk.delta("A/B", [], [(101.0 + i, 0.0) for i in range(4)])
    assert quotes_of(box) == [(100.0, 0.07, 101.0, 0.01, "book"), (100.0, 0.07, None, None, "book")]


def test_quotes_come_back_with_the_book_although_the_best_is_the_same() -> None:
    desk, _, box = quoted()
    desk.delta("A/B", lost=1)
    assert types(box) == [Status, Quote, Gap, Status]
    desk.snapshot("A/B")
    assert types(box) == [Status, Quote]
    assert desk.stream("A/B", "quote").live


def test_quotes_after_the_lead_went_there_and_back() -> None:
    desk, _, box = quoted()
    desk.connect("next")
    desk.snapshot("A/B", ([(100.0, 50.0)], [(101.0, 50.0)]), line="next")
    box.drain()
    desk.source("A/B").distrust("stall", 9)
    assert quotes_of(box) == [(100.0, 0.5, 101.0, 0.5, "book")]
    desk.snapshot("A/B")
    desk.lose("next")
    assert quotes_of(box) == [(100.0, 0.01, 101.0, 0.01, "book")]


def test_a_source_needs_a_sync() -> None:
    desk, book = live()
    with pytest.raises(TypeError, match="needs a Sync"):
        desk.hub.carry(Carrier("x"), book)


def test_every_stale_time_is_in_the_ledger() -> None:
    desk, book = live()
    book.proof = "sequence"
    for _ in range(3):
        desk.delta("A/B", lost=1)
        fell = desk.now
        desk.delta("A/B", lost=1)
        desk.snapshot("A/B")
        last = desk.hub.ledger.entries()[-1]
        assert (last.cause, last.ts_from, last.ts_to, last.recovered, last.proof) == ("gap", fell, desk.now, "snapshot", "sequence")
    assert desk.hub.ledger.total == 3
    assert controls([]) == []
