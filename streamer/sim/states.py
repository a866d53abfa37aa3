"""What a market says of itself once a second: its day, marks and index, funding, open interest, Greeks. Likely figures, not models."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from streamer.sim.bars import UNITS
from streamer.sim.listed import dollars
from streamer.types import Funding, Greeks, IndexPrice, Kind, MarkPrice, OpenInterest, Ticker

if TYPE_CHECKING:
    from streamer.sim.market import Market

SECOND = 1_000_000_000
KINDS: dict[str, tuple[Kind, ...]] = {
    "spot": ("ticker", "index"),
    "swap": ("ticker", "index", "mark", "funding", "open_interest"),
    "future": ("ticker", "index", "mark", "open_interest"),
    "option": ("ticker", "mark", "open_interest", "greeks"),
}
"""By the instrument's kind."""
FUNDING = 8 * UNITS["h"]
D = Decimal


class States:
    """Those of one market, of which a usual order has `lot` steps. `kinds`: what it has."""

    def __init__(self, market: "Market", lot: int) -> None:
        self.kinds = KINDS[market.instrument.kind]
        self._market = market
        self._lot = lot
        self._contracts = lot * 50_000
        self._rate = market.random.randint(-5000, 15000)

    def now(self, kind: Kind, at: tuple[str, str, int, int]) -> Any:
        """One of `kinds`; some of them change by being told."""
        market, rng = self._market, self._market.random
        q = market.quote(at)
        if q.bid is None or q.ask is None:
            raise AssertionError("both sides always have a level")
        middle = market.near((q.bid + q.ask) / 2)
        if kind == "ticker":
            stats = market.last, market.opened, market.high, market.low, market.volume, market.quote_volume
            return Ticker(*at, *stats, q.bid, q.bid_size, q.ask, q.ask_size)
        if kind == "mark":
            return MarkPrice(*at, middle)
        if kind == "index":
            return IndexPrice(*at, market.near(middle * D(10000 + rng.randint(-2, 2)) / 10000))
        if kind == "funding":
            self._rate = max(-75_000, min(75_000, self._rate + rng.randint(-200, 200)))
            rates = D(self._rate).scaleb(-8), D(self._rate // 2).scaleb(-8)
            return Funding(*at, *rates, (at[2] // FUNDING + 1) * FUNDING, FUNDING // SECOND)
        if kind == "open_interest":
            self._contracts = max(1, self._contracts + rng.randint(-self._lot, self._lot))
            amount = market.size(self._contracts)
            return OpenInterest(*at, amount, None if market.instrument.kind == "option" else market.value(market.last, amount))
        return self._greeks(at)

    def _greeks(self, at: tuple[str, str, int, int]) -> Greeks[D]:
        """A call's delta is between 0 and 1, a put's between -1 and 0, decay is negative."""
        rng, instrument = self._market.random, self._market.instrument
        iv, delta = D(rng.randint(4500, 5500)).scaleb(-4), D(rng.randint(1000, 9000) - 10000 * (instrument.option_type == "put")).scaleb(-4)
        forward = dollars(instrument.base) + D(rng.randint(-5000, 5000)).scaleb(-2)
        gamma, vega, theta = D(rng.randint(1, 400)).scaleb(-7), D(rng.randint(100, 20000)).scaleb(-2), D(-rng.randint(100, 9000)).scaleb(-2)
        return Greeks(*at, iv, iv - D("0.01"), iv + D("0.01"), delta, gamma, vega, theta, None, forward)
