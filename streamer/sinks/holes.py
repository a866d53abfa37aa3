"""What did not reach a sink, by stream, until whoever reads behind the sink has been told: a `Gap` with the count, and `BookStale`.

So nobody applies deltas to a book that lost one: it is stale until the next snapshot, as the types say.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from streamer.mailbox import CONTROL, StreamKey, key_of
from streamer.types import BookStale, Gap, Tick


class Hole(Struct):
    """A run of ticks of one stream that were lost. `count` is None where it is not known."""

    count: int | None
    ts_from: int
    ts_to: int


class Holes:
    """The untold holes, one for each stream and cause, so that memory is bounded by their number. Causes: overflow, disk, refused."""

    def __init__(self) -> None:
        self._holes: dict[tuple[StreamKey, str], Hole] = {}

    def __bool__(self) -> bool:
        return bool(self._holes)

    def add(self, ticks: Iterable[Tick[Any]], cause: str, *, counted: bool = True) -> None:
        """These were lost. Not counted: they were not, but stand in a stretch of which it is not known what was."""
        for tick in ticks:
            if cause == "refused" and tick.__class__ in CONTROL:
                continue  # a Gap about it would be refused as well
            if isinstance(tick, Gap):
                self.restore([tick])  # what it would have told is still to be told
            ts, count = tick.ts_recv, 0 if tick.__class__ in CONTROL else 1
            self._merge((key_of(tick), cause), Hole(count if counted else None, ts, ts))

    def merge(self, other: "Holes") -> None:
        """Take over what another one holds."""
        for key, hole in other._holes.items():
            self._merge(key, hole)

    def broken_books(self) -> list[tuple[str, str]]:
        """Exchange and symbol of the books that want a snapshot. (What was refused would be refused again.)"""
        return [(e, s) for (e, s, channel, _), cause in self._holes if channel == "book" and cause != "refused"]

    def restore(self, told: Iterable[Tick[Any]]) -> None:
        """Hold again what `take` gave."""
        for tick in told:
            if isinstance(tick, Gap):
                first, last = tick.ts_from or tick.ts_recv, tick.ts_to or tick.ts_recv
                self._merge(((tick.exchange, tick.symbol, tick.channel, ""), tick.cause), Hole(tick.count, first, last))

    def take(self) -> list[Tick[Any]]:
        """What is to be told, which is then held to be told."""
        told: list[Tick[Any]] = []
        for ((exchange, symbol, channel, _), cause), h in self._holes.items():
            proof = None if h.count is None else "count"
            told.append(Gap(exchange, symbol, None, h.ts_to, channel, cause, h.ts_from, h.ts_to, h.count, None, proof))
            if channel == "book":
                told.append(BookStale(exchange, symbol, None, h.ts_to, cause))
        self._holes.clear()
        return told

    def _merge(self, key: tuple[StreamKey, str], new: Hole) -> None:
        old = self._holes.get(key)
        if old is None:
            self._holes[key] = new
            return
        old.count = None if old.count is None or new.count is None else old.count + new.count
        old.ts_from = min(old.ts_from, new.ts_from)
        old.ts_to = max(old.ts_to, new.ts_to)
