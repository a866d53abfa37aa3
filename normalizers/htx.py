"""HTX, once Huobi: https://www.htx.com/en-us/opend/newApiPages/. Contracts count both sides of what is traded and open ("sum of both buy
and sell sides"): half of that is told here. Books, quotes and liquidations are not doubled."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Generic, Literal, TypeAlias

import orjson
from msgspec import Struct

from streamer.decode import after, keyed
from streamer.spec import Ack, Ctx, History, Out, Reject, Reply, Unknown, on, whole
from streamer.wire import MS, Int, Ms, Row, T, digits, listed, ms, number

from streamer.types import (  # isort: skip
    BookDelta, BookSnapshot, Candle, Funding, IndexPrice, Instrument, Level, Liquidation, MarkPrice, N, OpenInterest, Quote, Side, Ticker,
    Trade,
)  # fmt: skip

INTERVALS: Final = {"1min": "1m", "5min": "5m", "15min": "15m", "30min": "30m", "60min": "1h", "4hour": "4h", "1day": "1d", "1week": "1w"}
SIDES: Final[dict[str, Side]] = {"buy": "buy", "sell": "sell"}


class Push(Struct, Generic[T], kw_only=True, gc=False):
    tick: T
    ch: str = ""
    ts: Ms | None = None


class Data(Push[T], kw_only=True, rename={"tick": "data", "ch": "rep"}):  # what was requested or fetched, and notifications
    tick: T
    ch: str = ""


class Mbp(Struct, Generic[N], kw_only=True, rename={"last": "seqNum", "prev": "prevSeqNum"}, gc=False):  # a side may be left out
    last: Int
    prev: Int | None = None
    event: Literal["snapshot", "update"] = "update"
    bids: Sequence[Level[N]] = ()
    asks: Sequence[Level[N]] = ()


class Depth(Mbp[N], kw_only=True, rename={"last": "version"}):  # of contracts
    last: Int


def at(topic: str, ts: int | None, ctx: Ctx[N]) -> tuple[str, str, int | None, int]:
    """`market.btcusdt.trade.detail` is about btcusdt. `ts` in ns."""
    return ctx.exchange, ctx.sym[topic.split(".")[1]].symbol, ts, ctx.ts_recv


def sent(m: Push[Any]) -> int | None:
    """When, in ns."""
    return m.ts and m.ts * MS


def trades(m: Push[Row], ctx: Ctx[N]) -> Out[N]:
    """Spot tells the newest first, and has ids of its own. The first message after subscribing is the last one from before."""
    # DOUBT: so were all 21 streams recorded; what never traded may send none, and its first is lost (settled by a new listing)
    spot, old, ctx.mem[m.ch] = ctx.market == "spot", m.ch not in ctx.mem, True
    name, step, parts = ("tradeId", -1, 1) if spot else ("id", 1, 2)
    fills = [(at(m.ch, ms(d["ts"]), ctx), ctx.num(d["amount"]) / parts, SIDES[d["direction"]], d) for d in m.tick["data"][::step]]
    out = [Trade(*head, ctx.num(d["price"]), size, side, str(whole(d[name]))) for head, size, side, d in fills]
    return History(out) if old else out


def book(m: Push[Mbp[N]], ctx: Ctx[N]) -> Out[N]:
    d, head = m.tick, (*at(m.ch, sent(m), ctx), m.tick.bids, m.tick.asks)
    complete = d.event == "snapshot" or isinstance(m, Data)
    return BookSnapshot(*head, d.last) if complete else BookDelta(*head, None, d.last, d.prev)


def quote(m: Push[Row], ctx: Ctx[N]) -> Out[N]:
    """Contracts have a level a side, or none; spot price and size by themselves."""
    d = m.tick
    sides = [(d["bid"], d["bidSize"]), (d["ask"], d["askSize"])] if ctx.market == "spot" else [d.get("bid"), d.get("ask")]
    best: list[Any] = [number(side and side[i], ctx) for side in sides for i in (0, 1)]
    return Quote(*at(m.ch, sent(m), ctx), *best)


def bar(m: Push[Row], ctx: Ctx[N]) -> Out[N]:
    """Of a day, a candle (days begin at 16:00 UTC), a mark price or an index."""
    # DOUBT: `count` is not doubled, though it is said to be of both sides too (odd ones in examples; settled by counting a minute's trades)
    d, num, head, channel = m.tick, ctx.num, at(m.ch, sent(m), ctx), m.ch.split(".")[2:]
    opened, high, low, close = (num(d[name]) for name in ("open", "high", "low", "close"))
    if channel[0] in ("mark_price", "index"):
        return (MarkPrice if channel[0] == "mark_price" else IndexPrice)(*head, close)
    names, parts = (("amount", "vol"), 1) if ctx.market == "spot" else (("vol", "trade_turnover"), 2)
    volume, value = (num(d[name]) / parts if name in d else None for name in names)
    if channel[0] == "detail":
        return Ticker(*head, close, opened, high, low, volume, value)
    return Candle(*head, INTERVALS[channel[1]], ms(whole(d["id"]) * 1000), opened, high, low, close, volume, value, whole(d["count"]))


def funding(m: Data[list[Row]], ctx: Ctx[N]) -> Out[N]:
    """`funding_time` is when the rate was computed, `settlement_time` when it is due."""
    rows = [(at(f".{d['contract_code']}", sent(m), ctx), ctx.num(d["funding_rate"]), ms(d["settlement_time"])) for d in m.tick]
    return [Funding(*head, rate, None, due) for head, rate, due in rows]


def liquidation(m: Data[list[Row]], ctx: Ctx[N]) -> Out[N]:
    """At the price of bankruptcy."""
    # DOUBT: a client's notes say that since 2024 nothing comes here; the documents still have it (settled by listening for a day)
    rows = [(at(f".{d['contract_code']}", ms(d["created_at"]), ctx), SIDES[d["direction"]], d) for d in m.tick]
    return [Liquidation(*head, side, ctx.num(d["price"]), ctx.num(d["volume"])) for head, side, d in rows]


def open_interest(m: Data[list[Row]], ctx: Ctx[N], i: Instrument) -> Out[N]:
    # DOUBT: it is of both sides, as documented, but an example of 2021 is odd, as none since (settled by comparing with the site)
    d, head = m.tick[0], at(f".{i.id}", sent(m), ctx)
    return OpenInterest(*head, ctx.num(d["volume"]) / 2, ctx.num(d["value"]) / 2 if "value" in d else None)


def instruments(m: Data[list[Row]], ctx: Ctx[N]) -> list[Instrument]:
    """Pairs, and contracts: only linear ones have a `business_type`, and the code of a future ends in its day."""
    out: list[Instrument] = []
    for d in m.tick:
        if "contract_code" not in d:
            base, quoted, active = d["base-currency"].upper(), d["quote-currency"].upper(), d["state"] == "online"
            steps = digits(d["price-precision"]), digits(d["amount-precision"])
            out.append(listed(ctx, d["symbol"], base, quoted, None, "spot", *steps, active=active))
            continue
        code, base, active = str(d["contract_code"]), d["symbol"], d["contract_status"] == 1
        quoted = code.split("-")[1] if "-" in code else "USD"
        settle, unit = (quoted, "base") if "business_type" in d else (base, "contracts")
        expiry = ms(d["delivery_time"]) if code[-6:].isdigit() else None
        tick, size = (Decimal(str(d[name])).normalize() + 0 for name in ("price_tick", "contract_size"))
        kind = "future" if expiry else "swap"
        out.append(listed(ctx, code, base, quoted, settle, kind, tick, Decimal(1), unit, size, expiry, active=active))
    return out


def other(m: Row, ctx: Ctx[N]) -> Out[N]:
    """Pings, and answers to commands, by their `id` (`cid` on the notification addresses)."""
    op, key, text = m.get("op"), str(m.get("cid") or m.get("id")), str(m.get("err-msg"))
    if "ping" in m or op == "ping":
        return Reply(orjson.dumps({"op": "pong", "ts": m["ts"]} if op else {"pong": m["ping"]}).decode())
    if m.get("status") == "error" or m.get("err-code"):
        return Reject(whole(key), text, fatal="invalid" in text) if key.isdecimal() else Unknown(text)
    if "unsubbed" in m:
        ctx.mem.pop(m["unsubbed"], None)
    if "subbed" in m or op == "sub":
        return Ack(m["topic"] if op else m["subbed"])
    return () if "unsubbed" in m or op == "unsub" else Unknown(str(m.get("ch") or op or "message"))


Books: TypeAlias = Push[Mbp[N]]
Wholes: TypeAlias = Data[Mbp[N]]
Depths: TypeAlias = Push[Depth[N]]
NORMALIZE = keyed(after(b'"ch":"market.', also=(b'"rep":"', b'"topic":"')), {
    b"*.trade.detail": on(Push[Row], trades), b"*.bbo": on(Push[Row], quote), b"*.detail": on(Push[Row], bar),
    b"*.kline.*": on(Push[Row], bar), b"*.mark_price.*": on(Push[Row], bar), b"*.index.*": on(Push[Row], bar),
    b"*.depth.size_*.high_freq": on(Depths, book), b"market.*.mbp.150": on(Wholes, book), b"*.mbp.150": on(Books, book),
    b"public.*.funding_rate": on(Data[list[Row]], funding), b"public.*.liquidation_orders": on(Data[list[Row]], liquidation),
}, other=other)  # fmt: skip
OPEN_INTEREST = on(Data[list[Row]], open_interest)
INSTRUMENTS = on(Data[list[Row]], instruments)
