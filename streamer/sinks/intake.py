"""The mailboxes that a sink is fed from: taken in turn, each in its own order."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from streamer.errors import UsageError
from streamer.mailbox import Mailbox
from streamer.subscription import Subscription
from streamer.types import BookSnapshot, Instrument, Tick

log = logging.getLogger(__name__)


class Intake:
    """`bell` is called when something came while all slept. `instruments`: are they wanted too, or left out?"""

    def __init__(self, bell: Callable[[], None], instruments: bool = True) -> None:
        self.pressed = False
        """Memory is short: what waits is to go to the disk, where there is one for it."""
        self._bell = bell
        self._instruments = instruments
        self._subscriptions: list[Subscription] = []
        self._first: deque[Tick[Any]] = deque()  # to be told before all
        self._left: deque[Tick[Any]] = deque()  # of subscriptions that were detached
        self._books: dict[tuple[str, str], Mailbox] = {}  # who brings a book
        self._repair: set[tuple[str, str]] = set()
        self._dropped = 0  # of those detached

    def attach(self, subscription: Subscription) -> None:
        """Read this one too."""
        if subscription in self._subscriptions:
            raise UsageError(f"subscription {subscription.name!r} is attached already")
        self._subscriptions.append(subscription)
        subscription.box.wake = self._bell
        self._bell()

    def detach(self, subscription: Subscription) -> None:
        """Keep what it still holds, and close it. Those that ended are detached by themselves, so nothing is wrong with an unknown one."""
        if subscription in self._subscriptions:
            self._left.extend(subscription.take())
            self._forget(subscription)
            self._bell()

    def put_first(self, ticks: Sequence[Tick[Any]]) -> None:
        """These come before all that waits."""
        self._first.extend(ticks)
        self._bell()

    def detach_all(self) -> None:
        """The end: nothing comes any more but what is held."""
        for subscription in list(self._subscriptions):
            self.detach(subscription)

    @property
    def waiting(self) -> bool:
        """Is there anything to take?"""
        return bool(self._first or self._left or self._repair) or any(len(s.box) for s in self._subscriptions)

    @property
    def crowded(self) -> bool:
        """Is some mailbox half full, so that it might soon drop? Where memory is short, anything at all is too much."""
        if self.pressed:
            return self.waiting
        return any(2 * s.box.queued >= s.box.max_items or 2 * s.box.held_bytes >= s.box.max_bytes for s in self._subscriptions)

    @property
    def attached(self) -> int:
        """Subscriptions that have not ended."""
        return len(self._subscriptions)

    @property
    def dropped(self) -> int:
        """Ticks that the mailboxes dropped, all in all."""
        return self._dropped + sum(s.dropped for s in self._subscriptions)

    def sleep(self) -> None:
        """Ring when something comes."""
        for subscription in list(self._subscriptions):
            box = subscription.box
            if box.closed and not len(box):
                self._end(subscription)
            box.asleep = not len(box)

    def take(self, most: int) -> list[Tick[Any]]:
        """Up to `most` ticks. A book that is to be repaired gets its snapshot behind all that came before it."""
        ticks = _pop(self._first, most)
        ticks += _pop(self._left, most - len(ticks))
        for subscription in self._subscriptions:
            if len(ticks) < most:
                part = subscription.box.drain(most - len(ticks))
                self._books |= {(t.exchange, t.symbol): subscription.box for t in part if t.__class__ is BookSnapshot}
                ticks += part
        if self._subscriptions:
            self._subscriptions.append(self._subscriptions.pop(0))  # another is the first next time
        if not self._instruments:
            ticks = [t for t in ticks if t.__class__ is not Instrument]
        return ticks + self._repaired() if self._repair else ticks

    def repair(self, exchange: str, symbol: str) -> None:
        """Whoever reads behind the sink lost a tick of this book: it wants a snapshot of the hub's own."""
        self._repair.add((exchange, symbol))

    def _repaired(self) -> list[Tick[Any]]:
        found: list[Tick[Any]] = []
        for key in list(self._repair):
            box = self._books.get(key)
            if box is not None and len(box):
                continue  # its deltas would come behind the snapshot that has them already
            self._repair.discard(key)
            snapshot = box.repair((*key, "book", "")) if box is not None and not box.closed else None
            if snapshot is not None:
                found.append(snapshot)
        return found

    def _end(self, subscription: Subscription) -> None:
        error = subscription.box.error
        if error is not None:
            log.error("subscription %s ended: %s", subscription.name, error)
        self._forget(subscription)

    def _forget(self, subscription: Subscription) -> None:
        self._subscriptions.remove(subscription)
        self._books = {key: box for key, box in self._books.items() if box is not subscription.box}
        subscription.close()
        self._dropped += subscription.dropped


def _pop(queue: deque[Tick[Any]], most: int) -> list[Tick[Any]]:
    return [queue.popleft() for _ in range(min(most, len(queue)))]
