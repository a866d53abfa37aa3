"""The policy `conflate`: of each stream only the newest unread tick is kept; the deltas of a book are merged level by level.

That is right because levels are absolute sizes: what was merged, applied, gives the book that all of it gives, applied one by one.
A book that is unread for so long that its merged levels do not fit any more is owed instead: the reader gets the hub's own book.
"""

from typing import Any, ClassVar

from streamer.errors import SlowConsumer
from streamer.mailbox import BOOK, CONTROL, LEVEL_BYTES, TICK_BYTES, Mailbox, Policy, control_key, key_of, newest_control, weight
from streamer.types import BookDelta, BookSnapshot, BookStale, Gap, Status


class Merged:
    """Unread book ticks of one stream: a first one, and what the deltas after it made of it."""

    __slots__ = ("asks", "bids", "first", "newest", "seq")

    def __init__(self, first: Any) -> None:
        self.first = self.newest = first
        self.bids = dict(first.bids)
        self.asks = dict(first.asks)
        self.seq: int | None = first.last if first.__class__ is BookDelta else first.seq

    def add(self, delta: BookDelta[Any]) -> None:
        """The next delta of that book."""
        self.newest = delta
        self.bids.update(delta.bids)
        self.asks.update(delta.asks)
        if delta.last is not None:
            self.seq = delta.last

    @property
    def heavy(self) -> int:
        """Bytes that the levels are taken to hold."""
        return LEVEL_BYTES * (len(self.bids) + len(self.asks))

    def tick(self) -> Any:
        """One tick that stands for all: a snapshot when the first was one, else a delta."""
        first, newest = self.first, self.newest
        head = newest.exchange, newest.symbol, newest.ts_event, newest.ts_recv
        if first.__class__ is BookDelta:
            return BookDelta(*head, list(self.bids.items()), list(self.asks.items()), first.first, self.seq, first.prev)
        bids = sorted(((p, s) for p, s in self.bids.items() if s), reverse=True)
        return BookSnapshot(*head, bids, sorted((p, s) for p, s in self.asks.items() if s), self.seq)


class Owed:
    """A book too heavy to be kept for the reader. `newest`: the last tick that this stands for."""

    __slots__ = ("newest",)

    def __init__(self, newest: Any) -> None:
        self.newest = newest


