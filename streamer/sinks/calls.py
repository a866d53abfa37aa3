"""Calls of a sink, which may be anybody's: cut off when the time is over, and left alone when they do not even heed that. And that time."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from streamer.sinks import SinkDown

GRACE_S: Final = 1.0
"""For a call that was cancelled to come to its end."""
RESERVE_S: Final = 2.0
"""Of the time for a drain, for spooling the rest and closing (a quarter, if that is less)."""
T = TypeVar("T")


class Cut(Exception):
    """The time is over."""


class Calls:
    """`cut` ends the call under way and refuses those to come with `Cut`."""

    def __init__(self) -> None:
        self._cut = asyncio.Event()
        self._left_alone: set[asyncio.Future[Any]] = set()

    @property
    def over(self) -> bool:
        """Was it cut?"""
        return self._cut.is_set()

    def cut(self) -> None:
        """The time is over."""
        self._cut.set()

    async def __call__(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """The result of `work`, even if it comes just after the cut. Raises `Cut`, or `SinkDown` after `timeout` seconds.

        With a timeout of its own it is not cut: for closing.
        """
        call = asyncio.ensure_future(work)
        cut = asyncio.ensure_future(self._cut.wait()) if timeout is None else None
        try:
            await asyncio.wait({call, cut} if cut else {call}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                call.cancel()
                await asyncio.wait({call}, timeout=GRACE_S)
        finally:
            if cut is not None:
                cut.cancel()
            if not call.done():
                self._leave(call)
        if not call.done() or call.cancelled():
            raise Cut if self.over and timeout is None else SinkDown("it did not end, or cancelled itself", "timeout")
        return call.result()

    async def pause(self, seconds: float) -> None:
        """Sleep. Raises `Cut`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._cut.wait()
        if self.over:
            raise Cut

    def _leave(self, call: "asyncio.Future[Any]") -> None:
        call.cancel()
        self._left_alone.add(call)
        call.add_done_callback(self._forget)

    def _forget(self, call: "asyncio.Future[Any]") -> None:
        self._left_alone.discard(call)
        if not call.cancelled():
            call.exception()  # retrieved, so that nobody is told that it was not


class Deadline:
    """Until when a drain must have ended: the nearest that was asked for. `cut` is called `RESERVE_S` before."""

    def __init__(self, cut: Callable[[], None]) -> None:
        self._cut = cut
        self._end: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def within(self, timeout: float) -> None:
        """In so many seconds, if that is sooner than what was asked for before."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        if self._end is None or end < self._end:
            self._end = end
            self.stop()
            self._timer = loop.call_at(end - min(RESERVE_S, timeout / 4), self._cut)

    def left(self, otherwise: float) -> float:
        """Seconds, 0 or more; `otherwise` when nobody asked for an end."""
        return otherwise if self._end is None else max(0.0, self._end - asyncio.get_running_loop().time())

    def stop(self) -> None:
        """Cut no more."""
        if self._timer is not None:
            self._timer.cancel()
