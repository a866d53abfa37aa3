"""Binance spot. https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import orjson

from normalizers.binance import DepthRest
from streamer.sim.bars import span
from streamer.sim.connection import Connection
from streamer.sim.listed import Listed, spot
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Pairs, Payload, Refused, Request, Venue
from streamer.sim.write import decimals, ms
from streamer.types import BookDelta, Candle, Instrument, Level, Quote, Ticker, Trade

D = Decimal
PAIRS = (
    ("BTC", "USDT", "0.01", "0.00001"), ("ETH", "USDT", "0.01", "0.0001"), ("SOL", "USDT", "0.01", "0.001"),
    ("XRP", "USDT", "0.0001", "0.1"), ("ADA", "USDT", "0.0001", "0.1"), ("ETH", "BTC", "0.00001", "0.0001"),
)  # fmt: skip
INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
number = partial(decimals, 8)


def lists(exchange: str, now: int, more: Pairs) -> Iterable[Listed]:
    return spot(exchange, lambda base, quote: base + quote, (*PAIRS, *more))


def numbers(**fields: D | None) -> dict[str, Any]:
    return {name: number(x) for name, x in fields.items()}


def levels(side: Iterable[Level[D]]) -> list[Any]:
    return [(number(price), number(size)) for price, size in side]


def event(topic: Topic, name: str, ts: int | None, data: dict[str, Any]) -> Payload:
    return {"stream": topic.key, "data": {"e": name, "E": ms(ts), "s": topic.instrument.id} | data}


def trade(topic: Topic, t: Trade[D]) -> Payload:
    more = {"T": ms(t.ts_event), "m": t.side == "sell", "M": True}
    return event(topic, "trade", t.ts_event, {"t": int(t.id or 0)} | numbers(p=t.price, q=t.size) | more)


def depth(topic: Topic, t: BookDelta[D]) -> Payload:
    return event(topic, "depthUpdate", t.ts_event, {"U": t.first, "u": t.last, "b": levels(t.bids), "a": levels(t.asks)})


def quote(topic: Topic, t: Quote[D]) -> Payload:
    best = numbers(b=t.bid, B=t.bid_size, a=t.ask, A=t.ask_size)
    return {"stream": topic.key, "data": {"u": topic.market.seq, "s": topic.instrument.id} | best}


def ticker(topic: Topic, t: Ticker[D]) -> Payload:
    day = numbers(c=t.last, o=t.open, h=t.high, l=t.low, v=t.volume, q=t.quote_volume)
    return event(topic, "24hrTicker", t.ts_event, numbers(b=t.bid, B=t.bid_size, a=t.ask, A=t.ask_size) | day)


def candle(topic: Topic, t: Candle[D]) -> Payload:
    times = {"t": ms(t.ts_open), "T": ms(span(t.interval, t.ts_open)[1]) - 1, "s": topic.instrument.id, "i": t.interval}
    bar = numbers(o=t.open, c=t.close, h=t.high, l=t.low, v=t.volume, q=t.quote_volume)
    return event(topic, "kline", t.ts_event, {"k": times | bar | {"n": t.trades, "x": t.closed}})


CHANNELS = {
    "trade": Channel(("trade",), trade),
    "depth@100ms": Channel(("book",), depth),
    "bookTicker": Channel(("quote",), quote),
    "ticker": Channel(("ticker",), ticker),
} | {f"kline_{interval}": Channel(("candle",), candle) for interval in INTERVALS}


Channels = Mapping[str, Channel]


def subscribe(c: Connection, streams: Iterable[str], channels: Channels) -> None:
    """Of an unknown symbol nothing ever comes, nor of a channel that this address does not have."""
    for stream in streams:
        name, _, channel = stream.partition("@")
        instrument = c.exchange.find(name.upper())
        if instrument is not None and name == instrument.id.lower() and channel in channels:
            c.subscribe(stream, channels[channel], instrument, interval=channel.removeprefix("kline_"))


def opened(c: Connection, here: Channels = CHANNELS) -> None:
    c.every(20, Connection.ping)
    subscribe(c, c.query.get("streams", "").split("/"), here)


def heard(c: Connection, text: str, known: Channels = CHANNELS, here: Channels = CHANNELS) -> None:
    """`known` are the channels of all addresses, `here` those of this one."""
    command = orjson.loads(text)
    method, streams, n = command["method"], command.get("params", []), command["id"]
    result = None
    if method == "SUBSCRIBE" and all(s.partition("@")[2] in known for s in streams):
        subscribe(c, streams, here)
    elif method == "UNSUBSCRIBE":
        for stream in streams:
            c.unsubscribe(stream)
    elif method == "LIST_SUBSCRIPTIONS":
        result = list(c.topics)
    else:
        c.send({"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": n})
        return
    c.send({"result": result, "id": n})


def confused(text: str) -> Payload:
    return {"error": {"code": 2, "msg": "Invalid request"}, "id": None}


def exchange_info(r: Request) -> Payload:
    return {"timezone": "UTC", "serverTime": ms(r.exchange.now()), "symbols": [row(i) for i in r.exchange.instruments]}


def row(i: Instrument) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": number(i.price_step), "maxPrice": "1000000.00000000", "tickSize": number(i.price_step)},
        {"filterType": "LOT_SIZE", "minQty": number(i.size_step), "maxQty": "9000000.00000000", "stepSize": number(i.size_step)},
    ]
    return {"symbol": i.id, "status": "TRADING", "baseAsset": i.base, "quoteAsset": i.quote, "filters": filters, "permissions": ["SPOT"]}


def book(r: Request) -> Payload:
    instrument = r.exchange.find(r.query.get("symbol", ""))
    if instrument is None:
        raise Refused(400, {"code": -1121, "msg": "Invalid symbol."})
    market, limit = r.exchange.market(instrument), int(r.query.get("limit", "100"))
    bids, asks = (levels(market.levels(ladder, limit)) for ladder in (market.bids, market.asks))
    return DepthRest[D](market.seq, bids, asks)


VENUE = Venue(
    name="binance",
    lists=lists,
    sockets=["/stream"],
    rest={"/api/v3/exchangeInfo": exchange_info, "/api/v3/depth": book},
    heard=heard,
    opened=opened,
    confused=confused,
    silent=True,
)
