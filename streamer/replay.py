"""Replay: a recording through the same framing, normalizers, sync and hub as live data, on a virtual clock.

The clock is the file's: `ts_recv` is the recorded time of each frame. The same input gives the same ticks, in the same order, every
time. REST answers in the file serve instruments and snapshots, the latter at the later of being asked for and having arrived. A new
`conn` of a line means that the line was disconnected before.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from streamer import registry
from streamer.book_stream import BookStream
from streamer.catalog import summary
from streamer.errors import UsageError
from streamer.hub import Hub
from streamer.line import Numbers
from streamer.mailbox import Mailbox
from streamer.recorded import RecordedVenue, instruments_in
from streamer.recording import Line, read
from streamer.types import BookStale, Instrument, Tick

ROOM = 1 << 30
"""The reader takes everything after each frame, so its buffer never fills."""


class Summary(Struct):
    """What a replay came to."""

    frames: int
    ticks: Counter[str]
    unknown: Counter[str]
    unknown_ids: Counter[str]
    bad: Counter[str]
    stale: Counter[str]
    live_books: int
    books: int
    notes: list[str]

    def lines(self) -> list[str]:
        """For a person, on stderr."""
        rows = [
            f"frames: {self.frames}",
            f"ticks: {summary(self.ticks) or 'none'}",
            f"books: {self.live_books} of {self.books} live at the end",
            f"stale books: {summary(self.stale) or 'none'}",
            f"unknown messages: {summary(self.unknown) or 'none'}",
            f"unknown ids: {summary(self.unknown_ids) or 'none'}",
            f"bad frames: {summary(self.bad) or 'none'}",
        ]
        return rows + [f"note: {n}" for n in self.notes]


class Replayer:
    """Takes a recording line by line and gives the ticks that each brought. `sources` are read once more for their instruments.

    `live(symbol)` and `hub` let one look at the books between lines.
    """

    def __init__(
        self, sources: Callable[[], Iterable[Line]], *, exchange: str | None = None, numbers: Numbers = "float", sizes: str = "base"
    ) -> None:
        self.hub = Hub(sizes)
        self.now = 0
        self._sources = sources
        self._exchange = exchange
        self._numbers: Numbers = numbers
        self._box = Mailbox("block", ROOM, ROOM * 512)
        self._venues: dict[str, RecordedVenue] = {}
        self._ticks: Counter[str] = Counter()
        self._stale: Counter[str] = Counter()
        self._notes: list[str] = []

    def instruments(self, exchange: str) -> list[Instrument]:
        """The instruments that the recording brings of an exchange."""
        return list(self._venues[exchange].catalog.by_symbol.values()) if exchange in self._venues else []

    def feed(self, line: Line) -> list[Tick[Any]]:
        """Take the next line of the recording."""
        return self.feed_raw(line, line.payload())

    def feed_raw(self, line: Line, payload: bytes) -> list[Tick[Any]]:
        """Take a line with other bytes than it has."""
        venue = self._venue(line)
        self.now = line.time_ns() or self.now
        if line.dir == "in":
            venue.frame(line.conn or "", line.url, payload, self.now)
        elif line.dir == "http" and line.url and line.status == 200:
            venue.answer(line.url, payload, self.now)
        ticks = self._box.drain()
        for tick in ticks:
            self._ticks[str(tick.__struct_config__.tag)] += 1
            if isinstance(tick, BookStale):
                self._stale[tick.reason] += 1
        return ticks

    def summary(self) -> Summary:
        """What it came to so far."""
        books = [s for s in self.hub.streams.values() if isinstance(s, BookStream)]
        result = Summary(0, self._ticks, Counter(), Counter(), Counter(), self._stale, sum(b.live for b in books), len(books), self._notes)
        for venue in self._venues.values():
            result.frames += venue.tally.frames
            result.unknown += venue.tally.unknown
            result.unknown_ids += venue.tally.unknown_ids
            result.bad += venue.tally.bad
        return result

    def _venue(self, line: Line) -> RecordedVenue:
        name = line.exchange or self._exchange
        if name is None:
            raise UsageError("the recording does not say of which exchange it is: give --exchange ID")
        if name not in self._venues:
            feed = registry.load(name)
            known = instruments_in(feed, (x for x in self._sources() if x.exchange in (None, name)))
            if not known:
                self._notes.append(f"no instruments of {name} in the file and none given: symbols are the venue's ids, sizes as they came")
            self._venues[name] = RecordedVenue(feed, self.hub, self._box, self._numbers, known)
        return self._venues[name]


def read_all(files: Sequence[Path | str]) -> Iterator[Line]:
    """The lines of several recordings, one after the other; a connection does not go on from one file into the next."""
    for number, file in enumerate(files):
        for line in read(Path(file)):
            yield replace(line, conn=f"{line.conn or ''}#{number}") if number else line


def replay(
    files: Sequence[Path | str],
    *,
    exchange: str | None = None,
    instruments: Path | str | None = None,
    numbers: Numbers = "float",
    sizes: str = "base",
    speed: float = 0.0,
    write: Callable[[list[Tick[Any]]], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Summary:
    """Push recordings through the streamer and hand all ticks to `write`, those of one frame at a time.

    `exchange`: whose the lines are that do not say so themselves. `instruments`: another recording to take the instruments from.
    `speed`: 0 as fast as can be, 1 as it was, 10 ten times as fast. Raises `BadRecording`, and `UsageError` when the exchange is
    nowhere told.
    """
    more = [instruments] if instruments is not None else []
    replayer = Replayer(lambda: read_all([*files, *more]), exchange=exchange, numbers=numbers, sizes=sizes)
    for line in read_all(files):
        ts = line.time_ns()
        if speed and ts is not None and replayer.now and ts > replayer.now:
            sleep((ts - replayer.now) / 1e9 / speed)
        ticks = replayer.feed(line)
        if ticks:
            write(ticks)
    return replayer.summary()
