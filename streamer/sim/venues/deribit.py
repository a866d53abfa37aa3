"""Deribit v2, JSON-RPC. https://docs.deribit.com/articles/json-rpc-overview"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from streamer.sim.connection import Connection
from streamer.sim.listed import Listed, contracts, dollars, expiry, spot
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Pairs, Payload, Refused, Request, Venue, present
from streamer.sim.write import ms

from streamer.types import (  # isort: skip
    BookDelta, Candle, Funding, Greeks, IndexPrice, Instrument, Level, Liquidation, MarkPrice, OpenInterest, Quote, Ticker,
)  # fmt: skip

D = Decimal
PAIRS = (
    ("BTC", "USDC", "0.01", "0.0001"), ("ETH", "USDC", "0.01", "0.001"), ("SOL", "USDC", "0.01", "0.01"), ("XRP", "USDC", "0.0001", "1"),
    ("ETH", "BTC", "0.00001", "0.001"),
)  # fmt: skip
RESOLUTIONS = {"1": "1m", "3": "3m", "5": "5m", "10": "10m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "180": "3h"}
RESOLUTIONS |= {"360": "6h", "720": "12h", "1D": "1d"}
INTERVALS = "100ms", "agg2"
OTHER_SIDE = {"buy": "sell", "sell": "buy"}
LEAST_HEARTBEAT = 10


def lists(exchange: str, now: int, more: Pairs) -> Iterable[Listed]:
    """Amounts are dollars (inverse) or base: to us a contract is one of them."""
    yield from spot(exchange, lambda base, quote: f"{base}_{quote}", (*PAIRS, *more))
    day = expiry(now)
    for base, tick, step, lot in (("BTC", "0.5", "10", "0.0001"), ("ETH", "0.05", "1", "0.001")):
        yield contracts(exchange, f"{base}-PERPETUAL", base, "USD", base, tick, step, "1")
        yield contracts(exchange, f"{base}-{written(day)}", base, "USD", base, tick, step, "1", day)
        yield contracts(exchange, f"{base}_USDC-PERPETUAL", base, "USDC", "USDC", tick, lot, "1")
    for right in ("C", "P"):
        strike = f"{written(day)}-65000-{right}"
        yield contracts(exchange, f"BTC-{strike}", "BTC", "USD", "BTC", "0.0001", "0.1", "1", day, D(65000), right, price=D("0.0525"))
        yield contracts(exchange, f"BTC_USDC-{strike}", "BTC", "USDC", "USDC", "5", "0.01", "1", day, D(65000), right, price=D(3360))


def written(day: datetime) -> str:
    return f"{day.day}{day:%b%y}".upper()


# what happens, as told


def push(topic: Topic, data: Any) -> Payload:
    return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": topic.key, "data": data}}


def book_snapshot(topic: Topic) -> Payload:
    """All levels of the book."""
    bids, asks = topic.market.book()
    topic.mem["known"] = {price for price, _ in bids}, {price for price, _ in asks}
    levels = {name: [("new", *level) for level in side] for name, side in (("bids", bids), ("asks", asks))}
    head = {"timestamp": ms(topic.exchange.now()), "type": "snapshot", "change_id": topic.market.seq}
    return push(topic, head | {"instrument_name": topic.instrument.id} | levels)


def book_change(topic: Topic, t: BookDelta[D]) -> Payload:
    known = topic.mem["known"]
    levels = {"bids": changes(known[0], t.bids), "asks": changes(known[1], t.asks)}
    head = {"timestamp": ms(t.ts_event), "type": "change", "change_id": t.last, "instrument_name": topic.instrument.id}
    return push(topic, head | levels | {"prev_change_id": t.prev})


def changes(known: set[D], levels: Iterable[Level[D]]) -> list[Any]:
    """Levels that came and went at once are not told."""
    out = []
    for price, size in levels:
        if size:
            out.append(("change" if price in known else "new", price, size))
            known.add(price)
        elif price in known:
            out.append(("delete", price, D("0.0")))
            known.discard(price)
    return out


def trades(topic: Topic, t: Any) -> Payload:
    """Of a liquidation, too: it is the taker's or the maker's order that was forced, by turns."""
    i, row = topic.instrument, {"trade_seq": topic.market.trade_id, "trade_id": t.id, "direction": t.side}
    if isinstance(t, Liquidation):
        n = topic.mem["n"] = topic.mem.get("n", 0) + 1
        forced = {"liquidation": "T"} if n % 2 else {"liquidation": "M", "direction": OTHER_SIDE[t.side or "buy"]}
        row |= {"trade_id": f"{10**9 + n}"} | forced
    amounts = {"amount": t.size, "contracts": t.size / contract_size(i)}
    prices = {"price": t.price, "mark_price": t.price, "index_price": dollars(i.base), "tick_direction": 0}
    return push(topic, [{"timestamp": ms(t.ts_event), "instrument_name": i.id} | row | amounts | prices])


def best(t: Quote[D] | Ticker[D]) -> dict[str, Any]:
    return {"best_bid_price": t.bid, "best_bid_amount": t.bid_size, "best_ask_price": t.ask, "best_ask_amount": t.ask_size}


def quote(topic: Topic, t: Quote[D]) -> Payload:
    return push(topic, {"timestamp": ms(t.ts_event), "instrument_name": topic.instrument.id} | best(t))


def fields(i: Instrument, t: Any) -> dict[str, Any]:
    """What a tick says, in the words of the ticker."""
    if isinstance(t, Ticker):
        return {"last_price": t.last, "stats": stats(i, t)} | best(t)
    if isinstance(t, Funding):
        return {"current_funding": t.rate, "funding_8h": t.rate, "interest_value": D("0.28")}
    if isinstance(t, Greeks):
        ivs = {"mark_iv": t.mark_iv, "bid_iv": t.bid_iv, "ask_iv": t.ask_iv}
        figures = {"delta": t.delta, "gamma": t.gamma, "vega": t.vega, "theta": t.theta, "rho": D(0)}
        return {name: iv and iv * 100 for name, iv in ivs.items()} | {
            "underlying_price": t.underlying_price, "index_price": dollars(i.base), "greeks": figures,
        }  # fmt: skip
    names: dict[Any, tuple[str, str]] = {
        MarkPrice: ("mark_price", "price"),
        IndexPrice: ("index_price", "price"),
        OpenInterest: ("open_interest", "amount"),
    }
    name, field = names[type(t)]
    return {name: getattr(t, field)}


def stats(i: Instrument, t: Ticker[D]) -> dict[str, Any]:
    day = {"high": t.high, "low": t.low, "price_change": D(0)}
    if i.size_unit == "contracts":
        return day | {"volume": round((t.volume or D(0)) / (t.last or D(1)), 8), "volume_usd": t.volume, "volume_notional": t.volume}
    if i.kind == "spot":
        return day | {"volume": t.volume}
    return day | {"volume": t.volume, "volume_usd": t.quote_volume} | ({} if i.kind == "option" else {"volume_notional": t.quote_volume})


def ticker(topic: Topic, t: Any) -> Payload:
    """Always whole."""
    row = topic.mem["row"] = topic.mem["row"] | fields(topic.instrument, t)
    return push(topic, {"timestamp": ms(t.ts_event), "state": "open", "instrument_name": topic.instrument.id} | row)


def ticker_now(topic: Topic) -> Payload:
    told = [t for kind in topic.channel.kinds if (t := topic.now(kind)) is not None]
    topic.mem["row"] = {name: value for t in told for name, value in fields(topic.instrument, t).items()}
    return ticker(topic, told[0])


def bar(topic: Topic, t: Candle[D]) -> Payload:
    """The volume in base, its cost in quote."""
    inverse, volume = topic.instrument.size_unit == "contracts", t.volume or D(0)
    volumes = {"volume": round(volume / t.close, 8) if inverse else volume, "cost": volume if inverse else t.quote_volume}
    return push(topic, {"tick": ms(t.ts_open), "open": t.open, "high": t.high, "low": t.low, "close": t.close} | volumes)


CHANNELS = {
    "trades": Channel(("trade", "liquidation"), trades), "book": Channel(("book",), book_change, book_snapshot),
    "quote": Channel(("quote",), quote, present), "chart": Channel(("candle",), bar, present),
    "ticker": Channel(("ticker", "mark", "index", "funding", "open_interest", "greeks"), ticker, ticker_now),
}  # fmt: skip


# what clients say


def asked(c: Connection, key: str) -> tuple[Channel, Instrument, str] | None:
    """What a channel is: its sort, instrument and candle interval. None if there is no such channel."""
    name, *rest = key.split(".")
    if name == "chart" and rest[0] == "trades":
        rest = rest[1:]
    instrument = c.exchange.find(rest[0]) if rest else None
    last = rest[1] if len(rest) == 2 else None
    fits = last in RESOLUTIONS if name == "chart" else last is None if name == "quote" else last in INTERVALS
    return (CHANNELS[name], instrument, RESOLUTIONS.get(last or "", "")) if fits and instrument is not None and name in CHANNELS else None


def answer(c: Connection, n: Any, what: dict[str, Any]) -> None:
    now = c.exchange.now() // 1000
    c.send({"jsonrpc": "2.0", "id": n} | what | {"usIn": now, "usOut": now, "usDiff": 0, "testnet": False})


def heard(c: Connection, text: str) -> None:
    m = orjson.loads(text)
    method, n, params = m["method"], m["id"], m.get("params", {})
    if method == "public/set_heartbeat" and params["interval"] >= LEAST_HEARTBEAT:
        c.every(params["interval"], beat)
        answer(c, n, {"result": "ok"})
    elif method == "public/test":
        c.mem["unanswered"] = False
        answer(c, n, {"result": {"version": "1.2.26"}})
    elif method == "public/subscribe":
        subscribe(c, n, params["channels"])
    elif method == "public/unsubscribe":
        answer(c, n, {"result": [key for key in params["channels"] if c.unsubscribe(key)]})
    else:
        known = method == "public/set_heartbeat"
        answer(c, n, {"error": {"code": -32602, "message": "Invalid params"} if known else {"code": -32601, "message": "Method not found"}})


def subscribe(c: Connection, n: Any, keys: list[str]) -> None:
    """A channel that there is not is left out of the answer; a raw one refuses the whole command."""
    if any(key.endswith(".raw") for key in keys):
        answer(c, n, {"error": {"code": 13778, "message": "raw_subscriptions_not_available_for_unauthorized"}})
        return
    found = {key: topic for key in sorted(keys, reverse=True) if (topic := asked(c, key)) is not None}
    answer(c, n, {"result": list(found)})
    for key, (channel, instrument, interval) in found.items():
        c.subscribe(key, channel, instrument, interval=interval)


def beat(c: Connection) -> None:
    """Who leaves a test unanswered until the next is cut off."""
    if c.mem.get("unanswered"):
        c.close(4000, "heartbeat close")
    c.mem["unanswered"] = True
    for type in ("heartbeat", "test_request"):
        c.send({"params": {"type": type}, "method": "heartbeat", "jsonrpc": "2.0"})


def confused(text: str) -> Payload:
    return {"jsonrpc": "2.0", "error": {"code": 11050, "data": "invalid json", "message": "bad_request"}, "testnet": False}


# what it lists


def instruments(r: Request) -> Payload:
    """Of a currency that they settle in, or of `any`."""
    currency = r.query.get("currency")
    if currency is None:
        raise Refused(400, {"jsonrpc": "2.0", "error": {"code": -32602, "message": "Invalid params", "data": {"param": "currency"}}})
    rows = [listing(i) for i in r.exchange.instruments if currency in ("any", i.settle or i.quote)]
    now = r.exchange.now() // 1000
    return {"jsonrpc": "2.0", "result": rows, "usIn": now, "usOut": now, "usDiff": 0, "testnet": False}


def contract_size(i: Instrument) -> D:
    """Deribit's own: what one of `contracts` is, in what amounts count."""
    return D(1) if i.kind == "option" else i.size_step or D(1)


def listing(i: Instrument) -> dict[str, Any]:
    inverse = i.settle == i.base
    quoted = i.base if inverse and i.kind == "option" else i.quote
    kind = {"kind": "future" if i.kind == "swap" else i.kind, "instrument_type": "reversed" if inverse else "linear"}
    steps: dict[str, Any] = {"tick_size": i.price_step, "min_trade_amount": i.size_step, "contract_size": contract_size(i)}
    names = {"instrument_name": i.id, "base_currency": i.base, "quote_currency": quoted, "counter_currency": i.quote}
    row = names | kind | steps | {"tick_size_steps": [], "is_active": True, "state": "open", "price_index": f"{i.base}_{i.quote}".lower()}
    if i.kind == "spot":
        return row
    period = {"settlement_period": "perpetual" if i.kind == "swap" else "month", "settlement_currency": i.settle}
    row |= period | {"expiration_timestamp": ms(i.expiry) or 32503708800000}
    return row | ({"strike": i.strike, "option_type": i.option_type} if i.kind == "option" else {})


VENUE = Venue(
    name="deribit",
    lists=lists,
    sockets=["/ws/api/v2"],
    rest={"/api/v2/public/get_instruments": instruments},
    heard=heard,
    confused=confused,
)
