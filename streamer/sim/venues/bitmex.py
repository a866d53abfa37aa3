"""BitMEX. https://www.bitmex.com/app/wsAPI"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import orjson
from msgspec.structs import replace

from streamer.sim.connection import Connection
from streamer.sim.listed import Listed, contracts, dollars, expiry, listed
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Pairs, Payload, Payloads, Request, Venue, several
from streamer.sim.write import iso, short
from streamer.symbols import format as symbol
from streamer.types import BookDelta, Candle, Funding, IndexPrice, Instrument, Liquidation, MarkPrice, OpenInterest, Quote, Ticker, Trade

D = Decimal
CODES = {"BTC": "XBT"}
SMALLEST = {"BTC": ("XBt", 8), "ETH": ("Gwei", 9), "USDT": ("USDt", 6)}
SIDES = {"buy": "Buy", "sell": "Sell"}
SPANS = {"1m": 60, "5m": 300, "1h": 3600, "1d": 86400}
QUARTERS = {3: "H", 6: "M", 9: "U", 12: "Z"}
MOST_ARGS = 20
FIRST_LEVEL = 62400580000
SPOT = (("BTC", "USDT", "0.1", "1000", "0.000001"), ("ETH", "USDT", "0.05", "1000", "0.00001"))


def lists(exchange: str, now: int, more: Pairs) -> Iterable[Listed]:
    day = expiry(now)
    yield contracts(exchange, "XBTUSD", "BTC", "USD", "BTC", "0.5", "100", "1")
    yield contracts(exchange, "ETHUSD_ETH", "ETH", "USD", "ETH", "0.05", "1", "1")
    yield contracts(exchange, "XBTUSDT", "BTC", "USDT", "USDT", "0.1", "1000", "0.000001")
    yield contracts(exchange, "ETHUSDT", "ETH", "USDT", "USDT", "0.01", "1000", "0.00001")
    quanto = contracts(exchange, "ETHUSD", "ETH", "USD", "BTC", "0.05", "1", "0.000001")
    yield quanto._replace(instrument=replace(quanto.instrument, size_unit="contracts"), size=D(25))
    yield contracts(exchange, f"XBT{QUARTERS[day.month]}{day:%y}", "BTC", "USD", "BTC", "0.5", "100", "1", day)
    pairs = [(*pair, "1") for pair in more]
    for base, quote, tick, lot, one in (*SPOT, *pairs):
        name = f"{CODES.get(base, base)}_{quote}"
        steps: Any = D(tick), D(lot), "base", D(one)
        yield listed(Instrument(exchange, symbol(base, quote), None, 0, name, base, quote, None, "spot", *steps))


def number(x: D | None) -> Any:
    """As short as it can be, and whole numbers without a point."""
    return None if x is None else int(x) if x == x.to_integral_value() else D(short(x))


def ms(ns: int | None) -> str:
    return iso(ns)[:-4] + "Z"


def given(**fields: Any) -> dict[str, Any]:
    """Nothing is told of what there is not."""
    return {name: x for name, x in fields.items() if x is not None}


def table(topic: Topic, action: str, rows: list[dict[str, Any]]) -> Payload:
    name, id = topic.key.split(":")
    about = {"keys": [], "types": {"symbol": "symbol"}, "filter": {"symbol": id}} if action == "partial" else {}
    return {"table": name, "action": action} | about | {"data": [{"symbol": id} | row for row in rows]}


# what happens, as told


def trade_row(topic: Topic, t: Trade[D]) -> dict[str, Any]:
    id = f"00000000-006d-1000-0000-{int(t.id or 0):012x}"
    what = {"side": SIDES[t.side or "buy"], "size": number(t.size), "price": number(t.price), "tickDirection": "ZeroPlusTick"}
    return {"timestamp": ms(t.ts_event), **what, "trdMatchID": id, "trdType": "Regular"}


def trade(topic: Topic, t: Trade[D]) -> Payload:
    return table(topic, "insert", [trade_row(topic, t)])


def trades_before(topic: Topic) -> Payload:
    return table(topic, "partial", [trade_row(topic, t) for t in list(topic.market.trades)[-1:]])


def level(topic: Topic, side: str, price: D, size: D | None, ts: int | None) -> dict[str, Any]:
    """A level's id is a number of ours: it means nothing."""
    ids, key = topic.mem["ids"], (side, price)
    id = ids.pop(key) if size is None else ids.setdefault(key, FIRST_LEVEL + topic.mem["made"])
    topic.mem["made"] += 1
    return given(id=id, side=side, size=number(size), price=number(price), timestamp=ms(ts))


