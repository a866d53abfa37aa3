"""Ticks on disk, first in first out: what a sink that is down cannot take now, and delivers after it came back, or after a restart.

    spool = Spool(Path("/var/lib/streamer/kafka"), max_bytes=1 << 30, on_full="drop_oldest_segment", fsync="interval")

What was put in survives kill -9 to the last record: every batch is handed to the operating system before `append` returns. What survives a
loss of power is what `fsync` says: `always` all of it, `interval` all but the last `fsync_s` seconds, `never` what the system happened to
have written. Each record has a checksum; a damaged one costs itself and is counted. After a crash some ticks come twice (those confirmed
since `done` was last written), none is missing, and the order stays.

All disk work is done in one thread of its own. A disk that is full or broken raises nothing here: it is counted, and `on_full` decides.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from streamer.errors import UsageError
from streamer.sinks.holes import Holes
from streamer.sinks.spool_disk import Appended, Disk, Fsync, OnFull, Taken
from streamer.types import Tick

ON_FULL: Final[tuple[OnFull, ...]] = ("drop_oldest_segment", "drop_newest", "block")
FSYNC: Final[tuple[Fsync, ...]] = ("always", "interval", "never")
SMALLEST: Final = 64 << 10
"""Bytes that a spool has at least."""
T = TypeVar("T")


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
        self.recovered = self.corrupt = 0
        """Ticks that an earlier process left; damaged records."""
        self.taken = self.next = self.first = self.bytes = 0
        self._fsync_s = fsync_s
        self._disk = Disk(path, max_bytes, segment_bytes, on_full, fsync)
        self._pool: ThreadPoolExecutor | None = None
        self._timer: asyncio.TimerHandle | None = None

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
        return self._disk.full

    @property
    def errors(self) -> int:
        """Failures of the disk."""
        return self._disk.errors

    @property
    def unclean(self) -> bool:
        """Was the last process that had this folder killed?"""
        return self._disk.unclean

    def land(self, n: int) -> None:
        """The last `n` that were taken are in flight no more, and not confirmed."""
        self.taken -= n

    async def open(self) -> Holes:
        """Take over what an earlier process left; what it had still to tell comes back. Raises `UsageError` when the folder cannot be used,
        or is by another process."""
        self._pool = ThreadPoolExecutor(1, "spool")
        try:
            holes = await self._run(self._disk.open)
        except OSError as e:
            await self.close(Holes())
            raise UsageError(f"spool {self.path} cannot be used: {e.strerror or e}; choose another folder or its rights") from None
        except UsageError:
            await self.close(Holes())
            raise
        self.taken = self._disk.files.done
        self._publish()
        self.recovered = self.unread
        self.corrupt += self._disk.files.torn
        return holes

    async def append(self, ticks: Sequence[Tick[Any]], *, in_flight: bool = False) -> Appended:
        """Put them behind all others. `in_flight`: they are being written to the sink already, and nothing here is unread."""
        done = await self._run(self._disk.append, ticks, self.taken)
        self.taken = self._disk.files.next if in_flight else done.taken
        self._publish()
        if self.fsync == "interval" and self._timer is None and done.stored:
            self._timer = asyncio.get_running_loop().call_later(self._fsync_s, self._sync_later)
        return done

    async def take(self, most: int) -> Taken:
        """The next ticks to write; they are in flight then."""
        got = await self._run(self._disk.take, self.taken, most)
        self.taken = got.base + len(got.ticks)
        self.corrupt += got.lost
        return got

    async def confirm(self, number: int) -> None:
        """All before `number` is safe elsewhere."""
        await self._run(self._disk.confirm, number)
        self._publish()

    async def close(self, holes: Holes) -> None:
        """Make all of it safe (also against a loss of power, unless `fsync` is never) and let the folder go. `holes` are told next time."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        try:
            await asyncio.get_running_loop().run_in_executor(pool, self._disk.close, holes)
        finally:
            pool.shutdown(wait=False)

    # in the loop

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        if self._pool is None:
            raise RuntimeError(f"spool {self.path} is not open")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    def _publish(self) -> None:
        self.next, self.first, self.bytes = self._disk.files.next, self._disk.first, self._disk.files.size

    def _sync_later(self) -> None:
        self._timer = None
        if self._pool is not None:
            self._pool.submit(self._disk.sync)
