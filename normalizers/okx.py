"""OKX v5. https://www.okx.com/docs-v5/en/

A topic's text is OKX's own way of naming a subscription, `channel:trades,instId:BTC-USDT`. Sizes are contracts for derivatives and base
units for spot, and leave here so. The busy channels are decoded into Structs; in the others every field is text, and "" where there is
no number: there a row is the venue's own object, read by `numbers`.
"""

import re
from typing import Any, Final, Generic, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import astuple

from streamer.decode import after, keyed
from streamer.spec import Ack, Answer, Checked, Ctx, Out, Reject, Restart, Unknown, on, whole
from streamer.wire import MS, Int, Ms, Row, T, best, listed, ms, numbers, step

from streamer.types import (  # isort: skip
    BookDelta, BookSnapshot, Candle, Funding, Greeks, IndexPrice, Instrument, Level, Liquidation, MarkPrice, N, OpenInterest, Quote, Side,
    Ticker, Trade,
)  # fmt: skip

BARS: Final = {i: i for i in ("1s", "1m", "3m", "5m", "15m", "30m")} | {i: i.upper() for i in ("1h", "2h", "4h")} | {
    i: i[:-1] + i[-1].upper() + "utc" for i in ("6h", "12h", "1d", "2d", "3d", "1w", "1M", "3M")  # without utc: Hong Kong's days
}  # fmt: skip
INTERVALS: Final = {bar: interval for interval, bar in BARS.items()}
TYPES: Final[dict[str, Any]] = {"SPOT": "spot", "SWAP": "swap", "FUTURES": "future", "OPTION": "option"}
RIGHTS: Final[dict[str, Any]] = {"C": "call", "P": "put"}
SIDES: Final[dict[str, Any]] = {"buy": "buy", "sell": "sell"}
REFUSED: Final = re.compile(r"channel:[\w-]+,inst\w+:[\w-]+")
DAY: Final = "last", "open24h", "high24h", "low24h", "vol24h"
HOPELESS: Final = ("60012", "60013", "60018")  # invalid request, invalid arguments, no such channel or instrument


class Arg(Struct, rename="camel", gc=False):
    channel: str
    inst_id: str = ""


class Push(Struct, Generic[T], gc=False):
    arg: Arg
    data: list[T]
    action: Literal["snapshot", "update", ""] = ""


class TradeData(Struct, Generic[N], rename="camel", gc=False):
    """One message per taker order and price: `trade_id` is the last of the trades in it. `side` is the taker's."""

    inst_id: str
    trade_id: str
    px: N
    sz: N
    side: Side
    ts: Ms


class WireLevel(Struct, Generic[N], array_like=True, gc=False):
    """["411.8", "10", "0", "4"]: price, size, and (left out, as array_like does) a constant and the number of orders."""

    price: N
    size: N


class BookData(Struct, Generic[N], rename="camel", gc=False):
    """Of `books`, and of `bbo-tbt` without the checksum, which is always 0 since June 2026."""

    asks: list[WireLevel[N]]
    bids: list[WireLevel[N]]
    ts: Ms
    checksum: Int = 0
    prev_seq_id: Int | None = None
    seq_id: Int | None = None


class Listing(Struct, gc=False):
    code: Literal["0"]
    data: list[Row]


Rows: TypeAlias = Push[Row]
Trades: TypeAlias = Push[TradeData[N]]
Books: TypeAlias = Push[BookData[N]]
Bars: TypeAlias = Push[list[str]]


def at(row: Row, ctx: Ctx[N]) -> tuple[str, str, int, int]:
    return ctx.exchange, ctx.sym[row["instId"]].symbol, ms(row["ts"]), ctx.ts_recv


def trades(m: Trades[N], ctx: Ctx[N]) -> Out[N]:
    # DOUBT: in the captures of 2021-22 the first message after subscribing is the last trade so far, hours old in quiet markets; OKX's
    # documents say nothing of it (settled by subscribing to a quiet pair). It passes as a trade with its true ts_event, once by its id.
    exchange, sym, now = ctx.exchange, ctx.sym, ctx.ts_recv
    return [Trade(exchange, sym[d.inst_id].symbol, d.ts * MS, now, d.px, d.sz, d.side, d.trade_id) for d in m.data]


