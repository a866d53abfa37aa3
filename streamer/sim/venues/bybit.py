"""Bybit v5. https://bybit-exchange.github.io/docs/v5/ws/connect"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from streamer.sim.connection import Connection
from streamer.sim.listed import Listed, contracts, dollars, expiry, spot
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Pairs, Payload, Request, Venue, present
from streamer.sim.window import Window
from streamer.sim.write import ms, ms_text, short

from streamer.types import (  # isort: skip
    BookDelta, Candle, Funding, Greeks, IndexPrice, Instrument, Level, Liquidation, MarkPrice, OpenInterest, Quote, Tick, Ticker, Trade,
)  # fmt: skip

D = Decimal
PAIRS = (
    ("BTC", "USDT", "0.1", "0.000001"), ("ETH", "USDT", "0.01", "0.00001"), ("SOL", "USDT", "0.01", "0.001"),
    ("XRP", "USDT", "0.0001", "0.01"), ("BTC", "EUR", "0.1", "0.000001"), ("ETH", "BTC", "0.000001", "0.00001"),
)  # fmt: skip
BARS = {"1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h", "360": "6h", "720": "12h"}
BARS |= {"D": "1d", "W": "1w", "M": "1M"}
SIDES = {"buy": "Buy", "sell": "Sell"}
POSITIONS = {"sell": "Buy", "buy": "Sell"}
QUARTERS = {3: "H", 6: "M", 9: "U", 12: "Z"}
DEPTHS = {"spot": (1, 50, 200, 1000), "linear": (1, 50, 200, 1000), "inverse": (1, 50, 200, 1000), "option": (25, 100)}
FIRST_UPDATE = 1000


def lists(exchange: str, now: int, more: Pairs) -> Iterable[Listed]:
    yield from spot(exchange, lambda base, quote: base + quote, (*PAIRS, *more))
    day = expiry(now)
    for base, tick, lot in (("BTC", "0.10", "0.001"), ("ETH", "0.01", "0.01")):
        yield contracts(exchange, f"{base}USDT", base, "USDT", "USDT", tick, lot, "1")
        yield contracts(exchange, f"{base}PERP", base, "USDC", "USDC", tick, lot, "1")
        yield contracts(exchange, f"{base}USD", base, "USD", base, tick, "1", "1")
    yield contracts(exchange, f"BTCUSDT-{written(day)}", "BTC", "USDT", "USDT", "0.1", "0.001", "1", day)
    yield contracts(exchange, f"BTCUSD{QUARTERS[day.month]}{day:%y}", "BTC", "USD", "BTC", "0.50", "1", "1", day)
    for right in ("C", "P"):
        id = f"BTC-{written(day)}-65000-{right}-USDT"
        yield contracts(exchange, id, "BTC", "USDT", "USDT", "5", "0.01", "1", day, D(65000), right, price=D(3300))


def written(day: datetime) -> str:
    return f"{day.day}{day:%b%y}".upper()


def category(i: Instrument) -> str:
    return i.kind if i.kind in ("spot", "option") else "inverse" if i.settle == i.base else "linear"


# what happens, as told


def push(topic: Topic, type: str, ts: int | None, data: Any, **more: Any) -> Payload:
    return {"topic": topic.key, "type": type, "ts": ms(ts), "data": data} | more


def levels(side: Iterable[Level[D]]) -> list[Any]:
    return [(short(price), short(size)) for price, size in side]


def book(topic: Topic, type: str, ts: int | None, bids: Iterable[Level[D]], asks: Iterable[Level[D]]) -> Payload:
    data = {"s": topic.instrument.id, "b": levels(bids), "a": levels(asks), "u": topic.mem["u"], "seq": topic.market.seq}
    return push(topic, type, ts, data, cts=ms(ts))


def book_snapshot(topic: Topic) -> Payload:
    topic.mem.setdefault("u", FIRST_UPDATE)
    window = topic.mem["window"] = Window(topic.market, topic.depth)
    return book(topic, "snapshot", topic.exchange.now(), window.bids, window.asks)


def book_delta(topic: Topic, t: BookDelta[D]) -> Payload:
    """What falls out of the depth is removed."""
    changes = topic.mem["window"].changes(fallen=True)
    if not any(changes):
        return None
    topic.mem["u"] += 1
    return book(topic, "delta", t.ts_event, *changes)


def best(topic: Topic, t: Quote[D]) -> Payload:
    """Of depth 1 every message is whole."""
    topic.mem["u"] = topic.mem.get("u", FIRST_UPDATE) + 1
    bids, asks = (
        [(price, size)] if price is not None and size is not None else [] for price, size in ((t.bid, t.bid_size), (t.ask, t.ask_size))
    )
    return book(topic, "snapshot", t.ts_event, bids, asks)


def trade(topic: Topic, t: Trade[D]) -> Payload:
    i = about(topic, t)
    data = {"T": ms(t.ts_event), "s": i.id, "S": SIDES[t.side or "buy"], "v": short(t.size), "p": short(t.price), "i": t.id, "BT": False}
    return push(topic, "snapshot", t.ts_event, [data])


def liquidation(topic: Topic, t: Liquidation[D]) -> Payload:
    data = {"T": ms(t.ts_event), "s": topic.instrument.id, "S": POSITIONS[t.side or "sell"], "v": short(t.size), "p": short(t.price)}
    return push(topic, "snapshot", t.ts_event, [data])


def kline(topic: Topic, t: Candle[D]) -> Payload:
    prices = {"open": short(t.open), "close": short(t.close), "high": short(t.high), "low": short(t.low)}
    volumes = {"volume": short(t.volume), "turnover": short(t.quote_volume), "confirm": t.closed, "timestamp": ms(t.ts_event)}
    interval = next(bar for bar, interval in BARS.items() if interval == t.interval)
    return push(topic, "snapshot", t.ts_event, [{"start": ms(t.ts_open), "end": 0, "interval": interval} | prices | volumes])


def about(topic: Topic, t: Tick[D]) -> Instrument:
    return next(i for i in topic.instruments if i.symbol == t.symbol)


def fields(topic: Topic, t: Any) -> dict[str, D | str | None]:
    """What a tick says, in the words of the ticker of its market."""
    option = topic.instrument.kind == "option"
    if isinstance(t, Ticker):
        day = {"lastPrice": t.last, "highPrice24h": t.high, "lowPrice24h": t.low, "volume24h": t.volume, "turnover24h": t.quote_volume}
        day |= {} if option else {"prevPrice24h": t.open}
        if topic.instrument.kind == "spot":
            return {**day}
        names = ("bidPrice", "bidSize", "askPrice", "askSize") if option else ("bid1Price", "bid1Size", "ask1Price", "ask1Size")
        return {**day, **dict(zip(names, (t.bid, t.bid_size, t.ask, t.ask_size), strict=True))}
    if isinstance(t, MarkPrice | IndexPrice):
        return {"markPrice" if isinstance(t, MarkPrice) else "indexPrice": t.price}
    if isinstance(t, Funding):
        return {"fundingRate": t.rate, "nextFundingTime": ms_text(t.ts_next), "fundingIntervalHour": str((t.interval_s or 0) // 3600)}
    if isinstance(t, OpenInterest):
        amount, value = t.amount or D(0), t.value or D(0)
        both = {"openInterest": amount * 2, "openInterestValue": value * 2, "singleOpenInterest": amount, "singleOpenInterestValue": value}
        return {"openInterest": amount} if option else {**both}
    return greeks(topic, t)


def greeks(topic: Topic, t: Greeks[D]) -> dict[str, D | str | None]:
    ivs = {"markPriceIv": t.mark_iv, "bidIv": t.bid_iv, "askIv": t.ask_iv, "underlyingPrice": t.underlying_price}
    return {"delta": t.delta, "gamma": t.gamma, "vega": t.vega, "theta": t.theta, "indexPrice": dollars(topic.instrument.base), **ivs}


def ticker(topic: Topic, t: Any) -> Payload:
    """Contracts tell what changed; spot and options always everything."""
    row, new = topic.mem["row"], written_out(fields(topic, t))
    changed = {name: text for name, text in new.items() if row.get(name) != text}
    row |= changed
    sparse = category(topic.instrument) in ("linear", "inverse")
    data = {"symbol": topic.instrument.id} | (changed if sparse else row)
    return push(topic, "delta" if sparse else "snapshot", t.ts_event, data, cs=topic.market.seq) if changed else None


def ticker_snapshot(topic: Topic) -> Payload:
    told = [t for kind in topic.channel.kinds if (t := topic.now(kind)) is not None]
    row = topic.mem["row"] = {name: text for t in told for name, text in written_out(fields(topic, t)).items()}
    return push(topic, "snapshot", topic.exchange.now(), {"symbol": topic.instrument.id} | row, cs=topic.market.seq)


def written_out(row: dict[str, D | str | None]) -> dict[str, str]:
    return {name: x if isinstance(x, str) else short(x) for name, x in row.items()}


BOOK = Channel(("book",), book_delta, book_snapshot)
CONTRACT = Channel(("ticker", "mark", "index", "funding", "open_interest"), ticker, ticker_snapshot)
ALL = {"publicTrade": Channel(("trade",), trade)}
SPOT = ALL | {"tickers": Channel(("ticker",), ticker, ticker_snapshot), "kline": Channel(("candle",), kline, present)}
LINEAR = SPOT | {"tickers": CONTRACT, "allLiquidation": Channel(("liquidation",), liquidation)}
OPTION = ALL | {"tickers": Channel(("ticker", "mark", "open_interest", "greeks"), ticker, ticker_snapshot)}
CHANNELS = {"spot": SPOT, "linear": LINEAR, "inverse": LINEAR, "option": OPTION}
BEST = Channel(("quote",), best, present)


# what clients say


def asked(c: Connection, key: str) -> tuple[Channel, list[Instrument], str, int | None] | None:
    """What a topic is: its channel, instruments, interval and depth. None if there is no such topic on this path."""
    market, (name, _, rest) = c.path.rpartition("/")[2], key.partition(".")
    parameter, id = rest.split(".", 1) if name in ("orderbook", "kline") else ("", rest)
    named = "base" if (market, name) == ("option", "publicTrade") else "id"
    found = [i for i in c.exchange.instruments if category(i) == market and getattr(i, named) == id]
    if name == "orderbook":
        depth = int(parameter)
        return (BEST if depth == 1 else BOOK, found, "", depth) if found and depth in DEPTHS[market] else None
    channel = CHANNELS[market].get(name)
    return (channel, found, BARS.get(parameter, ""), None) if found and channel and (name != "kline" or parameter in BARS) else None


def heard(c: Connection, text: str) -> None:
    m = orjson.loads(text)
    op, keys, market = m["op"], m.get("args", ()), c.path.rpartition("/")[2]
    end = {"conn_id": f"{c.number:08x}", "req_id": m.get("req_id", ""), "op": op}
    if op == "ping":
        c.send({"args": [ms_text(c.exchange.now())], "op": "pong"} if market == "option" else {"success": True, "ret_msg": "pong"} | end)
        return
    if op not in ("subscribe", "unsubscribe"):
        raise ValueError(op)
    topics = {key: asked(c, key) for key in keys}
    bad = [key for key, topic in topics.items() if topic is None]
    if market == "option":
        data = {"failTopics": bad, "successTopics": [key for key in keys if key not in bad]}
        c.send({"success": True, "conn_id": end["conn_id"], "data": data, "type": "COMMAND_RESP"})
    else:
        why = refusal(c, op, market, keys, bad)
        c.send({"success": not why, "ret_msg": why or ("subscribe" if market == "spot" else "")} | end)
        if why:
            return
    for key, topic in topics.items():
        if op == "unsubscribe":
            c.unsubscribe(key)
        elif topic is not None:
            channel, instruments, interval, depth = topic
            c.subscribe(key, channel, *instruments, interval=interval, depth=depth)


def refusal(c: Connection, op: str, market: str, keys: Sequence[str], bad: Sequence[str]) -> str:
    """One topic too many, unknown or twice, and the whole command is refused."""
    if market == "spot" and len(keys) > 10:
        return "args size >10"
    if bad:
        return f"Invalid symbol :[{bad[0]}]" if market == "spot" else f"error:handler not found,topic:{bad[0]}"
    twice = [key for key in keys if key in c.topics] if op == "subscribe" else ()
    return f"error:already subscribed,topic:{twice[0]}" if twice else ""


def confused(text: str) -> Payload:
    return {"success": False, "ret_msg": "error:invalid op", "conn_id": "", "request": {"op": "", "args": None}}


# what it lists


def instruments(r: Request) -> Payload:
    """In pages; the cursor, escaped, is where the next one begins."""
    wanted, base = r.query.get("category"), r.query.get("baseCoin", "BTC")
    if wanted not in CHANNELS:
        return {"retCode": 10001, "retMsg": "Illegal category", "result": {}, "retExtInfo": {}, "time": ms(r.exchange.now())}
    rows = [i for i in r.exchange.instruments if category(i) == wanted and (wanted != "option" or i.base == base)]
    pages: dict[str, Any] = {}
    if wanted != "spot":
        begin = int(r.query.get("cursor", "from=0").partition("=")[2])
        end = begin + int(r.query.get("limit", "500"))
        pages = {"nextPageCursor": f"from%3D{end}" if end < len(rows) else ""}
        rows = rows[begin:end]
    result = {"category": wanted, "list": [listing(i) for i in rows]} | pages
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": ms(r.exchange.now())}


def listing(i: Instrument) -> dict[str, Any]:
    names: dict[str, Any] = {"symbol": i.id, "status": "Trading", "baseCoin": i.base, "quoteCoin": i.quote}
    row = names | {"priceFilter": {"tickSize": f"{i.price_step:f}"}}
    if i.kind == "spot":
        return row | {"lotSizeFilter": {"basePrecision": f"{i.size_step:f}", "quotePrecision": "0.00000001"}}
    row |= {"settleCoin": i.settle, "deliveryTime": ms_text(i.expiry), "lotSizeFilter": {"qtyStep": f"{i.size_step:f}"}}
    if i.kind == "option":
        return row | {"optionsType": (i.option_type or "").capitalize()}
    return row | {"contractType": category(i).capitalize() + ("Perpetual" if i.kind == "swap" else "Futures")}


VENUE = Venue(
    name="bybit",
    lists=lists,
    sockets=[f"/v5/public/{market}" for market in CHANNELS],
    rest={"/v5/market/instruments-info": instruments},
    heard=heard,
    confused=confused,
)
