"""Standard output without waiting for it: a thread of its own writes, so that a reader who does not read stops no socket."""

import asyncio
import os
import queue
import select
import sys
import threading
from contextlib import suppress


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
        """Write all of it. Raises BrokenPipeError when nobody reads any more."""
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


def _answer(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
