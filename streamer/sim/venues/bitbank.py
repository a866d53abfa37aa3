"""bitbank, over Socket.IO. https://github.com/bitbankinc/bitbank-api-docs/blob/master/public-stream.md"""

import asyncio
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import orjson

from streamer.sim.connection import Connection
from streamer.sim.listed import Listed, spot
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Pairs, Payload, Request, Venue
from streamer.sim.window import Window
from streamer.sim.write import ms, short
from streamer.types import BookDelta, Instrument, Level, Ticker, Trade

D = Decimal
PAIRS = (
    ("BTC", "JPY", "1", "0.0001"), ("ETH", "JPY", "1", "0.0001"), ("XRP", "JPY", "0.001", "0.0001"), ("SOL", "JPY", "0.01", "0.0001"),
    ("XRP", "BTC", "0.00000001", "0.0001"),
)  # fmt: skip
LEVELS = 200
WHOLE_EVERY_S = 15.0
LATE_S = 0.15
"""A whole book is sent so long after its state, and the differences since were sent before it."""


def lists(exchange: str, now: int, more: Pairs) -> Iterable[Listed]:
    yield from spot(exchange, lambda base, quote: f"{base}_{quote}".lower(), (*PAIRS, *more))


# what happens, as told


def message(room: str, data: Any) -> str:
    event = ["message", {"room_name": room, "message": {"data": data}}]
    return f"42{orjson.dumps(event).decode()}"


def levels(side: Iterable[Level[D]]) -> list[Any]:
    return [(short(price), short(size)) for price, size in side]


def trade(topic: Topic, t: Trade[D]) -> Payload:
    row = {
        "transaction_id": int(t.id or 0),
        "side": t.side,
        "price": short(t.price),
        "amount": short(t.size),
        "executed_at": ms(t.ts_event),
    }
    return message(topic.key, {"transactions": [row]})


def begin(topic: Topic) -> None:
    topic.mem["window"] = Window(topic.market, LEVELS)


def diff(topic: Topic, t: BookDelta[D]) -> Payload:
    """Of the best levels only; what falls out of them is not told."""
    bids, asks = topic.mem["window"].changes()
    if not bids and not asks:
        return None
    return message(topic.key, {"a": levels(asks), "b": levels(bids), "t": ms(t.ts_event), "s": str(topic.market.seq)})


def whole(topic: Topic) -> Payload:
    sums = {"asks_over": "65.8", "bids_under": "4712.6", "asks_under": "0", "bids_over": "0", "ask_market": "0", "bid_market": "0"}
    window, seq = Window(topic.market, LEVELS), {"timestamp": ms(topic.exchange.now()), "sequenceId": str(topic.market.seq)}
    return message(topic.key, {"asks": levels(window.asks), "bids": levels(window.bids)} | sums | seq)


def ticker(topic: Topic, t: Ticker[D]) -> Payload:
    best = {"sell": short(t.ask), "buy": short(t.bid)}
    day = {"open": short(t.open), "high": short(t.high), "low": short(t.low), "last": short(t.last), "vol": short(t.volume)}
    return message(topic.key, best | day | {"timestamp": ms(t.ts_event)})


def nothing(topic: Topic, t: BookDelta[D]) -> Payload:
    return None


CHANNELS = {
    "transactions_": Channel(("trade",), trade), "depth_diff_": Channel(("book",), diff, begin),
    "depth_whole_": Channel(("book",), nothing), "ticker_": Channel(("ticker",), ticker),
}  # fmt: skip


# what clients say


def late(c: Connection, room: str) -> None:
    """Send the whole book as it is now, a little later."""
    text = whole(c.topics[room])

    async def send() -> None:
        await asyncio.sleep(LATE_S)
        c.send(text)

    c.spawn(send())


def wholes(c: Connection) -> None:
    for room in c.topics:
        if room.startswith("depth_whole_"):
            late(c, room)


def opened(c: Connection) -> None:
    c.send(f'0{{"sid":"sim{c.number}","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}')
    c.every(25, lambda c: c.send("2"))
    c.every(WHOLE_EVERY_S, wholes)


def heard(c: Connection, text: str) -> None:
    """Nothing is answered, and what is said before the namespace is joined closes the connection."""
    if text == "3":
        return
    if text == "40":
        c.mem["joined"] = True
        c.send(f'40{{"sid":"io{c.number}"}}')
        return
    verb, room = orjson.loads(text.removeprefix("42"))
    if not text.startswith("42") or "joined" not in c.mem or verb not in ("join-room", "leave-room"):
        raise ValueError(text)
    if verb == "leave-room":
        c.unsubscribe(room)
        return
    for start, channel in CHANNELS.items():
        instrument = c.exchange.find(room.removeprefix(start)) if room.startswith(start) else None
        if instrument is not None:
            c.subscribe(room, channel, instrument)
            if start == "depth_whole_":
                late(c, room)


def pairs(r: Request) -> Payload:
    return {"success": 1, "data": {"pairs": list(rows(r.exchange.instruments))}}


def rows(instruments: Iterable[Instrument]) -> Iterator[dict[str, Any]]:
    for i in instruments:
        names = {"name": i.id, "base_asset": i.base.lower(), "quote_asset": i.quote.lower(), "unit_amount": "0.0001"}
        yield names | {"price_digits": digits(i.price_step), "amount_digits": digits(i.size_step), "is_enabled": True, "stop_order": False}


def digits(step: D | None) -> int:
    return -int((step or D(1)).as_tuple().exponent)


VENUE = Venue(name="bitbank", lists=lists, sockets=["/socket.io/"], rest={"/v1/spot/pairs": pairs}, heard=heard, opened=opened, silent=True)
