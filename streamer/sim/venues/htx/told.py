"""What happens, as HTX tells it."""

from decimal import Decimal
from typing import Any

from streamer.sim.connection import Connection
from streamer.sim.listed import dollars
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Payload, present
from streamer.sim.venues.htx.listed import family
from streamer.sim.window import Window
from streamer.sim.write import ms, ms_text, short

from streamer.types import (  # isort: skip
    BookDelta, Candle, Funding, IndexPrice, Instrument, Liquidation, MarkPrice, Quote, Ticker, Trade,
)  # fmt: skip

D = Decimal
FIRST_VERSION = 1_700_000_000_000


def push(topic: Topic, ts: int | None, tick: Any) -> Payload:
    return {"ch": topic.key, "ts": ms(ts), "tick": tick}


def trade(topic: Topic, t: Trade[D]) -> Payload:
    """Contracts count both sides."""
    number = int(t.id or 0)
    fill: dict[str, Any] = {"ts": ms(t.ts_event), "price": t.price, "direction": t.side}
    if topic.instrument.kind == "spot":
        fill |= {"id": D(number * 10**15).scaleb(7), "tradeId": number, "amount": t.size}
    else:
        fill |= {"id": number * 10_000, "amount": t.size * 2, "quantity": coins(topic.instrument, t.size * 2)}
    return push(topic, t.ts_event, {"id": number, "ts": ms(t.ts_event), "data": [fill]})


def coins(i: Instrument, amount: D) -> D:
    contract = i.contract_size or D(1)
    return amount * contract if i.size_unit == "base" else round(amount * contract / dollars(i.base), 18)


def mbp_first(topic: Topic) -> Payload:
    """Nothing: the book is to be requested."""
    topic.mem["window"], topic.mem["seq"] = Window(topic.market, 150), topic.market.seq


def mbp(topic: Topic, t: BookDelta[D]) -> Payload:
    """Told even when nothing changed in view."""
    bids, asks = topic.mem["window"].changes(fallen=True)
    prev, topic.mem["seq"] = topic.mem["seq"], t.last
    return push(topic, t.ts_event, {"seqNum": t.last, "prevSeqNum": prev, "bids": bids, "asks": asks})


def mbp_whole(i: Instrument, c: Connection) -> Payload:
    market = c.exchange.market(i)
    return {"seqNum": market.seq, "bids": market.levels(market.bids, 150), "asks": market.levels(market.asks, 150)}


def depth(topic: Topic, event: str, ts: int | None, bids: Any, asks: Any) -> Payload:
    tick = {"mrid": topic.market.seq, "id": topic.market.seq, "bids": bids, "asks": asks, "ts": ms(ts), "version": topic.mem["version"]}
    return push(topic, ts, tick | {"event": event, "ch": topic.key})


def depth_first(topic: Topic) -> Payload:
    topic.mem.setdefault("version", FIRST_VERSION)
    window = topic.mem["window"] = Window(topic.market, topic.depth)
    return depth(topic, "snapshot", topic.exchange.now(), window.bids, window.asks)


def depth_update(topic: Topic, t: BookDelta[D]) -> Payload:
    topic.mem["version"] += 1
    return depth(topic, "update", t.ts_event, *topic.mem["window"].changes(fallen=True))


def bbo(topic: Topic, t: Quote[D]) -> Payload:
    if topic.instrument.kind == "spot":
        best = {"bid": t.bid, "bidSize": t.bid_size, "ask": t.ask, "askSize": t.ask_size}
        return push(topic, t.ts_event, best | {"seqId": topic.market.seq, "quoteTime": ms(t.ts_event), "symbol": topic.instrument.id})
    sides = {name: side for name, side in (("bid", (t.bid, t.bid_size)), ("ask", (t.ask, t.ask_size))) if side[0] is not None}
    return push(topic, t.ts_event, sides | {"mrid": topic.market.seq, "ts": ms(t.ts_event), "version": topic.market.seq, "ch": topic.key})


def bar(topic: Topic, ts: int | None, id: int, prices: tuple[Any, ...], volume: D | None, value: D | None, count: int) -> Payload:
    """Volumes of contracts are of both sides."""
    i, row = topic.instrument, dict(zip(("open", "high", "low", "close"), prices, strict=True)) | {"id": id, "count": count}
    if i.kind == "spot":
        return push(topic, ts, row | {"amount": volume, "vol": value})
    both = (volume or D(0)) * 2
    turnover = {"trade_turnover": (value or D(0)) * 2} if family(i) == "linear" else {}
    return push(topic, ts, row | {"mrid": topic.market.seq, "vol": both, "amount": coins(i, both)} | turnover)


def detail(topic: Topic, t: Ticker[D]) -> Payload:
    return bar(topic, t.ts_event, ms(t.ts_event) // 1000, (t.open, t.high, t.low, t.last), t.volume, t.quote_volume, 100)


def kline(topic: Topic, t: Candle[D]) -> Payload:
    return bar(topic, t.ts_event, ms(t.ts_open) // 1000, (t.open, t.high, t.low, t.close), t.volume, t.quote_volume, t.trades or 0)


def price(topic: Topic, t: MarkPrice[D] | IndexPrice[D]) -> Payload:
    """A candle of text."""
    row: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close"), short(t.price))
    start = ms(t.ts_event) // 60_000 * 60
    return push(topic, t.ts_event, row | {"id": start, "amount": "0", "vol": "0", "count": "0", "trade_turnover": "0"})


def notify(topic: Topic, ts: int | None, symbol: str, row: dict[str, Any]) -> Payload:
    i = next(i for i in topic.instruments if i.symbol == symbol)
    return {"op": "notify", "topic": topic.key, "ts": ms(ts), "data": [{"symbol": i.base, "contract_code": i.id} | row]}


def funding(topic: Topic, t: Funding[D]) -> Payload:
    times = {"funding_time": ms_text(t.ts_event), "settlement_time": ms_text(t.ts_next)}
    return notify(topic, t.ts_event, t.symbol, {"funding_rate": short(t.rate), "estimated_rate": None} | times)


def liquidation(topic: Topic, t: Liquidation[D]) -> Payload:
    """Not of both sides."""
    row = {"direction": t.side, "offset": "close", "volume": t.size, "price": t.price, "created_at": ms(t.ts_event)}
    return notify(topic, t.ts_event, t.symbol, row | {"amount": coins(topic.instrument, t.size)})


PUSHED = {
    "trade.detail": Channel(("trade",), trade, present), "bbo": Channel(("quote",), bbo, present),
    "detail": Channel(("ticker",), detail, present), "kline": Channel(("candle",), kline, present),
}  # fmt: skip
DEPTH = Channel(("book",), depth_update, depth_first)
MBP = Channel(("book",), mbp, mbp_first)
INDEX = {"mark_price": Channel(("mark",), price, present), "index": Channel(("index",), price, present)}
NOTICES = {"funding_rate": Channel(("funding",), funding, present), "liquidation_orders": Channel(("liquidation",), liquidation)}
