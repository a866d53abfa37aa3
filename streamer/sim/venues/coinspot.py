"""CoinSpot v2: REST only. https://www.coinspot.com.au/v2/api"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from streamer.sim.listed import Listed, spot
from streamer.sim.venue import Pairs, Payload, Refused, Request, Venue
from streamer.sim.write import short
from streamer.types import Instrument

D = Decimal
PAIRS = (
    ("BTC", "AUD", "0.01", "0.00000001"), ("ETH", "AUD", "0.01", "0.00000001"), ("XRP", "AUD", "0.0001", "0.00000001"),
    ("ADA", "AUD", "0.0001", "0.00000001"), ("BTC", "USDT", "0.01", "0.00000001"),
)  # fmt: skip
TOP = 100


def lists(exchange: str, now: int, more: Pairs) -> Iterable[Listed]:
    return spot(exchange, lambda base, quote: base if quote == "AUD" else f"{base}/{quote}", (*PAIRS, *more))


def found(r: Request) -> Instrument:
    """Coins and markets are named in small letters or in capitals."""
    coin, market = r.params["coin"].upper(), r.params.get("market", "").upper()
    instrument = r.exchange.find(f"{coin}/{market}" if market else coin)
    if instrument is None:
        raise Refused(400, {"status": "error", "message": "Invalid coin type" if not market else "Invalid market type"})
    return instrument


def ok(**more: Any) -> Payload:
    return {"status": "ok", "message": "ok"} | more


def latest(r: Request) -> Payload:
    prices = {}
    for i in r.exchange.instruments:
        t = r.exchange.market(i).now("ticker", r.exchange.now())
        prices[i.id.lower().replace("/", "_")] = {"bid": short(t.bid), "ask": short(t.ask), "last": short(t.last)}
    return ok(prices=prices)


def order(i: Instrument, price: D, size: D) -> dict[str, Any]:
    return {"amount": size, "rate": price, "total": round(price * size, 8), "coin": i.base, "market": f"{i.base}/{i.quote}"}


def open_orders(r: Request) -> Payload:
    i = found(r)
    market = r.exchange.market(i)
    buys, sells = ([order(i, *level) for level in market.levels(ladder, TOP)] for ladder in (market.bids, market.asks))
    return ok(buyorders=buys, sellorders=sells)


def completed(r: Request) -> Payload:
    """The newest first."""
    i = found(r)
    trades = reversed(r.exchange.market(i).trades)
    return ok(orders=[order(i, t.price, t.size) | {"solddate": written(t.ts_event or 0)} for t in trades])


def written(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%S}.{ns // 1_000_000 % 1000:03d}Z"


API = "/pubapi/v2"
VENUE = Venue(
    name="coinspot",
    lists=lists,
    rest={f"{API}/latest": latest}
    | {f"{API}/orders/open/{path}": open_orders for path in ("{coin}", "{coin}/{market}")}
    | {f"{API}/orders/summary/completed/{path}": completed for path in ("{coin}", "{coin}/{market}")},
)
