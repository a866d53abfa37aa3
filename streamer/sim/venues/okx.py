"""OKX v5: spot, swaps, futures and options. https://www.okx.com/docs-v5/en/"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Any

import orjson

from normalizers.okx import BookData, TradeData
from streamer.sim.connection import Connection
from streamer.sim.listed import Listed, contracts, expiry, spot
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Pairs, Payload, Refused, Request, Venue, present
from streamer.sim.write import ms, ms_text, short

from streamer.types import (  # isort: skip
    BookDelta, Candle, Funding, Greeks, IndexPrice, Instrument, Level, Liquidation, MarkPrice, OpenInterest, Quote, Ticker, Trade,
)  # fmt: skip

D = Decimal
PAIRS = (
    ("BTC", "USDT", "0.1", "0.00000001"), ("ETH", "USDT", "0.01", "0.000001"), ("SOL", "USDT", "0.01", "0.000001"),
    ("XRP", "USDT", "0.0001", "0.000001"), ("ETH", "BTC", "0.00001", "0.000001"),
)  # fmt: skip
TYPES = {"spot": "SPOT", "swap": "SWAP", "future": "FUTURES", "option": "OPTION"}
BARS = ("1s", "1m", "3m", "5m", "15m", "30m", "1H", "2H", "4H", "6Hutc", "12Hutc", "1Dutc", "2Dutc", "3Dutc", "1Wutc", "1Mutc", "3Mutc")
LOWER = str.maketrans("HDW", "hdw")


def lists(exchange: str, now: int, more: Pairs) -> Iterable[Listed]:
    yield from spot(exchange, lambda base, quote: f"{base}-{quote}", (*PAIRS, *more))
    for base, linear, inverse in (("BTC", "0.01", "100"), ("ETH", "0.1", "10")):
        yield contracts(exchange, f"{base}-USDT-SWAP", base, "USDT", "USDT", "0.1", "0.01", linear)
        yield contracts(exchange, f"{base}-USD-SWAP", base, "USD", base, "0.1", "1", inverse)
    day = expiry(now)
    yield contracts(exchange, f"BTC-USD-{day:%y%m%d}", "BTC", "USD", "BTC", "0.1", "1", "100", day)
    yield contracts(exchange, f"BTC-USDT-{day:%y%m%d}", "BTC", "USDT", "USDT", "0.1", "0.01", "0.01", day)
    for right in ("C", "P"):
        id = f"BTC-USD-{day:%y%m%d}-65000-{right}"
        yield contracts(exchange, id, "BTC", "USD", "BTC", "0.0001", "1", "0.01", day, D(65000), right, price=D("0.0525"))


# what happens, as told


def push(topic: Topic, *data: Any, **more: str) -> Payload:
    return {"arg": dict(pair.split(":") for pair in topic.key.split(","))} | more | {"data": data}


def levels(side: Iterable[Level[D]]) -> Any:
    return [(short(price), short(size), "0", "1") for price, size in side]


def crc(topic: Topic) -> int:
    """Of 25 levels, bid and ask in turn, all joined by colons, as they are sent."""
    market = topic.market
    pairs = zip_longest(market.levels(market.bids, 25), market.levels(market.asks, 25))
    return topic.crc32(":".join(short(x) for pair in pairs for level in pair if level for x in level), signed=True)


def books_snapshot(topic: Topic) -> Payload:
    bids, asks = topic.market.book()
    seq = topic.market.seq
    data = BookData[Any](levels(asks), levels(bids), ms_text(topic.exchange.now()), crc(topic), -1, seq)
    return push(topic, data, action="snapshot")


def books(topic: Topic, t: BookDelta[D]) -> Payload:
    data = BookData[Any](levels(t.asks), levels(t.bids), ms_text(t.ts_event), crc(topic), t.prev, t.last)
    return push(topic, data, action="update")


def trades(topic: Topic, t: Trade[D]) -> Payload:
    return push(topic, TradeData[Any](topic.instrument.id, t.id or "", short(t.price), short(t.size), t.side or "buy", ms_text(t.ts_event)))


def quote(topic: Topic, t: Quote[D]) -> Payload:
    bid, ask = ([(short(price), short(size), "0", "1")] for price, size in ((t.bid, t.bid_size), (t.ask, t.ask_size)))
    return push(topic, {"asks": ask, "bids": bid, "ts": ms_text(t.ts_event), "seqId": topic.market.seq})


def row(topic: Topic, t: Any, **fields: Any) -> Payload:
    """One instrument's row: its numbers as text."""
    i = next(x for x in topic.instruments if x.symbol == t.symbol)
    numbers = {name: short(x) if x is None or isinstance(x, Decimal) else x for name, x in fields.items()}
    return push(topic, {"instType": TYPES[i.kind], "instId": i.id} | numbers | {"ts": ms_text(t.ts_event)})


