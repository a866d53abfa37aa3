"""Bitfinex, websocket v2. https://docs.bitfinex.com/docs/ws-general

`[17,[86719,2,-0.5],5,1767225600000]`: the channel's number, which it gives at subscribing, a row (which may grow: hence the `*_`), and for
the flags that we set the message's number on this connection, and Bitfinex's time in ms.
"""

from decimal import Decimal
from typing import Any, Final, Generic, TypeAlias

from msgspec import Struct

from streamer.channels import count_from, forget, learn, numbered
from streamer.decode import after
from streamer.spec import Ack, Checked, Ctx, History, Out, Ready, Reject, Restart, Unknown, on, whole
from streamer.wire import MS, Int, Ms, T, listed, ms

from streamer.types import (  # isort: skip
    BookDelta, BookSnapshot, Candle, Funding, IndexPrice, Instrument, Liquidation, MarkPrice, N, OpenInterest, Side, Ticker,
    Trade,
)  # fmt: skip

TIMESTAMP, SEQ_ALL, OB_CHECKSUM = 1 << 15, 1 << 16, 1 << 17
# DOUBT: ccxt has 4h too, Bitfinex's clients do not; a week is 7D there, 1W on a page of late (settled by subscribing to each)
BARS: Final = {i: i for i in ("1m", "5m", "15m", "30m", "1h", "3h", "6h", "12h", "1M")} | {"1D": "1d", "7D": "1w", "14D": "2w"}


class Msg(Struct, Generic[T], array_like=True, gc=False):
    chan: Int
    data: T
    seq: Int | None = None
    ts: Ms | None = None


class Told(Struct, Generic[T], array_like=True, gc=False):
    chan: Int
    what: str
    data: T
    seq: Int | None = None
    ts: Ms | None = None


class Level(Struct, Generic[N], array_like=True, gc=False):
    price: N
    count: N
    amount: N


class Deal(Struct, Generic[N], array_like=True, gc=False):
    id: Int
    mts: N
    amount: N
    price: N


class Day(Struct, Generic[N], array_like=True, gc=False):
    bid: N | None
    bid_size: N | None
    ask: N | None
    ask_size: N | None
    change: N | None
    change_relative: N | None
    last: N | None
    volume: N | None
    high: N | None
    low: N | None


class Bar(Struct, Generic[N], array_like=True, gc=False):
    mts: N
    open: N
    close: N
    high: N
    low: N
    volume: N


One: TypeAlias = Msg[Level[N]]
Book: TypeAlias = Msg[list[Level[N]]]
Executed: TypeAlias = Told[Deal[N]]
Deals: TypeAlias = Msg[list[Deal[N]]]
Days: TypeAlias = Msg[Day[N]]
Bars: TypeAlias = Msg[list[Bar[N]]]
LastBar: TypeAlias = Msg[Bar[N]]
Row: TypeAlias = Msg[list[N | None]]


def seq_of(frame: bytes, ctx: Ctx[N]) -> int:
    """The last of an array, or the one before its time. (All arrays are counted, heartbeats too.)"""
    return int(frame.rstrip(b"]").rsplit(b",", 2)[-2 if ctx.mem["flags"] & TIMESTAMP else -1])


def at(m: Msg[Any], ctx: Ctx[N], raw: str) -> tuple[str, str, int | None, int]:
    return ctx.exchange, ctx.sym[raw].symbol, None if m.ts is None else m.ts * MS, ctx.ts_recv


def snapshot(m: Book[N], ctx: Ctx[N], raw: str) -> Out[N]:
    bids = [(d.price, d.amount) for d in m.data if d.amount > 0]
    return BookSnapshot(*at(m, ctx, raw), bids, [(d.price, -d.amount) for d in m.data if d.amount < 0])


def update(m: One[N], ctx: Ctx[N], raw: str) -> Out[N]:
    """One level. The sign of the amount is its side; a count of 0 removes it, the amount is 1 or -1 then."""
    d, name, ts = m.data, ctx.sym[raw].symbol, None if m.ts is None else m.ts * MS
    if d.amount > 0:
        return BookDelta(ctx.exchange, name, ts, ctx.ts_recv, [(d.price, d.amount if d.count else d.count)], ())
    return BookDelta(ctx.exchange, name, ts, ctx.ts_recv, (), [(d.price, abs(d.amount) if d.count else d.count)])


def checksum(m: Told[Int], ctx: Ctx[N], raw: str) -> Out[N]:
    """Of the book as it stands, every 2.5 s or so while it changes."""
    return Checked(ctx.sym[raw].symbol, m.data, None, ctx.ts_recv)


def deal(d: Deal[N], ctx: Ctx[N], name: str) -> Trade[N]:
    """The sign of the amount is the taker's side."""
    side: Side = "buy" if d.amount > 0 else "sell"
    return Trade(ctx.exchange, name, ms(d.mts), ctx.ts_recv, d.price, abs(d.amount), side, str(d.id))


def trade(m: Executed[N], ctx: Ctx[N], raw: str) -> Out[N]:
    """`te` comes at once; `tu`, a second or two later, is the same with the same id."""
    return deal(m.data, ctx, ctx.sym[raw].symbol)


def trades_before(m: Deals[N], ctx: Ctx[N], raw: str) -> Out[N]:
    name = ctx.sym[raw].symbol
    return History([deal(d, ctx, name) for d in reversed(m.data)])


def ticker(m: Days[N], ctx: Ctx[N], raw: str) -> Out[N]:
    """No quote: the sizes are sums of 25 levels (left out here too), and it comes every 15 s. Quotes are cut from the book."""
    d: Day[N] = m.data
    return Ticker(*at(m, ctx, raw), d.last, None, d.high, d.low, d.volume, None, d.bid, None, d.ask)


