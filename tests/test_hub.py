"""From a carrier's answers to mailboxes: routes, what comes back, and what is told when a connection is gone."""

from typing import Any

import pytest

from streamer.errors import SlowConsumer
from streamer.hub import Carrier, Hub
from streamer.mailbox import Mailbox
from streamer.policies import mailbox
from streamer.spec import Ack, Broken, Checked, History, Ready, Reject, Reply, Restart, Unknown
from streamer.streams import Need, Stream
from streamer.types import (
    KIND,
    KINDS,
    BookDelta,
    BookSnapshot,
    BookStale,
    Candle,
    Funding,
    Gap,
    Instrument,
    MarkPrice,
    Quote,
    Status,
    Ticker,
    Trade,
)
from tests.hubs import START, Desk, controls, law, levels, market, needs


def listen(desk: Desk, *streams: Stream) -> Mailbox:
    """A mailbox with room for all."""
    box = mailbox("drop_oldest")
    for stream in streams:
        stream.attach(box)
    return box


def test_every_kind_has_its_way() -> None:
    hub, carrier, box = Hub(), Carrier("line"), mailbox("drop_oldest")
    i: Instrument[Any] = Instrument("toy", "A/B", None, 0, "AB", "A", "B")
    for kind in KINDS:
        if kind != "book":
            stream = hub.stream(i, kind, "1m")
            stream.attach(box)
            hub.carry(carrier, stream)
    head = ("toy", "A/B", None, 1)
    ticks = [
        Trade(*head, 1.0, 1.0),
        Quote(*head, 1.0, 1.0, 2.0, 1.0),
        Ticker(*head),
        Candle(*head, "1m", 0, 1.0, 1.0, 1.0, 1.0),
        Funding(*head, 0.1),
        MarkPrice(*head, 1.0),
    ]
    assert carrier.push(ticks) is None
    assert [t for t in box.drain() if not isinstance(t, Status)] == ticks
    assert carrier.unrouted == 0


def test_a_carrier_says_what_is_wanted_of_it() -> None:
    hub, carrier, box = Hub(), Carrier("line"), mailbox("drop_oldest")
    wanted = carrier.wanted
    assert not any(kind in wanted for kind in KIND)
    streams = [hub.stream(Instrument("toy", symbol, None, 0, symbol, "A", "B"), "ticker") for symbol in ("A/B", "C/B")]
    for stream in streams:
        stream.attach(box)
        hub.carry(carrier, stream)
    assert [kind for kind in KIND if kind in wanted] == [Ticker]
    hub.uncarry(carrier, streams[0], 1)
    assert Ticker in wanted, "the other one's"
    hub.uncarry(carrier, streams[1], 1)
    assert Ticker not in wanted
    assert all(kind in Carrier("replay", lambda answer: None).wanted for kind in KIND), "all that the file holds"


def test_what_nobody_asked_for_is_counted() -> None:
    desk = Desk(market("A/B"))
    assert desk.push(Trade("toy", "Z/Z", None, 1, 1.0, 1.0)) == []
    assert desk.push(Candle("toy", "A/B", None, 1, "5m", 0, 1.0, 1.0, 1.0, 1.0)) == []
    assert desk.push(History([])) == []
    assert desk.carriers["line"].unrouted == 2


def test_what_is_not_the_hubs_comes_back_in_order() -> None:
    desk = Desk(market("A/B"))
    box = listen(desk, desk.stream("A/B", "trade"))
    answers = [Ready(), Ack("t"), Reject("t", "no"), Restart("hole"), Reply("pong"), Unknown("x")]
    trade = Trade("toy", "A/B", None, 1, 1.0, 1.0, None, "1")
    stale = BookDelta("toy", "A/B", None, 1, [], [], None, 9, 8)
    assert desk.carriers["line"].push([*answers[:3], trade, stale, *answers[3:]]) == [
        *answers[:3],
        Need("A/B", "waiting"),
        *answers[3:],
    ]
    assert trade in box.drain()


