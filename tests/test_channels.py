"""Channels by number: learnt from the venue's answer, held until then, counted on the connection, unsubscribed by the venue's own name."""

import asyncio
from decimal import Decimal
from typing import Any, Generic

import pytest
from msgspec import Struct
from msgspec.structs import replace

from streamer.channels import FRAME_COST, HELD_BYTES, count_from, counted_trade, forget, in_line, learn, numbered, shape
from streamer.decode import HANDLER_ERRORS, after, keyed
from streamer.errors import BadFrame
from streamer.spec import Ack, Ctx, Restart, Symbols, Unknown, UnknownId, on
from streamer.types import Gap, Instrument, MarkPrice, N, Ticker, Trade
from tests.venues import TOY, CandleMsg, TickerMsg, Toy, TradeMsg, candle, ticker, trade
from tests.venues import other as toy_other
from tests.world import streaming, virtual

AB = Instrument("x", "A/B", None, 0, "AB", "A", "B")


class Row(Struct, Generic[N], array_like=True):
    chan: int
    data: list[N]
    seq: int | None = None


class Rows(Struct, Generic[N], array_like=True):
    chan: int
    data: list[list[N]]
    seq: int | None = None


class Told(Struct, Generic[N], array_like=True):
    chan: int
    what: str
    data: N
    seq: int | None = None


def one(m: Row[N], ctx: Ctx[N], about: str) -> Any:
    return MarkPrice("x", ctx.sym[about].symbol, None, ctx.ts_recv, m.data[0])


def many(m: Rows[N], ctx: Ctx[N], about: str) -> Any:
    return [one(Row(m.chan, row), ctx, about) for row in m.data]


def told(m: Told[N], ctx: Ctx[N], about: str) -> Any:
    return one(Row(m.chan, [m.data]), ctx, about)


def other(m: Any, ctx: Ctx[Any]) -> Any:
    if "closed" in m:
        forget(ctx, m["closed"])
        return None
    if "id" in m:
        learn(ctx, m["id"], m["channel"], m["about"])
        return Ack(m["channel"])
    return Unknown("event")


def seq_of(frame: bytes, ctx: Ctx[Any]) -> int:
    return int(frame[:-1].rpartition(b",")[2])


FORM = numbered(
    after(b"[", b","),
    {"price": {b"[": on(Row, one), b"[[": on(Rows, many), b'"p"': on(Told, told)}, "bare": {b"[": on(Row, one)}},
    other=other,
    idle=(b'"hb"',),
    seq_of=seq_of,
)
ACK = b'{"id":17,"channel":"price","about":"AB"}'
both = pytest.mark.parametrize("num", [float, Decimal])


class Wire:
    def __init__(self, num: type[float] | type[Decimal] = float) -> None:
        self.ctx: Ctx[Any] = Ctx("x", "", Symbols(AB=AB), num)
        self.decode = FORM.compile(num)

    def __call__(self, data: bytes, ts: int = 0) -> Any:
        self.ctx.ts_recv = ts
        return self.decode(data, self.ctx)

    def prices(self, data: bytes, ts: int = 0) -> list[Any]:
        out = self(data, ts)
        return [t.price for t in (out if isinstance(out, list) else [out])]


@pytest.mark.parametrize(
    ("payload", "start"),
    [(b"[1,2]", b"["), (b"[[1],[2]]", b"[["), (b"[]", b"[["), (b'"te",[1]', b'"te"'), (b'"hb"]', b'"hb"'), (b'{"a":1}', b"{"), (b"", b"")],
)
def test_how_a_payload_begins_is_its_shape(payload: bytes, start: bytes) -> None:
    assert shape(b"[17," + payload, 4) == start


@both
def test_number_and_shape_pick_the_decoder(num: Any) -> None:
    wire = Wire(num)
    assert wire(ACK) == Ack("price")
    assert wire.prices(b"[17,[1.50,2],9]") == [num("1.50")]
    assert str(wire.prices(b'[17,"p",1.50,9]')[0]) == str(num("1.50"))
    assert wire.prices(b"[17,[[1],[2e-7]],9]") == [num(1), num("2e-7")]
    assert wire.prices(b"[17,[],9]") == []
    assert list(wire(b'[17,"hb",9]')) == []


def test_what_no_shape_stands_for_is_unknown_and_what_does_not_decode_is_bad() -> None:
    wire = Wire()
    wire(ACK)
    wire(b'{"id":18,"channel":"bare","about":"AB"}')
    wire(b'{"id":19,"channel":"never heard of","about":"AB"}')
    assert wire(b'[17,"zz",1]') == Unknown('price "zz"')
    assert wire(b"[18,[[1]],1]") == Unknown("bare [[")
    assert wire(b"[19,[1]]") == Unknown("never heard of [")
    assert wire(b'{"event":1}') == Unknown("event")
    assert wire(b"[18,7]") == Unknown("bare 7")
    for bad, reason in (
        (b'[17,["x"],1]', "number"),
        (b"[17,[1,]", "json"),
        (b"[17,[1],1]x", "json"),
        (b"[", "json"),
    ):
        with pytest.raises(BadFrame) as e:
            wire(bad)
        assert e.value.reason == reason, bad