def book_partial(topic: Topic) -> Payload:
    topic.mem |= {"ids": {}, "made": 0}
    bids, asks = topic.market.book()
    sides = (("Buy", bids), ("Sell", asks))
    now = topic.exchange.now()
    return table(topic, "partial", [level(topic, side, price, size, now) for side, levels in sides for price, size in levels])


def book_changes(topic: Topic, t: BookDelta[D]) -> Payloads:
    rows: dict[str, list[dict[str, Any]]] = {"delete": [], "update": [], "insert": []}
    for side, levels in (("Buy", t.bids), ("Sell", t.asks)):
        for price, size in levels:
            known = (side, price) in topic.mem["ids"]
            if known or size:
                action = "delete" if not size else "update" if known else "insert"
                rows[action].append(level(topic, side, price, size or None, t.ts_event))
    return several(table(topic, action, changed) for action, changed in rows.items() if changed)


def best_row(t: Quote[D]) -> dict[str, Any]:
    bid, ask = given(bidSize=number(t.bid_size), bidPrice=number(t.bid)), given(askPrice=number(t.ask), askSize=number(t.ask_size))
    return {"timestamp": ms(t.ts_event)} | bid | ask


def best(topic: Topic, t: Quote[D]) -> Payload:
    return table(topic, "insert", [best_row(t)])


def best_now(topic: Topic) -> Payload:
    return table(topic, "partial", [best_row(topic.now("quote"))])


def bin_row(t: Candle[D], end: int, **more: Any) -> dict[str, Any]:
    prices = {"open": number(t.open), "high": number(t.high), "low": number(t.low), "close": number(t.close)}
    sums = {"trades": t.trades, "volume": number(t.volume), "foreignNotional": number(t.quote_volume)}
    return {"timestamp": ms(end)} | prices | sums | more


def trade_bin(topic: Topic, t: Candle[D]) -> Payload:
    """A bar is told when it is over, by the time of its end."""
    end = t.ts_open + SPANS[t.interval] * 10**9
    return table(topic, "insert", [bin_row(t, end)]) if t.closed else None


def bin_before(topic: Topic) -> Payload:
    """One without trades, which ended when the present one began."""
    t = topic.now("candle")
    flat = {"high": number(t.open), "low": number(t.open), "close": number(t.open), "trades": 0, "volume": 0, "foreignNotional": 0}
    return table(topic, "partial", [bin_row(t, t.ts_open, **flat)])