def ticker(topic: Topic, t: Ticker[D]) -> Payload:
    best = {"bidPx": t.bid, "bidSz": t.bid_size, "askPx": t.ask, "askSz": t.ask_size}
    volumes = {"vol24h": t.volume, "volCcy24h": t.quote_volume}
    return row(topic, t, last=t.last, open24h=t.open, high24h=t.high, low24h=t.low, **best, **volumes)


def candle(topic: Topic, t: Candle[D]) -> Payload:
    numbers = (t.open, t.high, t.low, t.close, t.volume, t.quote_volume, t.quote_volume)
    return push(topic, [ms_text(t.ts_open), *map(short, numbers), "1" if t.closed else "0"])


def funding(topic: Topic, t: Funding[D]) -> Payload:
    due = ms(t.ts_next)
    times = {"fundingTime": str(due), "nextFundingTime": str(due + (t.interval_s or 0) * 1000)}
    return row(topic, t, fundingRate=t.rate, nextFundingRate=t.predicted_rate, **times)


def mark(topic: Topic, t: MarkPrice[D]) -> Payload:
    return row(topic, t, markPx=t.price)


def index(topic: Topic, t: IndexPrice[D]) -> Payload:
    return push(topic, {"instId": topic.instrument.id.removesuffix("-SWAP"), "idxPx": short(t.price), "ts": ms_text(t.ts_event)})


def open_interest(topic: Topic, t: OpenInterest[D]) -> Payload:
    return row(topic, t, oi=t.amount, oiUsd=t.value)


def liquidation(topic: Topic, t: Liquidation[D]) -> Payload:
    i = next(x for x in topic.instruments if x.symbol == t.symbol)
    detail = {"bkPx": short(t.price), "side": t.side, "sz": short(t.size), "ts": ms_text(t.ts_event), "bkLoss": "0", "ccy": ""}
    return push(topic, {"details": [detail], "instFamily": family(i), "instId": i.id, "instType": TYPES[i.kind], "uly": family(i)})


def greeks(topic: Topic, t: Greeks[D]) -> Payload:
    vols = {"markVol": t.mark_iv, "bidVol": t.bid_iv, "askVol": t.ask_iv, "fwdPx": t.underlying_price}
    return row(topic, t, deltaBS=t.delta, gammaBS=t.gamma, vegaBS=t.vega, thetaBS=t.theta, **vols)


PUBLIC = {
    "trades": Channel(("trade",), trades),
    "books": Channel(("book",), books, books_snapshot),
    "bbo-tbt": Channel(("quote",), quote, present),
    "tickers": Channel(("ticker",), ticker, present),
    "funding-rate": Channel(("funding",), funding, present),
    "mark-price": Channel(("mark",), mark, present),
    "index-tickers": Channel(("index",), index, present),
    "open-interest": Channel(("open_interest",), open_interest, present),
    "liquidation-orders": Channel(("liquidation",), liquidation),
    "opt-summary": Channel(("greeks",), greeks, present),
}
BUSINESS = {f"candle{bar}": Channel(("candle",), candle, present) for bar in BARS}
ONLY = {"funding-rate": ("swap",), "mark-price": ("swap", "future", "option"), "open-interest": ("swap", "future", "option")}
CHANNELS = {"/ws/v5/public": PUBLIC, "/ws/v5/business": BUSINESS}


