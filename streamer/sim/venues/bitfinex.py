"""Bitfinex, websocket v2: numbers are written as JavaScript does, channels and messages are numbered. https://docs.bitfinex.com/docs/ws-general

The order books: https://docs.bitfinex.com/reference/ws-public-books
"""

from collections.abc import Iterable
from decimal import Decimal
from itertools import zip_longest
from typing import Any

import orjson

from streamer.sim.connection import Connection
from streamer.sim.listed import Listed, contracts, listed
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Pairs, Payload, Payloads, Request, Venue, several
from streamer.sim.window import Window
from streamer.sim.write import ms, short
from streamer.symbols import format as symbol
from streamer.types import BookDelta, Candle, Instrument, Level, Liquidation, MarkPrice, Ticker, Trade

D = Decimal
PAIRS = (
    ("BTC", "USD", "1", "1E-8"), ("ETH", "USD", "0.1", "1E-8"), ("BTC", "USDT", "1", "1E-8"), ("SOL", "USDT", "0.01", "1E-8"),
    ("ETH", "BTC", "0.000001", "1E-8"), ("DUSK", "USD", "0.0001", "1E-8"),
)  # fmt: skip
ABBREVIATED = {"USDT": "UST", "DASH": "DSH", "USDC": "UDC"}
INTERVALS = {"1D": "1d", "7D": "1w", "14D": "2w"} | {i: i for i in ("1m", "5m", "15m", "30m", "1h", "3h", "6h", "12h", "1M")}
LENGTHS = ("1", "25", "100", "250")
TIMESTAMP, SEQ_ALL, OB_CHECKSUM = 32768, 65536, 131072
MOST_CHANNELS = 30
SETTLES = {"USDT": "USTF0", "BTC": "BTCF0"}


def name(base: str, quote: str) -> str:
    """tBTCUST, but tDUSK:USD."""
    base, quote = ABBREVIATED.get(base, base), ABBREVIATED.get(quote, quote)
    return f"t{base}{quote}" if len(base) == len(quote) == 3 else f"t{base}:{quote}"


def lists(exchange: str, now: int, more: Pairs) -> Iterable[Listed]:
    for base, quote, price_step, size_step in (*PAIRS, *more):
        at = exchange, symbol(base, quote), None, 0, name(base, quote), base, quote
        yield listed(Instrument(*at, price_step=D(price_step), size_step=D(size_step)))
    tiny = Instrument(
        exchange, "BTT/USDT", None, 0, "tBTT:UST", "BTT", "USDT", price_step=D("1E-11"), size_step=D("1E-4")
    )  # doubles have no room for more
    yield Listed(tiny, D("6.2e-7"), D(8_000_000))
    for base, settle, price_step in (("BTC", "USDT", "1"), ("ETH", "USDT", "0.1"), ("ETH", "BTC", "0.000001")):
        yield contracts(exchange, f"t{base}F0:{SETTLES[settle]}", base, settle, settle, price_step, "1E-8", "1")


def js(x: D | int | None) -> str:
    """As JavaScript writes it."""
    if x is None or isinstance(x, int):
        return "null" if x is None else str(x)
    return f"{x.normalize():e}" if 0 < abs(x) < D("1e-6") else short(x)


def row(*numbers: D | int | None) -> str:
    return f"[{','.join(map(js, numbers))}]"


def rows(many: Iterable[str]) -> str:
    return f"[{','.join(many)}]"


# what happens, as told: the payload alone


def trade_row(t: Trade[D]) -> str:
    return row(int(t.id or 0), ms(t.ts_event), t.size if t.side == "buy" else -t.size, t.price)


def trades(topic: Topic, t: Trade[D]) -> Payloads:
    return several([f'"te",{trade_row(t)}', f'"tu",{trade_row(t)}'])


def trades_before(topic: Topic) -> Payload:
    return rows(trade_row(t) for t in list(topic.market.trades)[:-31:-1])


def crc(topic: Topic) -> str:
    """Of 25 levels, bid and ask in turn, all joined by colons, asks' amounts negative."""
    window = topic.mem["window"]
    asks = [(price, -size) for price, size in window.asks[:25]]
    text = ":".join(js(x) for pair in zip_longest(window.bids[:25], asks) for level in pair if level for x in level)
    return f'"cs",{topic.crc32(text, signed=True)}'


