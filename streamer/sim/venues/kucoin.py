"""KuCoin spot, the classic websocket. https://www.kucoin.com/docs-new/websocket-api/base-info/introduction"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import orjson

from streamer.sim.connection import Connection
from streamer.sim.listed import Listed, spot
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Pairs, Payload, Refused, Request, Venue, present
from streamer.sim.write import ms, short
from streamer.types import BookDelta, Candle, Instrument, Level, Quote, Ticker, Trade

D = Decimal
PAIRS = (
    ("BTC", "USDT", "0.1", "0.00000001"), ("ETH", "USDT", "0.01", "0.0000001"), ("SOL", "USDT", "0.001", "0.0001"),
    ("XRP", "USDT", "0.00001", "0.0001"), ("ADA", "USDT", "0.0001", "0.0001"), ("ETH", "BTC", "0.00001", "0.0000001"),
)  # fmt: skip
TOKEN = "2neAiuYvAU61ZDXANAGAsiL4"  # noqa: S105  (anybody is given it)
BARS = {f"{i}min": f"{i}m" for i in (1, 3, 5, 15, 30)} | {f"{i}hour": f"{i}h" for i in (1, 2, 4, 6, 8, 12)}
INTERVALS = BARS | {"1day": "1d", "1week": "1w", "1month": "1M"}


def lists(exchange: str, now: int, more: Pairs) -> Iterable[Listed]:
    return spot(exchange, lambda base, quote: f"{base}-{quote}", (*PAIRS, *more))


def message(topic: Topic, subject: str, data: dict[str, Any]) -> Payload:
    return {"topic": topic.key, "type": "message", "subject": subject, "data": data}


def match(topic: Topic, t: Trade[D]) -> Payload:
    data = {"symbol": topic.instrument.id, "sequence": t.id, "tradeId": t.id, "side": t.side, "time": str(t.ts_event), "type": "match"}
    return message(topic, "trade.l3match", data | {"price": short(t.price), "size": short(t.size)})


def update(topic: Topic, t: BookDelta[D]) -> Payload:
    """Every change has a number of its own."""
    numbers = iter(range(t.first or 0, (t.last or 0) + 1))
    sides = {name: [[*level, str(next(numbers, t.last))] for level in levels(side)] for name, side in (("asks", t.asks), ("bids", t.bids))}
    data = {"changes": sides, "sequenceEnd": t.last, "sequenceStart": t.first, "symbol": topic.instrument.id, "time": ms(t.ts_event)}
    return message(topic, "trade.l2update", data)


def levels(side: Iterable[Level[D]]) -> list[list[str]]:
    return [[short(price), short(size)] for price, size in side]


def level1(topic: Topic, t: Quote[D]) -> Payload:
    sides = {"asks": [short(t.ask), short(t.ask_size)], "bids": [short(t.bid), short(t.bid_size)]}
    return message(topic, "level1", sides | {"timestamp": ms(t.ts_event)})


def snapshot(topic: Topic, t: Ticker[D]) -> Payload:
    day = {
        "lastTradedPrice": t.last,
        "close": t.last,
        "open": t.open,
        "high": t.high,
        "low": t.low,
        "vol": t.volume,
        "volValue": t.quote_volume,
    }
    best = {"buy": t.bid, "bidSize": t.bid_size, "sell": t.ask, "askSize": t.ask_size}
    data = {"symbol": topic.instrument.id, "datetime": ms(t.ts_event), "trading": True} | day | best
    return message(topic, "trade.snapshot", {"sequence": str(topic.market.seq), "data": data})


def candle(topic: Topic, t: Candle[D]) -> Payload:
    numbers = [short(x) for x in (t.open, t.close, t.high, t.low, t.volume, t.quote_volume)]
    bar = [str(t.ts_open // 1_000_000_000), *numbers]
    return message(topic, "trade.candles.update", {"symbol": topic.instrument.id, "candles": bar, "time": t.ts_event})


CHANNELS = {
    "/market/match": Channel(("trade",), match),
    "/market/level2": Channel(("book",), update),
    "/spotMarket/level1": Channel(("quote",), level1),
    "/market/snapshot": Channel(("ticker",), snapshot, present),
    "/market/candles": Channel(("candle",), candle),
}


def opened(c: Connection) -> None:
    if c.query.get("token") == TOKEN:
        c.send({"id": c.query.get("connectId", str(c.number)), "type": "welcome"})
    else:
        c.send({"id": str(c.number), "type": "error", "code": 401, "data": "token is invalid"})
        c.close(1000)


def heard(c: Connection, text: str) -> None:
    m = orjson.loads(text)
    if m["type"] == "ping":
        c.send({"id": m["id"], "type": "pong", "timestamp": c.exchange.now() // 1000})
        return
    name, _, about = m["topic"].partition(":")
    asked = [(f"{name}:{one}", c.exchange.find(one.partition("_")[0]), INTERVALS.get(one.partition("_")[2])) for one in about.split(",")]
    for key, instrument, interval in asked:
        if name not in CHANNELS or instrument is None or (interval is None) is (name == "/market/candles"):
            c.send({"id": m["id"], "type": "error", "code": 404, "data": f"topic {key} is not found"})
            return
    if m.get("response"):
        c.send({"id": m["id"], "type": "ack"})
    for key, instrument, interval in asked:
        if m["type"] == "unsubscribe":
            c.unsubscribe(key)
        elif instrument is not None:
            c.subscribe(key, CHANNELS[name], instrument, interval=interval or "")


def answer(data: Any) -> Payload:
    return {"code": "200000", "data": data}


def bullet(r: Request) -> Payload:
    """The client pings as often as it is told here."""
    if r.method != "POST":
        raise Refused(405, {"code": "405000", "msg": "Method Not Allowed"})
    server = {
        "endpoint": "wss://ws-api-spot.kucoin.com/",
        "encrypt": True,
        "protocol": "websocket",
        "pingInterval": 18000,
        "pingTimeout": 10000,
    }
    return answer({"token": TOKEN, "instanceServers": [server]})


def symbols(r: Request) -> Payload:
    return answer([row(i) for i in r.exchange.instruments])


def row(i: Instrument) -> dict[str, Any]:
    names = {"symbol": i.id, "name": i.id, "baseCurrency": i.base, "quoteCurrency": i.quote, "market": "USDS"}
    return names | {"priceIncrement": f"{i.price_step:f}", "baseIncrement": f"{i.size_step:f}", "enableTrading": True}


def book(r: Request) -> Payload:
    instrument = r.exchange.find(r.query.get("symbol", ""))
    if instrument is None:
        return answer({"time": ms(r.exchange.now()), "sequence": None, "bids": None, "asks": None})
    market = r.exchange.market(instrument)
    bids, asks = (levels(market.levels(ladder, 100)) for ladder in (market.bids, market.asks))
    return answer({"time": ms(r.exchange.now()), "sequence": str(market.seq), "bids": bids, "asks": asks})


VENUE = Venue(
    name="kucoin",
    lists=lists,
    sockets=["/"],
    rest={"/api/v1/bullet-public": bullet, "/api/v2/symbols": symbols, "/api/v1/market/orderbook/level2_100": book},
    heard=heard,
    opened=opened,
    confused=lambda text: {"type": "error", "code": 415, "data": "type is not supported"},
)