def test_candles_go_by_interval() -> None:
    desk = Desk(market("A/B"))
    carrier = desk.carriers["line"]
    five = desk.hub.stream(desk.listed["A/B"].instrument, "candle", "5m")
    desk.hub.carry(carrier, five)
    boxes = [listen(desk, s) for s in (desk.stream("A/B", "candle"), five)]
    for interval in ("1m", "5m", "5m", "1h"):
        desk.push(Candle("toy", "A/B", None, 1, interval, 0, 1.0, 1.0, 1.0, 1.0))
    assert [[t.interval for t in box.drain() if isinstance(t, Candle)] for box in boxes] == [["1m"], ["5m", "5m"]]
    assert carrier.unrouted == 1
    desk.hub.uncarry(carrier, five)
    for interval in ("1m", "5m"):
        desk.push(Candle("toy", "A/B", None, 1, interval, 0, 1.0, 1.0, 1.0, 1.0))
    assert [[t.interval for t in box.drain() if isinstance(t, Candle)] for box in boxes] == [["1m"], []]


def test_a_stream_is_one_however_often_it_is_asked_for_and_forgotten_with_the_last() -> None:
    desk = Desk(market("A/B"))
    stream = desk.stream("A/B", "trade")
    box = listen(desk, stream)
    assert desk.stream("A/B", "trade") is stream
    desk.hub.detach(box)
    desk.hub.uncarry(desk.carriers["line"], stream)
    assert desk.stream("A/B", "trade") is not stream
    desk.trade("A/B")
    assert desk.carriers["line"].unrouted == 1


def test_subscribers_of_a_stream_share_one_tick() -> None:
    desk = Desk(market("A/B", contract="0.01"))
    boxes = [listen(desk, desk.stream("A/B", "trade")) for _ in range(3)]
    desk.trade("A/B")
    ticks = [box.drain()[-1] for box in boxes]
    assert ticks[0].size == 0.01
    assert ticks[0] is ticks[1] is ticks[2]


def test_slowness_and_ends_of_one_never_touch_another() -> None:
    desk = Desk(market("A/B"))
    stream = desk.stream("A/B", "trade")
    slow, gone, quick = mailbox("disconnect", 2), mailbox("drop_oldest"), mailbox("disconnect", 100)
    for box in (slow, gone, quick):
        stream.attach(box)
    gone.close()
    for _ in range(50):
        desk.trade("A/B")
    assert isinstance(slow.error, SlowConsumer)
    assert [int(t.id or 0) for t in quick.drain() if isinstance(t, Trade)] == list(range(1, 51))
    assert law(slow)


def test_losing_a_connection_tells_each_stream_once_the_book_first_of_all() -> None:
    desk = Desk(market("A/B"))
    book, trade = desk.book("A/B"), desk.stream("A/B", "trade")
    box = listen(desk, book, trade)
    desk.snapshot("A/B")
    desk.trade("A/B")
    last = desk.now
    box.drain()
    desk.lose()
    ticks = box.drain()
    assert ticks == [
        BookStale("toy", "A/B", None, desk.now, "disconnect"),
        Gap("toy", "A/B", None, desk.now, "trade", "disconnect", last, None, None, None, "none"),
        Status("toy", "A/B", None, desk.now, "trade", "stale", "reset"),
    ]
    assert [(e.channel, e.cause, e.ts_from, e.ts_to) for e in desk.hub.ledger.open()] == [
        ("book", "disconnect", desk.now, None),
        ("trade", "disconnect", last, None),
    ]
    desk.connect("line")
    desk.lose()
    assert box.drain() == []
    desk.connect("line")
    desk.snapshot("A/B")
    desk.trade("A/B")
    assert [t.state for t in box.drain() if isinstance(t, Status)] == ["live", "live"]
    assert [(e.channel, e.recovered) for e in desk.hub.ledger.entries()] == [("book", "snapshot"), ("trade", None)]
    assert desk.hub.ledger.open() == []


