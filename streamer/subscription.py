"""What a subscriber holds: an async iterator over its own mailbox, with changes at run time.

    async for tick in sub: ...                 one tick at a time, without awaiting while there are more
    async for batch in sub.batches(): ...      everything that came in one turn of the loop
    s.subscribe(..., callback=f)               f(tick), in the loop's own turn

Cancelling is safe: `asyncio.wait_for(anext(sub))`, `break` and a task's cancellation lose nothing; what was not taken is still there.
"""

import asyncio
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from streamer.mailbox import Mailbox
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
    """One subscriber. Counters: ``published == delivered + queued + dropped + conflated``, always."""

    def __init__(self, box: Mailbox, manager: Manager, name: str) -> None:
        self.name = name
        self.box = box
        self._manager = manager
        self._waiter: asyncio.Future[None] | None = None
        self._finalizer = weakref.finalize(self, _abandon, box, manager)
        reference = weakref.ref(self)
        box.wake = lambda: _wake(reference)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        box = self.box
        while True:
            if len(box):
                return box.pop()
            if box.closed:
                self._ended()
            await self._wait()

    async def batches(self, most: int = 10_000) -> AsyncIterator[list[Any]]:
        """Lists of all that is there, each of at most `most` ticks."""
        box = self.box
        while True:
            if not len(box):
                if box.closed:
                    if box.error is not None:
                        raise box.error
                    return
                await self._wait()
                continue
            batch = box.drain()
            for i in range(0, len(batch), most):
                yield batch[i : i + most]

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
        self._finalizer()

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
        if self.box.error is not None:
            raise self.box.error
        raise StopAsyncIteration

    async def _wait(self) -> None:
        """Sleep until the mailbox wakes us: once for all that comes in one turn of the loop."""
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError(f"two tasks read subscription {self.name!r} at once; give each its own")
        waiter = self._waiter = asyncio.get_running_loop().create_future()
        self.box.asleep = True
        try:
            await waiter
        finally:
            self.box.asleep = False
            self._waiter = None


def _wake(reference: "weakref.ref[Subscription]") -> None:
    subscription = reference()
    if subscription is not None:
        waiter = subscription._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _abandon(box: Mailbox, manager: Manager) -> None:
    if not box.closed or len(box):
        box.close()
    manager.release(box)


class Pump:
    """The callback form: everything that came in one turn of the loop is handed over in the next.

    An exception of the callback is the subscriber's own: it is logged, and ends this subscription when `on_error` is "stop".
    """

    def __init__(self, subscription: Subscription, callback: Callable[[Tick[Any]], object], on_error: str = "log") -> None:
        if on_error not in ("log", "stop"):
            raise ValueError(f"on_error={on_error!r} is neither 'log' nor 'stop'")
        self.errors = 0
        self._subscription = subscription
        self._callback = callback
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        subscription.box.wake = self._wake
        subscription.box.asleep = True
        if len(subscription.box):
            self._wake()

    def _wake(self) -> None:
        self._loop.call_soon(self._run)

    def _run(self) -> None:
        box = self._subscription.box
        while len(box) and not box.closed:
            try:
                self._callback(box.pop())
            except Exception:
                self.errors += 1
                log.exception("subscription %s: its callback raised", self._subscription.name)
                if self._on_error == "stop":
                    self._subscription.close()
                    return
        box.asleep = True
