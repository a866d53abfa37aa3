"""Kraken spot, websocket v2. https://docs.kraken.com/api/docs/websocket-v2/"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import orjson

from normalizers.kraken import Bar, BookData, TradeData, WireLevel
from streamer.sim.connection import Connection
from streamer.sim.listed import Listed, spot
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Pairs, Payload, Request, Venue
from streamer.sim.window import Window
from streamer.sim.write import iso
from streamer.types import BookDelta, Candle, Instrument, Level, Quote, Ticker, Trade

D = Decimal
PAIRS = (
    ("BTC", "USD", "0.1", "0.00000001"), ("ETH", "USD", "0.01", "0.00000001"), ("SOL", "USD", "0.01", "0.00000001"),
    ("BTC", "USDT", "0.1", "0.00000001"), ("DOGE", "USD", "0.0000001", "0.00000001"), ("ETH", "BTC", "0.00001", "0.00000001"),
)  # fmt: skip
OLD_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
DEPTHS = (10, 25, 100, 500, 1000)
INTERVALS = {1: "1m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 240: "4h", 1440: "1d", 10080: "1w", 21600: "15d"}


def lists(exchange: str, now: int, more: Pairs) -> Iterable[Listed]:
    return spot(exchange, lambda base, quote: f"{base}/{quote}", (*PAIRS, *more))


def push(channel: str, type: str, data: list[Any], **more: object) -> Payload:
    return {"channel": channel, "type": type, "data": data} | more


def crc(topic: Topic, window: Window) -> int:
    """https://docs.kraken.com/api/docs/guides/spot-ws-book-v2: ten asks, then ten bids, without points and leading zeros."""
    best = window.asks[:10] + window.bids[:10]
    return topic.crc32("".join(f"{x:f}".replace(".", "").lstrip("0") for level in best for x in level))


def book(topic: Topic, type: str, sides: tuple[list[Level[D]], list[Level[D]]], ts: int | None) -> Payload:
    bids, asks = ([WireLevel(price, size) for price, size in side] for side in sides)
    return push("book", type, [BookData(topic.instrument.id, bids, asks, crc(topic, topic.mem["window"]), iso(ts))])


def book_snapshot(topic: Topic) -> Payload:
    window = topic.mem["window"] = Window(topic.market, topic.depth)
    return book(topic, "snapshot", (window.bids, window.asks), topic.exchange.now())


def book_update(topic: Topic, t: BookDelta[D]) -> Payload:
    changes = topic.mem["window"].changes()
    return book(topic, "update", changes, t.ts_event) if any(changes) else None


def trade_data(topic: Topic, t: Trade[D]) -> TradeData[D]:
    return TradeData(topic.instrument.id, t.side or "buy", t.price, t.size, int(t.id or 0), iso(t.ts_event))


def trades(topic: Topic, t: Trade[D]) -> Payload:
    return push("trade", "update", [trade_data(topic, t)])


def trades_before(topic: Topic) -> Payload:
    return push("trade", "snapshot", [trade_data(topic, t) for t in list(topic.market.trades)[-50:]])


def ticker(topic: Topic, tick: Quote[D] | Ticker[D], type: str = "update") -> Payload:
    """Triggered by `bbo`: the day's figures come with the best prices, and only then."""
    if isinstance(tick, Ticker) and type == "update":
        return None
    t = topic.now("ticker")
    best = {"bid": t.bid, "bid_qty": t.bid_size, "ask": t.ask, "ask_qty": t.ask_size}
    day = {"last": t.last, "volume": t.volume, "low": t.low, "high": t.high, "change": t.last - t.open}
    return push("ticker", type, [{"symbol": topic.instrument.id} | best | day | {"timestamp": iso(t.ts_event)}])


