"""The policies that drop: the oldest tick, or the new one.

Every run of dropped ticks is told to the reader by one `Gap` with their number, before the next tick of that stream. A book that lost
a tick is made good with a `BookSnapshot` of the hub's own book, taken when the reader comes to it: until then whatever comes of that
book is counted to the same loss. So a reader is never silently wrong.
"""

from collections import deque
from typing import Any, ClassVar

from streamer.mailbox import BOOK, CONTROL, TICK_BYTES, Mailbox, Policy, StreamKey, key_of, weight
from streamer.types import BookStale, Gap, Tick


class Loss:
    """A run of ticks of one stream that were dropped."""

    __slots__ = ("book", "count", "key", "ts_from", "ts_to")

    def __init__(self, key: StreamKey, tick: Tick[Any]) -> None:
        self.key = key
        self.count = 1
        self.ts_from = self.ts_to = tick.ts_recv
        self.book = key[2] == "book"

    def add(self, tick: Tick[Any]) -> None:
        """One more; those still in the queue when its book broke may be older than the last one added."""
        self.count += 1
        ts = tick.ts_recv
        if ts > self.ts_to:
            self.ts_to = ts
        elif ts < self.ts_from:
            self.ts_from = ts

    def gap(self, recovered: str | None) -> Gap[Any]:
        """What the reader is told."""
        exchange, symbol, kind, _ = self.key
        return Gap(exchange, symbol, None, self.ts_to, kind, "overflow", self.ts_from, self.ts_to, self.count, recovered, "count")


class _Dropping(Mailbox):
    """What both policies share: `_lost` are the runs still going on or not told yet, `_after` what follows the `Gap` just told."""

    __slots__ = ("_after", "_lost")

    def __init__(self, policy: Policy, max_items: int = 10_000, max_bytes: int = 64 << 20) -> None:
        super().__init__(policy, max_items, max_bytes)
        self._lost: dict[StreamKey, Loss] = {}
        self._after: Any = None

    def _lose(self, key: StreamKey, tick: Any) -> None:
        loss = self._lost.get(key)
        if loss is None:
            self._lost[key] = Loss(key, tick)
            self._rough = True
        else:
            loss.add(tick)
        self.dropped += 1

    def _swallow(self, loss: Loss | None, tick: Any) -> bool:
        """A tick of a book that lost one before is of no use any more; how the book is in the end will be told with the loss."""
        if loss is None or not loss.book:
            return False
        if tick.__class__ in BOOK:
            loss.add(tick)
            self.dropped += 1
            return True
        if tick.__class__ is BookStale:
            self.conflated += 1
            return True
        return False

    def _told(self, loss: Loss) -> Gap[Any]:
        """The `Gap` of a loss; for a book, what it is now comes next. They count as published."""
        self.published += 1
        if not loss.book:
            return loss.gap(None)
        self.published += 1
        snapshot = self.repair(loss.key)
        if snapshot is None:
            self._after = BookStale(loss.key[0], loss.key[1], None, loss.ts_to, "overflow")
            return loss.gap(None)
        self._after = snapshot
        return loss.gap("snapshot")

    def _pop_after(self) -> Any:
        tick, self._after = self._after, None
        return tick

    def _forget(self) -> None:
        super()._forget()
        self._lost.clear()
        self._after = None