# what clients say


def about(c: Connection, arg: dict[str, str]) -> Sequence[Instrument]:
    """The instruments that a subscription is about; none if there is no such thing."""
    name, all = arg["channel"], c.exchange.instruments
    if name == "liquidation-orders":
        return [i for i in all if i.kind in ("swap", "future") and TYPES[i.kind] == arg["instType"]]
    if name == "opt-summary":
        return [i for i in all if i.kind == "option" and family(i) == arg["instFamily"]]
    find, id = c.exchange.find, arg["instId"]
    found = find(id, "spot") or find(f"{id}-SWAP") if name == "index-tickers" else find(id, *ONLY.get(name, ()))
    return [found] if found is not None else []


def heard(c: Connection, text: str) -> None:
    if text == "ping":
        c.send("pong")
        return
    m = orjson.loads(text)
    n, op = {"id": m["id"]} if "id" in m else {}, m["op"]
    if op not in ("subscribe", "unsubscribe"):
        raise ValueError(op)
    for arg in m["args"]:
        key, end = ",".join(f"{k}:{v}" for k, v in arg.items()), {"connId": f"{c.number:08x}"}
        channel = CHANNELS[c.path].get(arg["channel"])
        instruments = about(c, arg) if channel is not None else ()
        if channel is None or not instruments:
            why = f"Wrong URL or {key} doesn't exist. Please use the correct URL, channel and parameters referring to API document."
            c.send(n | {"event": "error", "code": "60018", "msg": why} | end)
            continue
        c.send(n | {"event": op, "arg": arg} | end)
        if op == "subscribe":
            interval = arg["channel"].removeprefix("candle").removesuffix("utc").translate(LOWER) if channel.kinds == ("candle",) else ""
            c.subscribe(key, channel, *instruments, interval=interval)
        else:
            c.unsubscribe(key)


def confused(text: str) -> Payload:
    return {"event": "error", "code": "60012", "msg": f"Invalid request: {text}"}


# what it lists


def family(i: Instrument) -> str:
    return f"{i.base}-{i.quote}"


def instruments(r: Request) -> Payload:
    wanted = r.query.get("instType")
    if wanted not in TYPES.values() or (wanted == "OPTION" and not r.query.get("instFamily")):
        raise Refused(400, {"code": "51000", "data": [], "msg": "Parameter instType error"})
    rows = [i for i in r.exchange.instruments if TYPES[i.kind] == wanted and r.query.get("instFamily", family(i)) == family(i)]
    return {"code": "0", "data": [listing(i) for i in rows], "msg": ""}


def listing(i: Instrument) -> dict[str, Any]:
    spot, option = i.kind == "spot", i.kind == "option"
    return {
        "instType": TYPES[i.kind], "instId": i.id, "uly": "" if spot else family(i), "instFamily": "" if spot else family(i),
        "baseCcy": i.base if spot else "", "quoteCcy": i.quote if spot else "", "settleCcy": i.settle or "",
        "ctVal": "1" if option else short(i.contract_size), "ctMult": short(i.contract_size) if option else "" if spot else "1",
        "ctValCcy": "" if spot else i.quote if i.size_unit == "contracts" else i.base,
        "optType": (i.option_type or "")[:1].upper(), "stk": short(i.strike), "expTime": ms_text(i.expiry) if i.expiry else "",
        "tickSz": short(i.price_step), "lotSz": short(i.size_step), "minSz": short(i.size_step), "state": "live",
    }  # fmt: skip


VENUE = Venue(
    name="okx",
    lists=lists,
    sockets=list(CHANNELS),
    rest={"/api/v5/public/instruments": instruments},
    heard=heard,
    confused=confused,
)
