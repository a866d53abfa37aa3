"""What HTX lists, and what it answers over REST."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from streamer.sim.listed import Listed, contracts, expiry, spot
from streamer.sim.venue import Pairs, Payload, Refused, Request
from streamer.sim.write import ms, ms_text
from streamer.types import Instrument, OpenInterest

D = Decimal
PAIRS = (
    ("BTC", "USDT", "0.01", "0.000001"), ("ETH", "USDT", "0.01", "0.0001"), ("SOL", "USDT", "0.0001", "0.0001"),
    ("XRP", "USDT", "0.00001", "0.01"), ("ETH", "BTC", "0.000001", "0.0001"),
)  # fmt: skip


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