def liquidation(topic: Topic, t: Liquidation[D]) -> Payloads:
    """The order comes, is filled in part, and is gone."""
    topic.mem["orders"] = number = topic.mem.get("orders", 0) + 1
    id: dict[str, Any] = {"orderID": f"7f3c1a52-0000-4000-8000-{number:012x}"}
    size = int(t.size)
    inserted = id | {"side": SIDES[t.side or "sell"], "price": float(t.price), "leavesQty": size}
    rows = {"insert": inserted, "update": id | {"leavesQty": size // 2}, "delete": id}
    return several(table(topic, action, [row]) for action, row in rows.items())


def nothing(topic: Topic) -> Payload:
    return table(topic, "partial", [])


def fields(topic: Topic, t: Any) -> dict[str, Any]:
    """What a tick says, in the words of the table of instruments."""
    if isinstance(t, Ticker):
        prices = given(lastPrice=t.last, prevPrice24h=t.open, highPrice=t.high, lowPrice=t.low, bidPrice=t.bid, askPrice=t.ask)
        return {name: number(x) for name, x in (prices | {"volume24h": t.volume, "foreignNotional24h": t.quote_volume}).items()}
    if isinstance(t, MarkPrice | IndexPrice):
        return {"markPrice" if isinstance(t, MarkPrice) else "indicativeSettlePrice": number(t.price)}
    if isinstance(t, Funding):
        rates = {"fundingRate": number(t.rate), "indicativeFundingRate": number(t.predicted_rate)}
        return rates | {"fundingTimestamp": ms(t.ts_next), "fundingInterval": ms((946684800 + (t.interval_s or 0)) * 10**9)}
    if isinstance(t, OpenInterest):
        i, value = topic.instrument, t.value or D(0)
        in_settle = value if i.settle == i.quote else value / dollars(i.settle or "")
        return {"openInterest": number(t.amount), "openValue": int(in_settle * 10 ** SMALLEST[i.settle or ""][1])}
    raise TypeError(type(t))


def state(topic: Topic, t: Any) -> Payload:
    """Only what changed."""
    row, new = topic.mem["row"], fields(topic, t)
    changed = {name: x for name, x in new.items() if row.get(name) != x}
    row |= changed
    return table(topic, "update", [changed | {"timestamp": ms(t.ts_event)}]) if changed else None


def state_now(topic: Topic) -> Payload:
    row = topic.mem["row"] = {}
    for kind in topic.channel.kinds:
        if (t := topic.now(kind)) is not None:
            row |= fields(topic, t)
    return table(topic, "partial", [row | {"timestamp": ms(topic.exchange.now())}])


STATE = {"spot": Channel(("ticker",), state, state_now)}
STATE["swap"] = Channel(("ticker", "mark", "index", "funding", "open_interest"), state, state_now)
STATE["future"] = Channel(("ticker", "mark", "index", "open_interest"), state, state_now)
TABLES = {
    "trade": Channel(("trade",), trade, trades_before), "orderBookL2": Channel(("book",), book_changes, book_partial),
    "quote": Channel(("quote",), best, best_now), "liquidation": Channel(("liquidation",), liquidation, nothing),
}  # fmt: skip
BIN = Channel(("candle",), trade_bin, bin_before)


# what clients say


def opened(c: Connection) -> None:
    told = {"info": "Welcome to the BitMEX Realtime API.", "version": "2026-01-01T00:00:00.000Z", "timestamp": ms(c.exchange.now())}
    c.send(told | {"docs": "https://www.bitmex.com/app/wsAPI", "heartbeatEnabled": False, "limit": {"remaining": 59}})


def heard(c: Connection, text: str) -> None:
    if text == "ping":
        c.send("pong")
        return
    m = orjson.loads(text)
    op, args = m["op"], m["args"]
    if op not in ("subscribe", "unsubscribe"):
        raise ValueError(op)
    if len(args) > MOST_ARGS:
        c.send(refusal(f"Too many args sent. Max length is {MOST_ARGS}.", m))
        return
    for key in args:
        if op == "unsubscribe":
            c.unsubscribe(key)
            c.send({"success": True, "unsubscribe": key, "request": m})
        else:
            subscribe(c, key, m)


def subscribe(c: Connection, key: str, m: Payload) -> None:
    name, _, id = key.partition(":")
    instrument, interval = c.exchange.find(id), name.removeprefix("tradeBin")
    if instrument is None:
        c.send(refusal(f"Unknown or expired symbol: {id}. Please see the documentation at https://www.bitmex.com/app/wsAPI.", m))
        return
    channel = STATE[instrument.kind] if name == "instrument" else BIN if interval in SPANS else TABLES.get(name)
    if channel is None:
        c.send(refusal(f"Unknown table: {name}", m))
    elif key in c.topics:
        c.send(refusal(f"You are already subscribed to this topic: {key}", m))
    else:
        pool = {} if name in ("instrument", "liquidation") else {"pool": "Primary"}
        c.send({"success": True, "subscribe": key, "request": m} | pool)
        c.subscribe(key, channel, instrument, interval=interval if channel is BIN else "")


def refusal(why: str, m: Payload) -> Payload:
    return {"status": 400, "error": why, "meta": {}, "request": m}


def confused(text: str) -> Payload:
    return {"status": 400, "error": "Unrecognized request. See documentation or send 'help' for more info.", "meta": {}, "request": text}


# what it lists


def active(r: Request) -> Payload:
    return [listing(i) for i in r.exchange.instruments] + [
        {"symbol": ".BXBT", "typ": "MRCXXX", "state": "Unlisted", "tickSize": D("0.01"), "multiplier": 1, "lastPrice": int(dollars("BTC"))}
    ]


def listing(i: Instrument) -> dict[str, Any]:
    types = {"spot": "IFXXXP", "swap": "FFWCSX", "future": "FFCCSX"}
    row: dict[str, Any] = {
        "symbol": i.id,
        "state": "Open",
        "typ": types[i.kind],
        "underlying": CODES.get(i.base, i.base),
        "quoteCurrency": i.quote,
    }
    row |= {"tickSize": number(i.price_step), "lotSize": number(i.size_step), "isQuanto": False, "isInverse": False, "multiplier": 1}
    code, digits = SMALLEST.get(i.settle or "", ("", 0))
    if i.kind != "spot":
        row["settlCurrency"] = code
    if i.expiry is not None:
        row |= {"expiry": ms(i.expiry), "settle": ms(i.expiry)}
    if i.size_unit == "base":
        return row | {"underlyingToPositionMultiplier": number(1 / (i.contract_size or D(1)))}
    if i.settle == i.base:
        return row | {"isInverse": True, "multiplier": -(10**digits), "underlyingToSettleMultiplier": -(10**digits)}
    return row | {"isQuanto": True, "multiplier": number((i.contract_size or D(1)).scaleb(digits))}


VENUE = Venue(
    name="bitmex", lists=lists, sockets=["/realtime"], rest={"/api/v1/instrument/active": active}, heard=heard, opened=opened,
    confused=confused,
)  # fmt: skip
