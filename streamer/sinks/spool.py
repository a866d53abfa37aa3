"""Ticks on disk, first in first out: what a sink that is down cannot take now, and delivers after it came back, or after a restart.

    spool = Spool(Path("/var/lib/streamer/kafka"), max_bytes=1 << 30, on_full="drop_oldest_segment", fsync="interval")

What was put in survives kill -9 to the last record: every batch is handed to the operating system before `append` returns. What survives a
loss of power is what `fsync` says: `always` all of it, `interval` all but the last `fsync_s` seconds, `never` what the system happened to
have written. Each record has a checksum; a damaged one costs itself and is counted. After a crash some ticks come twice (those confirmed
since `done` was last written), none is missing, and the order stays.

All disk work is done in one thread of its own. A disk that is full or broken raises nothing here: it is counted, and `on_full` decides.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

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
ON_FULL: Final[tuple[OnFull, ...]] = ("drop_oldest_segment", "drop_newest", "block")
FSYNC: Final[tuple[Fsync, ...]] = ("always", "interval", "never")
SMALLEST: Final = 64 << 10
"""Bytes that a spool has at least."""
CHUNK: Final = 1 << 20
"""Bytes written at once: all of them or none."""
SPARE: Final = 64
"""Bytes kept for the head of a segment."""
NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT))
T = TypeVar("T")


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


class Spool:
    """One process and one `SinkRunner` own its folder; the runner opens and closes it. One call at a time.

    On disk are the numbers from `first` to `next`; those before `taken` are in flight, or confirmed if before `done`.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 1 << 30,
        segment_bytes: int = 16 << 20,
        on_full: OnFull = "drop_oldest_segment",
        fsync: Fsync = "interval",
        fsync_s: float = 1.0,
    ) -> None:
        """Raises `UsageError` for bounds that make no sense. Touches no disk yet: `open` does.

        `segment_bytes`: what is deleted at once, an eighth of `max_bytes` at most. `block`: nothing more is taken out of the mailboxes,
        whose policies then decide.
        """
        if max_bytes < SMALLEST:
            raise UsageError(f"spool {path}: max_bytes={max_bytes} is less than {SMALLEST}")
        if segment_bytes < 1 or fsync_s <= 0:
            raise UsageError(f"spool {path}: segment_bytes={segment_bytes} and fsync_s={fsync_s:g} must be greater than 0")
        if on_full not in ON_FULL or fsync not in FSYNC:
            raise UsageError(f"spool {path}: on_full is one of {', '.join(ON_FULL)}, fsync one of {', '.join(FSYNC)}")
        self.path = path
        self.max_bytes = max_bytes
        self.on_full = on_full
        self.fsync = fsync
        self.unclean = False
        """Was the last process that had this folder killed?"""
        self.recovered = self.corrupt = self.errors = 0
        """Ticks that an earlier process left; damaged records; failures of the disk."""
        self.taken = self.next = self.first = self.bytes = 0
        self._fsync_s = fsync_s
        self._disk = Segments(path, min(segment_bytes, max_bytes // 8), fsync != "never")
        self._full = False  # until room is made: else a small tick would overtake a large one that was refused
        self._lock_fd = -1
        self._pool: ThreadPoolExecutor | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._said = ""

    @property
    def unread(self) -> int:
        """Ticks on disk that are not in flight."""
        return self.next - self.taken

    @property
    def is_open(self) -> bool:
        """Was it opened, and not closed yet?"""
        return self._pool is not None

    @property
    def full(self) -> bool:
        """Was something refused for want of room, and no room made since?"""
        return self._full

    def land(self, n: int) -> None:
        """The last `n` that were taken are in flight no more, and not confirmed."""
        self.taken -= n

    async def open(self) -> Holes:
        """Take over what an earlier process left; what it had still to tell comes back. Raises `UsageError` when the folder cannot be used,
        or is by another process."""
        self._pool = ThreadPoolExecutor(1, "spool")
        try:
            holes = await self._run(self._open)
        except OSError as e:
            await self.close(Holes())
            raise UsageError(f"spool {self.path} cannot be used: {e.strerror or e}; choose another folder or its rights") from None
        except UsageError:
            await self.close(Holes())
            raise
        self.taken = self._disk.done
        self._publish()
        self.recovered = self.unread
        self.corrupt += self._disk.torn
        return holes

    async def append(self, ticks: Sequence[Tick[Any]], *, in_flight: bool = False) -> Appended:
        """Put them behind all others. `in_flight`: they are being written to the sink already, and nothing here is unread."""
        done = await self._run(self._append, ticks)
        self.taken = self._disk.next if in_flight else done.taken
        self._publish()
        if self.fsync == "interval" and self._timer is None and done.stored:
            self._timer = asyncio.get_running_loop().call_later(self._fsync_s, self._sync_later)
        return done

    async def take(self, most: int) -> Taken:
        """The next ticks to write; they are in flight then."""
        got = await self._run(self._take, most)
        self.taken = got.base + len(got.ticks)
        self.corrupt += got.lost
        return got

    async def confirm(self, number: int) -> None:
        """All before `number` is safe elsewhere."""
        await self._run(self._confirm, number)
        self._publish()

    async def close(self, holes: Holes) -> None:
        """Make all of it safe (also against a loss of power, unless `fsync` is never) and let the folder go. `holes` are told next time."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        try:
            await asyncio.get_running_loop().run_in_executor(pool, self._close, holes)
        finally:
            pool.shutdown(wait=False)

    # in the loop

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        if self._pool is None:
            raise RuntimeError(f"spool {self.path} is not open")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    def _first(self) -> int:
        return self._disk.segments[0].start if self._disk.segments else self._disk.next

    def _publish(self) -> None:
        self.next, self.first, self.bytes = self._disk.next, self._first(), self._disk.size

    def _sync_later(self) -> None:
        self._timer = None
        if self._pool is not None:
            self._pool.submit(self._try, self._disk.sync)

    # in the thread

    def _open(self) -> Holes:
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
        self._disk.open()
        return self._read_holes()

    def _append(self, ticks: Sequence[Tick[Any]]) -> Appended:
        done = Appended(self.taken)
        records = [pack(tick) for tick in ticks]
        while done.stored < len(records):
            chunk = self._chunk(records, done)
            if done.reason:
                break
            if not chunk:
                if not self._make_room(done):
                    done.reason, self._full = "spool_full", self.on_full != "drop_oldest_segment"
            elif not self._write(chunk, done):
                done.reason = "spool_error"
        if self.fsync == "always" and done.stored:
            self._try(self._disk.sync)
        return done

    def _chunk(self, records: Sequence[bytes], done: Appended) -> list[bytes]:
        """What is written next: as much as there is room for, and no more than a segment or `CHUNK`."""
        room = 0 if self._full else self.max_bytes - self._disk.size - SPARE
        limit = min(CHUNK, self._disk.segment_bytes)
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
                self._disk.append(chunk)
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
        disk = self._disk
        if self.on_full != "drop_oldest_segment" or not disk.segments:
            return False
        unread = max(done.taken, disk.segments[0].start)
        lost = max(0, disk.segments[0].end - unread)
        if lost:
            with suppress(OSError):  # it is lost whether or not it can be told whose ticks it held
                done.holes.add(disk.contents(disk.segments[0], unread), "overflow")
        if not self._try(disk.drop_first):
            return False
        done.dropped += lost
        done.taken = max(done.taken, self._first())
        return True

    def _take(self, most: int) -> Taken:
        disk = self._disk
        if self.taken >= disk.next:
            return Taken(self.taken, [])
        got = disk.read(self.taken, most)
        taken = Taken(got.base, got.ticks, got.lost)
        if got.damaged is not None:
            log.error("spool %s: %d damaged records in %s are skipped", self.path, got.lost, got.damaged.path.name)
            with suppress(OSError):
                taken.holes.add(disk.contents(got.damaged, got.damaged.start), "disk", counted=False)
        return taken

    def _confirm(self, number: int) -> None:
        self._try(self._disk.confirm, number)
        self._full = False

    def _close(self, holes: Holes) -> None:
        if holes:
            self._try(self._write_holes, holes)
        self._try(self._disk.close)
        if self._lock_fd >= 0:
            self._try(os.ftruncate, self._lock_fd, 0)
            os.close(self._lock_fd)
            self._lock_fd = -1

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