def levels(side: list[WireLevel[N]]) -> list[Level[N]]:
    return list(map(astuple, side))


def books(m: Books[N], ctx: Ctx[N]) -> Out[N]:
    exchange, name, now = ctx.exchange, ctx.sym[m.arg.inst_id].symbol, ctx.ts_recv
    out: list[Answer[N]] = []
    for d in m.data:
        ts, bids, asks = d.ts * MS, levels(d.bids), levels(d.asks)
        if m.action == "snapshot":
            tick: Any = BookSnapshot(exchange, name, ts, now, bids, asks, d.seq_id)
        else:
            tick = BookDelta(exchange, name, ts, now, bids, asks, None, d.seq_id, d.prev_seq_id)
        out.append(Checked(name, d.checksum, tick) if d.checksum else tick)
    return out


def quote(m: Books[N], ctx: Ctx[N]) -> Out[N]:
    name = ctx.sym[m.arg.inst_id].symbol
    return [Quote(ctx.exchange, name, d.ts * MS, ctx.ts_recv, *best(levels(d.bids)), *best(levels(d.asks))) for d in m.data]


def ticker(m: Rows, ctx: Ctx[N]) -> Out[N]:
    """`vol24h` counts as sizes do; `volCcy24h` is in quote currency for spot only, else in base."""
    rows = [(d, "volCcy24h" if d["instType"] == "SPOT" else "") for d in m.data]
    return [Ticker(*at(d, ctx), *numbers(d, ctx, *DAY, quoted, "bidPx", "bidSz", "askPx", "askSz")) for d, quoted in rows]


def candle(m: Bars, ctx: Ctx[N]) -> Out[N]:
    """ts, o, h, l, c, volume as sizes are counted, volume in quote (spot) or base (else), volume in quote, confirm."""
    name, bar, num = ctx.sym[m.arg.inst_id].symbol, m.arg.channel.removeprefix("candle"), ctx.num
    head = ctx.exchange, name, None, ctx.ts_recv, INTERVALS.get(bar, bar)
    return [
        Candle(*head, ms(ts), num(o), num(h), num(low), num(c), num(v), num(value), None, end == "1")
        for ts, o, h, low, c, v, _, value, end, *_ in m.data
    ]


def funding(m: Rows, ctx: Ctx[N]) -> Out[N]:
    """`fundingRate` is due at `fundingTime`; the interval may change, so it is what lies between the two times."""
    out: list[Answer[N]] = []
    for d in m.data:
        due, following = ms(d["fundingTime"]), d.get("nextFundingTime")
        interval_s = (ms(following) - due) // 10**9 if following else None
        rate, predicted = numbers(d, ctx, "fundingRate", "nextFundingRate")
        out.append(Funding(*at(d, ctx), rate, predicted, due, interval_s))
    return out


def mark(m: Rows, ctx: Ctx[N]) -> Out[N]:
    return [MarkPrice(*at(d, ctx), ctx.num(d["markPx"])) for d in m.data]


def index(m: Rows, ctx: Ctx[N]) -> Out[N]:
    """An index (BTC-USD) is no instrument: its price goes to the spot pair and to the swaps, whatever they settle in, of that name."""
    out: list[Answer[N]] = []
    for d in m.data:
        key = d["instId"], len(ctx.sym)  # the list may grow
        if key not in ctx.mem:
            same = [i.id for i in ctx.sym.values() if f"{i.base}-{i.quote}" == key[0] and i.kind in ("spot", "swap")]
            ctx.mem[key] = same or [ctx.sym[key[0]].id]
        out += [IndexPrice(*at(d | {"instId": i}, ctx), ctx.num(d["idxPx"])) for i in ctx.mem[key]]
    return out


def open_interest(m: Rows, ctx: Ctx[N]) -> Out[N]:
    return [OpenInterest(*at(d, ctx), *numbers(d, ctx, "oi", "oiUsd")) for d in m.data]


