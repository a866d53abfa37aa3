"""What a subscriber holds: an async iterator over its own mailbox, with changes at run time.

    async for tick in sub: ...                 one tick at a time, without awaiting while there are more
    async for batch in sub.batches(): ...      everything that came in one turn of the loop
    s.subscribe(..., callback=f)               f(tick), in the loop's own turn

Cancelling is safe: `asyncio.wait_for(anext(sub))`, `break` and a task's cancellation lose nothing; what was not taken is still there.
"""

import asyncio
import inspect
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self

from streamer.errors import UsageError
from streamer.mailbox import Mailbox
from streamer.reader import Batches, Ticks, Waker
from streamer.types import Tick

log = logging.getLogger(__name__)


class Manager(Protocol):
    """Who sees to it that streams reach a mailbox: the engine."""

    def add(self, box: Mailbox, streams: Sequence[str]) -> None:
        """Send these streams too. Raises `UsageError` for what is known to be wrong at once."""

    def remove(self, box: Mailbox, streams: Sequence[str]) -> None:
        """Send these no more."""

    def release(self, box: Mailbox) -> None:
        """The subscriber is gone."""


class Subscription:
    """One subscriber. Counters: ``published == delivered + queued + dropped + conflated``, always. Belongs to the running loop."""

    __slots__ = ("__weakref__", "_finalizer", "_manager", "_waker", "box", "name")

    def __init__(self, box: Mailbox, manager: Manager, name: str) -> None:
        self.name = name
        self.box = box
        self._manager = manager
        loop = asyncio.get_running_loop()
        self._waker = Waker(box, name, loop)
        self._finalizer = weakref.finalize(self, _abandon, box, manager, loop)
        self._finalizer.atexit = False

    def __aiter__(self) -> Ticks:
        return Ticks(self._ended, self.box, self._waker)

    def __anext__(self) -> Awaitable[Any]:
        return Ticks(self._ended, self.box, self._waker).__anext__()

    def batches(self, most: int = 10_000) -> AsyncIterator[list[Any]]:
        """Lists of all that is there, each of at most `most` ticks; what a list had no room for stays in the mailbox."""
        if most < 1:
            raise UsageError(f"batches of {most} ticks would never end; most must be at least 1")
        return Batches(self._ended, self.box, self._waker, most)

    def take(self) -> list[Any]:
        """All that is there now, without waiting."""
        return self.box.drain()

    def add(self, *streams: str) -> None:
        """Take these streams (``exchange:symbol``) in too, with the kinds that this subscription has."""
        self._manager.add(self.box, streams)

    def remove(self, *streams: str) -> None:
        """Take these streams out."""
        self._manager.remove(self.box, streams)

    def close(self) -> None:
        """End it: nothing is delivered after this, and what only this subscription wanted is unsubscribed."""
        if self._finalizer.detach() is not None:
            _release(self.box, self._manager)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def published(self) -> int:
        """Ticks that the hub had for this subscriber."""
        return self.box.published

    @property
    def delivered(self) -> int:
        """Ticks that it took."""
        return self.box.delivered

    @property
    def queued(self) -> int:
        """Ticks that wait."""
        return self.box.queued

    @property
    def dropped(self) -> int:
        """Ticks that its policy dropped, each told by a `Gap`."""
        return self.box.dropped

    @property
    def conflated(self) -> int:
        """Ticks that gave way to newer ones of their stream."""
        return self.box.conflated

    def _ended(self) -> None:
        self.close()  # what was cut off for being slow need not be subscribed any longer
        if self.box.error is not None:
            raise self.box.error
        raise StopAsyncIteration


def _release(box: Mailbox, manager: Manager) -> None:
    if not box.closed or len(box):
        box.close()
    manager.release(box)


def _abandon(box: Mailbox, manager: Manager, loop: asyncio.AbstractEventLoop) -> None:
    """The subscriber was collected as garbage, in any thread and between any two instructions of ours: its loop is told, in a turn of its
    own."""
    with suppress(RuntimeError):  # the loop is closed, and everything with it
        loop.call_soon_threadsafe(_release, box, manager)


class Pump:
    """The callback form: everything that came in one turn of the loop is handed over in the next.

    An exception of the callback is the subscriber's own: it is logged, and ends this subscription when `on_error` is "stop".
    """

    def __init__(self, subscription: Subscription, callback: Callable[[Tick[Any]], object], on_error: str = "log") -> None:
        if on_error not in ("log", "stop"):
            raise UsageError(f"on_error={on_error!r} is neither 'log' nor 'stop'")
        if inspect.iscoroutinefunction(callback):
            raise UsageError("the callback is a coroutine function: give a plain one, or read the subscription with `async for`")
        self.errors = 0
        self._subscription = subscription
        self._callback = callback
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        subscription.box.wake = self._wake
        self._wake()

    def _wake(self) -> None:
        self._loop.call_soon(self._run)

    def _run(self) -> None:
        box = self._subscription.box
        for _ in range(len(box)):  # what the callback itself makes us get has its turn later
            if not len(box):
                break
            try:
                self._callback(box.pop())
            except (Exception, asyncio.CancelledError):
                self.errors += 1
                log.exception("subscription %s: its callback raised", self._subscription.name)
                if self._on_error == "stop":
                    self._subscription.close()
                    return
        if len(box):
            self._wake()
        elif not box.closed:
            box.asleep = True
        else:
            if box.error is not None:
                log.error("subscription %s: %s", self._subscription.name, box.error)
            self._subscription.close()
