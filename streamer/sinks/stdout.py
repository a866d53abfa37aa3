"""Ticks on standard output, one JSON object a line, for the next program of a pipe.

A thread of its own writes, so that a reader who does not read stops no socket. What is safe here is what the pipe took: a reader that dies
has lost what it had not worked on.
"""

import asyncio
import os
import queue
import select
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from msgspec import Struct

from streamer.encode import encode_lines
from streamer.sinks import Refused, SinkDown, SinkGone
from streamer.types import Tick


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The sink `stdout` has no options."""


def make(options: Options) -> "StdoutSink":
    """The sink of the entry `stdout`."""
    return StdoutSink()


class StdoutSink:
    """NDJSON to standard output. A line is never torn, not even by a disk that was full meanwhile (when stdout is a file)."""

    name = "stdout"

    def __init__(self) -> None:
        self._out: Stdout | None = None
        self._rest = b""  # of the line in which a write failed: it goes before anything else

    async def open(self) -> None:
        """Begin the thread."""
        if self._out is None:
            self._out = Stdout()

    async def write(self, ticks: Sequence[Tick[Any]]) -> Sequence[Refused]:
        """Write all. Raises `SinkGone` when nobody reads any more."""
        assert self._out is not None, "open() comes first"  # noqa: S101
        rest, self._rest = self._rest, b""
        data = rest + encode_lines(ticks[1:] if rest else ticks)
        try:
            await self._out.write(data)
        except BrokenPipeError:
            raise SinkGone("nobody reads standard output any more", "closed") from None
        except OSError as e:
            written = getattr(e, "written", 0)
            lines = data.count(b"\n", 0, written)
            begun = data.rfind(b"\n", 0, written) + 1
            self._rest = data[written : data.index(b"\n", written) + 1] if begun < written or (rest and not lines) else b""
            raise SinkDown(f"standard output: {e.strerror or e}", "disk", lines) from None
        return ()

    async def close(self, timeout: float) -> None:
        """Let a write that is under way end, if it can."""
        out, self._out = self._out, None
        if out is not None:
            await asyncio.to_thread(out.close, timeout)


class Stdout:
    """Bytes to stdout, in order. While a write waits for the reader, ticks wait (and drop) in the subscription's own buffer."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        sys.stdout.flush()
        try:
            self._fd = sys.stdout.fileno()
        except OSError:  # something without a file beneath, as in tests
            self._fd = -1
        self._thread = threading.Thread(target=self._work, name="stdout", daemon=True)
        self._thread.start()

    async def write(self, data: bytes) -> None:
        """Write all of it. Raises BrokenPipeError when nobody reads any more, another OSError (`written`: bytes that went out) when it
        fails."""
        if data:
            done: asyncio.Future[None] = self._loop.create_future()
            self._todo.put((data, done))
            await done

    def close(self, timeout: float = 1.0) -> None:
        """Let a write that is under way end, if it can within `timeout` seconds."""
        self._todo.put(None)
        self._thread.join(timeout)

    def _work(self) -> None:
        while (item := self._todo.get()) is not None:
            data, done = item
            error: OSError | None = None
            try:
                self._put(data)
            except OSError as e:
                error = e
            with suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits for the answer
                self._loop.call_soon_threadsafe(_answer, done, error)

    def _put(self, data: bytes) -> None:
        if self._fd < 0:
            sys.stdout.buffer.write(data)
            return
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:  # whoever shares this pipe or terminal with us made it non-blocking
                select.select([], [self._fd], [])
            except OSError as e:
                e.written = len(data) - len(view)  # type: ignore[attr-defined]
                raise


def _answer(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
