"""Binance USDⓈ-M futures. https://developers.binance.com/docs/derivatives/usds-margined-futures"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from streamer.sim.connection import Connection
from streamer.sim.listed import Listed, contracts, expiry
from streamer.sim.market import Market
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Pairs, Payload, Refused, Request
from streamer.sim.venues.binance import CHANNELS as SPOT
from streamer.sim.venues.binance import VENUE as BINANCE
from streamer.sim.venues.binance import event, heard, opened
from streamer.sim.write import ms
from streamer.types import BookDelta, Instrument, Level, Liquidation, MarkPrice, Quote, Ticker, Trade

D = Decimal
SWAPS = (
    ("BTC", "USDT", "0.10", "0.001"), ("ETH", "USDT", "0.01", "0.001"), ("SOL", "USDT", "0.0100", "0.01"), ("ETH", "USDC", "0.01", "0.001"),
)  # fmt: skip
YEAR_2100 = 4133404800000


def lists(exchange: str, now: int, more: Pairs) -> Iterable[Listed]:
    day = expiry(now)
    for base, quote, tick, lot in (*SWAPS, *more):
        yield contracts(exchange, base + quote, base, quote, quote, tick, lot, "1")
    yield contracts(exchange, f"BTCUSDT_{day:%y%m%d}", "BTC", "USDT", "USDT", "0.1", "0.001", "1", day)


def text(x: D | None) -> str:
    return "0" if x is None else f"{x:f}"


def levels(side: Iterable[Level[D]]) -> list[Any]:
    return [(text(price), text(size)) for price, size in side]


def trade(topic: Topic, t: Trade[D]) -> Payload:
    n = int(t.id or 0)
    numbers = {"a": n, "p": text(t.price), "q": text(t.size), "nq": text(t.size), "f": n, "l": n}
    return event(topic, "aggTrade", t.ts_event, numbers | {"T": ms(t.ts_event), "m": t.side == "sell"})


def depth(topic: Topic, t: BookDelta[D]) -> Payload:
    numbers = {"T": ms(t.ts_event), "U": t.first, "u": t.last, "pu": t.prev}
    return event(topic, "depthUpdate", t.ts_event, numbers | {"b": levels(t.bids), "a": levels(t.asks)})


def quote(topic: Topic, t: Quote[D]) -> Payload:
    best = {"b": text(t.bid), "B": text(t.bid_size), "a": text(t.ask), "A": text(t.ask_size)}
    return event(topic, "bookTicker", t.ts_event, {"u": topic.market.seq, "T": ms(t.ts_event)} | best)


def ticker(topic: Topic, t: Ticker[D]) -> Payload:
    day = {"c": text(t.last), "o": text(t.open), "h": text(t.high), "l": text(t.low), "v": text(t.volume), "q": text(t.quote_volume)}
    return event(topic, "24hrTicker", t.ts_event, day)


def mark(topic: Topic, t: MarkPrice[D]) -> Payload:
    index, funding = topic.now("index"), topic.now("funding")
    due = {"r": "", "T": 0} if funding is None else {"r": text(funding.rate), "T": ms(funding.ts_next)}
    return event(topic, "markPriceUpdate", t.ts_event, {"p": text(t.price), "i": text(index.price), "P": text(t.price)} | due)


def liquidation(topic: Topic, t: Liquidation[D]) -> Payload:
    size, price = text(t.size), text(t.price)
    order = {"s": topic.instrument.id, "S": str(t.side).upper(), "o": "LIMIT", "f": "IOC", "q": size, "p": price}
    filled = {"ap": price, "X": "FILLED", "l": size, "z": size, "T": ms(t.ts_event)}
    data = {"e": "forceOrder", "E": ms(t.ts_event), "o": order | filled}
    return {"stream": topic.key, "data": data}


PATHS = {
    "/public/stream": {"depth@100ms": Channel(("book",), depth), "bookTicker": Channel(("quote",), quote)},
    "/market/stream": {
        "aggTrade": Channel(("trade",), trade),
        "ticker": Channel(("ticker",), ticker),
        "markPrice@1s": Channel(("mark",), mark),
        "forceOrder": Channel(("liquidation",), liquidation),
    }
    | {name: channel for name, channel in SPOT.items() if name.startswith("kline_") and name != "kline_1s"},
}
ALL = {name: channel for channels in PATHS.values() for name, channel in channels.items()}


def exchange_info(r: Request) -> Payload:
    return {"timezone": "UTC", "futuresType": "U_MARGINED", "symbols": [row(i) for i in r.exchange.instruments]}


def row(i: Instrument) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": text(i.price_step), "maxPrice": "1000000", "tickSize": text(i.price_step)},
        {"filterType": "LOT_SIZE", "minQty": text(i.size_step), "maxQty": "10000", "stepSize": text(i.size_step)},
    ]
    term = {"contractType": "CURRENT_QUARTER" if i.expiry else "PERPETUAL", "deliveryDate": ms(i.expiry) if i.expiry else YEAR_2100}
    assets = {"baseAsset": i.base, "quoteAsset": i.quote, "marginAsset": i.settle}
    return {"symbol": i.id, "pair": i.base + i.quote, "status": "TRADING", "filters": filters} | term | assets


def asked(r: Request) -> Market:
    instrument = r.exchange.find(r.query.get("symbol", ""))
    if instrument is None:
        raise Refused(400, {"code": -1121, "msg": "Invalid symbol."})
    return r.exchange.market(instrument)


def book(r: Request) -> Payload:
    market, limit, now = asked(r), int(r.query.get("limit", "500")), ms(r.exchange.now())
    bids, asks = (levels(market.levels(ladder, limit)) for ladder in (market.bids, market.asks))
    return {"lastUpdateId": market.seq, "E": now, "T": now, "bids": bids, "asks": asks}


def open_interest(r: Request) -> Payload:
    market, now = asked(r), r.exchange.now()
    return {"symbol": market.instrument.id, "openInterest": text(market.now("open_interest", now).amount), "time": ms(now)}


def greeted(c: Connection) -> None:
    opened(c, PATHS[c.path])


def commanded(c: Connection, said: str) -> None:
    """A stream of the other address is acknowledged, and never comes."""
    heard(c, said, ALL, PATHS[c.path])


VENUE = replace(
    BINANCE,
    name="binanceusdm",
    lists=lists,
    sockets=list(PATHS),
    rest={"/fapi/v1/exchangeInfo": exchange_info, "/fapi/v1/depth": book, "/fapi/v1/openInterest": open_interest},
    heard=commanded,
    opened=greeted,
)
