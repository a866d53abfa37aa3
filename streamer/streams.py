"""The hub's record of one stream (exchange, symbol, kind), and its `Source`s: one for each connection that carries it.

Usually one source leads and the stream publishes what it brings. While a connection is replaced two carry the same stream: trades are
then taken from both and told apart by id, all else comes from the leader until the other takes over.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct

from streamer.ledger import Ledger
from streamer.mailbox import Mailbox, StreamKey
from streamer.pages import lay, mark
from streamer.spec import History, Page
from streamer.types import Gap, Instrument, Status, Tick, Trade
from streamer.views import Scale, scale_tick

RECENT_IDS: Final = 2_000
"""Trade ids remembered to tell repeated trades after a reconnect."""
OVERLAP_NS: Final = 60_000_000_000
CAUSES: Final = {"gap": "sequence"} | {same: same for same in ("checksum", "crossed", "stall", "bad_frame", "shutdown")}
"""What a `Gap` names as its cause, by the reason for which a stream was lost; all others are disconnects."""


class Need(Struct, frozen=True):
    """The hub's only wish: a new snapshot of this book, asked for on the connection that reported it."""

    symbol: str
    reason: str


S = TypeVar("S", bound="Stream")


class Stream:
    """A stream without a book. `live`: subscribed at the venue, or seen. `boxes`: who gets its ticks."""

    __slots__ = ("boxes", "instrument", "interval", "key", "kind", "leader", "ledger", "live", "on_state", "published", "reason", "scale",
                 "sources", "state", "ts_last", "ts_state")  # fmt: skip

    def __init__(self, instrument: Instrument, kind: str, interval: str, scale: Scale | None, ledger: Ledger) -> None:
        self.instrument = instrument
        self.kind = kind
        self.interval = interval
        self.key: StreamKey = (instrument.exchange, instrument.symbol, kind, interval)
        self.scale = scale
        self.ledger = ledger
        self.boxes: tuple[Mailbox, ...] = ()
        self.sources: dict[Any, Source[Any]] = {}
        self.leader: Source[Any] | None = None
        self.live = False
        self.state = "connecting"
        self.reason: str | None = None
        self.ts_state = 0
        self.ts_last: int | None = None
        self.published = 0
        self.on_state: Callable[[], None] = lambda: None

    def attach(self, box: Mailbox, depth: int | None = None) -> None:
        """Send this stream to a mailbox too; if the stream is not well, that is told at once."""
        if box not in self.boxes:
            self.boxes = (*self.boxes, box)
            self._greet(box)

    def detach(self, box: Mailbox) -> None:
        """Send no more."""
        self.boxes = tuple(b for b in self.boxes if b is not box)

    def relist(self, instrument: Instrument, scale: Scale | None) -> None:
        """The instrument is another now."""
        self.instrument, self.scale = instrument, scale

    @property
    def wanted(self) -> bool:
        """Does anybody listen?"""
        return bool(self.boxes)

    def publish(self, tick: Tick[Any]) -> None:
        """Give a tick to every subscriber, once scaled for all."""
        self.published += 1
        if self.scale is not None and self.boxes:
            tick = scale_tick(tick, self.scale)
        for box in self.boxes:
            box.offer(tick)

    def source(self, carrier: Any) -> "Source[Any]":
        """A source of this stream on another connection."""
        made = self.sources[carrier] = Source(self)
        if self.leader is None:
            self.leader = made
        return made

    def forget(self, carrier: Any) -> None:
        """That connection carries this stream no more; another source takes the lead if there is one."""
        gone = self.sources.pop(carrier, None)
        if gone is not None and gone is self.leader:
            self.leader = next((s for s in self.sources.values() if s.live), next(iter(self.sources.values()), None))

    def gone(self, carrier: Any, reason: str, ts: int, state: str = "stale") -> None:
        """`forget` it, and tell what that means: nothing, if another connection carries the stream live."""
        self.forget(carrier)
        if not any(source.live for source in self.sources.values()):
            self.lost(reason, ts, state)

    def status(self, state: str, reason: str | None, ts: int) -> None:
        """Tell a change of health, once a change."""
        if state == self.state and state != "rejected":
            return
        self._note(state, reason, ts)
        exchange, symbol, kind, _ = self.key
        self._tell(Status(exchange, symbol, None, ts, kind, state, reason))
        self.on_state()

    def alive(self, ts: int) -> None:
        """Subscribed, or data came: whole from here on."""
        if not self.live:
            self.live = True
            exchange, symbol, kind, _ = self.key
            self.ledger.whole(exchange, symbol, kind, ts, None)
            self.status("live", None, ts)

    def lost(self, reason: str, ts: int, state: str = "stale") -> None:
        """The connection is gone: tell the hole, which stays open until data comes again, and the `state` that this leaves."""
        if self.live:
            self.live = False
            exchange, symbol, kind, _ = self.key
            cause = CAUSES.get(reason, "disconnect")
            gap: Gap[Any] = Gap(exchange, symbol, None, ts, kind, cause, self.ts_last or ts, None, None, None, "none")
            self.ledger.gap(gap)
            self._tell(gap)
        self.status(state, reason, ts)

    def paused(self, reason: str, ts: int, state: str = "stale") -> None:
        """Nothing comes for now, and if that costs anything the next page will show it: no hole is told yet."""
        self.live = False
        self.status(state, reason, ts)

    def _tell(self, tick: Tick[Any]) -> None:
        for box in self.boxes:
            box.offer(tick)

    def _note(self, state: str, reason: str | None, ts: int) -> None:
        self.state, self.reason, self.ts_state = state, reason, ts

    def _greet(self, box: Mailbox) -> None:
        """Tell a new subscriber what ails the stream."""
        if self.state not in ("connecting", "live"):
            exchange, symbol, kind, _ = self.key
            box.offer(Status(exchange, symbol, None, self.ts_state, kind, self.state, self.reason))


