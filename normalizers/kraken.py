"""Kraken spot, websocket v2. https://docs.kraken.com/api/docs/websocket-v2/"""

from itertools import groupby
from typing import Any, Final, Generic, Literal, TypeAlias

from msgspec import Struct

from streamer.decode import after, keyed
from streamer.spec import Ack, Answer, Checked, Ctx, History, Out, Reject, Unknown, on
from streamer.times import rfc3339, rfc3339_or_none
from streamer.types import BookDelta, BookSnapshot, Candle, Instrument, N, Quote, Side, Ticker, Trade
from streamer.wire import Int, Row, T, digits, listed, numbers, sides

BARS: Final = {1: "1m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 240: "4h", 1440: "1d", 10080: "1w", 21600: "15d"}  # ccxt: 2w
DEPTHS: Final = (10, 25, 100, 500, 1000)
CHANNELS: dict[str, dict[str, Any]] = {"trade": {}, "ticker": {"event_trigger": "bbo"}}
CHANNELS |= {f"book-{depth}": {"depth": depth} for depth in DEPTHS} | {f"ohlc-{minutes}": {"interval": minutes} for minutes in BARS}
"""Their parameters. A topic is `book-25:BTC/USD`. A refusal does not say the channel: its place here is part of the `req_id`, repeated."""
# DOUBT: v2 renames only these two (a third party's listing, 2026; settled by its `instrument` channel). ccxt renames LUNA and LUNA2 too
V2_NAMES: Final = {"XBT": "BTC", "XDG": "DOGE"}
BEST: Final = "bid", "bid_qty", "ask", "ask_qty"


class Push(Struct, Generic[T], gc=False):
    type: Literal["snapshot", "update"]
    data: list[T]
    timestamp: str | None = None


class WireLevel(Struct, Generic[N], gc=False):
    price: N
    qty: N


class BookData(Struct, Generic[N], gc=False):
    symbol: str
    bids: list[WireLevel[N]]
    asks: list[WireLevel[N]]
    checksum: Int
    timestamp: str | None = None


class TradeData(Struct, Generic[N], gc=False):
    symbol: str
    side: Side
    price: N
    qty: N
    trade_id: Int
    timestamp: str


class Bar(Struct, Generic[N], gc=False):
    symbol: str
    interval: Int
    interval_begin: str
    open: N
    high: N
    low: N
    close: N
    volume: N
    trades: Int


Books: TypeAlias = Push[BookData[N]]
Trades: TypeAlias = Push[TradeData[N]]
Bars: TypeAlias = Push[Bar[N]]


def book(m: Books[N], ctx: Ctx[N]) -> Out[N]:
    kind = BookSnapshot if m.type == "snapshot" else BookDelta
    out: list[Answer[N]] = []
    for d in m.data:
        at = ctx.exchange, ctx.sym[d.symbol].symbol, rfc3339_or_none(d.timestamp), ctx.ts_recv
        tick: Any = kind(*at, [(level.price, level.qty) for level in d.bids], [(level.price, level.qty) for level in d.asks])
        out.append(Checked(at[1], d.checksum, tick))
    return out


def trades(m: Trades[N], ctx: Ctx[N]) -> Out[N]:
    """`side` is the taker's. The snapshot is the last 50 trades: after a reconnect it brings those missed."""
    exchange, sym, now = ctx.exchange, ctx.sym, ctx.ts_recv
    ticks = [Trade(exchange, sym[d.symbol].symbol, rfc3339(d.timestamp), now, d.price, d.qty, d.side, str(d.trade_id)) for d in m.data]
    return ticks if m.type == "update" else [History(list(same)) for _, same in groupby(ticks, lambda tick: tick.symbol)]


def ticker(m: Push[Row], ctx: Ctx[N]) -> Out[N]:
    """One topic feeds both kinds: Kraken takes one trigger for a symbol and connection, and the messages do not tell theirs."""
    # DOUBT: an empty side is 0 or left out (an inference; settled by a pair without bids)
    # DOUBT: `bbo` may miss changes of size, and leave 24 h figures until the best prices move (documents; settled by a capture with `book`)
    out: list[Answer[N]] = []
    for d in m.data:
        at = ctx.exchange, ctx.sym[d["symbol"]].symbol, rfc3339_or_none(d.get("timestamp")), ctx.ts_recv
        best = sides(d, ctx, *BEST)
        out += Quote(*at, *best), Ticker(*at, *numbers(d, ctx, "last", "", "high", "low", "volume", ""), *best)
    return out


def candle(m: Bars[N], ctx: Ctx[N]) -> Out[N]:
    """A snapshot is the latest bars, oldest first: only the last is news. Kraken does not say that a bar is closed."""
    out: list[Answer[N]] = []
    for d in m.data if m.type == "update" else m.data[-1:]:
        at = ctx.exchange, ctx.sym[d.symbol].symbol, rfc3339_or_none(m.timestamp), ctx.ts_recv, BARS[d.interval]
        out.append(Candle(*at, rfc3339(d.interval_begin), d.open, d.high, d.low, d.close, d.volume, None, d.trades))
    return out


def instruments(m: Row, ctx: Ctx[N]) -> list[Instrument]:
    # DOUBT: checksums are of these decimals (of BTC/USD and MINA/GBP in a third party's captures; settled by v2's `instrument` channel)
    out = []
    for p in (p for p in m["result"].values() if p.get("wsname")):
        base, _, quote = (V2_NAMES.get(part, part) for part in p["wsname"].partition("/"))
        steps, active = (digits(p["pair_decimals"]), digits(p["lot_decimals"])), p.get("status", "online") == "online"
        out.append(listed(ctx, f"{base}/{quote}", base, quote, None, "spot", *steps, active=active))
    return out


def other(m: Any, ctx: Ctx[N]) -> Out[N]:
    """Answers to commands, one for each symbol, and what comes unasked: heartbeats, and Kraken's status on connecting."""
    method, channel = m.get("method"), m.get("channel")
    if method in ("pong", "unsubscribe") or channel in ("heartbeat", "status"):
        return ()
    if method == "subscribe" and m["success"]:
        to = m["result"]
        return Ack("-".join(str(to[key]) for key in ("channel", "depth", "interval") if key in to) + f":{to['symbol']}")
    if method == "subscribe" and "req_id" in m and "symbol" in m:
        name, reason = list(CHANNELS)[m["req_id"] % len(CHANNELS)], str(m["error"])
        return Reject(f"{name}:{m['symbol']}", reason, fatal=reason.startswith("Currency pair not supported"))
    return Unknown(str(channel or m.get("error") or m.get("Error") or method))


NORMALIZE = keyed(
    after(b'"channel":"', steady=True),  # in an ack it stands deeper: that fails to decode as data, and goes to `other`
    {b"book": on(Books, book), b"trade": on(Trades, trades), b"ticker": on(Push[Row], ticker), b"ohlc": on(Bars, candle)},
    other=other,
)
INSTRUMENTS = on(Row, instruments)
