"""One subscriber's buffer: bounded in items and bytes, with a policy for when it is full. No task, loop or clock.

    drop_oldest   the oldest tick goes                       drop_newest   the new tick goes
    conflate      only the newest unread tick of a stream    disconnect    the subscriber goes, told by `SlowConsumer`
    block         nothing goes; `full` asks the publisher to wait (replay only)

The law, at every step: ``published == delivered + queued + dropped + conflated``. Every run of dropped ticks is told to this subscriber
by one `Gap` before the next tick of that stream; a book that lost a tick is repaired with a `BookSnapshot` of the hub's own book, so
that a reader is never silently wrong. `Gap`, `Status` and `BookStale` are never dropped: one per stream is kept, in reserved slots.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from streamer.errors import SlowConsumer
from streamer.types import KIND, BookDelta, BookSnapshot, BookStale, Candle, Gap, Status, Tick

Policy: TypeAlias = Literal["drop_oldest", "drop_newest", "conflate", "disconnect", "block"]
POLICIES: Final[tuple[Policy, ...]] = ("drop_oldest", "drop_newest", "conflate", "disconnect", "block")
StreamKey: TypeAlias = tuple[str, str, str, str]
"""(exchange, symbol, kind, candle interval or "")."""

TICK_BYTES = 256
"""What a tick without levels is taken to weigh."""
LEVEL_BYTES = 112
"""What a level of a book tick is taken to weigh: a tuple and two floats."""
_BOOK = frozenset((BookSnapshot, BookDelta))
_CONTROL = frozenset((Gap, Status, BookStale))


def key_of(tick: Tick[Any]) -> StreamKey:
    """The stream that a tick belongs to."""
    kind: str | None = KIND.get(tick.__class__)
    if kind is None:
        kind = tick.channel if isinstance(tick, Gap | Status) else "instrument"
    return tick.exchange, tick.symbol, kind, tick.interval if isinstance(tick, Candle) else ""


def weight(tick: Any) -> int:
    """Bytes that a tick is taken to hold."""
    return TICK_BYTES + LEVEL_BYTES * (len(tick.bids) + len(tick.asks)) if tick.__class__ in _BOOK else TICK_BYTES


class _Loss:
    """A run of ticks of one stream that were dropped."""

    __slots__ = ("book", "count", "key", "ts_from", "ts_to")

    def __init__(self, key: StreamKey, ts: int) -> None:
        self.key = key
        self.count = 0
        self.ts_from = self.ts_to = ts
        self.book = key[2] == "book"

    def add(self, tick: Tick[Any]) -> None:
        self.count += 1
        self.ts_to = tick.ts_recv

    def gap(self, recovered: str | None) -> Gap[Any]:
        exchange, symbol, kind, _ = self.key
        return Gap(exchange, symbol, None, self.ts_to, kind, "overflow", self.ts_from, self.ts_to, self.count, recovered, "count")


Repair: TypeAlias = Callable[[StreamKey], BookSnapshot[Any] | None]
"""The hub's own book of a stream as a snapshot, or None while it is stale."""