class Source(Generic[S]):
    """One connection's end of a stream. `count`: ticks it brought, for the watch on liveness. `subscribed`: the venue said so, or sent
    data, and it has not fallen silent since."""

    __slots__ = ("count", "stream", "subscribed")

    def __init__(self, stream: S) -> None:
        self.stream = stream
        self.count = 0
        self.subscribed = False

    @property
    def live(self) -> bool:
        """Can this connection be relied on for the stream?"""
        return self.subscribed

    def leads(self) -> bool:
        """Is this the source that is published? It takes the lead from one that is not live any more."""
        stream = self.stream
        if stream.leader is not self and (stream.leader is None or not stream.leader.live):
            stream.leader = self
        return stream.leader is self

    def tick(self, tick: Tick[Any]) -> Need | None:
        """Take a tick of this stream."""
        self.count += 1
        self.subscribed = True
        stream = self.stream
        if stream.leader is self or self.leads():
            stream.ts_last = tick.ts_recv
            if not stream.live:
                stream.alive(tick.ts_recv)
            stream.publish(tick)
        return None


class TradeStream(Stream):
    """Trades, with the ids that tell repeated ones."""

    __slots__ = ("duplicates", "last_event", "recent", "rejected", "seen", "seen_until")

    def __init__(self, instrument: Instrument, kind: str, interval: str, scale: Scale | None, ledger: Ledger) -> None:
        super().__init__(instrument, kind, interval, scale, ledger)
        self.recent: deque[str] = deque(maxlen=RECENT_IDS)
        self.seen: set[str] | None = None
        self.seen_until: int | None = None
        self.last_event = 0
        self.duplicates = self.rejected = 0

    def source(self, carrier: Any) -> "TradeSource":
        """A source on another connection; from the second on, repeated ids are dropped."""
        made = self.sources[carrier] = TradeSource(self)
        if self.leader is None:
            self.leader = made
        if self.recent or len(self.sources) > 1:
            self.seen, self.seen_until = set(self.recent), None
        return made

    def novel(self, tick: Trade[Any]) -> bool:
        """Is this the first time that this trade comes? Only asked while two connections overlap, and a minute longer."""
        if self.seen_until is None:
            self.seen_until = tick.ts_recv + OVERLAP_NS
        elif tick.ts_recv > self.seen_until and len(self.sources) == 1:
            self.seen = None
            return True
        if tick.id is None or self.seen is None:
            return True
        if tick.id in self.seen:
            self.duplicates += 1
            return False
        if len(self.seen) > 2 * RECENT_IDS:
            self.seen = set(self.recent)  # the overlap is a long one
        self.seen.add(tick.id)
        return True


class TradeSource(Source["TradeStream"]):
    """Trades of one connection. `since`: the venue's time of the last trade before it came. `shown`: the last page."""

    __slots__ = ("shown", "since")

    def __init__(self, stream: TradeStream) -> None:
        super().__init__(stream)
        self.since = stream.last_event
        self.shown: Sequence[Trade[Any]] | None = None

    def tick(self, tick: Any) -> Need | None:
        """Take a trade."""
        self.count += 1
        self.subscribed = True
        stream = self.stream
        if not tick.size > 0:
            stream.rejected += 1
            return None
        if tick.id is None:
            if not self.leads():
                return None
        else:
            if stream.seen is not None and not stream.novel(tick):
                return None
            stream.recent.append(tick.id)
        stream.ts_last = tick.ts_recv
        if tick.ts_event is not None:
            stream.last_event = tick.ts_event
        if not stream.live:
            stream.alive(tick.ts_recv)
        stream.publish(tick)
        return None

    def gap(self, hole: Gap[Any]) -> Need | None:
        """The venue's own numbers show that trades are missing before the next one."""
        if self.leads():
            self.stream.ledger.gap(hole)
            self.stream._tell(hole)
        return None

    def history(self, past: History[Any]) -> Need | None:
        """Old trades: dropped, but for those that came while we were away."""
        stream = self.stream
        if stream.recent and stream.seen is not None:
            newer = [t for t in past.trades if t.id is not None and t.ts_event is not None and t.ts_event >= self.since]
            for trade in sorted(newer, key=lambda t: t.ts_event or 0):
                self.tick(trade)
        return None

    def page(self, page: Page[Any]) -> Need | None:
        """The venue's latest trades, oldest first: those that the pages before did not show. The first page is history."""
        before, now = self.shown, page.trades
        self.subscribed = True
        if before is None:
            self.shown = now
            return None
        laid = lay([mark(t) for t in before], [mark(t) for t in now])
        if laid.late or (not laid.meet and _older(now[-1], before[-1])):
            return None
        if not laid.meet and not page.complete:
            ts = now[0].ts_recv
            self.gap(Gap(self.stream.key[0], self.stream.key[1], None, ts, "trade", "poll", before[-1].ts_recv, ts, None, None, "none"))
        self.shown = now
        for i in laid.new:
            self.tick(now[i])
        return None


def _older(one: Trade[Any], other: Trade[Any]) -> bool:
    return one.ts_event is not None and other.ts_event is not None and one.ts_event < other.ts_event
