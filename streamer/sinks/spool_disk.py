"""What a spool does on its disk, in a thread of its own: its folder's lock, what is done when there is no room, what is skipped when it is
damaged. No loop and no timer. A disk that refuses raises nothing here but in `open`: it is counted, and `on_full` decides.
"""

import errno
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from streamer.errors import UsageError
from streamer.sinks.holes import Holes
from streamer.sinks.records import MAX_BODY, pack, parse
from streamer.sinks.segments import Segments
from streamer.types import Tick

try:
    import fcntl
except ImportError:  # Windows: nobody keeps a second process from this folder there
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

OnFull: TypeAlias = Literal["drop_oldest_segment", "drop_newest", "block"]
Fsync: TypeAlias = Literal["always", "interval", "never"]
CHUNK: Final = 1 << 20
"""Bytes written at once: all of them or none."""
SPARE: Final = 64
"""Bytes kept for the head of a segment."""
NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT))


class Appended(Struct):
    """`stored`: how many of the ticks are on disk, from the first. `reason`: why not all: spool_full, spool_error, too_large. `dropped`:
    ticks that gave way and were not in flight, by stream in `holes`; `taken` is behind them."""

    taken: int
    stored: int = 0
    reason: str = ""
    dropped: int = 0
    holes: Holes = msgspec.field(default_factory=Holes)


class Taken(Struct):
    """`ticks` to write, the first of which has number `base`. Before them `lost` ticks were damaged, in the streams of `holes`."""

    base: int
    ticks: list[Tick[Any]]
    lost: int = 0
    holes: Holes = msgspec.field(default_factory=Holes)


class Disk:
    """One call at a time. `taken`, where it is asked for, is the number of the first record that is not in flight."""

    def __init__(self, path: Path, max_bytes: int, segment_bytes: int, on_full: OnFull, fsync: Fsync) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.on_full = on_full
        self.fsync = fsync
        self.files = Segments(path, min(segment_bytes, max_bytes // 8), fsync != "never")
        self.unclean = False
        self.errors = 0
        self.full = False  # until room is made: else a small tick would overtake a large one that was refused
        self._lock_fd = -1
        self._said = ""

    @property
    def first(self) -> int:
        """The number of the oldest record that is there."""
        return self.files.segments[0].start if self.files.segments else self.files.next

    def open(self) -> Holes:
        """Take over what an earlier process left; what it had still to tell comes back. Raises `UsageError` or OSError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if fcntl is not None:
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(self._lock_fd)
                self._lock_fd = -1
                raise UsageError(f"spool {self.path} is in use by another process; give each sink its own") from None
        self.unclean = os.pread(self._lock_fd, 1, 0) != b""
        self._try(os.pwrite, self._lock_fd, b"%d\n" % os.getpid(), 0)
        self.files.open()
        return self._read_holes()

    def append(self, ticks: Sequence[Tick[Any]], taken: int) -> Appended:
        """Put them behind all others."""
        done = Appended(taken)
        records = [pack(tick) for tick in ticks]
        while done.stored < len(records):
            chunk = self._chunk(records, done)
            if done.reason:
                break
            if not chunk:
                if not self._make_room(done):
                    done.reason, self.full = "spool_full", self.on_full != "drop_oldest_segment"
            elif not self._write(chunk, done):
                done.reason = "spool_error"
        if self.fsync == "always" and done.stored:
            self._try(self.files.sync)
        return done

    def _chunk(self, records: Sequence[bytes], done: Appended) -> list[bytes]:
        """What is written next: as much as there is room for, and no more than a segment or `CHUNK`."""
        room = 0 if self.full else self.max_bytes - self.files.size - SPARE
        limit = min(CHUNK, self.files.segment_bytes)
        chunk: list[bytes] = []
        size = 0
        for record in records[done.stored :]:
            if len(record) > min(MAX_BODY, self.max_bytes - SPARE):
                if not chunk:
                    done.reason = "too_large"
                break
            size += len(record)
            if size > room or (chunk and size > limit):
                break
            chunk.append(record)
        return chunk

    def _write(self, chunk: list[bytes], done: Appended) -> bool:
        for attempt in (1, 2):
            try:
                self.files.append(chunk)
            except OSError as e:
                self._failed(e)
                if attempt == 1 and e.errno in NO_ROOM and self._make_room(done):
                    continue
                return False
            done.stored += len(chunk)
            self._said = ""
            return True
        return False

    def _make_room(self, done: Appended) -> bool:
        """Delete the oldest segment, if that is the policy."""
        files = self.files
        if self.on_full != "drop_oldest_segment" or not files.segments:
            return False
        unread = max(done.taken, files.segments[0].start)
        lost = max(0, files.segments[0].end - unread)
        if lost:
            with suppress(OSError):  # it is lost whether or not it can be told whose ticks it held
                done.holes.add(files.segments[0].contents(unread), "overflow")
        if not self._try(files.drop_first):
            return False
        done.dropped += lost
        done.taken = max(done.taken, self.first)
        return True

    def take(self, number: int, most: int) -> Taken:
        """Read from `number` on."""
        files = self.files
        if number >= files.next:
            return Taken(number, [])
        got = files.read(number, most)
        taken = Taken(got.base, got.ticks, got.lost)
        if got.damaged is not None:
            log.error("spool %s: %d damaged records in %s are skipped", self.path, got.lost, got.damaged.path.name)
            with suppress(OSError):
                taken.holes.add(got.damaged.contents(got.damaged.start), "disk", counted=False)
        return taken

    def confirm(self, number: int) -> None:
        """All before `number` is safe elsewhere."""
        self._try(self.files.confirm, number)
        self.full = False

    def close(self, holes: Holes) -> None:
        """Make all of it safe and let the folder go. `holes` are told next time."""
        if holes:
            self._try(self._write_holes, holes)
        self._try(self.files.close)
        if self._lock_fd >= 0:
            self._try(os.ftruncate, self._lock_fd, 0)
            os.close(self._lock_fd)
            self._lock_fd = -1

    def sync(self) -> None:
        """Make what was written survive a loss of power."""
        self._try(self.files.sync)

    def _write_holes(self, holes: Holes) -> None:
        (self.path / "holes").write_bytes(b"".join(pack(tick) for tick in holes.take()))

    def _read_holes(self) -> Holes:
        path = self.path / "holes"
        holes = Holes()
        if path.exists():
            holes.restore(parse(path.read_bytes(), 1 << 20, whole=True).ticks)
            path.unlink()
        return holes

    def _try(self, work: Callable[..., object], *args: Any) -> bool:
        try:
            work(*args)
        except OSError as e:
            self._failed(e)
            return False
        return True

    def _failed(self, error: OSError) -> None:
        """Counted always, said once until a write succeeds again."""
        self.errors += 1
        said = error.strerror or str(error)
        if said != self._said:
            self._said = said
            log.error("spool %s: %s; on_full=%s decides", self.path, said, self.on_full)
