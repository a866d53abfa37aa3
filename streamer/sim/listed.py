"""What the simulated venues list: made-up instruments around true names and likely prices."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from streamer.symbols import format as symbol
from streamer.types import Instrument

USD = {
    "BTC": Decimal(64000), "ETH": Decimal(3200), "SOL": Decimal(150), "XRP": Decimal("0.55"), "ADA": Decimal("0.4"),
    "USD": Decimal(1), "USDT": Decimal(1), "EUR": Decimal("1.08"),
}  # fmt: skip
"""Dollars apiece. What is not here is worth one."""
WORTH = 5000
"""Dollars of a usual order."""


class Listed(NamedTuple):
    """An instrument, the price its market begins at, and the size of a usual order in the venue's unit."""

    instrument: Instrument
    price: Decimal
    size: Decimal


def dollars(asset: str) -> Decimal:
    """What one of it is worth."""
    return USD.get(asset, Decimal(1))


def listed(instrument: Instrument, price: Decimal | None = None) -> Listed:
    """With the price that follows from its currencies, unless one is given, and an order's usual size."""
    if price is None:
        price = dollars(instrument.base) / dollars(instrument.quote)
    contract = instrument.contract_size or Decimal(1)
    unit = contract if instrument.size_unit == "contracts" else contract * dollars(instrument.base)
    return Listed(instrument, price, WORTH / unit)


def made_up(n: int) -> list[tuple[str, str, str, str]]:
    """`n` pairs that no one knows, as (base, quote, price step, size step): for drills with many symbols."""
    return [(f"S{i:04d}", "USDT", "0.0001", "0.1") for i in range(n)]


def spot(exchange: str, name: Callable[[str, str], str], pairs: Iterable[tuple[str, str, str, str]]) -> Iterator[Listed]:
    """Spot pairs out of (base, quote, price step, size step); `name` gives the venue's own id."""
    for base, quote, price_step, size_step in pairs:
        steps = Decimal(price_step), Decimal(size_step)
        yield listed(
            Instrument(
                exchange, symbol(base, quote), None, 0, name(base, quote), base, quote, price_step=steps[0], size_step=steps[1]
            )
        )  # fmt: skip


def contracts(
    exchange: str, id: str, base: str, quote: str, settle: str, price_step: str, size_step: str, contract_size: str,
    expires: datetime | None = None, strike: Decimal | None = None, right: Literal["C", "P"] | None = None, price: Decimal | None = None,
) -> Listed:  # fmt: skip
    """A swap, a future if it expires, an option if it has a strike. Inverse (settled in base) ones count contracts, but for options."""
    expiry = int(expires.timestamp()) * 1_000_000_000 if expires is not None else None
    kind: Literal["swap", "future", "option"] = "swap" if expiry is None else "future" if strike is None else "option"
    unit: Literal["base", "contracts"] = "contracts" if settle == base and strike is None else "base"
    option_type: Literal["call", "put"] | None = None if right is None else "call" if right == "C" else "put"
    return listed(
        Instrument(
            exchange, symbol(base, quote, settle, expiry, strike, right), None, 0, id, base, quote, settle, kind,
            Decimal(price_step), Decimal(size_step), unit, Decimal(contract_size), expiry, strike, option_type,
        ),
        price,
    )  # fmt: skip


def expiry(now: int) -> datetime:
    """A quarterly expiry, as futures have it: the last Friday of March, June, September or December, 08:00 UTC, three weeks off or more."""
    soon = datetime.fromtimestamp(now // 1_000_000_000, UTC) + timedelta(days=21)
    for months in range(0, 6):
        month = soon.month + months
        after = datetime(soon.year + month // 12, month % 12 + 1, 1, 8, tzinfo=UTC)
        friday = after - timedelta(days=(after.weekday() - 4) % 7 or 7)
        if friday.month % 3 == 0 and friday > soon:
            return friday
    raise AssertionError("every half year has two quarters")
