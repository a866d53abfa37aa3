"""BitMEX: https://www.bitmex.com/app/wsAPI. All is tables: a `partial` begins one, rows come and go, what they leave out is as before."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Generic, Literal, TypeAlias

from msgspec import Struct

from streamer.decode import after, keyed
from streamer.spec import BOUND, Ack, Broken, Ctx, History, Out, Reject, Unknown, on, whole
from streamer.times import rfc3339, rfc3339_or_none
from streamer.wire import MINUTE, Int, Row, T, listed, number, numbers

from streamer.types import (  # isort: skip
    BookDelta, BookSnapshot, Candle, Funding, IndexPrice, Instrument, Level, Liquidation, MarkPrice, N, OpenInterest, Quote, Side, Ticker,
    Trade,
)  # fmt: skip

SPANS: Final = {"1m": 60, "5m": 300, "1h": 3600, "1d": 86400}
SIDES: Final[dict[str, Side]] = {"Buy": "buy", "Sell": "sell"}
# left out: FFICSX, bets on events; FFMCSX, spreads, with prices below zero; MR..., indices
KINDS: Final = {"FFWCSX": "swap", "FFWCSF": "swap", "FFSCSX": "swap", "FFCCSX": "future", "IFXXXP": "spot"}
CODES: Final = {"XBT": "BTC", "XBt": "BTC", "Gwei": "ETH", "LAMp": "SOL"}  # the smallest units too: `USDt` is a millionth
DIGITS: Final = {"BTC": 8, "ETH": 9, "SOL": 9, "USDC": 6, "USDT": 6}
# DOUBT: near its expiry a future's `indicativeSettlePrice` may be the average it settles at (a guess; settled by a last half hour)
TOLD: Final[dict[Any, Sequence[str]]] = {
    Ticker: ("lastPrice", "prevPrice24h", "highPrice", "lowPrice", "volume24h", "foreignNotional24h", "bidPrice", "", "askPrice"),
    MarkPrice: ["markPrice"], IndexPrice: ["indicativeSettlePrice"], OpenInterest: ("openInterest", "openValue"),
    Funding: ("fundingRate", "indicativeFundingRate", "fundingTimestamp", "fundingInterval"),  # a span: the time so much after 2000 began
}  # fmt: skip
"""What the table of instruments says of each kind, in the order of its fields; "" for what it does not say."""
OF: Final[dict[str, Any]] = {name: kind for kind, names in TOLD.items() for name in names if name}
TIMES: Final[dict[str, Any]] = {"fundingTimestamp": rfc3339, "fundingInterval": lambda x: rfc3339(x) // 10**9 - 946684800}


class Table(Struct, Generic[T], gc=False):
    table: str
    action: Literal["partial", "insert", "update", "delete"]
    data: list[T]
    filter: Row = {}


class Order(Struct, Generic[N], gc=False):  # a level of the book
    symbol: str
    id: Int
    side: Literal["Buy", "Sell"]
    size: N | None = None
    price: N | None = None  # of changed and deleted levels since 2023
    timestamp: str | None = None  # of levels since 2022


class Best(Struct, Generic[N], gc=False):
    symbol: str
    timestamp: str | None = None
    bidSize: N | None = None
    bidPrice: N | None = None
    askPrice: N | None = None
    askSize: N | None = None


class Fill(Struct, Generic[N], gc=False):
    symbol: str
    size: N
    price: N
    timestamp: str | None = None
    side: str = ""
    trdMatchID: str | None = None


class Forced(Struct, Generic[N], gc=False):  # each has some of this
    symbol: str
    orderID: str | None = None
    side: str = ""
    price: N | None = None
    leavesQty: N | None = None


Orders: TypeAlias = Table[Order[N]]
Bests: TypeAlias = Table[Best[N]]
Fills: TypeAlias = Table[Fill[N]]
Forcings: TypeAlias = Table[Forced[N]]


def at(raw: str, timestamp: str | None, ctx: Ctx[N]) -> tuple[str, str, int | None, int]:
    return ctx.exchange, ctx.sym[raw].symbol, rfc3339_or_none(timestamp), ctx.ts_recv


def book(m: Orders[N], ctx: Ctx[N]) -> Out[N]:
    """Levels are known by side and id. Nothing numbers the messages, but a level that is not where it must be shows a loss."""
    # DOUBT: `timestamp` is the engine's time (a notice of 2022), not `transactTime` (in a client's sample of 2024; settled by a capture)
    # DOUBT: ids, arbitrary since 2023, stand for one price on one side until deleted (a capture of 2021; settled by one of today)
    rows, action = m.data, m.action
    raw, time = (rows[-1].symbol, rows[-1].timestamp) if rows else (m.filter["symbol"], None)
    name, ts = ctx.sym[raw].symbol, rfc3339(time) if time else None
    known: tuple[dict[int, Any], dict[int, Any], N] | None = ({}, {}, ctx.num(0)) if action == "partial" else ctx.mem.get(raw)
    if known is None:
        return ()
    buy, sell, nothing = known  # the prices of each side by their ids
    new, gone = action in ("partial", "insert"), action == "delete"
    bids: list[Level[N]] = []
    asks: list[Level[N]] = []
    for d in rows:
        prices, side = (buy, bids) if d.side == "Buy" else (sell, asks)
        id, size = d.id, d.size
        if (id in prices) is new or d.symbol != raw:
            ctx.mem.pop(raw, None)
            return Broken(name, "gap", ctx.ts_recv)
        if new:
            price = prices[id] = d.price
        elif gone:
            price, size = prices.pop(id), nothing  # the size that goes may be named
        else:
            price = prices[id]
        if price is None or size is None:
            raise ValueError("no price or size")
        side.append((price, size))
    if action == "partial":
        ctx.mem[raw] = known
        return BookSnapshot(ctx.exchange, name, ts, ctx.ts_recv, sorted(bids, reverse=True), sorted(asks))
    return BookDelta(ctx.exchange, name, ts, ctx.ts_recv, bids, asks)


def trades(m: Fills[N], ctx: Ctx[N]) -> Out[N]:
    # DOUBT: since 2026 there are protected books beside, and each subscription is given one `pool` (notices; settled by asking which)
    venue, sym, now, side = ctx.exchange, ctx.sym, ctx.ts_recv, SIDES.get
    ticks = [
        Trade(venue, sym[d.symbol].symbol, rfc3339_or_none(d.timestamp), now, d.price, d.size, side(d.side), d.trdMatchID) for d in m.data
    ]
    return ticks if m.action == "insert" else History(ticks)


def quote(m: Bests[N], ctx: Ctx[N]) -> Out[N]:
    venue, sym, now = ctx.exchange, ctx.sym, ctx.ts_recv
    return [
        Quote(venue, sym[d.symbol].symbol, rfc3339_or_none(d.timestamp), now, d.bidPrice, d.bidSize, d.askPrice, d.askSize) for d in m.data
    ]


def candle(m: Table[Row], ctx: Ctx[N]) -> Out[N]:
    """Comes once, closed: `timestamp` is its end. `open` is the close before it, not its first trade."""
    interval, out = m.table.removeprefix("tradeBin"), []
    for d in m.data if m.action == "insert" else m.data[-1:]:
        head, start = at(d["symbol"], d["timestamp"], ctx), rfc3339(d["timestamp"]) - SPANS[interval] * 10**9
        o, high, low, c, volume, value, fills = numbers(d, ctx, "open", "high", "low", "close", "volume", "foreignNotional", "trades")
        if o is not None:  # it was traded before
            out.append(Candle(*head, interval, start, o, high, low, c, volume, value, None if fills is None else whole(fills), True))
    return out


def fields(row: Row, ctx: Ctx[N]) -> Row:
    """Those that we tell of, with numbers and times made of their text."""
    out = {}
    for name, x in row.items():
        if name in OF:
            if name in TIMES or x.__class__ is not float or not -BOUND <= x <= BOUND:  # most are what they should be, and need no call
                x = TIMES[name](x) if name in TIMES and x is not None else number(x, ctx)
            out[name] = x
    return out


def instrument(m: Table[Row], ctx: Ctx[N]) -> Out[N]:
    """A kind is given when some of it is news, and once a minute for those who subscribed since. Best prices come every five seconds."""
    out: list[Any] = []
    for d in m.data:
        raw, time = d["symbol"], d.get("timestamp")
        about, table, minute = ctx.sym[raw], (m.table, raw), time[:16] if time else ""
        known: Row | None = {} if m.action == "partial" else ctx.mem.get(table)
        if known is None:
            continue
        head, new = (ctx.exchange, about.symbol, rfc3339_or_none(time), ctx.ts_recv), fields(d, ctx)
        kinds = {OF[name] for name in new} if known.get(MINUTE) == minute else TOLD.keys()
        new[MINUTE] = minute
        known.update(new)
        ctx.mem[table] = known
        for kind in (Ticker,) if about.kind == "spot" else TOLD:
            if kind not in kinds:
                continue
            values = [known.get(name) for name in TOLD[kind]]
            if kind is OpenInterest and values[1] is not None:
                values[1] = values[1] / 10 ** DIGITS[about.quote] if about.quote == about.settle in DIGITS else None
            if values.count(None) < len(values):
                out.append(kind(*head, *values))
    return out


def liquidation(m: Forcings[N], ctx: Ctx[N]) -> Out[N]:
    """An order of the engine, which comes, shrinks and goes: only that it came is news."""
    rows: Any = m.data if m.action == "insert" else ()
    if any(d.price is None or d.leavesQty is None for d in rows):
        raise ValueError("no price or size")
    return [Liquidation(*at(d.symbol, None, ctx), SIDES.get(d.side), d.price, d.leavesQty, d.orderID) for d in rows]


def instruments(rows: list[Row], ctx: Ctx[N]) -> list[Instrument]:
    """https://support.bitmex.com/hc/en-gb/articles/16797952159261. A quanto contract is so much BTC for a unit of price, and its worth in
    base depends on two prices: it stays in contracts, as inverse ones do."""
    out = []
    for d in rows:
        kind, inverse, quanto, per = KINDS.get(d["typ"]), d.get("isInverse"), d.get("isQuanto"), d.get("underlyingToPositionMultiplier")
        if kind is None or not (inverse or quanto or per):
            continue
        base, quoted, last = (CODES.get(x, x.upper()) for x in (d["underlying"], d["quoteCurrency"], d.get("settlCurrency") or ""))
        settle, expiry = None if kind == "spot" else last, rfc3339(d["expiry"]) if kind == "future" else None
        tick, lot, worth = (Decimal(str(d[x])) for x in ("tickSize", "lotSize", "multiplier"))
        one = worth / d["underlyingToSettleMultiplier"] if inverse else worth.scaleb(-8) if quanto else 1 / Decimal(str(per))
        facts: Any = settle, kind, tick, lot, "contracts" if inverse or quanto else "base", one, expiry, None, None, d["state"] == "Open"
        out.append(listed(ctx, d["symbol"], base, quoted, *facts))
    return out


def other(m: Any, ctx: Ctx[N]) -> Out[N]:
    """Greetings, and answers to commands: one for each of its topics, and each repeats the whole command."""
    # DOUBT: a wrong topic does not refuse the others (two errors for two wrong of eight, gocryptotrader #1692; settled by trying)
    if m.get("success") or "info" in m:
        return Ack(str(m["subscribe"])) if "subscribe" in m else ()
    command, why, status = m.get("request") or {}, str(m.get("error") or m.get("table")), m.get("status")
    asked: list[str] = command["args"] if command.get("op") == "subscribe" else []
    named = re.search(r': "?([\w:]+)', why)
    blamed = [t for t in asked if len(asked) == 1 or status == 429 or (named and (named[1] == t or named[1] in t.split(":")))]
    return [Ack(x) if "already subscribed" in why else Reject(x, why, fatal=status == 400) for x in blamed] or Unknown(why)


NORMALIZE = keyed(after(b'"table":"', steady=True), {
    b"trade": on(Fills, trades), b"orderBookL2": on(Orders, book), b"quote": on(Bests, quote),
    b"liquidation": on(Forcings, liquidation), b"tradeBin*": on(Table[Row], candle), b"instrument": on(Table[Row], instrument),
}, other=other)  # fmt: skip
INSTRUMENTS = on(list[Row], instruments)
