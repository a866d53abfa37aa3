"""HTX, once Huobi: spot, USDT-margined contracts, coin-margined swaps and futures. https://www.htx.com/en-us/opend/newApiPages/"""

import gzip
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import orjson

from streamer.sim.connection import Connection
from streamer.sim.listed import Listed, contracts, dollars, expiry, spot
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Pairs, Payload, Refused, Request, Venue, present
from streamer.sim.window import Window
from streamer.sim.write import ms, ms_text, short

from streamer.types import (  # isort: skip
    BookDelta, Candle, Funding, IndexPrice, Instrument, Liquidation, MarkPrice, OpenInterest, Quote, Ticker, Trade,
)  # fmt: skip

D = Decimal
PAIRS = (
    ("BTC", "USDT", "0.01", "0.000001"), ("ETH", "USDT", "0.01", "0.0001"), ("SOL", "USDT", "0.0001", "0.0001"),
    ("XRP", "USDT", "0.00001", "0.01"), ("ETH", "BTC", "0.000001", "0.0001"),
)  # fmt: skip
BARS = {"1min": "1m", "5min": "5m", "15min": "15m", "30min": "30m", "60min": "1h", "4hour": "4h", "1day": "1d", "1week": "1w"}
SOCKETS = {
    "/ws": ("spot", "future"), "/feed": ("spot",), "/linear-swap-ws": ("linear",), "/swap-ws": ("swap",),
    "/ws_index": ("linear", "swap", "future"), "/linear-swap-notification": ("linear",), "/swap-notification": ("swap",),
    "/notification": ("future",),
}  # fmt: skip
"""Whose topics each path has. (Spot and futures are on different hosts.)"""
FIRST_VERSION = 1_700_000_000_000
UNANSWERED = 4


def lists(exchange: str, now: int, more: Pairs) -> Iterable[Listed]:
    yield from spot(exchange, lambda base, quote: (base + quote).lower(), (*PAIRS, *more))
    day = expiry(now)
    for base, linear, tick in (("BTC", "0.001", "0.1"), ("ETH", "0.01", "0.01")):
        yield contracts(exchange, f"{base}-USDT", base, "USDT", "USDT", tick, "1", linear)
        yield contracts(exchange, f"{base}-USD", base, "USD", base, tick, "1", "100" if base == "BTC" else "10")
    yield contracts(exchange, f"BTC-USDT-{day:%y%m%d}", "BTC", "USDT", "USDT", "0.1", "1", "0.001", day)
    yield contracts(exchange, f"BTC{day:%y%m%d}", "BTC", "USD", "BTC", "0.01", "1", "100", day)


def family(i: Instrument) -> str:
    return "linear" if i.kind != "spot" and i.size_unit == "base" else i.kind


# what happens, as told


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


# what clients say


def opened(c: Connection) -> None:
    c.mem["unanswered"] = 0
    c.every(5, ping)


def ping(c: Connection) -> None:
    if c.mem["unanswered"] >= UNANSWERED:
        c.close(1003, "ping check expired")
        return
    c.mem["unanswered"] += 1
    now = c.exchange.now()
    c.send({"op": "ping", "ts": ms_text(now)} if c.path.endswith("notification") else {"ping": ms(now)})


def channel_of(c: Connection, name: str) -> tuple[Channel | None, str, int | None]:
    """A channel of this path by what follows the id, with interval and depth."""
    head, _, rest = name.partition(".")
    if c.path == "/feed":
        return (MBP if name == "mbp.150" else None), "", 150
    if c.path == "/ws_index":
        return (INDEX.get(head) if rest in BARS else None), "", None
    if head == "depth":
        size = rest.removeprefix("size_").removesuffix(".high_freq")
        return (DEPTH if size in ("20", "150") else None), "", int(size) if size.isdecimal() else None
    return (PUSHED.get("kline") if rest in BARS else None, BARS.get(rest, ""), None) if head == "kline" else (PUSHED.get(name), "", None)


