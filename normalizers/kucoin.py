"""KuCoin spot, the classic websocket. https://www.kucoin.com/docs-new/websocket-api/base-info/introduction"""

from collections.abc import Sequence
from typing import Any, Final, Generic, Literal, TypeAlias

from msgspec import Struct

from streamer.decode import after, keyed
from streamer.spec import Ack, Ctx, Out, Ready, Reject, Restart, Unknown, on, whole
from streamer.types import BookDelta, BookSnapshot, Candle, Instrument, Level, N, Quote, Side, Ticker, Trade
from streamer.wire import MS, Int, Ms, Row, T, listed, ms, numbers, sides, step

BARS: Final = {f"{i}min": f"{i}m" for i in (1, 3, 5, 15, 30)} | {f"{i}hour": f"{i}h" for i in (1, 2, 4, 6, 8, 12)}
INTERVALS: Final = BARS | {"1day": "1d", "1week": "1w", "1month": "1M"}
HOPELESS: Final = (400, 404)  # topic is invalid, topic does not exist
BEST: Final = "buy", "bidSize", "sell", "askSize"


class Msg(Struct, Generic[T], gc=False):
    data: T


class Named(Msg[T], gc=False):
    """Where only the topic tells all."""

    topic: str


class Rest(Struct, Generic[T], gc=False):
    code: Literal["200000"]
    data: T


class Match(Struct, Generic[N], rename="camel", gc=False):
    """`side` is the taker's, `time` in ns."""

    symbol: str
    side: Side
    price: N
    size: N
    trade_id: str
    time: Int


class Changes(Struct, Generic[N], gc=False):
    """Price, size and its own number, which lies within `sequence_start` and `sequence_end`."""

    bids: list[tuple[N, N, N]]
    asks: list[tuple[N, N, N]]


class Update(Struct, Generic[N], rename="camel", gc=False):
    symbol: str
    sequence_start: Int
    sequence_end: Int
    changes: Changes[N]
    time: Ms | None = None


class Best(Struct, Generic[N], gc=False):
    bids: Sequence[N]
    asks: Sequence[N]
    timestamp: Ms


class Last(Struct, Generic[N], rename="camel", gc=False):
    best_bid: N | None
    best_bid_size: N | None
    best_ask: N | None
    best_ask_size: N | None
    time: Ms


class Full(Struct, Generic[N], gc=False):
    sequence: Int
    bids: Sequence[Level[N]]
    asks: Sequence[Level[N]]
    time: Ms


Matches: TypeAlias = Msg[Match[N]]
Updates: TypeAlias = Msg[Update[N]]
Bests: TypeAlias = Named[Best[N]]
Lasts: TypeAlias = Named[Last[N]]
Books: TypeAlias = Rest[Full[N]]


def match(m: Matches[N], ctx: Ctx[N]) -> Out[N]:
    d = m.data
    return Trade(ctx.exchange, ctx.sym[d.symbol].symbol, d.time, ctx.ts_recv, d.price, d.size, d.side, d.trade_id)


def update(m: Updates[N], ctx: Ctx[N]) -> Out[N]:
    """A price of 0 is no level: only the number counts."""
    # DOUBT: an example of KuCoin's has sequenceStart above sequenceEnd (captures do not; settled by any capture of today)
    d, symbol = m.data, ctx.sym[m.data.symbol].symbol
    bids, asks, ts = d.changes.bids, d.changes.asks, None if d.time is None else d.time * MS
    bid_levels = [(price, size) for price, size, _ in bids if price] if bids else []  # most updates are of one side
    ask_levels = [(price, size) for price, size, _ in asks if price] if asks else []
    return BookDelta(ctx.exchange, symbol, ts, ctx.ts_recv, bid_levels, ask_levels, d.sequence_start, d.sequence_end)


