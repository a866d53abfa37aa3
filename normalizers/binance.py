"""Binance spot and its siblings: the combined-stream form, in which the stream's name tells the message.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from collections.abc import Sequence
from typing import Any, Final, Generic, TypeAlias

from msgspec import Struct

from streamer.decode import after, keyed
from streamer.spec import Ack, Ctx, Out, Reject, Restart, Unknown, on, whole
from streamer.types import BookDelta, BookSnapshot, Candle, Instrument, Level, N, Quote, Ticker, Trade
from streamer.wire import MS, Int, Ms, Row, T, listed, ms, numbers, sides, step

BEST: Final = "b", "B", "a", "A"


class Msg(Struct, Generic[T], gc=False):
    """`{"stream":"btcusdt@trade","data":{..}}`."""

    data: T


class TradeData(Struct, Generic[N], gc=False):
    """`t` on @trade, `a` on @aggTrade. `m`: the buyer is the maker, so the taker sold."""

    s: str
    p: N
    q: N
    T: Ms
    m: bool
    t: Int | None = None
    a: Int | None = None


class DepthData(Struct, Generic[N], gc=False):
    s: str
    E: Ms
    U: Int
    u: Int
    b: Sequence[Level[N]]
    a: Sequence[Level[N]]


class QuoteData(Struct, Generic[N], gc=False):
    s: str
    b: N
    B: N
    a: N
    A: N


class DepthRest(Struct, Generic[N], rename="camel", gc=False):
    last_update_id: Int
    bids: Sequence[Level[N]]
    asks: Sequence[Level[N]]


TradeMsg: TypeAlias = Msg[TradeData[N]]
DepthMsg: TypeAlias = Msg[DepthData[N]]
QuoteMsg: TypeAlias = Msg[QuoteData[N]]


def at(d: Row, ctx: Ctx[N]) -> tuple[str, str, int, int]:
    return ctx.exchange, ctx.sym[d["s"]].symbol, ms(d["E"]), ctx.ts_recv


def trade(m: TradeMsg[N], ctx: Ctx[N]) -> Out[N]:
    d = m.data
    head, id = (ctx.exchange, ctx.sym[d.s].symbol, d.T * MS, ctx.ts_recv), d.t if d.t is not None else d.a
    return Trade(*head, d.p, d.q, "sell" if d.m else "buy", None if id is None else str(id))


def depth(m: DepthMsg[N], ctx: Ctx[N]) -> Out[N]:
    d = m.data
    return BookDelta(ctx.exchange, ctx.sym[d.s].symbol, d.E * MS, ctx.ts_recv, d.b, d.a, d.U, d.u)


def quote(m: QuoteMsg[N], ctx: Ctx[N]) -> Out[N]:
    # DOUBT: an empty side is written as price 0 (an inference; settled by a pair without bids)
    d = m.data
    bid, bid_size = (d.b, d.B) if d.b else (None, None)
    ask, ask_size = (d.a, d.A) if d.a else (None, None)
    return Quote(ctx.exchange, ctx.sym[d.s].symbol, None, ctx.ts_recv, bid, bid_size, ask, ask_size)


def ticker(m: Msg[Row], ctx: Ctx[N]) -> Out[N]:
    return Ticker(*at(m.data, ctx), *numbers(m.data, ctx, "c", "o", "h", "l", "v", "q"), *sides(m.data, ctx, *BEST))


def candle(m: Msg[Row], ctx: Ctx[N]) -> Out[N]:
    k: Row = m.data["k"]
    told: list[Any] = [*numbers(k, ctx, "o", "h", "l", "c", "v", "q"), whole(k["n"]), bool(k["x"])]
    return Candle(*at(m.data, ctx), k["i"], ms(k["t"]), *told)


def book_rest(m: DepthRest[N], ctx: Ctx[N], inst: Instrument) -> BookSnapshot[N]:
    return BookSnapshot(ctx.exchange, inst.symbol, None, ctx.ts_recv, m.bids, m.asks, m.last_update_id)


def instruments(m: Row, ctx: Ctx[N]) -> list[Instrument]:
    out = []
    for d in m["symbols"]:
        steps = {f["filterType"]: step(f.get("tickSize") or f.get("stepSize")) for f in d.get("filters", ())}
        facts = {"price_step": steps.get("PRICE_FILTER"), "size_step": steps.get("LOT_SIZE"), "active": d["status"] == "TRADING"}
        out.append(listed(ctx, d["symbol"], d["baseAsset"], d["quoteAsset"], **facts))
    return out


def other(m: Any, ctx: Ctx[N]) -> Out[N]:
    """Answers to SUBSCRIBE: `{"result":null,"id":1}` or `{"error":{"code":2,"msg":..},"id":1}`; and the notice before a shutdown."""
    n = m.get("id")
    if "id" in m and ("error" in m or "code" in m):
        error = m.get("error") or m
        text = str(error.get("msg"))
        return Unknown(text) if n is None else Reject(whole(n), text, fatal=error.get("code") == 2)
    if n is not None and "result" in m:
        return Ack(whole(n))
    # DOUBT: how the notice is wrapped in combined streams (the documents name the event only; settled by one that is recorded)
    if (m.get("data") or m.get("event") or m).get("e") == "serverShutdown":
        return Restart("server shutdown", planned=True)
    return Unknown(str(m.get("stream", "message")).partition("@")[2])


NORMALIZE = keyed(after(b"@"), {
    b"trade": on(TradeMsg, trade), b"aggTrade": on(TradeMsg, trade), b"depth": on(DepthMsg, depth), b"depth@100ms": on(DepthMsg, depth),
    b"bookTicker": on(QuoteMsg, quote), b"ticker": on(Msg[Row], ticker), b"kline_*": on(Msg[Row], candle),
}, other=other)  # fmt: skip
BOOK_REST = on(DepthRest, book_rest)
INSTRUMENTS = on(Row, instruments)