def heard(c: Connection, text: str) -> None:
    m = orjson.loads(text)
    if "pong" in m or m.get("op") == "pong":
        c.mem["unanswered"] = 0
    elif "op" in m:
        notices(c, m)
    elif "ping" not in m:  # which is not answered
        verb = next(v for v in ("sub", "unsub", "req") if v in m)
        key = m[verb]
        id, name = key.removeprefix("market.").split(".", 1)
        i = next((i for i in c.exchange.instruments if i.id == id and family(i) in SOCKETS[c.path]), None)
        channel, interval, levels = channel_of(c, name)
        end = {"id": m.get("id", ""), "ts": ms(c.exchange.now())}
        if i is None or channel is None or (channel is DEPTH and (m.get("data_type") != "incremental" or i.kind == "spot")):
            c.send({"status": "error", "err-code": "bad-request", "err-msg": f"invalid topic {key}"} | end)
        elif verb == "req":
            c.send({"rep": key, "status": "ok", "data": mbp_whole(i, c)} | end)
        elif verb == "sub":
            c.send({"status": "ok", "subbed": key} | end)
            c.subscribe(key, channel, i, interval=interval, depth=levels)
        else:
            c.send({"status": "ok", "unsubbed": key} | end)
            c.unsubscribe(key)


def notices(c: Connection, m: dict[str, Any]) -> None:
    key, end = m["topic"], {"cid": m.get("cid", ""), "topic": m["topic"], "ts": ms(c.exchange.now())}
    _, about, name = key.split(".")
    named = [i for i in c.exchange.instruments if family(i) in SOCKETS[c.path] and (i.base if c.path == "/notification" else i.id) == about]
    channel = NOTICES.get(name) if c.path.endswith("notification") else None
    if channel is None or not named:
        c.send({"op": m["op"], "err-code": 2014, "err-msg": "invalid topic"} | end)
        return
    c.send({"op": m["op"], "err-code": 0} | end)
    if m["op"] == "sub":
        c.subscribe(key, channel, *named)
    else:
        c.unsubscribe(key)


def confused(text: str) -> Payload:
    return {"status": "error", "id": "", "err-code": "bad-request", "err-msg": "not json, is not json string"}


# what it lists


def answer(r: Request, rows: list[dict[str, Any]]) -> Payload:
    return {"status": "ok", "data": rows, "ts": ms(r.exchange.now())}


def symbols(r: Request) -> Payload:
    rows = [
        {"base-currency": i.base.lower(), "quote-currency": i.quote.lower(), "symbol": i.id, "state": "online",
         "price-precision": digits(i.price_step), "amount-precision": digits(i.size_step)}
        for i in r.exchange.instruments if i.kind == "spot"
    ]  # fmt: skip
    return {"status": "ok", "data": rows}


def digits(step: D | None) -> int:
    return -int((step or D(1)).as_tuple().exponent)


def of_path(r: Request) -> list[Instrument]:
    """The contracts that a path is about, those with an expiry only if asked for."""
    name = {"linear-swap-api": "linear", "swap-api": "swap", "api": "future"}[r.path.split("/")[1]]
    found = [i for i in r.exchange.instruments if family(i) == name]
    return [i for i in found if i.expiry is None or r.query.get("business_type") == "all"] if name == "linear" else found


def contract_info(r: Request) -> Payload:
    rows = []
    for i in of_path(r):
        row: dict[str, Any] = {
            "symbol": i.base,
            "contract_code": i.id,
            "contract_status": 1,
            "delivery_time": ms_text(i.expiry) if i.expiry else "",
        }
        row |= {"contract_size": (i.contract_size or D(1)).quantize(D("1e-18")), "price_tick": (i.price_step or D(1)).quantize(D("1e-18"))}
        rows.append(row | ({"business_type": "futures" if i.expiry else "swap"} if family(i) == "linear" else {}))
    return answer(r, rows)


def open_interest(r: Request) -> Payload:
    """Of both sides."""
    rows = []
    for i in of_path(r):
        t: OpenInterest[D] | None = r.exchange.market(i).now("open_interest", r.exchange.now())
        if i.id == r.query.get("contract_code", i.id) and t is not None:
            value = {"value": (t.value or D(0)) * 2} if family(i) == "linear" else {}
            rows.append({"symbol": i.base, "contract_code": i.id, "volume": (t.amount or D(0)) * 2} | value)
    if not rows:
        raise Refused(
            200, {"status": "error", "err_code": 1030, "err_msg": "contract_code data error or empty", "ts": ms(r.exchange.now())}
        )
    return answer(r, rows)


PATHS = ("/linear-swap-api/v1/swap", "/swap-api/v1/swap", "/api/v1/contract")
VENUE = Venue(
    name="htx",
    lists=lists,
    sockets=list(SOCKETS),
    rest={"/v1/common/symbols": symbols}
    | {f"{path}_contract_info": contract_info for path in PATHS}
    | {f"{path}_open_interest": open_interest for path in PATHS},
    heard=heard,
    opened=opened,
    pack=lambda data: gzip.compress(data, 1),
    confused=confused,
)
