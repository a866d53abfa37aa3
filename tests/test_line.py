"""From a frame to the hub: what cannot be understood costs that frame, is counted by reason, and a sample is kept."""

import gzip
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from feeds.binance import FEED as BINANCE
from feeds.htx import FEED as HTX
from feeds.kraken import FEED as KRAKEN
from feeds.okx import FEED as OKX
from streamer import frames
from streamer.book_stream import BookStream
from streamer.errors import BadFrame
from streamer.hub import Carrier, Hub
from streamer.line import NAMES_KEPT, SAMPLE_BYTES, Line, Tally, proof_of, sync_of
from streamer.mailbox import Mailbox
from streamer.rules import overlap, rising, unnumbered
from streamer.spec import Feed, FromRequest, FromRest, FromStream, FullRefresh, Ping, Symbols, Unknown, UnknownId, on
from streamer.streams import Need
from streamer.types import BookSnapshot, BookStale, Instrument, Trade

AB, CD = (Instrument("binance", s, None, 0, s.replace("/", ""), *s.split("/")) for s in ("A/B", "C/D"))


class Rig:
    """A line of Binance with trades and books of two symbols, and a subscriber to all of it."""

    def __init__(self, feed: Feed = BINANCE, numbers: Any = "float", proofs: tuple[str, str] = ("sequence", "sequence")) -> None:
        self.hub, self.tally, self.carrier = Hub(), Tally(), Carrier("test")
        self.box = Mailbox("block", 1000)
        self.line = Line(feed, "spot", Symbols({"AB": AB, "CD": CD}), numbers, self.carrier, self.tally)
        for instrument, proof in zip((AB, CD), proofs, strict=True):
            stream, trades = self.hub.stream(instrument, "book"), self.hub.stream(instrument, "trade")
            assert isinstance(stream, BookStream)
            stream.proof = proof
            source = self.hub.carry(self.carrier, stream, sync_of(feed.book["spot"], instrument, None))
            self.hub.carry(self.carrier, trades)
            for s in (stream, trades):
                s.attach(self.box)
            source.snapshot(BookSnapshot("binance", instrument.symbol, None, 1, [(1.0, 1.0)], [(2.0, 1.0)], 5))  # type: ignore[attr-defined]
        self.box.drain()

    def live(self) -> list[str]:
        return [s.instrument.symbol for s in self.hub.streams.values() if isinstance(s, BookStream) and s.live]


def trade(price: str = "1.50", symbol: str = "AB") -> bytes:
    data = f'{{"e":"trade","E":1,"s":"{symbol}","t":7,"p":"{price}","q":"2","T":1672515782136,"m":true}}'
    return f'{{"stream":"{symbol.lower()}@trade","data":{data}}}'.encode()


def depth(symbol: str, first: int, last: int) -> bytes:
    data = f'{{"e":"depthUpdate","E":1672515782136,"s":"{symbol}","U":{first},"u":{last},"b":[["1.1","1"]],"a":[]}}'
    return f'{{"stream":"{symbol.lower()}@depth@100ms","data":{data}}}'.encode()


@pytest.mark.parametrize(("numbers", "price"), [("float", 1.5), ("decimal", Decimal("1.50"))])
def test_a_frame_goes_its_way(numbers: Any, price: Any) -> None:
    rig = Rig(numbers=numbers)
    assert rig.line.on_frame(trade(), 77) is None
    tick = next(t for t in rig.box.drain() if isinstance(t, Trade))
    assert (tick.price, tick.ts_recv, tick.ts_event, tick.side) == (price, 77, 1672515782136000000, "sell")
    assert str(tick.price) == str(price)
    assert rig.tally.frames == 1
    assert not rig.tally.bad


def test_a_gap_of_one_book_is_asked_for_and_leaves_the_other_alone() -> None:
    rig = Rig()
    assert rig.line.on_frame(depth("AB", 9, 9), 1) == [Need("A/B", "gap")]
    assert rig.line.on_frame(depth("AB", 12, 12), 1) is None, "asked for already"
    assert rig.live() == ["C/D"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "json"), (b"\xff", "json"), (trade()[:-2], "json"), (trade("nan"), "number"), (trade("1e999"), "number"),
     (trade().replace(b'"q":"2",', b""), "shape"), (trade().replace(b'"T":1672515782136', b'"T":"x"'), "shape"), (b"[1]", "shape")],
)  # fmt: skip
@pytest.mark.parametrize("numbers", ["float", "decimal"])
def test_bad_frames_are_counted_by_reason(data: bytes, reason: str, numbers: Any) -> None:
    rig = Rig(numbers=numbers)
    back = rig.line.on_frame(data, 1)
    assert back is not None
    assert [type(b) for b in back] == [BadFrame]
    assert back[0].reason == reason
    assert rig.tally.bad == {reason: 1}
    assert rig.tally.samples == {reason: data}
    assert rig.live() == ["A/B", "C/D"], "their numbers will prove them wrong, if they are"
    assert rig.line.on_frame(trade(), 2) is None


def test_one_sample_of_a_reason_is_kept_and_cut() -> None:
    rig = Rig()
    for i in range(3):
        rig.line.on_frame(b"%d" % i + b"x" * 10_000, 1)
    assert rig.tally.bad == {"json": 3}
    assert rig.tally.samples["json"] == b"0" + b"x" * (SAMPLE_BYTES - 1)


