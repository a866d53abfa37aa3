"""Coinbase Exchange. https://docs.cdp.coinbase.com/exchange/websocket-feed/channels"""

from collections.abc import Iterable
from decimal import Decimal
from functools import partial
from typing import Any

import orjson

from streamer.sim.connection import Connection
from streamer.sim.listed import Listed, spot
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Pairs, Payload, Request, Venue, present
from streamer.sim.write import decimals, iso, short
from streamer.types import BookDelta, Instrument, Level, Ticker, Trade

D = Decimal
PAIRS = (
    ("BTC", "USD", "0.01", "0.00000001"), ("ETH", "USD", "0.01", "0.00000001"), ("SOL", "USD", "0.01", "0.00000001"),
    ("BTC", "EUR", "0.01", "0.00000001"), ("ADA", "USD", "0.0001", "0.00000001"), ("ETH", "BTC", "0.00001", "0.00000001"),
)  # fmt: skip
number = partial(decimals, 8)
MAKER = {"buy": "sell", "sell": "buy"}


def lists(exchange: str, now: int, more: Pairs) -> Iterable[Listed]:
    return spot(exchange, lambda base, quote: f"{base}-{quote}", (*PAIRS, *more))


def event(type: str, topic: Topic, ts: int | None, **more: Any) -> Payload:
    return {"type": type, "product_id": topic.instrument.id, **more, "time": iso(ts)}


def match(topic: Topic, t: Trade[D], type: str = "match") -> Payload:
    orders = {"maker_order_id": "0a2b-m", "taker_order_id": "0a2b-t", "side": MAKER[t.side or "buy"]}
    return event(
        type, topic, t.ts_event, trade_id=int(t.id or 0), **orders, size=short(t.size), price=short(t.price), sequence=topic.market.seq
    )


def last_match(topic: Topic) -> Payload:
    return match(topic, topic.market.trades[-1], "last_match") if topic.market.trades else None


def levels(side: Iterable[Level[D]]) -> list[list[str]]:
    return [[short(price), number(size)] for price, size in side]


def snapshot(topic: Topic) -> Payload:
    market = topic.market
    return event("snapshot", topic, topic.exchange.now(), asks=levels(market.levels(market.asks)), bids=levels(market.levels(market.bids)))


def update(topic: Topic, t: BookDelta[D]) -> Payload:
    changes = [["buy", *level] for level in levels(t.bids)] + [["sell", *level] for level in levels(t.asks)]
    return event("l2update", topic, t.ts_event, changes=changes)


def ticker(topic: Topic, t: Ticker[D]) -> Payload:
    best = {"best_bid": short(t.bid), "best_bid_size": number(t.bid_size), "best_ask": short(t.ask), "best_ask_size": number(t.ask_size)}
    day = {"open_24h": short(t.open), "volume_24h": number(t.volume), "low_24h": short(t.low), "high_24h": short(t.high)}
    return event("ticker", topic, t.ts_event, sequence=topic.market.seq, price=short(t.last), **day, **best)


CHANNELS = {
    "matches": Channel(("trade",), match, last_match),
    "level2_batch": Channel(("book",), update, snapshot),
    "ticker": Channel(("ticker",), ticker, present),
}
ANSWERED = {"level2_batch": "level2_50"}


def heard(c: Connection, text: str) -> None:
    """A command with anything wrong in it is refused as a whole."""
    m = orjson.loads(text)
    asked = [(channel["name"], product) for channel in m["channels"] for product in channel["product_ids"]]
    for name, product in asked:
        if name not in CHANNELS or c.exchange.find(product) is None:
            reason = f"{name if name not in CHANNELS else product} is not a valid {'channel' if name not in CHANNELS else 'product'}"
            c.send({"type": "error", "message": f"Failed to {m['type']}", "reason": reason})
            return
    for name, product in asked:
        instrument = c.exchange.find(product)
        if m["type"] == "unsubscribe":
            c.unsubscribe(f"{name}:{product}")
        elif instrument is not None:
            c.subscribe(f"{name}:{product}", CHANNELS[name], instrument)
    named: dict[str, list[str]] = {}
    for name, _, product in (key.partition(":") for key in c.topics):
        named.setdefault(ANSWERED.get(name, name), []).append(product)
    channels = [{"name": name, "product_ids": products, "account_ids": None} for name, products in named.items()]
    c.send({"type": "subscriptions", "channels": channels})


def products(r: Request) -> Payload:
    return [row(i) for i in r.exchange.instruments]


def row(i: Instrument) -> dict[str, Any]:
    steps = {"quote_increment": f"{i.price_step:f}", "base_increment": f"{i.size_step:f}"}
    state = {"status": "online", "trading_disabled": False, "cancel_only": False, "post_only": False}
    return {"id": i.id, "base_currency": i.base, "quote_currency": i.quote} | steps | state


VENUE = Venue(
    name="coinbaseexchange",
    lists=lists,
    sockets=["/", ""],
    rest={"/products": products},
    heard=heard,
    confused=lambda text: {"type": "error", "message": "Malformed JSON"},
)
