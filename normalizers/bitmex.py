"""BitMEX: https://www.bitmex.com/app/wsAPI. All is tables: a `partial` begins one, rows come and go, what they leave out is as before."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Generic, Literal, TypeAlias

from msgspec import Struct

from streamer.decode import after, keyed
from streamer.spec import Ack, Broken, Ctx, History, Out, Reject, Unknown, on, whole
from streamer.times import rfc3339, rfc3339_or_none
from streamer.wire import Row, T, listed, merge, numbers, parsed

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
READ: Final[dict[str, Any]] = {"trades": whole, "fundingTimestamp": rfc3339, "fundingInterval": lambda x: rfc3339(x) // 10**9 - 946684800}
NUMBERS: Final = {name for names in TOLD.values() for name in names} - READ.keys()


class Table(Struct, Generic[T]):
    table: str
    action: Literal["partial", "insert", "update", "delete"]
    data: list[T]
    filter: Row = {}


class Item(Struct, Generic[N]):  # a row of the busier tables: each has some of this
    symbol: str
    timestamp: str | None = None  # of levels since 2022
    side: str = ""
    price: N | None = None  # of changed and deleted levels since 2023
    size: N | None = None
    id: int | None = None
    trdMatchID: str | None = None
    orderID: str | None = None
    leavesQty: N | None = None
    bidPrice: N | None = None
    bidSize: N | None = None
    askPrice: N | None = None
    askSize: N | None = None


Items: TypeAlias = Table[Item[N]]


def at(raw: str, timestamp: str | None, ctx: Ctx[N]) -> tuple[str, str, int | None, int]:
    return ctx.exchange, ctx.sym[raw].symbol, rfc3339_or_none(timestamp), ctx.ts_recv


def read(row: Row, ctx: Ctx[N]) -> Row:
    """The row with its numbers and times made of their text."""
    return {name: READ[name](x) if name in READ and x is not None else x for name, x in parsed(row, ctx, NUMBERS).items()}


def level(price: N | None, size: N | None) -> Level[N]:
    if price is None or size is None:
        raise ValueError("no price or size")
    return price, size


def book(m: Items[N], ctx: Ctx[N]) -> Out[N]:
    """Levels are known by side and id. Nothing numbers the messages, but a level that is not where it must be shows a loss."""
    # DOUBT: `timestamp` is the engine's time (a notice of 2022), not `transactTime` (in a client's sample of 2024; settled by a capture)
    # DOUBT: ids, arbitrary since 2023, stand for one price on one side until deleted (a capture of 2021; settled by one of today)
    whole, gone = m.action == "partial", m.action == "delete"
    raw, time = (m.data[-1].symbol, m.data[-1].timestamp) if m.data else (m.filter["symbol"], None)
    head, table = at(raw, time, ctx), (m.table, raw)
    prices: dict[Any, N | None] | None = {} if whole else ctx.mem.get(table)
    if prices is None:
        return ()
    sides: dict[str, list[Level[N]]] = {"Buy": [], "Sell": []}
    for d in m.data:
        key = d.side, d.id
        if d.symbol != raw or (key in prices) is (whole or m.action == "insert"):
            ctx.mem.pop(table, None)
            return Broken(head[1], "gap", ctx.ts_recv)
        price = prices.pop(key) if gone else prices.setdefault(key, d.price)
        sides[d.side].append(level(price, ctx.num(0) if gone else d.size))  # deletions may name the size that goes
    ctx.mem[table] = prices
    bids, asks = sides.values()
    return BookSnapshot(*head, sorted(bids, reverse=True), sorted(asks)) if whole else BookDelta(*head, bids, asks)


def trades(m: Items[N], ctx: Ctx[N]) -> Out[N]:
    # DOUBT: since 2026 there are protected books beside, and each subscription is given one `pool` (notices; settled by asking which)
    ticks = [Trade(*at(d.symbol, d.timestamp, ctx), *level(d.price, d.size), SIDES.get(d.side), d.trdMatchID) for d in m.data]
    return ticks if m.action == "insert" else History(ticks)


def quote(m: Items[N], ctx: Ctx[N]) -> Out[N]:
    return [Quote(*at(d.symbol, d.timestamp, ctx), d.bidPrice, d.bidSize, d.askPrice, d.askSize) for d in m.data]


def candle(m: Table[Row], ctx: Ctx[N]) -> Out[N]:
    """Comes once, closed: `timestamp` is its end. `open` is the close before it, not its first trade."""
    interval, out = m.table.removeprefix("tradeBin"), []
    for d in m.data if m.action == "insert" else m.data[-1:]:
        head, start = at(d["symbol"], d["timestamp"], ctx), rfc3339(d["timestamp"]) - SPANS[interval] * 10**9
        o, high, low, c, volume, value = numbers(d, ctx, "open", "high", "low", "close", "volume", "foreignNotional")
        if o is not None:  # it was traded before
            out.append(Candle(*head, interval, start, o, high, low, c, volume, value, d.get("trades"), True))
    return out


def instrument(m: Table[Row], ctx: Ctx[N]) -> Out[N]:
    """A kind is given when some of it is news. Best prices come every five seconds."""
    out: list[Any] = []
    for d in m.data:
        head, about, table = at(d["symbol"], d.get("timestamp"), ctx), ctx.sym[d["symbol"]], (m.table, d["symbol"])
        known: Row | None = {} if m.action == "partial" else ctx.mem.get(table)
        if known is None:
            continue
        row, new = merge(known, read(d, ctx), str(d.get("timestamp"))[:16])
        for kind in [k for k in ([Ticker] if about.kind == "spot" else TOLD) if not new.isdisjoint(TOLD[k])]:
            values = [row.get(name) for name in TOLD[kind]]
            if kind is OpenInterest and values[1] is not None:
                values[1] = values[1] / 10 ** DIGITS[about.quote] if about.quote == about.settle in DIGITS else None
            if any(x is not None for x in values):
                out.append(kind(*head, *values))
        ctx.mem[table] = row
    return out


def liquidation(m: Items[N], ctx: Ctx[N]) -> Out[N]:
    """An order of the engine, which comes, shrinks and goes: only that it came is news."""
    rows = m.data if m.action == "insert" else ()
    return [Liquidation(*at(d.symbol, None, ctx), SIDES.get(d.side), *level(d.price, d.leavesQty), d.orderID) for d in rows]


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


NORMALIZE = keyed(after(b'"table":"'), {
    b"trade": on(Items, trades), b"orderBookL2": on(Items, book), b"quote": on(Items, quote), b"liquidation": on(Items, liquidation),
    b"tradeBin*": on(Table[Row], candle), b"instrument": on(Table[Row], instrument),
}, other=other)  # fmt: skip
INSTRUMENTS = on(list[Row], instruments)
