"""Candles of the simulated market."""

from datetime import UTC, datetime
from decimal import Decimal

S = 1_000_000_000
UNITS = {"s": S, "m": 60 * S, "h": 3600 * S, "d": 86400 * S, "w": 7 * 86400 * S}
MONDAY = 4 * UNITS["d"]
"""1970 began on a Thursday; weeks begin on Mondays."""


def span(interval: str, now: int) -> tuple[int, int]:
    """When the bar that holds `now` opened and when it will close, ns UTC. `interval` as ccxt writes it: 1s 5m 1h 1d 1w 1M."""
    n, unit = int(interval[:-1]), interval[-1]
    if unit == "M":
        date = datetime.fromtimestamp(now // S, UTC)
        first = date.year * 12 + date.month - 1
        first -= first % n
        return _month(first), _month(first + n)
    length, offset = n * UNITS[unit], MONDAY if unit == "w" else 0
    opened = (now - offset) // length * length + offset
    return opened, opened + length


def _month(number: int) -> int:
    return int(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp()) * S


class Bar:
    """The bar of one interval that is running now. Volumes in the venue's size unit and in quote."""

    __slots__ = ("close", "closes", "high", "interval", "low", "open", "opened", "quote_volume", "trades", "volume")

    def __init__(self, interval: str, now: int, price: Decimal) -> None:
        self.interval = interval
        self.begin(now, price)

    def begin(self, now: int, price: Decimal) -> None:
        """Start the bar that holds `now`, at the last price of the one before."""
        self.opened, self.closes = span(self.interval, now)
        self.open = self.high = self.low = self.close = price
        self.volume = self.quote_volume = Decimal(0)
        self.trades = 0

    def add(self, price: Decimal, size: Decimal, value: Decimal) -> None:
        """Take a trade of `size`, worth `value` in quote."""
        if not self.trades:
            self.open = self.high = self.low = price
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.volume += size
        self.quote_volume += value
        self.trades += 1
