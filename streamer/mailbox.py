"""One subscriber's buffer, bounded in items and bytes. No task, loop or clock. What happens when it is full is its policy:

    block         nothing goes; `full` asks the publisher to wait (replay only)           here
    disconnect    the subscriber goes, told by `SlowConsumer`                             here
    drop_oldest   the oldest tick goes                                                    `streamer.dropping`
    drop_newest   the new tick goes                                                       `streamer.dropping`
    conflate      only the newest unread tick of a stream is kept                         `streamer.conflate`

The law, at every step: ``published == delivered + queued + dropped + conflated``. `Gap`, `Status` and `BookStale` are never dropped:
when it is crowded they wait in reserved slots, one of a type for each stream.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal, TypeAlias

from msgspec.structs import replace

from streamer.errors import SlowConsumer, UsageError
from streamer.types import KIND, BookDelta, BookSnapshot, BookStale, Candle, Gap, Status, Tick

Policy: TypeAlias = Literal["drop_oldest", "drop_newest", "conflate", "disconnect", "block"]
POLICIES: Final[tuple[Policy, ...]] = ("drop_oldest", "drop_newest", "conflate", "disconnect", "block")
StreamKey: TypeAlias = tuple[str, str, str, str]
"""(exchange, symbol, kind, candle interval or "")."""
ControlKey: TypeAlias = tuple[Any, ...]
"""(type, exchange, symbol, channel), and what more tells reserved slots apart."""
Repair: TypeAlias = Callable[[StreamKey], BookSnapshot[Any] | None]
"""The hub's own book of a stream as a snapshot, or None while it is stale."""

TICK_BYTES: Final = 256
"""What a tick is taken to weigh without its levels."""
LEVEL_BYTES: Final = 112
"""What a level of a book tick is taken to weigh: a tuple and two floats."""
BOOK: Final = frozenset((BookSnapshot, BookDelta))
CONTROL: Final = frozenset((Gap, Status, BookStale))


def key_of(tick: Tick[Any]) -> StreamKey:
    """The stream that a tick belongs to."""
    kind: str | None = KIND.get(tick.__class__)
    if kind is None:
        kind = tick.channel if isinstance(tick, (Gap, Status)) else "instrument"
    return tick.exchange, tick.symbol, kind, tick.interval if tick.__class__ is Candle else ""


def weight(tick: Any) -> int:
    """Bytes that the levels of a book tick are taken to hold, `TICK_BYTES` not counted."""
    return LEVEL_BYTES * (len(tick.bids) + len(tick.asks))


def control_key(tick: Any) -> ControlKey:
    """What a control event shares its reserved slot with."""
    return tick.__class__, tick.exchange, tick.symbol, "book" if tick.__class__ is BookStale else tick.channel


def newest_control(old: Any, new: Any) -> Any:
    """One for two controls of a slot: the newer, but a `Gap` still reaches back to where the older began."""
    if new.__class__ is not Gap:
        return new
    count = old.count + new.count if old.count is not None and new.count is not None else None
    return replace(new, ts_from=old.ts_from, count=count)


def _nobody() -> None:
    """Nobody is to be woken."""


