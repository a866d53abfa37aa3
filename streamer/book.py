"""A local order book: sorted prices and a size for each, in the venue's own units.

Dict plus sorted list: 0.4-0.65 us a level update against 0.8-1.2 for sortedcontainers (`../shared/design`, measured); the best price
is read in constant time. The book knows no sequence rule, checksum or clock: `streamer.sync` does, and decides whether it is right.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from typing import Any, Generic

from streamer.types import BookSnapshot, Level, N

MAX_LEVELS = 100_000
"""Per side. A venue's deepest real book is some 30,000; more is an attack or a bug."""


class BadLevel(ValueError):
    """A negative size, a price that is not above zero, or more levels than any book has."""


class BookSide(Generic[N]):
    """One side: `prices` ascending, `sizes` by price. `best` is the last price for bids and the first for asks."""

    __slots__ = ("ascending", "prices", "sizes")

    def __init__(self, ascending: bool) -> None:
        self.ascending = ascending
        self.prices: list[N] = []
        self.sizes: dict[N, N] = {}

    def replace(self, levels: Iterable[Level[N]]) -> None:
        """Forget all and take these levels, the last where a price comes twice; zero sizes are left out."""
        sizes = dict(levels)
        least = min(sizes.values(), default=1)
        if least < 0 or len(sizes) > MAX_LEVELS:
            raise BadLevel("a negative size or too many levels in a snapshot")
        if not least:
            sizes = {price: size for price, size in sizes.items() if size}
        prices = sorted(sizes)
        if prices and prices[0] <= 0:
            raise BadLevel(f"price {prices[0]} in a snapshot")
        self.sizes, self.prices = sizes, prices

    def update(self, levels: Sequence[Level[N]]) -> None:
        """Set absolute sizes; 0 removes. Removing an unknown level is legal and does nothing (Binance, Kaiko)."""
        if not levels:
            return
        sizes, prices = self.sizes, self.prices
        for price, size in levels:
            if size > 0:
                if price not in sizes:
                    insort(prices, price)
                sizes[price] = size
            elif size < 0:
                raise BadLevel(f"negative size {size} at {price}")
            elif price in sizes:
                del sizes[price]
                del prices[bisect_left(prices, price)]
        if prices and prices[0] <= 0:
            raise BadLevel(f"price {prices[0]}")
        if len(prices) > MAX_LEVELS:
            raise BadLevel(f"more than {MAX_LEVELS} levels")

    def truncate(self, depth: int) -> Sequence[N]:
        """Keep the best `depth` levels. The prices that went."""
        extra = len(self.prices) - depth
        if extra <= 0:
            return ()
        return self._drop(slice(depth, None) if self.ascending else slice(0, extra))

    def bound(self, edge: N | None) -> Sequence[N]:
        """Keep nothing that is worse than `edge`. The prices that went."""
        prices: list[Any] = self.prices
        if edge is None or not prices or (prices[-1] <= edge if self.ascending else prices[0] >= edge):
            return ()
        return self._drop(slice(bisect_right(prices, edge), None) if self.ascending else slice(0, bisect_left(prices, edge)))

    def _drop(self, gone: slice) -> Sequence[N]:
        prices = self.prices[gone]
        for price in prices:
            del self.sizes[price]
        del self.prices[gone]
        return prices

    def top(self, depth: int | None = None) -> list[Level[N]]:
        """The best `depth` levels (all when None), best first."""
        prices = self.prices
        if self.ascending:
            best: Sequence[N] = prices if depth is None else prices[:depth]
        elif depth is None:
            best = prices[::-1]
        else:
            best = prices[-depth:][::-1] if depth else ()
        sizes = self.sizes
        return [(price, sizes[price]) for price in best]


class Book(Generic[N]):
    """Both sides and `seq`, the venue's number of the last change applied."""

    __slots__ = ("asks", "bids", "seq")

    def __init__(self) -> None:
        self.bids: BookSide[N] = BookSide(ascending=False)
        self.asks: BookSide[N] = BookSide(ascending=True)
        self.seq: int | None = None

    def replace(self, snapshot: BookSnapshot[N]) -> None:
        """Become this snapshot."""
        self.bids.replace(snapshot.bids)
        self.asks.replace(snapshot.asks)
        self.seq = snapshot.seq

    @property
    def best_bid(self) -> Level[N] | None:
        """(price, size) of the highest bid, or None when the side is empty."""
        prices = self.bids.prices
        return (prices[-1], self.bids.sizes[prices[-1]]) if prices else None

    @property
    def best_ask(self) -> Level[N] | None:
        """(price, size) of the lowest ask, or None when the side is empty."""
        prices = self.asks.prices
        return (prices[0], self.asks.sizes[prices[0]]) if prices else None

    @property
    def crossed(self) -> bool:
        """Is the best bid above the best ask? Locked (equal) is not crossed."""
        bids: list[Any] = self.bids.prices
        asks: list[Any] = self.asks.prices
        return bool(bids and asks) and bids[-1] > asks[0]

    def truncate(self, depth: int) -> tuple[Sequence[N], Sequence[N]]:
        """Keep the best `depth` levels of each side. The (bid, ask) prices that went."""
        return self.bids.truncate(depth), self.asks.truncate(depth)