def level(price: D, size: D, sign: int) -> str:
    return row(price, 1, size * sign) if size else row(price, 0, sign)


def book_snapshot(topic: Topic) -> Payload:
    window = topic.mem["window"] = Window(topic.market, topic.depth)
    sides: tuple[tuple[list[Level[D]], int], ...] = (window.bids, 1), (window.asks, -1)
    return rows(level(price, size, sign) for side, sign in sides for price, size in side)


def book_update(topic: Topic, t: BookDelta[D]) -> Payloads:
    """A message for each level, also for one that falls out of view; then the checksum."""
    bids, asks = topic.mem["window"].changes(fallen=True)
    changed = [level(price, size, 1) for price, size in bids] + [level(price, size, -1) for price, size in asks]
    return several([*changed, crc(topic)])


def ticker(topic: Topic, t: Ticker[D]) -> Payload:
    sums = [sum((size for _, size in topic.market.levels(side, 25)), D(0)) for side in (topic.market.bids, topic.market.asks)]
    change = (t.last or D(0)) - (t.open or D(0))
    return row(t.bid, sums[0], t.ask, sums[1], change, round(change / (t.open or D(1)), 4), t.last, t.volume, t.high, t.low)


def candle(topic: Topic, t: Candle[D]) -> Payload:
    return row(ms(t.ts_open), t.open, t.close, t.high, t.low, t.volume)


def candles_before(topic: Topic) -> Payload:
    now: Candle[D] = topic.now("candle")
    return rows([candle(topic, now), row(ms(now.ts_open) - 60_000, *[now.open] * 4, D(3))])


def status(topic: Topic, t: Any) -> Payload:
    if not isinstance(t, MarkPrice):
        return None  # all comes in one row
    funding, spot, interest = (topic.now(kind) for kind in ("funding", "index", "open_interest"))
    head = ms(t.ts_event), None, spot.price, spot.price, None, D("62210384.95685668"), None, ms(funding.ts_next), funding.predicted_rate
    rest = D("0.0005"), D("0.0025")
    return row(*head, 3873, None, funding.rate, None, None, t.price, None, None, interest.amount, None, None, None, *rest)


def liquidation(topic: Topic, t: Liquidation[D] | Trade[D]) -> Payloads:
    """First triggered, then executed. Of spot pairs it is margin positions that are liquidated: now and then a trade is one."""
    i = next(x for x in topic.instruments if x.symbol == t.symbol)
    if isinstance(t, Trade) and (i.kind != "spot" or int(t.id or 0) % 7):
        return None
    amount = t.size if t.side == "sell" else -t.size
    head = f'["pos",{170_000_000 + topic.market.trade_id},{ms(t.ts_event)},null,"{i.id}",{js(amount)},{js(t.price)},null'
    return several([f"[{head},0,1,null,{js(t.price)}]]", f"[{head},1,1,null,{js(t.price)}]]"])


CHANNELS = {
    "trades": Channel(("trade",), trades, trades_before),
    "book": Channel(("book",), book_update, book_snapshot),
    "ticker": Channel(("ticker",), ticker, lambda topic: ticker(topic, topic.now("ticker"))),
    "candles": Channel(("candle",), candle, candles_before),
    "deriv": Channel(("funding", "mark", "index", "open_interest"), status, lambda topic: status(topic, topic.now("mark"))),
    "liq": Channel(("liquidation", "trade"), liquidation),
}


# the connection


def numbered(c: Connection, topic: Topic, payload: Payload) -> Payload:
    """The channel's number, the payload, the message's number, the time."""
    flags = c.mem.get("flags", 0)
    if payload.startswith('"cs"') and not flags & OB_CHECKSUM:
        return f'[{c.mem[topic.key]},"hb"{tail(c, flags)}]'
    return f"[{c.mem[topic.key]},{payload}{tail(c, flags)}]"


def tail(c: Connection, flags: int) -> str:
    c.mem["seq"] = c.mem.get("seq", 0) + 1
    return (f",{c.mem['seq']}" if flags & SEQ_ALL else "") + (f",{ms(c.exchange.now())}" if flags & TIMESTAMP else "")