def test_what_comes_before_the_answer_is_held_and_keeps_its_time() -> None:
    wire = Wire()
    assert wire(b"[17,[1]]", 100) is None
    assert wire(b"[18,[5]]", 101) is None
    assert wire(b"[17,[2]]", 102) is None
    ack, *ticks = wire(ACK, 110)
    assert ack == Ack("price")
    assert [(t.price, t.ts_recv) for t in ticks] == [(1.0, 100), (2.0, 102)]
    assert wire.ctx.ts_recv == 110
    assert wire(b"[17,[3]]", 111).ts_recv == 111
    assert wire(b'{"event":1}') == [Unknown("event")]  # 18 goes on waiting
    assert [t.price for t in wire(b'{"id":18,"channel":"price","about":"AB"}')[1:]] == [5.0]


def test_a_number_that_was_closed_means_nothing_any_more() -> None:
    wire = Wire()
    wire(ACK)
    wire(b'{"closed":17}')
    assert wire(b"[17,[1]]") is None
    assert [t.price for t in wire(ACK)[1:]] == [1.0]


def test_how_a_number_was_read_is_forgotten_when_it_stands_for_something_else() -> None:
    wire = Wire()
    wire(ACK)
    frames = (b"[17,[1]]", b"[17,[[1]]]", b'[17,"p",1]')
    assert [wire.prices(frame) for frame in frames for _ in "12"] == [[1.0]] * 6
    wire(ACK.replace(b"price", b"bare").replace(b"AB", b"CD"))
    assert [wire(frame) for frame in frames[1:]] == [Unknown("bare [["), Unknown('bare "p"')]
    with pytest.raises(UnknownId):
        wire(frames[0])
    wire(b'{"closed":17}')
    assert [wire(frame) for frame in frames] == [None] * 3, "held, until it is told what they are of"


def test_texts_are_told_from_each_other_by_all_of_them() -> None:
    wire = Wire()
    wire(ACK)
    assert wire.prices(b'[17,"p",1]') == wire.prices(b'[17,"p",1]') == [1.0]
    assert wire(b'[17,"px",1]') == Unknown('price "px"')
    assert wire(b'[17,"q",1]') == Unknown('price "q"')
    for wrong in (b'[17,"p"x1]', b'x17,"p",1]', b'[17,"p",1'):
        with pytest.raises(BadFrame):
            wire(wrong)


def test_what_is_held_is_bounded_and_forgotten_as_a_whole() -> None:
    """So no snapshot is missing among the held while what follows it is there."""
    wire = Wire()
    frame = b"[17,[1]," + b" " * 1000 + b"2]"
    room = HELD_BYTES // (len(frame) + FRAME_COST)
    assert [wire(frame) for _ in range(room)] == [None] * room
    assert wire(frame) == Unknown("too many frames without a channel")
    assert wire(b"[17,[7]]") is None
    assert [t.price for t in wire(ACK)[1:]] == [7.0]
    assert [wire(frame.replace(b"17", b"18")) for _ in range(room)] == [None] * room  # what was taken makes room again


def test_a_held_frame_that_is_not_understood_ends_the_connection() -> None:
    wire = Wire()
    for frame in (b"[17,[1]]", b'[17,["x"]]', b"[17,[2]]"):
        wire(frame)
    ack, tick, end = wire(ACK)
    assert (ack, tick.price, end) == (Ack("price"), 1.0, Restart("held_frame"))


def test_a_held_frame_about_an_unknown_symbol_costs_itself() -> None:
    wire = Wire()
    wire(b"[17,[1]]")
    assert wire(b'{"id":17,"channel":"price","about":"NONE"}') == [Ack("price")]


def test_messages_are_counted_in_order_of_arrival_whether_their_channel_is_known_or_not() -> None:
    wire = Wire()
    count_from(wire.ctx, 1)
    wire(b"[17,[1],1]")
    wire(b"[18,[1],2]")
    assert len(wire(ACK)) == 2  # what is held is not counted again
    assert wire.prices(b"[17,[2],3]") == [2.0]
    assert wire(b"[17,[2],3]") == ()
    assert wire(b"[17,[4],5]") == Restart("sequence")
    assert wire(b"[17,[5],6]") == Restart("sequence"), "nothing behind a hole is believed"


