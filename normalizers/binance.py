"""Binance spot and its siblings: the combined-stream form, in which the stream's name tells the message.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Generic

from msgspec import Struct

from streamer.decode import after, keyed
from streamer.spec import Ack, Ctx, Out, Reject, Unknown, on
from streamer.symbols import format as symbol
from streamer.types import BookDelta, BookSnapshot, Candle, Instrument, Level, N, Quote, Ticker, Trade

MS = 1_000_000


class TradeData(Struct, Generic[N]):
    """`t` on @trade, `a` on @aggTrade. `m`: the buyer is the maker, so the taker sold."""

    s: str
    p: N
    q: N
    T: int
    m: bool
    t: int | None = None
    a: int | None = None


class TradeMsg(Struct, Generic[N]):
    data: TradeData[N]


class DepthData(Struct, Generic[N]):
    s: str
    E: int
    U: int
    u: int
    b: Sequence[Level[N]]
    a: Sequence[Level[N]]


class DepthMsg(Struct, Generic[N]):
    data: DepthData[N]


class QuoteData(Struct, Generic[N]):
    s: str
    b: N
    B: N
    a: N
    A: N


class QuoteMsg(Struct, Generic[N]):
    data: QuoteData[N]


class TickerData(Struct, Generic[N]):
    s: str
    E: int
    c: N
    o: N
    h: N
    l: N  # noqa: E741  (the venue's name)
    v: N
    q: N
    b: N
    B: N
    a: N
    A: N


class TickerMsg(Struct, Generic[N]):
    data: TickerData[N]


class Kline(Struct, Generic[N]):
    t: int
    i: str
    o: N
    h: N
    l: N  # noqa: E741  (the venue's name)
    c: N
    v: N
    q: N
    n: int
    x: bool


class KlineData(Struct, Generic[N]):
    s: str
    E: int
    k: Kline[N]


class KlineMsg(Struct, Generic[N]):
    data: KlineData[N]


class DepthRest(Struct, Generic[N], rename="camel"):
    last_update_id: int
    bids: Sequence[Level[N]]
    asks: Sequence[Level[N]]


class Filter(Struct, rename="camel"):
    filter_type: str
    tick_size: Decimal | None = None
    step_size: Decimal | None = None


class Listed(Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[Filter] = []


class ExchangeInfo(Struct):
    symbols: list[Listed]


def trade(m: TradeMsg[N], ctx: Ctx[N]) -> Out[N]:
    d = m.data
    number = d.t if d.t is not None else d.a
    return Trade(ctx.exchange, ctx.sym[d.s].symbol, d.T * MS, ctx.ts_recv, d.p, d.q, "sell" if d.m else "buy", str(number))


def depth(m: DepthMsg[N], ctx: Ctx[N]) -> Out[N]:
    d = m.data
    return BookDelta(ctx.exchange, ctx.sym[d.s].symbol, d.E * MS, ctx.ts_recv, d.b, d.a, d.U, d.u)


def quote(m: QuoteMsg[N], ctx: Ctx[N]) -> Out[N]:
    d = m.data
    return Quote(ctx.exchange, ctx.sym[d.s].symbol, None, ctx.ts_recv, d.b, d.B, d.a, d.A)


def ticker(m: TickerMsg[N], ctx: Ctx[N]) -> Out[N]:
    d = m.data
    return Ticker(ctx.exchange, ctx.sym[d.s].symbol, d.E * MS, ctx.ts_recv, d.c, d.o, d.h, d.l, d.v, d.q, d.b, d.B, d.a, d.A)


def candle(m: KlineMsg[N], ctx: Ctx[N]) -> Out[N]:
    d, k = m.data, m.data.k
    at = ctx.exchange, ctx.sym[d.s].symbol, d.E * MS, ctx.ts_recv
    return Candle(*at, k.i, k.t * MS, k.o, k.h, k.l, k.c, k.v, k.q, k.n, k.x)


def book_rest(m: DepthRest[N], ctx: Ctx[N], inst: Instrument) -> BookSnapshot[N]:
    return BookSnapshot(ctx.exchange, inst.symbol, None, ctx.ts_recv, m.bids, m.asks, m.last_update_id)


def instruments(m: ExchangeInfo, ctx: Ctx[N]) -> list[Instrument]:
    return [_instrument(s, ctx) for s in m.symbols]


def _instrument(s: Listed, ctx: Ctx[Any]) -> Instrument:
    steps = {f.filter_type: f.tick_size or f.step_size for f in s.filters}
    name = symbol(s.base_asset, s.quote_asset)
    return Instrument(
        ctx.exchange, name, None, ctx.ts_recv, s.symbol, s.base_asset, s.quote_asset,
        price_step=steps.get("PRICE_FILTER"), size_step=steps.get("LOT_SIZE"), active=s.status == "TRADING",
    )  # fmt: skip


def other(m: Any, ctx: Ctx[N]) -> Out[N]:
    """Answers to SUBSCRIBE: `{"result":null,"id":1}` or `{"error":{"code":2,"msg":..},"id":1}`."""
    if "id" in m and ("error" in m or "code" in m):
        error = m.get("error") or m
        return Reject(m["id"], str(error.get("msg")), fatal=error.get("code") == 2)
    if "id" in m and "result" in m:
        return Ack(m["id"])
    return Unknown(str(m.get("stream", "message")).partition("@")[2])


NORMALIZE = keyed(
    after(b"@"),
    {
        b"trade": on(TradeMsg, trade),
        b"aggTrade": on(TradeMsg, trade),
        b"depth": on(DepthMsg, depth),
        b"depth@100ms": on(DepthMsg, depth),
        b"bookTicker": on(QuoteMsg, quote),
        b"ticker": on(TickerMsg, ticker),
        b"kline_*": on(KlineMsg, candle),
    },
    other=other,
)
BOOK_REST = on(DepthRest, book_rest)
INSTRUMENTS = on(ExchangeInfo, instruments)