def test_suspicion_falls_on_books_that_nothing_else_proves() -> None:
    rig = Rig(proofs=("none", "checksum"))
    back = rig.line.on_frame(b"{", 9)
    assert back is not None
    assert back[1:] == [Need("A/B", "bad_frame")]
    assert rig.live() == ["C/D"]
    stale = [t for t in rig.box.drain() if isinstance(t, BookStale)]
    assert [(t.symbol, t.reason, t.ts_recv) for t in stale] == [("A/B", "bad_frame", 9)]
    assert rig.line.on_frame(b"{", 10) is not None
    assert [type(t) for t in rig.box.drain()] == [], "it is stale already"


def test_unknown_messages_are_counted_by_name_within_bounds() -> None:
    rig = Rig()
    for i in range(NAMES_KEPT + 50):
        back = rig.line.on_frame(b'{"stream":"ab@what%d","data":{}}' % i, 1)
        assert back is not None
        assert isinstance(back[0], Unknown)
    assert len(rig.tally.unknown) == NAMES_KEPT + 1
    assert rig.tally.unknown["other"] == 50
    rig.line.on_frame(b'{"stream":"ab@what0","data":{}}', 1)
    assert rig.tally.unknown["what0"] == 2
    rig.line.on_frame(b'{"stream":"ab@' + b"w" * 5000 + b'","data":{}}', 1)
    assert max(map(len, rig.tally.unknown)) <= 64
    assert not rig.tally.bad


def test_names_are_cut_before_they_are_counted() -> None:
    tally, counter = Tally(), Counter[str]()
    tally.name(counter, "x" * 100)
    tally.name(counter, "x" * 64 + "y")
    assert counter == {"x" * 64: 2}


def test_an_unknown_id_costs_the_frame_and_is_told() -> None:
    rig = Rig()
    back = rig.line.on_frame(trade(symbol="XY"), 1)
    assert back is not None
    assert isinstance(back[0], UnknownId)
    assert rig.tally.unknown_ids == {"XY": 1}
    assert not rig.tally.bad


def test_what_nobody_asked_for_is_counted() -> None:
    rig = Rig()
    ticker = b'{"u":1,"s":"AB","b":"1","B":"1","a":"2","A":"1"}'
    assert rig.line.on_frame(b'{"stream":"ab@bookTicker","data":' + ticker + b"}", 1) is None
    assert rig.carrier.unrouted == 1


def test_several_messages_in_a_frame_and_what_they_bring_back() -> None:
    rig = Rig(replace(BINANCE, framing=frames.lines))
    back = rig.line.on_frame(b"\n".join([trade(), depth("AB", 9, 9), b"junk", depth("CD", 20, 20), b'{"result":null,"id":3}']), 5)
    assert back is not None
    assert [b if isinstance(b, Need) else type(b).__name__ for b in back] == [Need("A/B", "gap"), "BadFrame", Need("C/D", "gap"), "Ack"]
    assert rig.tally.frames == 1


def test_packed_frames() -> None:
    rig = Rig(replace(BINANCE, framing=frames.gzip))
    assert rig.line.on_frame(gzip.compress(trade()), 5) is None
    assert any(isinstance(t, Trade) for t in rig.box.drain())
    back = rig.line.on_frame(gzip.compress(trade())[:-3], 5)
    assert back is not None
    assert back[0].reason == "inflate"
    assert rig.tally.bad == {"inflate": 1}


@pytest.mark.parametrize("framing", [None, frames.gzip, frames.deflate_raw, frames.lines])
def test_the_literal_answer_to_a_ping_is_no_bad_frame(framing: Any) -> None:
    rig = Rig(replace(BINANCE, ping=Ping(20, "ping", b"pong"), framing=framing))
    assert not rig.line.on_frame(b"pong", 1)
    assert not rig.tally.bad
    assert rig.line.on_frame(b"pang", 1)
    assert rig.tally.bad.total() == 1


def test_the_state_machine_of_each_method() -> None:
    parse = on(dict, print)
    rest, request = FromRest("https://h/{id}", parse, overlap, grace_s=2.0), FromRequest(lambda t, n: t, overlap)
    for method, hold, asked, proof in (
        (rest, True, False, "sequence"),
        (replace(rest, rule=unnumbered), True, False, "none"),
        (request, True, False, "sequence"),
        (OKX.book["public"], False, True, "sequence"),
        (KRAKEN.book["spot"], False, True, "checksum"),
        (FromStream(), False, True, "none"),
        (FromStream(by_id=True), False, True, "ids"),
        (FromStream(rising, repeats=True, reach=200), True, True, "none"),
        (FullRefresh(), False, True, "refresh"),
    ):
        sync = sync_of(method, AB, 10)
        assert (sync.hold, sync.asked, proof_of(method), sync.live) == (hold, asked, proof, False)
        assert sync.depth == (10 if method is KRAKEN.book["spot"] else None)
        assert sync.grace == (2 * 10**9 if isinstance(method, FromRest) else 10**9)


@pytest.mark.parametrize("name", [b"[]", b"{}", b"1.5", b"null"])
def test_an_answer_that_names_its_topic_by_no_name_is_a_bad_frame(name: bytes) -> None:
    """A dict's look-up of it would raise, and end the connection."""
    tally = Tally()
    line = Line(HTX, "spot", Symbols(), "float", Carrier("test"), tally)
    back = line.on_frame(gzip.compress(b'{"id":"1","status":"ok","subbed":%s,"ts":1}' % name), 1)
    assert back is not None
    assert [type(b) for b in back] == [BadFrame]
    assert tally.bad == {"shape": 1}
