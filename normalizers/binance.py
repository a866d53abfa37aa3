"""Binance spot and its siblings: the combined-stream form, in which the stream's name tells the message.

https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Generic, TypeAlias, TypeVar

from msgspec import Struct

from streamer.decode import after, keyed
from streamer.spec import Ack, Ctx, Out, Reject, Restart, Unknown, on
from streamer.symbols import format as symbol
from streamer.types import BookDelta, BookSnapshot, Candle, Instrument, Level, N, Quote, Ticker, Trade

MS: Final = 1_000_000
T = TypeVar("T")


class Msg(Struct, Generic[T]):
    """`{"stream":"btcusdt@trade","data":{..}}`."""

    data: T


class TradeData(Struct, Generic[N]):
    """`t` on @trade, `a` on @aggTrade. `m`: the buyer is the maker, so the taker sold."""

    s: str
    p: N
    q: N
    T: int
    m: bool
    t: int | None = None
    a: int | None = None


class DepthData(Struct, Generic[N]):
    s: str
    E: int
    U: int
    u: int
    b: Sequence[Level[N]]
    a: Sequence[Level[N]]


class QuoteData(Struct, Generic[N]):
    s: str
    b: N
    B: N
    a: N
    A: N


class TickerData(QuoteData[N]):
    E: int
    c: N
    o: N
    h: N
    l: N  # noqa: E741  (the venue's name)
    v: N
    q: N


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


TradeMsg: TypeAlias = Msg[TradeData[N]]
DepthMsg: TypeAlias = Msg[DepthData[N]]
QuoteMsg: TypeAlias = Msg[QuoteData[N]]
TickerMsg: TypeAlias = Msg[TickerData[N]]
KlineMsg: TypeAlias = Msg[KlineData[N]]


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
    at = ctx.exchange, ctx.sym[d.s].symbol, d.T * MS, ctx.ts_recv
    number = d.t if d.t is not None else d.a
    return Trade(*at, d.p, d.q, "sell" if d.m else "buy", None if number is None else str(number))


def depth(m: DepthMsg[N], ctx: Ctx[N]) -> Out[N]:
    d = m.data
    return BookDelta(ctx.exchange, ctx.sym[d.s].symbol, d.E * MS, ctx.ts_recv, d.b, d.a, d.U, d.u)


def best(d: QuoteData[N]) -> tuple[N | None, N | None, N | None, N | None]:
    # DOUBT: an empty side is written as price 0 (an inference; settled by a pair without bids)
    return *((d.b, d.B) if d.b else (None, None)), *((d.a, d.A) if d.a else (None, None))


def quote(m: QuoteMsg[N], ctx: Ctx[N]) -> Out[N]:
    return Quote(ctx.exchange, ctx.sym[m.data.s].symbol, None, ctx.ts_recv, *best(m.data))


def ticker(m: TickerMsg[N], ctx: Ctx[N]) -> Out[N]:
    d = m.data
    return Ticker(ctx.exchange, ctx.sym[d.s].symbol, d.E * MS, ctx.ts_recv, d.c, d.o, d.h, d.l, d.v, d.q, *best(d))


def candle(m: KlineMsg[N], ctx: Ctx[N]) -> Out[N]:
    d, k = m.data, m.data.k
    at = ctx.exchange, ctx.sym[d.s].symbol, d.E * MS, ctx.ts_recv
    return Candle(*at, k.i, k.t * MS, k.o, k.h, k.l, k.c, k.v, k.q, k.n, k.x)


def book_rest(m: DepthRest[N], ctx: Ctx[N], inst: Instrument) -> BookSnapshot[N]:
    return BookSnapshot(ctx.exchange, inst.symbol, None, ctx.ts_recv, m.bids, m.asks, m.last_update_id)


def instruments(m: ExchangeInfo, ctx: Ctx[N]) -> list[Instrument]:
    out = []
    for s in m.symbols:
        steps = {f.filter_type: f.tick_size or f.step_size for f in s.filters}
        at = ctx.exchange, symbol(s.base_asset, s.quote_asset), None, ctx.ts_recv, s.symbol, s.base_asset, s.quote_asset
        price_step, size_step = steps.get("PRICE_FILTER"), steps.get("LOT_SIZE")
        out.append(Instrument(*at, price_step=price_step, size_step=size_step, active=s.status == "TRADING"))
    return out


def other(m: Any, ctx: Ctx[N]) -> Out[N]:
    """Answers to SUBSCRIBE: `{"result":null,"id":1}` or `{"error":{"code":2,"msg":..},"id":1}`; and the notice before a shutdown."""
    if "id" in m and ("error" in m or "code" in m):
        error = m.get("error") or m
        return Reject(m["id"], str(error.get("msg")), fatal=error.get("code") == 2)
    if "id" in m and "result" in m:
        return Ack(m["id"])
    # DOUBT: how the notice is wrapped in combined streams (the documents name the event only; settled by one that is recorded)
    if (m.get("data") or m.get("event") or m).get("e") == "serverShutdown":
        return Restart("server shutdown", planned=True)
    return Unknown(str(m.get("stream", "message")).partition("@")[2])


NORMALIZE = keyed(
    after(b"@"),
    {
        b"trade": on(TradeMsg, trade), b"aggTrade": on(TradeMsg, trade),
        b"depth": on(DepthMsg, depth), b"depth@100ms": on(DepthMsg, depth),
        b"bookTicker": on(QuoteMsg, quote), b"ticker": on(TickerMsg, ticker), b"kline_*": on(KlineMsg, candle),
    },
    other=other,
)  # fmt: skip
BOOK_REST = on(DepthRest, book_rest)
INSTRUMENTS = on(ExchangeInfo, instruments)
