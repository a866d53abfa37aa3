"""The state machine that keeps one book true. Its law: a book that is not known to be right is never served as right.

    waiting --snapshot--> live --gap | checksum | crossed | disconnect | bad level--> waiting

No I/O and no clock: times come with the ticks. There is one `Sync` per (connection, symbol). While waiting, a book whose snapshot
comes by REST (or on request) holds deltas, bounded; one whose snapshot comes in the stream drops them. A snapshot older than the
first held delta is refused, what is held is kept, and another is asked for. A snapshot is asked for once: `asked` stays set until
the book is live (no resubscription storms).

A snapshot of the best n levels (`reach`) leaves the rest unknown, so the book ends where it ended. When a side runs `thin` another is asked
for, and the book stays live meanwhile: the deltas since the asking are applied, and held for the new one as well.

A venue that `repeats` its snapshots sends them unasked, again and again, and late: every one replaces the book, and the deltas after it,
which were kept, are applied to it once more.
"""

from collections.abc import Callable, Sequence
from itertools import chain, dropwhile
from typing import Any, Final, Generic, Literal, TypeAlias

from msgspec.structs import replace

from streamer.book import BadLevel, Book, negative
from streamer.rules import APPLY, DROP, Rule, unnumbered
from streamer.types import BookDelta, BookSnapshot, Instrument, N

MAX_HELD = 10_000
"""Deltas held while a snapshot is on its way (RELIABILITY D13)."""
MAX_HELD_LEVELS = 100_000
"""Levels in them: some 20 MB."""
CROSSED_GRACE_NS = 1_000_000_000
NO_CUT: Final[tuple[Sequence[Any], Sequence[Any]]] = ((), ())
NO_EDGE: Final[Any] = float("-inf")
"""The key of a side that is known to its end: no price lies beyond it, neither a float nor a Decimal."""
Checksum: TypeAlias = Callable[..., int]
"""``checksum(book, instrument)``: what the venue's number for the book must be."""
Taken: TypeAlias = Literal["applied", "dropped", "held", "stale"]
"""What became of a delta. `applied`: publish it. `stale`: the book just fell, see `stale_reason`."""