class Mailbox:
    """The buffer. `wake` is called when something was put into an empty or sleeping box; the reader resets `asleep`."""

    __slots__ = (
        "_broken", "_buf", "_front", "_heavy", "_holes", "_lost", "_markers", "asleep", "closed", "conflated", "delivered",
        "dropped", "error", "max_bytes", "max_items", "policy", "published", "repair", "wake",
    )  # fmt: skip

    def __init__(self, policy: Policy = "drop_oldest", max_items: int = 10_000, max_bytes: int = 64 << 20) -> None:
        if policy not in POLICIES:
            raise ValueError(f"policy {policy!r} is none of {', '.join(POLICIES)}")
        if max_items < 1 or max_bytes < TICK_BYTES:
            raise ValueError(f"a subscription needs room: max_items >= 1 and max_bytes >= {TICK_BYTES}")
        self.policy = policy
        self.max_items = min(max_items, max_bytes // TICK_BYTES)
        self.max_bytes = max_bytes
        self.published = self.delivered = self.dropped = self.conflated = 0
        self.closed = False
        self.error: Exception | None = None
        self.asleep = False
        self.wake: Callable[[], None] = lambda: None
        self.repair: Repair = lambda key: None
        self._buf: deque[Any] = deque()
        self._front: deque[Any] = deque()
        self._heavy = 0
        self._markers = 0
        self._lost: dict[StreamKey, _Loss] = {}
        self._broken: set[StreamKey] = set()
        self._holes: dict[StreamKey, _Loss] = {}

    @property
    def queued(self) -> int:
        """Ticks waiting to be read."""
        return len(self._buf) + len(self._front) - self._markers

    @property
    def full(self) -> bool:
        """No room for another tick."""
        return len(self._buf) >= self.max_items or self._heavy >= self.max_bytes

    def __len__(self) -> int:
        return len(self._buf) + len(self._front) + len(self._lost)

    def offer(self, tick: Tick[Any]) -> None:
        """Take a tick that is no part of a book."""
        if self.closed:
            return
        self.published += 1
        buf = self._buf
        if len(buf) >= self.max_items:
            self._overflow(tick)
        else:
            buf.append(tick)
            if self._holes:
                self._holes.pop(key_of(tick), None)  # that run is over: the next drop starts another
        if self.asleep:
            self.asleep = False
            self.wake()

    def offer_book(self, tick: BookSnapshot[Any] | BookDelta[Any], heavy: int) -> None:
        """Take a book tick of this `weight`."""
        if self.closed:
            return
        self.published += 1
        if (self._broken or self._holes) and self._refuse(tick):
            return
        if len(self._buf) >= self.max_items or self._heavy + heavy > self.max_bytes:
            self._overflow(tick)
        else:
            self._buf.append(tick)
            self._heavy += heavy
        if self.asleep:
            self.asleep = False
            self.wake()

    def pop(self) -> Any:
        """The next tick. Raises IndexError when there is none."""
        if self._lost:
            self._mend()
        if self._front:
            self.delivered += 1
            return self._front.popleft()
        tick = self._buf.popleft()
        cls = tick.__class__
        if cls in _BOOK:
            self._heavy -= weight(tick)
        elif cls is _Loss:
            return self._tell(tick)
        self.delivered += 1
        return tick

    def drain(self) -> list[Any]:
        """Everything at once: what `pop` would give until it is empty."""
        if self._lost or self._front or self._markers:
            out = []
            while len(self):
                out.append(self.pop())
            return out
        out = list(self._buf)
        self._buf.clear()
        self._heavy = 0
        self.delivered += len(out)
        return out

    def close(self, error: Exception | None = None) -> None:
        """Take nothing more and forget what is queued (counted as dropped)."""
        self.dropped += self.queued
        self._buf.clear()
        self._front.clear()
        self._lost.clear()
        self._holes.clear()
        self._heavy = self._markers = 0
        self.closed, self.error = True, error
        if self.asleep:
            self.asleep = False
            self.wake()

    def finish(self) -> None:
        """Take nothing more; what is queued can still be read."""
        self.closed = True
        if self.asleep:
            self.asleep = False
            self.wake()

    # the slow roads

    def _overflow(self, tick: Any) -> None:
        policy = self.policy
        if policy == "block":
            self._append(tick)
        elif policy == "disconnect":
            self.dropped += 1
            self.close(SlowConsumer(f"subscriber too slow: {self.max_items} ticks or {self.max_bytes} bytes were queued; read faster, "
                                    f"give it more room, or choose another policy than disconnect"))  # fmt: skip
        elif policy == "drop_newest":
            self._drop_newest(tick)
        else:
            self._drop_oldest(tick)

    def _append(self, tick: Any) -> None:
        self._buf.append(tick)
        if tick.__class__ in _BOOK:
            self._heavy += weight(tick)

    def _drop_oldest(self, tick: Any) -> None:
        need = weight(tick) if tick.__class__ in _BOOK else 0
        while self._buf and (len(self._buf) >= self.max_items or self._heavy + need > self.max_bytes):
            head = self._buf.popleft()
            if head.__class__ in _CONTROL:
                self._keep(head)
                continue
            if head.__class__ in _BOOK:
                self._heavy -= weight(head)
                self._broken.add(key_of(head))
            self._lose(self._lost, head)
        if need and key_of(tick) in self._broken:
            self._lose(self._lost, tick)
        else:
            self._append(tick)

    def _drop_newest(self, tick: Any) -> None:
        if tick.__class__ in _CONTROL:
            self._replace(tick)
            return
        key = key_of(tick)
        if key not in self._holes:
            loss = self._holes[key] = _Loss(key, tick.ts_recv)
            self._buf.append(loss)
            self._markers += 1
        self._lose(self._holes, tick)

    def _replace(self, control: Any) -> None:
        """A reserved slot at the tail; an unread one of the same kind and stream gives way (rare, so the search may be slow)."""
        key, cls = key_of(control), control.__class__
        for i, old in enumerate(self._buf):
            if old.__class__ is cls and key_of(old) == key:
                del self._buf[i]
                self.conflated += 1
                break
        self._buf.append(control)

    def _refuse(self, tick: Any) -> bool:
        """A delta behind a lost one is of no use: count it to the same loss until the reader was handed a snapshot."""
        key = key_of(tick)
        if key in self._broken:
            self._lose(self._lost, tick)
            return True
        if key in self._holes:
            self._lose(self._holes, tick)
            return True
        return False

    def _lose(self, where: dict[StreamKey, _Loss], tick: Any) -> None:
        key = key_of(tick)
        loss = where.get(key)
        if loss is None:
            loss = where[key] = _Loss(key, tick.ts_recv)
        loss.add(tick)
        self.dropped += 1

    def _keep(self, control: Any) -> None:
        """Move a control event out of the way of the drops; the newest of its kind and stream stands for all."""
        key, cls = key_of(control), control.__class__
        for i, old in enumerate(self._front):
            if old.__class__ is cls and key_of(old) == key:
                del self._front[i]
                self.conflated += 1
                break
        self._front.append(control)

    def _mend(self) -> None:
        """Tell every loss of `drop_oldest`, all of which lie before what is queued; hand broken books a snapshot."""
        lost, self._lost = self._lost, {}
        broken, self._broken = self._broken, set()
        if broken:
            kept: deque[Any] = deque()
            for tick in self._buf:
                cls = tick.__class__
                if cls is BookStale and key_of(tick) in broken:
                    self.conflated += 1
                elif cls in _BOOK and key_of(tick) in broken:
                    self._heavy -= weight(tick)
                    self.dropped += 1
                    lost[key_of(tick)].add(tick)
                else:
                    kept.append(tick)
            self._buf = kept
        for loss in lost.values():
            self._front.extend(self._told(loss))

    def _told(self, loss: _Loss) -> list[Any]:
        """The `Gap` of a loss, and for a book the snapshot that makes it good (or that it is stale). They count as published."""
        snapshot = self.repair(loss.key) if loss.book else None
        out: list[Any] = [loss.gap("snapshot" if snapshot is not None else None)]
        if snapshot is not None:
            out.append(snapshot)
        elif loss.book:
            exchange, symbol, _, _ = loss.key
            out.append(BookStale(exchange, symbol, None, loss.ts_to, "overflow"))
        self.published += len(out)
        return out

    def _tell(self, loss: _Loss) -> Any:
        """A hole of `drop_newest` came to the head of the queue."""
        self._markers -= 1
        if self._holes.get(loss.key) is loss:
            del self._holes[loss.key]
        gap, *rest = self._told(loss)
        self._front.extend(rest)
        self.delivered += 1
        return gap


class LatestMailbox(Mailbox):
    """The policy `conflate`: the newest unread tick of each stream, book deltas merged level by level (they are absolute sizes)."""

    __slots__ = ("_latest",)

    def __init__(self, policy: Policy = "conflate", max_items: int = 10_000, max_bytes: int = 64 << 20) -> None:
        super().__init__(policy, max_items, max_bytes)
        self._latest: dict[Any, Any] = {}

    @property
    def queued(self) -> int:
        """Ticks waiting to be read."""
        return len(self._latest)

    def __len__(self) -> int:
        return len(self._latest)

    def offer(self, tick: Any) -> None:
        """Take a tick; what is unread of its stream gives way."""
        if self.closed:
            return
        self.published += 1
        key: Any = key_of(tick)
        if tick.__class__ in (Gap, Status):
            key = (*key, tick.__class__)
        old = self._latest.get(key)
        if old is not None:
            self.conflated += 1
            if tick.__class__ is BookDelta:
                tick = _merge(old, tick)
        elif len(self._latest) >= self.max_items:
            self.close(SlowConsumer(f"more than {self.max_items} streams in one conflating subscription; raise max_items"))
            return
        self._latest[key] = tick
        if self.asleep:
            self.asleep = False
            self.wake()

    def offer_book(self, tick: BookSnapshot[Any] | BookDelta[Any], heavy: int) -> None:
        """Take a book tick."""
        self.offer(tick)

    def pop(self) -> Any:
        """The stream that has waited longest. Raises IndexError when there is none."""
        if not self._latest:
            raise IndexError
        key = next(iter(self._latest))
        tick = self._latest.pop(key)
        self.delivered += 1
        return tick

    def drain(self) -> list[Any]:
        """Everything at once."""
        out = list(self._latest.values())
        self._latest.clear()
        self.delivered += len(out)
        return out

    def close(self, error: Exception | None = None) -> None:
        """Take nothing more and forget what is queued (counted as dropped)."""
        self.dropped += len(self._latest)
        self._latest.clear()
        super().close(error)


def _merge(old: Any, new: BookDelta[Any]) -> Any:
    """What `old` and then `new` amount to. A delta after `BookStale` cannot be: the hub sends a snapshot first."""
    bids, asks = {**dict(old.bids), **dict(new.bids)}, {**dict(old.asks), **dict(new.asks)}
    head = new.exchange, new.symbol, new.ts_event, new.ts_recv
    if old.__class__ is BookDelta:
        return BookDelta(*head, list(bids.items()), list(asks.items()), old.first, new.last, old.prev)
    best_first = sorted(((p, s) for p, s in bids.items() if s), reverse=True), sorted((p, s) for p, s in asks.items() if s)
    return BookSnapshot(*head, *best_first, new.last)


def mailbox(policy: Policy, max_items: int, max_bytes: int) -> Mailbox:
    """The mailbox for a policy."""
    return (LatestMailbox if policy == "conflate" else Mailbox)(policy, max_items, max_bytes)