def opened(c: Connection) -> None:
    c.send({"event": "info", "version": 2, "serverId": f"sim-{c.number}", "platform": {"status": 1}})
    c.every(15.0, heartbeat)


def heartbeat(c: Connection) -> None:
    for topic in c.topics.values():
        c.send(numbered(c, topic, '"hb"'))


def heard(c: Connection, text: str) -> None:
    m = orjson.loads(text)
    event = m["event"]
    if event == "ping":
        c.send({"event": "pong", "ts": ms(c.exchange.now()), "cid": m.get("cid")})
    elif event == "conf":
        c.mem["flags"] = m["flags"]
        c.send({"event": "conf", "status": "OK", "flags": m["flags"]})
    elif event == "unsubscribe":
        key = next((k for k, number in c.mem.items() if k in c.topics and number == m["chanId"]), "")
        known = c.unsubscribe(key)
        failed = {"event": "error", "msg": "unsubscribe: invalid", "code": 10400}
        c.send({"event": "unsubscribed", "status": "OK", "chanId": m["chanId"]} if known else failed)
    elif event == "subscribe":
        subscribe(c, m)
    else:
        c.send({"event": "error", "msg": f"event: invalid ({event})", "code": 10000})


def subscribe(c: Connection, m: dict[str, Any]) -> None:
    channel, about = m["channel"], str(m.get("symbol") or m.get("key"))
    kind = about.partition(":")[0] if channel == "status" else channel
    id = about.split(":", 2)[2] if channel == "candles" else about.partition(":")[2] if channel == "status" else about
    found = c.exchange.find(id)
    instruments = list(c.exchange.instruments) if kind == "liq" else [] if found is None else [found]
    asked = {k: m[k] for k in ("channel", "symbol", "key", "prec", "freq", "len") if k in m} | (
        {"pair": about[1:]} if "symbol" in m else {}
    )
    key = "/".join((kind, about, m.get("len", "")))
    if kind == "deriv" and (found is None or found.kind == "spot"):
        return  # no answer at all
    error = refusal(c, m, kind, key, instruments)
    if error is not None:
        c.send(asked | {"event": "error", "msg": error[1], "code": error[0]} | ({"chanId": c.mem[key]} if error[0] == 10301 else {}))
        return
    c.mem[key] = c.mem.setdefault(("number", key), 400_000 + 37 * len(c.mem))
    c.send({"event": "subscribed", "channel": channel, "chanId": c.mem[key]} | asked)
    interval = INTERVALS[about.split(":")[1]] if channel == "candles" else ""
    c.subscribe(key, CHANNELS[kind], *instruments, interval=interval, depth=int(m["len"]) if kind == "book" else None)


def refusal(c: Connection, m: dict[str, Any], kind: str, key: str, instruments: list[Instrument]) -> tuple[int, str] | None:
    if kind not in CHANNELS:
        return 10300, "channel: unknown"
    if not instruments:
        return 10300, "symbol: invalid"
    if kind == "book" and m.get("prec") != "P0":
        return 10300, "precision: invalid"
    if kind == "book" and m.get("len") not in LENGTHS:
        return 10300, "length: invalid"
    if kind == "candles" and m["key"].split(":")[1] not in INTERVALS:
        return 10300, "key: invalid"
    if key in c.topics:
        return 10301, "subscribe: dup"
    return (10305, "subscribe: limit") if len(c.topics) >= MOST_CHANNELS else None


def conf(r: Request) -> Payload:
    """Several lists at once, as their keys name them."""

    def pairs(*kinds: str) -> list[Any]:
        return [[i.id[1:], [None, None, None, "0.00006", "2000.0", *[None] * 7]] for i in r.exchange.instruments if i.kind in kinds]

    renamed = [["TESTBTC", "BTC"], ["DSH", "DASH"], ["UDC", "USDC"], ["UST", "USDt"], ["USTF0", "USDt0"]]
    answers = {"pub:info:pair": pairs("spot"), "pub:info:pair:futures": pairs("swap"), "pub:map:currency:sym": renamed}
    return [answers[key] for key in r.params["keys"].split(",")]


VENUE = Venue(
    name="bitfinex",
    lists=lists,
    sockets=["/ws/2"],
    rest={"/v2/conf/{keys}": conf},
    heard=heard,
    opened=opened,
    wrap=numbered,
)