def test_what_never_was_live_is_told_as_stale_without_a_gap() -> None:
    desk = Desk(market("A/B"))
    box = listen(desk, desk.stream("A/B", "trade"), desk.book("A/B"))
    desk.lose()
    assert [(type(t), t.state, t.reason) for t in box.drain()] == [(Status, "stale", "reset")] * 2
    assert desk.hub.ledger.entries() == []


def test_a_carrier_that_is_not_live_yet_does_not_hide_a_loss() -> None:
    """While a connection is replaced: the old one dies before the new one is subscribed."""
    desk = Desk(market("A/B"))
    box = listen(desk, desk.stream("A/B", "trade"), desk.book("A/B"), desk.stream("A/B", "ticker"))
    desk.snapshot("A/B")
    desk.trade("A/B")
    desk.ticker("A/B")
    box.drain()
    desk.connect("next")
    desk.lose()
    assert [type(t) for t in box.drain()] == [BookStale, Gap, Status, Gap, Status]
    desk.snapshot("A/B", line="next")
    desk.trade("A/B", line="next")
    assert [type(t) for t in box.drain()] == [Status, BookSnapshot, Status, Trade]


def test_a_carrier_that_is_live_takes_over_in_silence() -> None:
    desk = Desk(market("A/B"))
    box = listen(desk, desk.stream("A/B", "trade"), desk.book("A/B"))
    desk.snapshot("A/B")
    desk.trade("A/B")
    desk.connect("next")
    desk.snapshot("A/B", line="next")
    desk.trade("A/B", line="next")
    box.drain()
    desk.lose()
    (snapshot,) = box.drain()
    assert levels(snapshot) == START
    assert desk.hub.ledger.entries() == []


def test_unsubscribed_under_a_reader_is_told() -> None:
    """A deeper topic takes the place of a shallow one: until its snapshot comes the book is not to be trusted."""
    desk = Desk(market("A/B"))
    box = listen(desk, desk.book("A/B"))
    desk.snapshot("A/B")
    box.drain()
    desk.hub.uncarry(desk.carriers["line"], desk.book("A/B"), 77)
    assert box.drain() == [BookStale("toy", "A/B", None, 77, "unsubscribed")]
    desk.connect("next")
    desk.snapshot("A/B", line="next")
    assert [type(t) for t in box.drain()] == [Status, BookSnapshot]


def test_taken_over_in_the_same_turn_is_not_told() -> None:
    desk = Desk(market("A/B"))
    book = desk.book("A/B")
    box = listen(desk, book)
    desk.snapshot("A/B")
    box.drain()
    sync = desk.source("A/B").sync
    desk.hub.uncarry(desk.carriers["line"], book)
    desk.carriers["next"] = Carrier("next")
    desk.hub.carry(desk.carriers["next"], book, sync)
    desk.delta("A/B", [(99.0, 7.0)], line="next")
    assert [type(t) for t in box.drain()] == [BookDelta]


def test_after_the_loss_old_frames_go_nowhere() -> None:
    desk = Desk(market("A/B"))
    box = listen(desk, desk.stream("A/B", "trade"), desk.book("A/B"))
    old = desk.carriers["line"]
    desk.snapshot("A/B")
    desk.lose()
    box.drain()
    old.push((Trade("toy", "A/B", None, 1, 1.0, 1.0, None, "1"), BookSnapshot("toy", "A/B", None, 1, *START, 5)))
    assert box.drain() == []
    assert not desk.book("A/B").live