def ohlc(topic: Topic, t: Candle[D], type: str = "update") -> Payload:
    minutes = next(m for m, interval in INTERVALS.items() if interval == t.interval)
    prices = t.open, t.high, t.low, t.close
    bar = Bar(topic.instrument.id, minutes, iso(t.ts_open), *prices, t.volume or D(0), t.trades or 0)
    return None if t.closed else push("ohlc", type, [bar], timestamp=iso(t.ts_event))


CHANNELS = {
    "trade": Channel(("trade",), trades, trades_before),
    "book": Channel(("book",), book_update, book_snapshot),
    "ticker": Channel(("quote", "ticker"), ticker, lambda topic: ticker(topic, topic.now("quote"), "snapshot")),
    "ohlc": Channel(("candle",), ohlc, lambda topic: ohlc(topic, topic.now("candle"), "snapshot")),
}


def opened(c: Connection) -> None:
    c.send(push("status", "update", [{"version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": c.number}]))
    c.every(1.0, heartbeat)


def heartbeat(c: Connection) -> None:
    if c.topics and c.idle() >= 1.0:
        c.send({"channel": "heartbeat"})


def heard(c: Connection, text: str) -> None:
    m = orjson.loads(text)
    method, times = m["method"], {"time_in": iso(c.exchange.now()), "time_out": iso(c.exchange.now())}
    n = {"req_id": m["req_id"]} if "req_id" in m else {}
    if method == "ping":
        c.send({"method": "pong"} | n | times)
        return
    p = m["params"]
    params = {k: p[k] for k in ("depth", "interval", "event_trigger") if k in p}
    for symbol in p["symbol"]:
        key = "/".join(str(x) for x in (p["channel"], *params.values(), symbol))
        error = refusal(c, p, symbol, key) if method == "subscribe" else None if key in c.topics else "Subscription Not Found"
        if error is not None:
            c.send({"error": error, "method": method} | n | {"success": False, "symbol": symbol} | times)
            continue
        c.send({"method": method} | n | {"result": {"channel": p["channel"], "symbol": symbol} | params, "success": True} | times)
        if method == "subscribe":
            instrument = c.exchange.find(symbol)
            assert instrument is not None  # noqa: S101  (else it was refused)
            c.subscribe(key, CHANNELS[p["channel"]], instrument, interval=INTERVALS.get(p.get("interval"), ""), depth=p.get("depth", 10))
        else:
            c.unsubscribe(key)


def refusal(c: Connection, p: dict[str, Any], symbol: str, key: str) -> str | None:
    channel = p["channel"]
    if channel not in CHANNELS:
        return f"Unknown channel {channel}"
    if c.exchange.find(symbol) is None:
        return f"Currency pair not supported {symbol}"
    if channel == "book" and p.get("depth", 10) not in DEPTHS:
        return "Depth must be one of 10, 25, 100, 500, 1000"
    if channel == "ohlc" and p.get("interval") not in INTERVALS:
        return "Unknown interval"
    if channel == "ohlc" and any(k.startswith("ohlc/") and k.endswith(f"/{symbol}") for k in c.topics):
        return "Already subscribed to one ohlc interval on this symbol"
    return "Already subscribed" if key in c.topics else None


def pairs(r: Request) -> Payload:
    return {"error": [], "result": {i.id.replace("/", ""): pair(i) for i in r.exchange.instruments}}


def pair(i: Instrument) -> dict[str, Any]:
    old = "/".join(OLD_NAMES.get(x, x) for x in (i.base, i.quote))
    price, size = f"{i.price_step:f}", f"{i.size_step:f}"
    places = {"pair_decimals": len(price.partition(".")[2]), "lot_decimals": len(size.partition(".")[2])}
    return {
        "altname": old.replace("/", ""),
        "wsname": old,
        "base": i.base,
        "quote": i.quote,
        "tick_size": price,
        "status": "online",
    } | places


VENUE = Venue(
    name="kraken",
    lists=lists,
    sockets=["/v2"],
    rest={"/0/public/AssetPairs": pairs},
    heard=heard,
    opened=opened,
    confused=lambda text: {"error": "Malformed request", "method": None, "success": False},
)