class Conflate(Mailbox):
    """`max_items` bounds the streams; controls have reserved slots besides."""

    __slots__ = ("_latest", "_reserved")
    serves: ClassVar[tuple[Policy, ...]] = ("conflate",)

    def __init__(self, policy: Policy = "conflate", max_items: int = 10_000, max_bytes: int = 64 << 20) -> None:
        super().__init__(policy, max_items, max_bytes)
        self._latest: dict[tuple[Any, ...], Any] = {}
        self._reserved = 0  # of them Gap and Status

    @property
    def queued(self) -> int:
        """Ticks waiting to be read."""
        return len(self._latest)

    @property
    def held_bytes(self) -> int:
        """Bytes that the queued ticks are taken to hold, those in reserved slots not counted."""
        return TICK_BYTES * (len(self._latest) - self._reserved) + self._heavy

    @property
    def full(self) -> bool:
        """Never: what is unread gives way."""
        return False

    def __len__(self) -> int:
        return len(self._latest)

    def offer(self, tick: Any) -> None:
        """Take a tick that is neither `BookSnapshot` nor `BookDelta`; what is unread of its stream gives way."""
        if self.closed:
            return
        self.published += 1
        cls = tick.__class__
        if cls is Gap or cls is Status:
            self._take_control(tick)
        else:
            self._put(key_of(tick), tick, 0)
        self._rouse()

    def offer_book(self, tick: BookSnapshot[Any] | BookDelta[Any], heavy: int) -> None:
        """Take a book tick of this `weight`; what is unread of that book is merged with it."""
        if self.closed:
            return
        self.published += 1
        key = key_of(tick)
        old = self._latest.get(key)
        if old is None or tick.__class__ is BookSnapshot:
            self._put(key, tick, heavy)
        else:
            self._merge(key, old, tick)
        self._rouse()

    def pop(self) -> Any:
        """The stream that has waited longest. Raises IndexError when there is none."""
        if not self._latest:
            raise IndexError("nothing to read")
        key = next(iter(self._latest))
        held = self._latest.pop(key)
        self.delivered += 1
        cls = held.__class__
        if cls is Merged:
            self._heavy -= held.heavy
            return held.tick()
        if cls is Owed:
            stale: BookStale[Any] = BookStale(held.newest.exchange, held.newest.symbol, None, held.newest.ts_recv, "overflow")
            return self.repair(key[:4]) or stale
        if cls in BOOK:
            self._heavy -= weight(held)
        elif cls in CONTROL and cls is not BookStale:
            self._reserved -= 1
        return held

    def drain(self, most: int | None = None) -> list[Any]:
        """Everything at once, or the first `most`: what `pop` would give."""
        n = len(self._latest)
        return [self.pop() for _ in range(n if most is None else min(n, most))]

    def _forget(self) -> None:
        super()._forget()
        self._latest.clear()
        self._reserved = 0

    def _take_control(self, tick: Any) -> None:
        """A control event stands behind what came before it of its stream."""
        key = control_key(tick)
        old = self._latest.pop(key, None)
        if old is None:
            self._reserved += 1
        else:
            self.conflated += 1
            tick = newest_control(old, tick)
        self._latest[key] = tick

    def _put(self, key: tuple[Any, ...], tick: Any, heavy: int) -> None:
        """Take this tick in place of what is unread of its stream."""
        latest = self._latest
        old = latest.get(key)
        if old is not None:
            self.conflated += 1
            self._heavy -= self._heavy_of(old)
            self._behind(key)
        elif len(latest) - self._reserved >= self.max_items:
            self.dropped += 1
            self.close(SlowConsumer(f"more than {self.max_items} streams in one conflating subscription; give it more room"))
            return
        latest[key] = tick
        self._weigh(key, heavy)

    def _merge(self, key: tuple[Any, ...], old: Any, delta: Any) -> None:
        """Take a delta that follows what is unread of its book. One that follows `BookStale` is of no use to anybody."""
        self.conflated += 1
        if old.__class__ is Owed:
            old.newest = delta
        elif old.__class__ is not BookStale:
            self._heavy -= self._heavy_of(old)
            merged = old if old.__class__ is Merged else Merged(old)
            merged.add(delta)
            self._behind(key)
            self._latest[key] = merged
            self._weigh(key, merged.heavy)

    def _behind(self, key: tuple[Any, ...]) -> None:
        """If a control event came since, what comes now belongs behind it."""
        if self._reserved and ((Gap, *key[:3]) in self._latest or (Status, *key[:3]) in self._latest):
            del self._latest[key]

    def _weigh(self, key: tuple[Any, ...], heavy: int) -> None:
        """Count what was put under `key`; a book for which there is no room is owed: this one, or those that wait."""
        if not (heavy or self._heavy):
            return
        room = self.max_bytes - self._heavy - TICK_BYTES * (len(self._latest) - self._reserved)
        if heavy <= room:
            self._heavy += heavy
            return
        if heavy:
            self._owe(key, self._latest[key])
        if room < 0:
            for other, held in [(k, h) for k, h in self._latest.items() if self._heavy_of(h)]:
                self._heavy -= self._heavy_of(held)
                self._owe(other, held)
                if self.held_bytes <= self.max_bytes:
                    return

    def _owe(self, key: tuple[Any, ...], held: Any) -> None:
        self._latest[key] = Owed(held.newest if held.__class__ is Merged else held)

    @staticmethod
    def _heavy_of(held: Any) -> int:
        cls = held.__class__
        return held.heavy if cls is Merged else weight(held) if cls in BOOK else 0