def liquidation(m: Rows, ctx: Ctx[N]) -> Out[N]:
    """All swaps (or futures) come in one channel; those not on our list are left out. The price is that of bankruptcy."""
    rows = [detail | {"instId": d["instId"]} for d in m.data if d["instId"] in ctx.sym for detail in d["details"]]
    return [Liquidation(*at(d, ctx), SIDES[d["side"]], ctx.num(d["bkPx"]), ctx.num(d["sz"])) for d in rows]


def greeks(m: Rows, ctx: Ctx[N]) -> Out[N]:
    """A family's options. Black-Scholes figures, in dollars as elsewhere; OKX has price-adjusted ones, in coin, beside them, and no rho."""
    names = "markVol", "bidVol", "askVol", "deltaBS", "gammaBS", "vegaBS", "thetaBS", "", "fwdPx"
    return [Greeks(*at(d, ctx), *numbers(d, ctx, *names)) for d in m.data if d["instId"] in ctx.sym]


def instruments(m: Listing, ctx: Ctx[N]) -> list[Instrument]:
    """A contract is `ctVal * ctMult` of `ctValCcy`: 1 * 0.01 BTC for a BTC option; for futures x * 1 of base (linear) or quote."""
    out = []
    for d in m.data:
        kind = TYPES[d["instType"]]
        base, quoted = (d["baseCcy"], d["quoteCcy"]) if kind == "spot" else (d["uly"] or d["instId"]).split("-")[:2]
        settle, right, unit = d["settleCcy"] or None, RIGHTS.get(d["optType"]), "base" if d["ctValCcy"] in ("", base) else "contracts"
        price_step, size_step, value, times, strike = (step(d[name]) for name in ("tickSz", "lotSz", "ctVal", "ctMult", "stk"))
        expiry = ms(d["expTime"]) if kind in ("future", "option") else None  # elsewhere the day of delisting
        size = value * (times or 1) if value else None
        facts = settle, kind, price_step, size_step, unit, size, expiry, strike, right, d["state"] == "live"
        out.append(listed(ctx, d["instId"], base, quoted, *facts))
    return out


def arg_of(topic: str) -> dict[str, str]:
    kinds = {kind: inst_type for inst_type, kind in TYPES.items()}
    return {name: kinds.get(value, value) for name, value in (pair.split(":") for pair in topic.split(","))}


def topic_of(arg: dict[str, str]) -> str:
    return ",".join(f"{name}:{TYPES.get(value, value)}" for name, value in sorted(arg.items()))


def other(m: Any, ctx: Ctx[N]) -> Out[N]:
    """Answers to commands, and notices. An error names the subscription in words, or else the command by the `id` we gave it."""
    event, code, text = m.get("event"), m.get("code"), str(m.get("msg"))
    if event == "subscribe":
        return Ack(topic_of(m["arg"]))
    if event == "notice" and code == "64008":
        return Restart("notice 64008", planned=True)
    named = REFUSED.search(text)
    if event == "error" and (named or m.get("id")):
        return Reject(topic_of(arg_of(named[0])) if named else whole(m["id"]), text, fatal=code in HOPELESS)
    return None if event == "unsubscribe" else Unknown(str(event or m["arg"]["channel"]))


NORMALIZE = keyed(after(b'{"arg":{"channel":"'), {  # acks begin with their id or event, so they go straight to `other`
    b"trades": on(Trades, trades), b"tickers": on(Rows, ticker), b"candle*": on(Bars, candle), b"bbo-tbt": on(Books, quote),
    b"books": on(Books, books), b"books-l2-tbt": on(Books, books),  # the latter every 10 ms: for VIPs, and in old recordings
    b"funding-rate": on(Rows, funding), b"mark-price": on(Rows, mark), b"index-tickers": on(Rows, index),
    b"open-interest": on(Rows, open_interest), b"liquidation-orders": on(Rows, liquidation), b"opt-summary": on(Rows, greeks),
}, other=other)  # fmt: skip
INSTRUMENTS = on(Listing, instruments)
