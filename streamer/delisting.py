"""What a venue lists no more: its streams end when they have fallen silent, since a list may be wrong, and what still speaks is there."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from streamer.venue import Venue

SILENCE_S: Final = 60.0


class Delisting:
    """Of one venue. `end` is called for a symbol that is gone."""

    def __init__(self, venue: "Venue", end: Callable[[str], None]) -> None:
        self._venue = venue
        self._end = end
        self._leaving: set[str] = set()

    def look(self, wanted: Iterable[str]) -> None:
        """The list was read again: is what is wanted still in it?"""
        for symbol in self._venue.catalog.gone.intersection(wanted) - self._leaving:
            self._leaving.add(symbol)
            self._venue.spawn(self._see_off(symbol), f"{self._venue.feed.name} {symbol} delisted")

    async def _see_off(self, symbol: str) -> None:
        try:
            while symbol in self._venue.catalog.gone:
                silence = self._silence(symbol)
                if silence >= SILENCE_S:
                    self._end(symbol)
                    return
                await asyncio.sleep(SILENCE_S - silence)
        finally:
            self._leaving.discard(symbol)

    def _silence(self, symbol: str) -> float:
        """For how many seconds none of its streams has brought anything; at most as many as are needed."""
        venue = self._venue
        heard = [s.ts_last for s in venue.hub.streams.values() if s.key[:2] == (venue.feed.name, symbol) and s.ts_last is not None]
        return min(SILENCE_S, max(0.0, (venue.io.now() - max(heard)) / 1e9)) if heard else SILENCE_S