def quote(m: Bests[N], ctx: Ctx[N]) -> Out[N]:
    """The symbol stands in the topic alone."""
    # DOUBT: an empty side is an empty list, or has nothing but 0 (an inference; settled by a pair without bids)
    bid, ask = (side[:2] if side and side[0] else (None, None) for side in (m.data.bids, m.data.asks))
    return Quote(ctx.exchange, ctx.sym[m.topic.partition(":")[2]].symbol, m.data.timestamp * MS, ctx.ts_recv, *bid, *ask)


def last(m: Lasts[N], ctx: Ctx[N]) -> Out[N]:
    """The same from an older channel. https://www.kucoin.com/docs-new/3470063w0 calls `time` that of the last trade; in captures it is
    that of the message, and moves while the trade stays."""
    d = m.data
    bid, ask = ((price, size) if price else (None, None) for price, size in ((d.best_bid, d.best_bid_size), (d.best_ask, d.best_ask_size)))
    return Quote(ctx.exchange, ctx.sym[m.topic.partition(":")[2]].symbol, d.time * MS, ctx.ts_recv, *bid, *ask)


def ticker(m: Msg[Row], ctx: Ctx[N]) -> Out[N]:
    d: Row = m.data["data"]
    day = *numbers(d, ctx, "lastTradedPrice", "open", "high", "low", "vol", "volValue"), *sides(d, ctx, *BEST)
    return Ticker(ctx.exchange, ctx.sym[d["symbol"]].symbol, ms(d["datetime"]), ctx.ts_recv, *day)


def candle(m: Named[Row], ctx: Ctx[N]) -> Out[N]:
    """Open, close, high, low; `time` in ns, the bar's in seconds. KuCoin does not say that a bar is closed."""
    raw, _, bar = m.topic.partition(":")[2].rpartition("_")
    start, *numbers = m.data["candles"]
    o, c, high, low, volume, value = map(ctx.num, numbers[:6])
    at = ctx.exchange, ctx.sym[raw].symbol, whole(m.data["time"]), ctx.ts_recv, INTERVALS.get(bar, bar), ms(whole(start) * 1000)
    return Candle(*at, o, high, low, c, volume, value)


def book_rest(m: Books[N], ctx: Ctx[N], inst: Instrument) -> BookSnapshot[N]:
    d = m.data
    return BookSnapshot(ctx.exchange, inst.symbol, d.time * MS, ctx.ts_recv, d.bids, d.asks, d.sequence)


def instruments(m: Rest[list[Row]], ctx: Ctx[N]) -> list[Instrument]:
    out = []
    for d in m.data:
        price_step, size_step = step(d["priceIncrement"]), step(d["baseIncrement"])
        named = d["symbol"], d["baseCurrency"], d["quoteCurrency"]
        out.append(listed(ctx, *named, price_step=price_step, size_step=size_step, active=d["enableTrading"]))
    return out


def other(m: Any, ctx: Ctx[N]) -> Out[N]:
    """`id` is that of our command, but for the greeting; an error without one is about the connection."""
    kind, text = m["type"], str(m.get("data"))
    if kind == "welcome":
        return Ready()
    if kind == "ack":
        return Ack(whole(m["id"]))
    if kind == "error" and "token" in text:
        return Restart(text)
    if kind == "error" and str(m.get("id")).isdecimal():
        return Reject(whole(m["id"]), text, fatal=m["code"] in HOPELESS)
    return () if kind == "pong" else Unknown(str(m.get("topic") or text).partition(":")[0])


NORMALIZE = keyed(after(b'"topic":"/', b":"), {
    b"market/match": on(Matches, match), b"market/level2": on(Updates, update), b"spotMarket/level1": on(Bests, quote),
    b"market/snapshot": on(Msg[Row], ticker), b"market/candles": on(Named[Row], candle),
    b"market/ticker": on(Lasts, last),  # not subscribed to; in old recordings
}, other=other)  # fmt: skip
BOOK_REST = on(Books, book_rest)
INSTRUMENTS = on(Rest[list[Row]], instruments)