def test_a_frame_not_understood_makes_only_unproved_books_stale() -> None:
    desk = Desk(market("A/B"), market("C/D"))
    box = listen(desk, desk.book("A/B"), desk.book("C/D"))
    desk.book("A/B").proof = "sequence"
    for symbol in desk.listed:
        desk.snapshot(symbol)
    box.drain()
    assert desk.carriers["line"].suspect("bad_frame", 9) == [Need("C/D", "bad_frame")]
    assert controls(box.drain()) == [BookStale("toy", "C/D", None, 9, "bad_frame")]
    assert desk.carriers["line"].suspect("bad_frame", 10) == []


def test_a_snapshot_is_asked_for_once() -> None:
    desk = Desk(market("A/B"))
    assert needs(desk.delta("A/B")) == [Need("A/B", "waiting")]
    assert needs(desk.delta("A/B")) == []
    desk.snapshot("A/B")
    assert needs(desk.delta("A/B", lost=1)) == [Need("A/B", "gap")]
    assert needs(desk.delta("A/B")) == []


def test_order_of_one_connection_is_kept_between_its_streams() -> None:
    desk = Desk(market("A/B"), market("C/D"))
    box = listen(desk, *(desk.stream(s, k) for s in desk.listed for k in ("trade", "ticker", "book")))
    for _ in range(3):
        for symbol in desk.listed:
            desk.trade(symbol)
            desk.snapshot(symbol)
            desk.ticker(symbol)
    times = [t.ts_recv for t in box.drain() if not isinstance(t, Status)]
    assert times == sorted(times) == list(range(1, 19))


def test_a_checksum_alone_is_routed_to_its_book() -> None:
    desk = Desk(market("A/B"))
    desk.snapshot("A/B")
    desk.source("A/B").sync.checksum = lambda book, instrument: 7
    assert desk.push(Checked("A/B", 7)) == []
    assert desk.push(Checked("A/B", 8)) == [Need("A/B", "checksum")]


def test_a_handler_can_say_that_a_book_is_broken() -> None:
    """That one is stale at once and asked for once; another is not disturbed, and one that is not live has nothing to lose."""
    desk = Desk(market("A/B"), market("C/D"))
    box = listen(desk, desk.book("A/B"), desk.book("C/D"))
    assert desk.push(Broken("A/B", "gap", 2)) == []
    for symbol in desk.listed:
        desk.snapshot(symbol)
    box.drain()
    assert desk.push(Broken("A/B", "gap", 9)) == [Need("A/B", "gap")]
    assert controls(box.drain()) == [BookStale("toy", "A/B", None, 9, "gap")]
    assert desk.push(Broken("A/B", "gap", 10)) == []
    assert (desk.book("A/B").live, desk.book("C/D").live) == (False, True)
    desk.hub.uncarry(desk.carriers["line"], desk.book("A/B"), 11)
    assert desk.push(Broken("A/B", "gap", 12)) == []
    assert desk.carriers["line"].unrouted == 1


def test_a_frame_not_understood_makes_books_stale_whose_ids_prove_but_a_part() -> None:
    desk = Desk(market("A/B"))
    desk.book("A/B").proof = "ids"
    desk.snapshot("A/B")
    assert desk.carriers["line"].suspect("bad_frame", 9) == [Need("A/B", "bad_frame")]


def test_quotes_cut_from_a_book_end_with_their_last_reader() -> None:
    desk = Desk(market("A/B"))
    book, quotes = desk.book("A/B"), desk.stream("A/B", "quote")
    book.quote(quotes)
    desk.snapshot("A/B")
    assert quotes.live
    desk.hub.unquote(book)
    assert book.quotes is None
    assert not desk.stream("A/B", "quote").live  # a new one


def test_sizes_are_base_or_venue() -> None:
    with pytest.raises(ValueError, match="neither 'base' nor 'venue'"):
        Hub("lots")
    desk = Desk(market("A/B", contract="0.01"), sizes="venue")
    box = listen(desk, desk.stream("A/B", "trade"))
    desk.trade("A/B")
    assert box.drain()[-1].size == 1.0