def test_whatever_it_says_a_frame_counts_once() -> None:
    """Decoded or not: idle, of an unknown shape, not understood, held."""
    wire = Wire()
    count_from(wire.ctx, 1)
    wire(ACK)
    assert list(wire(b'[17,"hb",1]')) == []
    assert wire(b'[17,"zz",2]') == Unknown('price "zz"')
    with pytest.raises(BadFrame):
        wire(b'[17,["x"],3]')
    assert wire(b"[18,[1],4]") is None
    assert wire.prices(b'[17,"p",5,5]') == wire.prices(b"[17,[5],6]") == [5.0]
    assert wire(b'[17,["x"],6]') == (), "a repeated one is not even read"
    assert wire(b'[17,["x"],8]') == Restart("sequence")
    for frame in (b"[17,[5]]", b"[17,[9]]"):
        with pytest.raises(ValueError):  # without a number, whether another began as it does or not
            wire(frame)
    count_from(wire.ctx, 1)
    assert wire.prices(b"[17,[7],7]") == [7.0], "said again it changes nothing"


def test_nothing_counts_before_it_is_said() -> None:
    ctx: Ctx[Any] = Ctx("x", "", Symbols(), float)
    assert in_line(ctx, 7) is None
    count_from(ctx, 1)
    assert [in_line(ctx, n) for n in (1, 2, 2, 4, 3)] == [None, None, (), Restart("sequence"), None]


def test_the_first_number_is_checked_too() -> None:
    wire = Wire()
    count_from(wire.ctx, 1)
    assert wire(b"[17,[1],2]") == Restart("sequence")


def test_no_frame_raises_what_a_line_does_not_catch() -> None:
    wire = Wire(Decimal)
    count_from(wire.ctx, 1)
    wire(ACK)
    whole = b'[17,[[1.5],[2]],"x",1]'
    for i in range(len(whole)):
        for cut in (whole[:i], whole[:i] + b"\xff" + whole[i:], whole[:i] + b"[" * 2000):
            try:
                wire(cut)
            except (BadFrame, *HANDLER_ERRORS):
                continue


# the engine


def named(m: Any, ctx: Any) -> Any:
    answer = toy_other(m, ctx)
    return replace(answer, id=m["as"]) if isinstance(answer, Ack) else answer


class Naming(Toy):
    """Gives every subscription a name of its own, after a while, and unsubscribes by that."""

    def __init__(self, delay: float = 0.0) -> None:
        table = {b"trade": on(TradeMsg, trade), b"ticker": on(TickerMsg, ticker), b"candle": on(CandleMsg, candle)}
        topics = {k: v for k, v in TOY.topics.items() if k[1] != "book"}
        super().__init__(normalize=keyed(after(b'{"t":"'), table, other=named))
        self.feed = replace(self.feed, topics=topics, book={})
        self.delay = delay
        self.given: dict[str, str] = {}

    def heard(self, wire: Any, message: Any) -> None:
        if message["op"] == "unsub":
            wire.topics -= {self.given.get(name) for name in message["topics"]}
            return
        for topic in message["topics"]:
            wire.topics.add(topic)
            name = str(len(self.given))
            self.given[name] = topic
            asyncio.get_running_loop().call_later(self.delay, wire.push, {"ack": topic, "as": name})


@virtual
async def test_a_topic_is_unsubscribed_by_the_venues_own_name() -> None:
    venue = Naming()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B", kinds=("ticker",))
        await s.ready(sub)
        sub.remove("toy:A/B")
        await asyncio.sleep(1)
        assert venue.commands()[-1] == {"op": "unsub", "topics": ["0"], "n": 2}
        assert venue.wire.topics == {"ticker.CB"}
        venue.ticker("CB", 2.0)
        assert [t.last for t in sub.take() if isinstance(t, Ticker)] == [2.0]


@virtual
async def test_a_topic_that_is_not_wanted_any_more_when_its_name_comes_is_unsubscribed_then() -> None:
    venue = Naming(delay=3.0)
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B", kinds=("ticker",))
        await asyncio.sleep(1)
        sub.remove("toy:A/B")
        await s.ready(sub)
        await asyncio.sleep(1)
        assert venue.wire.topics == {"ticker.CB"}
        assert len(venue.wires) == 1


def test_lost_trades_are_counted() -> None:
    """By instrument, and on one connection; what comes late or again is let through, and is no hole."""

    def at(symbol: str, n: int) -> Any:
        ctx.ts_recv += 1
        return counted_trade(ctx, n, Trade("x", symbol, None, ctx.ts_recv, 1.0, 1.0, None, str(n)))

    ctx: Ctx[float] = Ctx("x", "m", Symbols(), float)
    assert [at("A/B", n).id for n in (7, 8, 8, 7, 9)] == ["7", "8", "8", "7", "9"]
    assert at("C/D", 1000).id == "1000"
    gap, trade = at("A/B", 13)
    assert gap == Gap("x", "A/B", None, 7, "trade", "sequence", 5, 7, 3, None, "sequence")
    assert trade.id == "13"
    assert at("A/B", 14).id == "14"