def candle(m: LastBar[N], ctx: Ctx[N], key: str) -> Out[N]:
    """Open, close, high, low. Bitfinex does not say that a bar is closed."""
    _, bar, raw = key.split(":", 2)
    d: Bar[N] = m.data
    return Candle(*at(m, ctx, raw), BARS.get(bar, bar), ms(d.mts), d.open, d.high, d.low, d.close, d.volume)


def candles_before(m: Bars[N], ctx: Ctx[N], key: str) -> Out[N]:
    """Hundreds of bars, the newest first: only that one is news."""
    return candle(Msg(m.chan, m.data[0], m.seq, m.ts), ctx, key) if m.data else ()


def status(m: Row[N], ctx: Ctx[N], key: str) -> Out[N]:
    """Comes every second, but is the same again two times out of three."""
    # DOUBT: "current funding: applied in the current 8h period" is taken as due at its end, the accrued one as the next period's (as ccxt
    # does; settled by a capture over a settlement). The spot pair's mid price stands for the index, which is not published (as in ccxt)
    mts, _, _, spot, _, _, _, due, accrued, _, _, current, _, _, mark, _, _, interest, *_ = m.data
    if mts is None or ctx.mem.get(key) == mts:
        return ()
    head = ctx.exchange, ctx.sym[key.partition(":")[2]].symbol, ms(mts), ctx.ts_recv
    out: list[Any] = [Funding(*head, current, accrued, None if due is None else ms(due), 28800), OpenInterest(*head, interest)]
    ctx.mem[key] = mts
    return out + [kind(*head, price) for kind, price in ((MarkPrice, mark), (IndexPrice, spot)) if price is not None]


def liquidation(m: Msg[Any], ctx: Ctx[N], key: str) -> Out[N]:
    """Of all pairs. One comes when it is triggered and when it is executed (`match`): that is taken. A long (amount > 0) is sold."""
    # DOUBT: one page calls the price "acquired", another that of the trigger (documents; settled by one beside its trade)
    num, out = ctx.num, []
    for _, id, mts, _, raw, amount, _, _, match, _, _, price, *_ in m.data:
        if match and price is not None:
            head = ctx.exchange, ctx.sym[raw].symbol, ms(mts), ctx.ts_recv
            out.append(Liquidation(*head, "sell" if amount > 0 else "buy", num(price), num(abs(amount)), str(id)))
    return out


def instruments(m: tuple[list[Any], list[Any], list[tuple[str, str]]], ctx: Ctx[N]) -> list[Instrument]:
    """Pairs, derivatives, abbreviations. Prices have five significant digits, so there is no fixed step; amounts have 8 decimals."""
    # DOUBT: what ccxt renames beyond Bitfinex's own list (LUNA, BCHN ...) keeps Bitfinex's name (settled by that list today)
    names = {short: name.upper() for short, name in m[2] if not short.startswith("TEST")}  # paper money: it says that TESTBTC is BTC
    out = []
    for pair, *_ in m[0] + m[1]:
        parts = pair.split(":") if ":" in pair else (pair[:3], pair[3:])
        base, quote = (names.get(code, code) for code in (part.removesuffix("F0") for part in parts))
        settle, kind, size = (quote, "swap", Decimal(1)) if pair.endswith("F0") else (None, "spot", None)
        out.append(listed(ctx, "t" + pair, base, quote, settle, kind, size_step=Decimal("1E-8"), contract_size=size))
    return out


def other(m: dict[str, Any], ctx: Ctx[N]) -> Out[N]:
    """Events: answers to commands, which repeat what was asked, and notices."""
    event, code, channel = m["event"], m.get("code"), m.get("channel")
    about = str(m.get("symbol") or m.get("key"))
    topic = f"{channel}-{m['len']}:{about}" if "len" in m else f"{channel}:{about}"
    if event == "conf" and m["status"] == "OK":
        ctx.mem["flags"] = flags = whole(m["flags"])
        if flags & SEQ_ALL:
            count_from(ctx, 1)
        return Ready()
    if event == "subscribed":
        learn(ctx, m["chanId"], about.partition(":")[0] if channel == "status" else str(channel), about)
        return Ack(topic, str(m["chanId"]))
    if event == "unsubscribed":
        forget(ctx, m["chanId"])
    elif event == "error" and channel and code != 10301:  # that one: subscribed already
        return Reject(topic, str(m["msg"]), fatal=code in (10001, 10300, 10302))  # pair; symbol, length or precision; channel
    elif event == "info" and code in (20051, 20061):  # the server restarts; maintenance is over, and all should be subscribed anew
        return Restart(f"info {code}", planned=True)
    return () if event in ("info", "pong", "unsubscribed") else Unknown(f"{event} {code}")


CHANNELS = {
    "book": {b"[[": on(Book, snapshot), b"[": on(One, update), b'"cs"': on(Told[Int], checksum)},
    "trades": {b"[[": on(Deals, trades_before), b'"te"': on(Executed, trade)},
    "ticker": {b"[": on(Days, ticker)},
    "candles": {b"[[": on(Bars, candles_before), b"[": on(LastBar, candle)},
    "deriv": {b"[": on(Row, status)},
    "liq": {b"[[": on(Msg[list[list[Any]]], liquidation)},
}
NORMALIZE = numbered(after(b"[", b","), CHANNELS, other=other, idle=(b'"hb"', b'"tu"'), seq_of=seq_of)
INSTRUMENTS = on(tuple[list[Any], list[Any], list[tuple[str, str]]], instruments)
