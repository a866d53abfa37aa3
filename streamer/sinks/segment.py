"""One file of a spool, and what can be read out of it, also when some of it is damaged. Every method may raise OSError."""

from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from streamer.sinks.records import HEAD, MAGIC, Parsed, parse
from streamer.types import Tick

READ: Final = 4 << 20
"""Bytes read at once."""


class Damaged(Exception):
    """Where a record begins cannot be told."""


class Segment(Struct):
    """`count` records, the first of which has number `start`; `size` sound bytes."""

    path: Path
    start: int
    count: int
    size: int

    @property
    def end(self) -> int:
        """The number behind its last record."""
        return self.start + self.count

    def recount(self) -> bool:
        """Count by the file itself, where nothing else says how much is in it. What is damaged in its midst keeps its number. False when
        its end is cut off or damaged."""
        data = self._bytes(0, self.size)
        if data[: len(MAGIC)] != MAGIC:
            return not data
        at = len(MAGIC)
        while True:
            got = parse(data[at:], self.size, whole=True)
            self.count += len(got.ticks)
            at += got.end
            if not got.bad:
                return True
            if got.bad_end is None:
                return False
            self.count += 1
            at += got.bad_end - got.end

    def read(self, number: int, at: int | None, most: int) -> tuple[Parsed, int]:
        """Up to `most` records from `number` on, which begins at `at` (None: to be found out), and that place; `READ` bytes, or one record
        if it is larger. Raises `Damaged`."""
        at = self._place(number) if at is None else at
        data = self._bytes(at, READ)
        if len(data) >= HEAD.size and HEAD.size + HEAD.unpack_from(data)[0] > len(data) and at + len(data) < self.size:
            data = self._bytes(at, self.size - at)  # one record larger than what is read at once
        whole = at + len(data) >= self.size
        got = parse(data, most, whole=whole)
        if got.bad and not got.ticks and not whole:  # whether the one behind it is sound is seen with all that follows
            got = parse(self._bytes(at, self.size - at), most, whole=True)
        return got, at

    def contents(self, number: int) -> list[Tick[Any]]:
        """The sound ticks from `number` on, as far as they can be read."""
        found: list[Tick[Any]] = []
        data = self._bytes(0, self.size)[len(MAGIC) :]
        at, n = 0, self.start
        while n < self.end:
            got = parse(data[at:], self.end - n, whole=True)
            found += got.ticks[max(0, number - n) :]
            n += len(got.ticks) + 1
            if got.bad_end is None:
                break
            at += got.bad_end
        return found

    def _bytes(self, at: int, most: int) -> bytes:
        """Sound bytes from `at` on."""
        with self.path.open("rb") as f:
            f.seek(at)
            return f.read(min(most, self.size - at))

    def _place(self, number: int) -> int:
        if number != self.start:
            return self._find(number)
        if self._bytes(0, len(MAGIC)) != MAGIC:
            raise Damaged
        return len(MAGIC)

    def _find(self, number: int) -> int:
        """Counted from the start of the file: once, after a restart."""
        data = self._bytes(0, self.size)
        at, n = len(MAGIC), self.start
        while n < number:
            got = parse(data[at:], number - n, whole=True)
            n += len(got.ticks)
            at += got.end
            if n < number:
                if got.bad_end is None:
                    raise Damaged
                n += 1
                at += got.bad_end - got.end
        return at
