"""The gap ledger: when each stream was not whole, why, how it was made good, and what proves that.

Pure and bounded. The hub owns it and feeds it what it publishes: `BookStale` and `Gap` open or note an interval, the next
`BookSnapshot` (or first tick after a disconnect) closes it.
"""

from collections import deque
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from streamer.types import BookStale, Gap


class Entry(Struct, frozen=True):
    """One interval of one stream. `ts_to` is None while it lasts; times in ns UTC."""

    exchange: str
    symbol: str
    channel: str
    cause: str
    ts_from: int | None
    ts_to: int | None = None
    count: int | None = None
    recovered: str | None = None
    proof: str | None = None


class Ledger:
    """The last `size` entries, and those still open (one a stream)."""

    def __init__(self, size: int = 10_000) -> None:
        self._closed: deque[Entry] = deque(maxlen=size)
        self._open: dict[tuple[str, str, str], Entry] = {}
        self.total = 0
        self.forgotten = 0

    def stale(self, tick: BookStale[Any], proof: str) -> None:
        """A book fell. While it is down already, nothing new is noted."""
        key = (tick.exchange, tick.symbol, "book")
        if key not in self._open:
            self._open[key] = Entry(*key, tick.reason, tick.ts_recv, proof=proof)
            self.total += 1

    def gap(self, tick: Gap[Any]) -> None:
        """A gap was published: open it when it has no end yet, unless one is open already."""
        entry = Entry(
            tick.exchange, tick.symbol, tick.channel, tick.cause, tick.ts_from, tick.ts_to, tick.count, tick.recovered, tick.proof
        )
        key = (tick.exchange, tick.symbol, tick.channel)
        if tick.ts_to is None and key in self._open:
            return
        self.total += 1
        if tick.ts_to is None:
            self._open[key] = entry
        else:
            self._note(entry)

    def whole(self, exchange: str, symbol: str, channel: str, ts: int, recovered: str | None) -> Entry | None:
        """The stream is whole again from `ts` on. The entry that this closes, if one was open."""
        entry = self._open.pop((exchange, symbol, channel), None)
        if entry is not None:
            entry = replace(entry, ts_to=ts, recovered=recovered)
            self._note(entry)
        return entry

    def entries(self) -> list[Entry]:
        """Closed ones in order of closing, then the open ones."""
        return [*self._closed, *self._open.values()]

    def open(self) -> list[Entry]:
        """What is not whole now."""
        return list(self._open.values())

    def _note(self, entry: Entry) -> None:
        if len(self._closed) == self._closed.maxlen:
            self.forgotten += 1
        self._closed.append(entry)