class DropOldest(_Dropping):
    """Whatever was lost or reserved is older than the queue, so it is told first: one stream at a time, which bounds the memory."""

    __slots__ = ("_unclean",)
    serves: ClassVar[tuple[Policy, ...]] = ("drop_oldest",)

    def __init__(self, policy: Policy = "drop_oldest", max_items: int = 10_000, max_bytes: int = 64 << 20) -> None:
        super().__init__(policy, max_items, max_bytes)
        self._unclean = False  # ticks of books that lost one before are still in the queue

    @property
    def queued(self) -> int:
        """Ticks waiting to be read."""
        return len(self._buf) + len(self._controls) + (self._after is not None)

    def __len__(self) -> int:
        return len(self._buf) + len(self._controls) + len(self._lost) + (self._after is not None)

    def _crowded(self, tick: Any, heavy: int) -> None:
        key = key_of(tick)
        if self._swallow(self._lost.get(key), tick):
            return
        book = tick.__class__ in BOOK
        if heavy + TICK_BYTES > self.max_bytes:
            self._unclean = True
            self._lose(key, tick)  # there will never be room: the reader gets the hub's own book each time it comes
            return
        while not self._room(heavy):
            self._drop_head()
        if book and key in self._lost:
            self._lose(key, tick)  # its book broke just now
        else:
            self._append(tick, heavy)

    def _drop_head(self) -> None:
        head = self._pop_queue()
        cls = head.__class__
        if cls in CONTROL:
            if not self._swallow(self._lost.get(key_of(head)), head):
                self._reserve(head)
            return
        self._unclean = self._unclean or cls in BOOK
        self._lose(key_of(head), head)

    def _next(self) -> Any:
        if self._after is not None:
            tick = self._pop_after()
        elif self._controls:
            tick = self._pop_control()
        elif self._lost:
            if self._unclean:
                self._purge()
            tick = self._told(self._lost.pop(next(iter(self._lost))))
        else:
            tick = self._pop_queue()
        self._rough = self._after is not None or bool(self._controls or self._lost)
        return tick

    def _purge(self) -> None:
        """Take out of the queue what lies behind a loss of the same book."""
        kept: deque[Any] = deque()
        for tick in self._buf:
            book = tick.__class__ in BOOK
            if (book or tick.__class__ is BookStale) and self._swallow(self._lost.get(key_of(tick)), tick):
                self._heavy -= weight(tick) if book else 0
            else:
                kept.append(tick)
        self._buf, self._unclean = kept, False

    def _forget(self) -> None:
        super()._forget()
        self._unclean = False


class DropNewest(_Dropping):
    """A `Loss` marks its place behind what was queued then; for a book it goes on until the reader has come to it."""

    __slots__ = ("_markers",)
    serves: ClassVar[tuple[Policy, ...]] = ("drop_newest",)

    def __init__(self, policy: Policy = "drop_newest", max_items: int = 10_000, max_bytes: int = 64 << 20) -> None:
        super().__init__(policy, max_items, max_bytes)
        self._markers = 0

    @property
    def queued(self) -> int:
        """Ticks waiting to be read."""
        return len(self._buf) + len(self._controls) - self._markers + (self._after is not None)

    def __len__(self) -> int:
        return len(self._buf) + len(self._controls) + (self._after is not None)

    def _crowded(self, tick: Any, heavy: int) -> None:
        key = key_of(tick)
        loss = self._lost.get(key)
        if self._swallow(loss, tick):
            return
        self._settle()
        control = tick.__class__ in CONTROL
        if self._room(heavy):
            self._append(tick, heavy)
            if loss is not None and not control:
                del self._lost[key]  # that run is over: the next drop starts another
        elif control:
            self._reserve(tick)
        else:
            self._lose(key, tick)
            if loss is None:
                self._controls[Loss, *key] = self._lost[key]
                self._markers += 1
        self._rough = self._is_rough()

    def _next(self) -> Any:
        if self._after is not None:
            tick = self._pop_after()
        else:
            tick = self._pop_queue() if self._buf else self._pop_control()
            if tick.__class__ is Loss:
                self._markers -= 1
                if self._lost.get(tick.key) is tick:
                    del self._lost[tick.key]
                tick = self._told(tick)
        self._rough = self._is_rough()
        return tick

    def _is_rough(self) -> bool:
        return self._after is not None or bool(self._markers or self._controls)

    def _forget(self) -> None:
        super()._forget()
        self._markers = 0
