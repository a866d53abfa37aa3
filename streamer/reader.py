"""How a subscriber reads its mailbox: tick by tick, or all that came at once. The waiting is the same for both.

Apart from `streamer.subscription`, so that it can be compiled: a tick then costs a third of what it costs interpreted.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from streamer.mailbox import Mailbox

End = Callable[[], None]
"""Called when the mailbox is closed and empty: raises what ended it, or `StopAsyncIteration`. A method of the subscription, which would end
if nobody held it."""


class Waker:
    """Puts the reader of a mailbox to sleep; `slept` counts how often. Belongs to the running loop."""

    __slots__ = ("_box", "_loop", "_name", "_waiter", "slept")

    def __init__(self, box: Mailbox, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._box = box
        self._loop = loop
        self._name = name
        self._waiter: asyncio.Future[None] | None = None
        self.slept = 0
        box.wake = self._wake

    def sleep(self) -> "asyncio.Future[None]":
        """What to await until the mailbox wakes us: once for all that comes in one turn of the loop."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            raise RuntimeError(f"two tasks read subscription {self._name!r} at once; give each its own")
        self.slept += 1
        waiter = self._waiter = self._loop.create_future()
        self._box.asleep = True
        return waiter

    def leave(self, waiter: "asyncio.Future[None]") -> None:
        """Whoever slept here was cancelled. (It may find that another has come since.)"""
        if self._waiter is waiter:
            self._box.asleep = False

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Ticks:
    """An async iterator of ticks."""

    __slots__ = ("_box", "_end", "_waker")

    def __init__(self, end: End, box: Mailbox, waker: Waker) -> None:
        self._end = end
        self._box = box
        self._waker = waker

    def __aiter__(self) -> "Ticks":
        return self

    async def __anext__(self) -> Any:
        box = self._box
        while not box._buf and not len(box):  # what is there mostly lies in the queue, and to look costs no call
            if box.closed:
                self._end()
            waiter = self._waker.sleep()
            try:
                await waiter
            except BaseException:
                self._waker.leave(waiter)
                raise
        return box.pop()


class Batches:
    """An async iterator of lists, each of at most `most` ticks. Not an async generator: those end for good when they are cancelled while
    they wait."""

    __slots__ = ("_box", "_end", "_most", "_waker")

    def __init__(self, end: End, box: Mailbox, waker: Waker, most: int) -> None:
        self._end = end
        self._box = box
        self._waker = waker
        self._most = most

    def __aiter__(self) -> "Batches":
        return self

    async def __anext__(self) -> list[Any]:
        box = self._box
        while not len(box):
            if box.closed:
                self._end()
            waiter = self._waker.sleep()
            try:
                await waiter
            except BaseException:
                self._waker.leave(waiter)
                raise
        return box.drain(self._most)
