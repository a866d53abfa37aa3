"""The latest book of every stream, for the compacted topic: kept from the very ticks that were written, so it is what a reader would have.

A snapshot says in its header `at` behind which message of the book's topic it stands (``topic:partition:offset``): a reader takes it and
goes on from there.
"""

from collections.abc import Iterable
from typing import Any

from streamer.book import BadLevel, Book
from streamer.types import BookDelta, BookSnapshot, BookStale, Gap, Tick

Place = tuple[str, int, int]
"""(topic, partition, offset)."""


class _Kept:
    """One book. `at`: behind which message it is so. `sure`: nothing of it is known to be missing."""

    __slots__ = ("at", "book", "due", "sure", "told", "ts")

    def __init__(self) -> None:
        self.book: Book[Any] = Book()
        self.at: Place = ("", 0, 0)
        self.sure = False
        self.ts = 0
        self.due = 0.0
        self.told: Place | None = None


class LatestBooks:
    """`every_s`: how often a book that changed is due."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._books: dict[tuple[str, str], _Kept] = {}

    def take(self, tick: Tick[Any], at: Place) -> None:
        """This was written, and is there."""
        if isinstance(tick, (BookSnapshot, BookDelta)):
            kept = self._books.setdefault((tick.exchange, tick.symbol), _Kept())
            self._apply(kept, tick)
            kept.at, kept.ts = at, tick.ts_recv
        elif isinstance(tick, BookStale) or (isinstance(tick, Gap) and tick.channel == "book"):
            known = self._books.get((tick.exchange, tick.symbol))
            if known is not None:
                known.sure = False

    def due(self, now: float) -> list[tuple[BookSnapshot[Any], Place]]:
        """The books that changed and were not told for so long. They are then held to be told."""
        found = []
        for (exchange, symbol), kept in self._books.items():
            if kept.sure and kept.told != kept.at and now >= kept.due:
                kept.told, kept.due = kept.at, now + self._every_s
                bids, asks = kept.book.bids.top(), kept.book.asks.top()
                found.append((BookSnapshot(exchange, symbol, None, kept.ts, bids, asks, kept.book.seq), kept.at))
        return found

    def untold(self, books: Iterable[BookSnapshot[Any]]) -> None:
        """These were not written after all."""
        for book in books:
            kept = self._books.get((book.exchange, book.symbol))
            if kept is not None:
                kept.told, kept.due = None, 0.0

    def forget(self) -> None:
        """What was written may not be all there is: wait for the next snapshot of each."""
        self._books.clear()

    def _apply(self, kept: _Kept, tick: BookSnapshot[Any] | BookDelta[Any]) -> None:
        try:
            if isinstance(tick, BookSnapshot):
                kept.book.replace(tick)
                kept.sure = True
            elif kept.sure:
                kept.book.bids.update(tick.bids)
                kept.book.asks.update(tick.asks)
                kept.book.seq = tick.last if tick.last is not None else kept.book.seq
        except BadLevel:
            kept.sure = False
