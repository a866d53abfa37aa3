"""The best levels of a book, for channels that carry only so many: what changed in view since the last time."""

from decimal import Decimal

from streamer.sim.ladder import Ladder
from streamer.sim.market import Market
from streamer.types import Level

Levels = list[Level[Decimal]]


class Window:
    """Begins with the book as it is now; `bids` and `asks` are what is in view, best first."""

    def __init__(self, market: Market, depth: int | None) -> None:
        self._market = market
        self._depth = depth
        self._seen = [self._view(ladder) for ladder in (market.bids, market.asks)]

    @property
    def bids(self) -> Levels:
        """The best bids."""
        return self._market.levels(self._market.bids, self._depth)

    @property
    def asks(self) -> Levels:
        """The best asks."""
        return self._market.levels(self._market.asks, self._depth)

    def changes(self, fallen: bool = False) -> tuple[Levels, Levels]:
        """(bids, asks) that came into view, changed or went away (size 0). `fallen`: also those that only fell out of view, as size 0;
        otherwise the client is counted on to cut its book."""
        bids, asks = (self._change(i, ladder, fallen) for i, ladder in enumerate((self._market.bids, self._market.asks)))
        return bids, asks

    def _view(self, ladder: Ladder) -> dict[int, int]:
        sizes = ladder.sizes
        return {key: sizes[key] for key in ladder.keys[: self._depth]}

    def _change(self, i: int, ladder: Ladder, fallen: bool) -> Levels:
        old, new = self._seen[i], self._view(ladder)
        self._seen[i] = new
        gone = [(key, 0) for key in old if key not in new and (fallen or key not in ladder.sizes)]
        changed = gone + [level for level in new.items() if old.get(level[0]) != level[1]]
        return [(self._market.price(key), self._market.size(size)) for key, size in changed]
