"""Ticks in files of JSON lines that begin anew by size and by time: ``ticks-20260101T000000.000000Z.ndjson.gz``.

The file being written ends in ``.part`` and gets its name when it is whole, so whoever collects files by name never sees half of one. A
file holds the ticks received in one period of UTC (an hour, a day), named after its first; gzipped if the path ends in ``.gz``. What a
killed process left is made whole, up to its last whole line, when the sink is opened again.

Safe means: handed to the operating system (kill -9 loses nothing), or, with `fsync`, on the disk.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from msgspec import Meta, Struct

from streamer.encode import encode_lines
from streamer.errors import UsageError
from streamer.sinks import Refused, SinkDown
from streamer.sinks.lines import Part, finish_left
from streamer.types import Tick

log = logging.getLogger(__name__)

LATE_S: Final = 1.0
"""How long after the end of its period a file is kept open for what is still on its way."""
T = TypeVar("T")


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the sink `files`."""

    path: Annotated[
        str,
        Meta(
            description="Folder and name, as in `/data/ticks.ndjson.gz`: the time goes before the first dot of the name, `.gz` compresses."
        ),
    ]
    rotate_bytes: Annotated[int, Meta(ge=1, description="A file that has grown to this size, as it is on disk, is finished.")] = 256 << 20
    rotate_s: Annotated[
        int, Meta(ge=1, le=86_400, description="A file holds what was received in one period of UTC of so many seconds.")
    ] = 3600
    fsync: Annotated[bool, Meta(description="Wait for the disk at every batch: what was written survives a loss of power.")] = False


def make(options: Options) -> "FileSink":
    """The sink of the entry `files`."""
    return FileSink(options)


class FileSink:
    """Rotating NDJSON files. All disk work is done in a thread of its own."""

    name = "files"
    linger = 0.05

    def __init__(self, options: Options) -> None:
        path = Path(options.path)
        if not options.path or not path.name.partition(".")[0] or options.path.endswith("/"):
            raise UsageError(f"path={options.path!r} names no file; write it as in /data/ticks.ndjson.gz")
        self._path = path
        self._options = options
        self._period = options.rotate_s * 1_000_000_000
        self._part: Part | None = None
        self._ends = 0
        self._pool: ThreadPoolExecutor | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Make the folder; finish what a killed process left."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "files")
        await self._run(finish_left, self._path)

    async def write(self, ticks: Sequence[Tick[Any]]) -> Sequence[Refused]:
        """Write all. Raises `SinkDown` when the disk is full or the folder may not be written."""
        at = 0
        while at < len(ticks):
            n = self._in_one_file(ticks, at)
            await self._run(self._write, ticks[at : at + n], confirmed=at)
            at += n
            self._watch(ticks[at - 1].ts_recv)
        return ()

    async def close(self, timeout: float) -> None:
        """Finish the file."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        try:
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().run_in_executor(pool, self._finish)
        except OSError as e:
            raise SinkDown(f"{self._path}: {e.strerror or e}", "disk") from None
        finally:
            pool.shutdown(wait=False)

    # in the loop

    async def _run(self, work: Callable[..., T], *args: Any, confirmed: int = 0) -> T:
        if self._pool is None:
            raise RuntimeError("open() comes first")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        except OSError as e:
            raise SinkDown(f"{e.filename or self._path}: {e.strerror or e}", "disk", confirmed) from None

    def _in_one_file(self, ticks: Sequence[Tick[Any]], at: int) -> int:
        """How many of them belong to one period. A tick that is late stays in the file that is open."""
        ends = self._ends
        if ticks[at].ts_recv >= ends:
            ends = (ticks[at].ts_recv // self._period + 1) * self._period
        return next((n for n in range(at + 1, len(ticks)) if ticks[n].ts_recv >= ends), len(ticks)) - at

    def _watch(self, ts_recv: int) -> None:
        """Finish the file at the end of its period even if nothing comes any more."""
        part, loop = self._part, asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if part is not None:
            self._timer = loop.call_later(max(0, self._ends - ts_recv) / 1e9 + LATE_S, self._elapsed, part)

    def _elapsed(self, part: Part) -> None:
        self._timer = None
        if self._pool is not None:
            self._pool.submit(self._finish_quietly, part)

    # in the thread

    def _write(self, ticks: Sequence[Tick[Any]]) -> None:
        first = ticks[0].ts_recv
        if first >= self._ends:
            self._finish()
            self._ends = (first // self._period + 1) * self._period
        if self._part is None:
            self._part = Part(self._path, first)
        self._part.write(encode_lines(ticks), sync=self._options.fsync)
        if self._part.size >= self._options.rotate_bytes:
            self._finish_quietly(self._part)  # what was written is safe; it is finished with the next batch if not now

    def _finish(self) -> None:
        if self._part is not None:
            self._part.finish()
            self._part = None

    def _finish_quietly(self, part: Part) -> None:
        if self._part is part:
            try:
                self._finish()
            except OSError as e:
                log.warning("%s could not be finished: %s", part.path, e.strerror or e)
