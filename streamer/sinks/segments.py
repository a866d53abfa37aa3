"""The folder of a spool: segment files, named after the number of their first record, and `done`, the number of the first record that is
still wanted. Only disk here: no thread, loop or policy. Every method may raise OSError.

    lock  done  holes  00000000000000000000.ticks  00000000000000081920.ticks ...

Records are numbered by one for ever, so a segment's count is known from the name of the next one even when its file is damaged. Writes go
straight to the operating system (kill -9 loses nothing written); the newest segment of an earlier process is never appended to.
"""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from streamer.sinks.records import MAGIC, size_of
from streamer.sinks.segment import Damaged, Segment
from streamer.types import Tick

SUFFIX: Final = ".ticks"
_DIGITS: Final = 20
"""Of a number in names and in `done`."""


class Read(Struct):
    """`ticks` of consecutive records, the first of which is number `base`; the `lost` ones before it are damaged."""

    base: int
    ticks: list[Tick[Any]]
    lost: int = 0
    damaged: Segment | None = None


class Segments:
    """All segments, oldest first. The last one is appended to when `_fd` is open."""

    def __init__(self, path: Path, segment_bytes: int, fsync: bool) -> None:
        self.path = path
        self.segment_bytes = segment_bytes
        self.segments: list[Segment] = []
        self.size = 0
        self.done = 0
        self.next = 0
        self.torn = 0  # segments whose end was cut off or damaged when this process found them
        self._fsync = fsync
        self._fd = -1
        self._done_fd = -1
        self._unsynced = False
        self._at = (-1, -1, 0)  # segment, number, and where in the file of the one the other begins

    def open(self) -> None:
        """Find what an earlier process left."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._done_fd = os.open(self.path / "done", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.done = self._read_done()
        starts = sorted((int(p.stem), p) for p in self.path.glob("[0-9]" * _DIGITS + SUFFIX))
        for (start, path), following in zip(starts, [*(s for s, _ in starts[1:]), None], strict=False):
            size = path.stat().st_size
            segment = Segment(path, start, 0 if following is None else following - start, size)
            if following is None:
                self.torn += not segment.recount()
            self.segments.append(segment)
        for segment in [s for s in self.segments if not s.count]:
            self.segments.remove(segment)
            self._unlink(segment)
        self.size = sum(s.size for s in self.segments)
        self.next = max(self.segments[-1].end if self.segments else 0, self.done)
        self.done = max(self.done, self.segments[0].start if self.segments else self.done)
        self.forget_before(self.done)

    def append(self, records: Sequence[bytes]) -> None:
        """Write all or none of them."""
        if self._fd < 0:
            self._begin()
        segment = self.segments[-1]
        try:
            _write(self._fd, b"".join(records))
        except OSError:
            self._mend(segment)
            raise
        size = size_of(records)
        segment.count += len(records)
        segment.size += size
        self.size += size
        self.next += len(records)
        self._unsynced = True
        if segment.size >= self.segment_bytes:
            self.seal()

    def read(self, number: int, most: int) -> Read:
        """Records from `number` on, out of one segment, as many as are read at once. Some record must be there."""
        segment = next(s for s in self.segments if s.end > number)
        lost = max(0, segment.start - number)
        number += lost
        try:
            place = self._at[2] if self._at[:2] == (segment.start, number) else None
            got, at = segment.read(number, place, min(most, segment.end - number))
        except (OSError, Damaged):
            return Read(segment.end, [], lost + segment.end - number, segment)
        if got.ticks:
            self._at = (segment.start, number + len(got.ticks), at + got.end)
            return Read(number, got.ticks, lost, segment if lost else None)
        if got.bad_end is not None and number + 1 < segment.end:
            self._at = (segment.start, number + 1, at + got.bad_end)
            return Read(number + 1, [], lost + 1, segment)
        return Read(segment.end, [], lost + segment.end - number, segment)

    def drop_first(self) -> Segment:
        """Delete the oldest segment."""
        segment = self.segments[0]
        if self._fd >= 0 and len(self.segments) == 1:
            self.seal()
        self._unlink(segment)
        self.segments.pop(0)
        self.size -= segment.size
        return segment

    def confirm(self, number: int) -> None:
        """All before `number` is wanted no more."""
        self.done = max(self.done, number)
        self.forget_before(self.done)
        text = b"%020d" % self.done
        os.pwrite(self._done_fd, text + b" %08x\n" % zlib.crc32(text), 0)

    def forget_before(self, number: int) -> None:
        """Delete the segments of which nothing is wanted."""
        while self.segments and self.segments[0].end <= number:
            self.drop_first()

    def seal(self) -> None:
        """Append no more to the newest segment: the next append begins another."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if self._fsync and self._unsynced:
                os.fsync(fd)
            self._unsynced = False
        finally:
            os.close(fd)

    def sync(self) -> None:
        """Make what was written survive a loss of power."""
        if self._unsynced and self._fd >= 0:
            os.fsync(self._fd)
        self._unsynced = False

    def close(self) -> None:
        """Let go of the files."""
        try:
            self.seal()
        finally:
            if self._done_fd >= 0:
                os.close(self._done_fd)
                self._done_fd = -1

    # inside

    def _begin(self) -> None:
        path = self.path / f"{self.next:0{_DIGITS}d}{SUFFIX}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(fd, MAGIC)
            if self._fsync:
                _sync_folder(self.path)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        self._fd = fd
        self.segments.append(Segment(path, self.next, 0, len(MAGIC)))
        self.size += len(MAGIC)

    def _mend(self, segment: Segment) -> None:
        """A write failed in the middle. Whatever it left behind the sound bytes is never read, for the count is known; it is cut off if the
        disk lets us, and no more is appended to this file in any case."""
        fd, self._fd = self._fd, -1
        try:
            os.ftruncate(fd, segment.size)
        except OSError:
            self.torn += 1
        os.close(fd)
        if not segment.count:
            self.segments.remove(segment)
            self.size -= segment.size
            self._unlink(segment)

    def _read_done(self) -> int:
        """0 when it cannot be read: then some of the oldest segment comes twice."""
        text = os.pread(self._done_fd, 64, 0)
        number, _, crc = text.strip().partition(b" ")
        sound = len(number) == _DIGITS and number.isdigit() and crc == b"%08x" % zlib.crc32(number)
        return int(number) if sound else 0

    def _unlink(self, segment: Segment) -> None:
        segment.path.unlink(missing_ok=True)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