class Sync(Generic[N]):
    """Keeps `book` of `instrument`. `live` tells whether it is known to be right; `stale_reason` why not."""

    __slots__ = (
        "_bounded", "_crossed_since", "_edge_keys", "_few", "_floor", "_fresh", "_held_levels", "_least", "_left", "applied",
        "asked", "book", "checksum", "cut", "depth", "dropped", "grace", "held", "hold", "instrument", "live", "noted", "reach", "refused",
        "repeats", "rule", "stale_reason", "summed", "thin", "ts_recv",
    )  # fmt: skip

    def __init__(
        self,
        instrument: Instrument,
        rule: Rule = unnumbered,
        *,
        hold: bool = False,
        checksum: Checksum | None = None,
        depth: int | None = None,
        reach: int | None = None,
        repeats: bool = False,
        grace: int = CROSSED_GRACE_NS,
    ) -> None:
        self.instrument = instrument
        self.rule = rule
        self.hold = hold
        self.checksum = checksum
        self.depth = depth
        self.reach = reach
        self.repeats = repeats
        self._bounded = depth is not None or reach is not None or repeats  # what most books are not, and need not pay for
        self.cut: tuple[Sequence[N], Sequence[N]] = NO_CUT  # (bid, ask) prices that the last delta pushed out, or brought from outside
        self._edge_keys: tuple[Any, Any] = (NO_EDGE, NO_EDGE)  # `edges`, as the book's sides have them
        self._left = MAX_HELD  # levels of the side of which least is known
        self._few = reach // 2 if reach is not None and not repeats else 0
        self._least = reach // 10 if reach is not None else 0
        self.thin = False  # is so little left of what the snapshot reached that another is due?
        self.noted = depth is not None or repeats  # was anything cut by the last delta, or is it thin? Always looked at where books are cut
        self.grace = grace
        self.book: Book[N] = Book()
        self.held: list[BookDelta[N]] = []
        self.live = False
        self.asked = False
        self.stale_reason: str | None = "waiting"
        self.ts_recv = 0
        self.applied = self.dropped = self.refused = self.summed = 0
        self._fresh = True
        self._crossed_since: int | None = None
        self._floor: int | None = None  # the book was known to be this far; a snapshot from before it is old news
        self._held_levels = 0

    @property
    def edges(self) -> tuple[N | None, N | None]:
        """The worst (bid, ask) price that is known; None: the whole side is."""
        bid, ask = self._edge_keys
        return None if bid is NO_EDGE else bid, None if ask is NO_EDGE else negative(ask)

    @property
    def renewing(self) -> bool:
        """Is it live, and another snapshot was asked for?"""
        return self.live and self.asked and self.reach is not None

    def delta(self, tick: BookDelta[N], checksum: int | None = None) -> Taken:
        """Take a delta and say what became of it.

        With `checksum`, the venue's own number for the book after this delta, the book is verified before the answer.
        """
        if not self.live:
            return self._keep(tick)
        book = self.book
        verdict = self.rule(book.seq, tick, self._fresh)
        if verdict is not APPLY:
            if verdict is DROP:
                self.dropped += 1
                return "dropped"
            self._fall("gap", tick)
            return "stale"
        bids, asks = book.bids, book.asks
        try:
            if tick.bids:
                bids.update(tick.bids)
            if tick.asks:
                asks.update(tick.asks)
        except BadLevel:
            self._fall("bad_level", tick)
            return "stale"
        last = tick.last
        if last is not None:
            book.seq = last
        self._fresh = False
        self.applied += 1
        self.ts_recv = tick.ts_recv
        bid_keys: list[Any] = bids.keys
        ask_keys: list[Any] = asks.keys
        if self._bounded:
            few, (low, high) = self._few, self._edge_keys  # (0 levels are few, too: behind those tests there is a first key)
            if self.noted or len(bid_keys) <= few or len(ask_keys) <= few or bid_keys[0] < low or ask_keys[0] < high:
                self._cut_off()
        if not (bid_keys and ask_keys and bid_keys[-1] + ask_keys[-1] > 0):  # `crossed`
            self._crossed_since = None
        elif self._crossed_too_long(tick.ts_recv):
            self._fall("crossed", tick)
            return "stale"
        if checksum is not None and not self._sums_to(checksum):
            self._fall("checksum", tick)
            return "stale"
        if self._bounded:
            if self.noted and self._left < self._least:
                self._fall("thin", tick)
                return "stale"
            if self.hold and (self.asked or self.repeats):  # `renewing`
                self._keep(tick)
        return "applied"

    def _cut_off(self) -> None:
        """Forget what lies beyond the depth that is kept, or beyond what is known."""
        if self.depth is not None:
            self.cut = self.book.truncate(self.depth)
        elif self.reach is not None:
            low, high = self._edge_keys
            bids: list[Any] = self.book.bids.keys
            asks: list[Any] = self.book.asks.keys
            self.cut = NO_CUT
            if (bids and bids[0] < low) or (asks and asks[0] < high):
                bid, ask = self.edges
                self.cut = self.book.bids.bound(bid), self.book.asks.bound(ask)
            if self.repeats:
                self._narrow(self.reach)
            self._count_left()
            self.noted = self.repeats or self.thin or self.cut is not NO_CUT

    def snapshot(self, tick: BookSnapshot[N], checksum: int | None = None) -> Sequence[BookSnapshot[N] | BookDelta[N]]:
        """Take a snapshot. The answer is what to publish: nothing when it was refused (if the book still waits, `asked` is then False: ask
        again), or the snapshot and the held deltas that follow it. Those that follow may bring the book down again: look at `live`."""
        late = self.live and self.hold and tick.seq is not None and self.book.seq is not None and tick.seq < self.book.seq
        if late and not (self.repeats or (self.renewing and self.held)):
            self.refused += 1  # an answer that came late: the book is ahead of it
            return ()
        held = list(dropwhile(lambda d: self._contained(tick.seq, d), self.held))
        old = self._floor is not None and tick.seq is not None and tick.seq < self._floor
        if old or (held and self.rule(tick.seq, held[0], True) is not APPLY):
            self.refused += 1
            self.asked = self.renewing
            return ()
        self.asked = False
        if self.live and self.hold and not self.repeats:
            self._floor = self.book.seq
        reason = self._become(tick, checksum)
        if reason is not None:  # it was this snapshot that was bad: what is held is kept
            self.live, self.stale_reason, self._crossed_since = False, reason, None
            return ()
        self.held, self._held_levels, self._floor = [], 0, tick.seq if self.repeats else None
        out: list[BookSnapshot[N] | BookDelta[N]] = [tick]
        for i, delta in enumerate(held):
            answer = self.delta(delta)
            if answer == "applied":
                out.append(delta)
            elif answer == "stale":
                for later in held[i + 1 :]:
                    self._keep(later)
                break
        return [self._outcome(tick, held)] if self.repeats else out

    def _outcome(self, tick: BookSnapshot[N], held: Sequence[BookDelta[N]]) -> BookSnapshot[N]:
        """What a repeated snapshot comes to, in one: the deltas after it were told already, when the book was live."""
        self.ts_recv = tick.ts_recv
        event = held[-1].ts_event if held else tick.ts_event
        return replace(tick, bids=self.book.bids.top(), asks=self.book.asks.top(), seq=self.book.seq, ts_event=event)

    def _become(self, tick: BookSnapshot[N], checksum: int | None) -> str | None:
        """Take over a snapshot. Why it cannot be trusted, or None: the book is live."""
        book = self.book
        try:
            book.replace(tick)
        except BadLevel:
            return "bad_level"
        if self.depth is not None:
            book.truncate(self.depth)
        if self.reach is not None:
            whole = len(tick.bids) < self.reach, len(tick.asks) < self.reach
            self._reaches(None if whole[0] else book.bids.worst, None if whole[1] else book.asks.worst)
            if self.repeats:
                self._narrow(self.reach)
            self._count_left()
        if self._crossed_too_long(tick.ts_recv):
            return "crossed"
        if checksum is not None and not self._sums_to(checksum):
            return "checksum"
        self.live = self._fresh = True
        self.stale_reason, self.ts_recv = None, tick.ts_recv
        return None

    def verify(self, checksum: int) -> bool:
        """Is this the checksum of the live book? If not, the book is stale from here on. Unknown ways of summing pass."""
        if not self.live or self._sums_to(checksum):
            return True
        self._fall("checksum")
        return False

    def relist(self, instrument: Instrument) -> None:
        """The instrument's facts are others now; its steps are part of what is summed."""
        self.instrument = instrument

    def fall(self, reason: str) -> bool:
        """Stop trusting the book (disconnect, bad frame, resync asked for by hand). True if it was live until now.

        What was held belongs to the line or the sequence that broke, so it goes too; how far it went is remembered.
        """
        was = self.live
        heard = self.held[-1].last if self.held else self.book.seq if was else None
        self._fall(reason)
        self.held, self._held_levels = [], 0
        if self.hold and heard is not None:
            self._floor = heard if self._floor is None else max(heard, self._floor)
        return was

    def _fall(self, reason: str, tick: BookDelta[N] | None = None) -> None:
        """Wait from here on. The delta that brought the book down is held: a snapshot from before it must not pass as the newest."""
        if self.repeats and self.live:
            self._floor = self.book.seq
        if self.live and not self.renewing:  # else another snapshot is on its way already
            self.asked = False
        self.live = False
        self.stale_reason = reason
        self._crossed_since = None
        self.held, self._held_levels = [], 0
        if self.hold and tick is not None:
            self._keep(tick)

    def _narrow(self, reach: int) -> None:
        """The venue tells only of the best `reach` levels as they are now: what is pushed out of them is known no more."""
        book, before = self.book, self.cut
        cut = book.truncate(reach)
        if cut[0] or cut[1]:
            self.cut = list(chain(before[0], cut[0])), list(chain(before[1], cut[1]))
            bid, ask = self.edges
            self._reaches(book.bids.worst if cut[0] else bid, book.asks.worst if cut[1] else ask)

    def _reaches(self, bid: N | None, ask: N | None) -> None:
        """The book is known as far as these prices; to its end where there is none."""
        self._edge_keys = NO_EDGE if bid is None else bid, NO_EDGE if ask is None else negative(ask)

    def _count_left(self) -> None:
        low, high = self._edge_keys
        left = MAX_HELD if low is NO_EDGE else len(self.book.bids.keys)
        if high is not NO_EDGE and len(self.book.asks.keys) < left:
            left = len(self.book.asks.keys)
        self._left = left
        self.thin = left < self._few

    def _sums_to(self, checksum: int) -> bool:
        if self.checksum is None:
            return True
        self.summed += 1
        return self.checksum(self.book, self.instrument) == checksum

    def _crossed_too_long(self, ts: int) -> bool:
        if not self.book.crossed:
            self._crossed_since = None
            return False
        if self._crossed_since is None:
            self._crossed_since = ts
        return ts - self._crossed_since > self.grace

    def _contained(self, seq: int | None, delta: BookDelta[N]) -> bool:
        """Is this held delta part of the snapshot numbered `seq`? A chain cannot tell by its links, hence the numbers too."""
        verdict = self.rule(seq, delta, True)
        return verdict is DROP or (verdict is not APPLY and seq is not None and delta.last is not None and delta.last <= seq)

    def _keep(self, tick: BookDelta[N]) -> Taken:
        if not self.hold:
            self.dropped += 1
            return "dropped"
        held = self.held
        verdict = self.rule(held[-1].last, tick, False) if held else APPLY
        if verdict is DROP:
            self.dropped += 1
            return "dropped"
        if verdict is not APPLY:
            held.clear()  # a gap among the held: what lies before it can never be used
            self._held_levels = 0
        held.append(tick)
        self._held_levels += len(tick.bids) + len(tick.asks)
        if (len(held) > MAX_HELD or self._held_levels > MAX_HELD_LEVELS) and len(held) > 1:
            if self.repeats:
                self._floor = held[len(held) // 2 - 1].last
            del held[: len(held) // 2]  # a snapshot made by now has them; one from before is refused
            self._held_levels = sum(len(d.bids) + len(d.asks) for d in held)
        return "held"