class Mailbox:
    """The buffer, with the policies `block` and `disconnect`. `wake` is called when something was put into it while `asleep`."""

    __slots__ = (
        "_buf", "_controls", "_easy", "_heavy", "_rough", "asleep", "closed", "conflated", "delivered", "dropped", "error", "max_bytes",
        "max_items", "policy", "published", "repair", "wake",
    )  # fmt: skip
    serves: ClassVar[tuple[Policy, ...]] = ("block", "disconnect")

    def __init__(self, policy: Policy, max_items: int = 10_000, max_bytes: int = 64 << 20) -> None:
        if policy not in self.serves:
            raise UsageError(f"policy {policy!r} is none of {', '.join(self.serves)}")
        self.policy = policy
        self.limit(max_items, max_bytes)
        self.published = self.delivered = self.dropped = self.conflated = 0
        self.closed = False
        self.error: Exception | None = None
        self.asleep = False
        self.wake: Callable[[], None] = _nobody
        self.repair: Repair = lambda key: None
        self._buf: deque[Any] = deque()
        self._heavy = 0  # bytes of the levels in _buf
        self._controls: dict[ControlKey, Any] = {}  # in reserved slots: behind _buf here
        self._rough = False  # something lies outside _buf, so the slow road must be taken

    def limit(self, max_items: int, max_bytes: int) -> None:
        """Have this much room from now on. What is queued beyond it goes, by the policy, when the next tick comes."""
        if max_items < 1 or max_bytes < TICK_BYTES:
            raise UsageError(f"a subscription needs room: max_items >= 1 and max_bytes >= {TICK_BYTES}")
        self.max_items = min(max_items, max_bytes // TICK_BYTES)
        self.max_bytes = max_bytes
        self._easy = max_bytes - TICK_BYTES * self.max_items  # levels of so much have room whatever else is queued

    @property
    def queued(self) -> int:
        """Ticks waiting to be read."""
        return len(self._buf) + len(self._controls)

    @property
    def held_bytes(self) -> int:
        """Bytes that the queued ticks are taken to hold, those in reserved slots not counted."""
        return TICK_BYTES * len(self._buf) + self._heavy

    @property
    def full(self) -> bool:
        """No room for another tick."""
        return not self._room(0)

    def __len__(self) -> int:
        """0 when there is nothing to read."""
        return len(self._buf) + len(self._controls)

    def offer(self, tick: Tick[Any]) -> None:
        """Take a tick that is neither `BookSnapshot` nor `BookDelta`."""
        if self.closed:
            return
        self.published += 1
        buf = self._buf
        if self._rough or len(buf) >= self.max_items or (self._heavy > self._easy and not self._room(0)):
            self._crowded(tick, 0)
        else:
            buf.append(tick)
        if self.asleep:
            self.asleep = False
            self.wake()

    def offer_book(self, tick: BookSnapshot[Any] | BookDelta[Any], heavy: int) -> None:
        """Take a book tick of this `weight`."""
        if self.closed:
            return
        self.published += 1
        buf = self._buf
        all_heavy = self._heavy + heavy
        if self._rough or len(buf) >= self.max_items or (all_heavy > self._easy and not self._room(heavy)):
            self._crowded(tick, heavy)
        else:
            buf.append(tick)
            self._heavy = all_heavy
        if self.asleep:
            self.asleep = False
            self.wake()

    def pop(self) -> Any:
        """The next tick. Raises IndexError when there is none."""
        if self._rough:
            tick = self._next()
        else:
            tick = self._buf.popleft()
            cls = tick.__class__
            if cls is BookDelta or cls is BookSnapshot:
                self._heavy -= LEVEL_BYTES * (len(tick.bids) + len(tick.asks))  # its `weight`
        self.delivered += 1
        return tick

    def drain(self, most: int | None = None) -> list[Any]:
        """Everything at once, or the first `most`: what `pop` would give."""
        buf = self._buf
        if self._rough or (most is not None and len(buf) > most):
            out: list[Any] = []
            while len(self) and len(out) != most:
                out.append(self.pop())
            return out
        out = list(buf)
        buf.clear()
        self._heavy = 0
        self.delivered += len(out)
        return out

    def close(self, error: Exception | None = None) -> None:
        """Take nothing more and forget what is queued (counted as dropped)."""
        self.dropped += self.queued
        self._forget()
        self.error = error
        self.finish()

    def finish(self) -> None:
        """Take nothing more; what is queued can still be read."""
        self.closed = True
        self._rouse()
        self.wake = _nobody  # whoever it woke holds this mailbox

    # the slow roads, which the other policies replace

    def _crowded(self, tick: Any, heavy: int) -> None:
        """Take a tick when there is no room, or when something lies outside the queue."""
        if self.policy == "block":
            self._append(tick, heavy)
            return
        self._settle()
        if self._room(heavy):
            self._append(tick, heavy)
        elif tick.__class__ in CONTROL:
            self._reserve(tick)
        else:
            self.dropped += 1
            self.close(SlowConsumer(f"subscriber too slow: {self.max_items} ticks or {self.max_bytes} bytes were queued; read faster, "
                                    f"give it more room, or choose another policy than disconnect"))  # fmt: skip

    def _next(self) -> Any:
        """The next tick when something lies outside the queue."""
        if self._buf:
            return self._pop_queue()
        tick = self._pop_control()
        self._rough = bool(self._controls)
        return tick

    def _rouse(self) -> None:
        """(Written out where every tick passes.)"""
        if self.asleep:
            self.asleep = False
            self.wake()

    def _forget(self) -> None:
        self._buf.clear()
        self._controls.clear()
        self._heavy = 0
        self._rough = False

    # what they share

    def _room(self, heavy: int) -> bool:
        n = len(self._buf)
        return n < self.max_items and self._heavy + heavy + TICK_BYTES * (n + 1) <= self.max_bytes

    def _append(self, tick: Any, heavy: int) -> None:
        self._buf.append(tick)
        self._heavy += heavy

    def _pop_queue(self) -> Any:
        tick = self._buf.popleft()
        if tick.__class__ in BOOK:
            self._heavy -= weight(tick)
        return tick

    def _pop_control(self) -> Any:
        return self._controls.pop(next(iter(self._controls)))

    def _reserve(self, control: Any) -> None:
        """Put a control event in its reserved slot, the last of all; the one that waits there gives way."""
        key = control_key(control)
        old = self._controls.pop(key, None)
        if old is not None:
            self.conflated += 1
            control = newest_control(old, control)
        self._controls[key] = control
        self._rough = True

    def _settle(self) -> None:
        """There is room again: controls that waited behind the queue join it, in the order they came."""
        controls = self._controls
        while controls and self._room(0):
            self._buf.append(self._pop_control())
        self._rough = bool(controls)
