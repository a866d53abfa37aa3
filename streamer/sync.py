"""The state machine that keeps one book true. Its law: a book that is not known to be right is never served as right.

    waiting --snapshot--> live --gap | checksum | crossed | disconnect | bad level--> waiting

No I/O and no clock: times come with the ticks. There is one `Sync` per (connection, symbol). While waiting, a book whose snapshot
comes by REST (or on request) holds deltas, bounded; one whose snapshot comes in the stream drops them. A snapshot older than the
first held delta is refused, what is held is kept, and another is asked for. A snapshot is asked for once: `asked` stays set until
the book is live (no resubscription storms).
"""

from collections.abc import Sequence
from itertools import dropwhile
from typing import Generic, Literal, TypeAlias

from streamer.book import BadLevel, Book
from streamer.checksum import Crc32
from streamer.rules import APPLY, DROP, Rule, unnumbered
from streamer.types import BookDelta, BookSnapshot, Instrument, N

MAX_HELD = 10_000
"""Deltas held while a snapshot is on its way (RELIABILITY D13)."""
MAX_HELD_LEVELS = 100_000
"""Levels in them: some 20 MB."""
CROSSED_GRACE_NS = 1_000_000_000
Taken: TypeAlias = Literal["applied", "dropped", "held", "stale"]
"""What became of a delta. `applied`: publish it. `stale`: the book just fell, see `stale_reason`."""


class Sync(Generic[N]):
    """Keeps `book` of `instrument`. `live` tells whether it is known to be right; `stale_reason` why not."""

    __slots__ = (
        "_crossed_since", "_floor", "_fresh", "_held_levels", "applied", "asked", "book", "checksum", "cut", "depth", "dropped", "grace",
        "held", "hold", "instrument", "live", "refused", "rule", "stale_reason", "ts_recv",
    )  # fmt: skip

    def __init__(
        self,
        instrument: Instrument,
        rule: Rule = unnumbered,
        *,
        hold: bool = False,
        checksum: Crc32 | None = None,
        depth: int | None = None,
        grace: int = CROSSED_GRACE_NS,
    ) -> None:
        self.instrument = instrument
        self.rule = rule
        self.hold = hold
        self.checksum = checksum
        self.depth = depth
        self.cut: tuple[Sequence[N], Sequence[N]] = ((), ())  # (bid, ask) prices that the last delta pushed out of `depth`
        self.grace = grace
        self.book: Book[N] = Book()
        self.held: list[BookDelta[N]] = []
        self.live = False
        self.asked = False
        self.stale_reason: str | None = "waiting"
        self.ts_recv = 0
        self.applied = self.dropped = self.refused = 0
        self._fresh = True
        self._crossed_since: int | None = None
        self._floor: int | None = None  # the book was known to be this far; a snapshot from before it is old news
        self._held_levels = 0

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
        try:
            book.bids.update(tick.bids)
            book.asks.update(tick.asks)
        except BadLevel:
            self._fall("bad_level", tick)
            return "stale"
        if tick.last is not None:
            book.seq = tick.last
        if self.depth is not None:
            self.cut = book.truncate(self.depth)
        self._fresh = False
        self.applied += 1
        self.ts_recv = tick.ts_recv
        if self._crossed_too_long(tick.ts_recv):
            self._fall("crossed", tick)
            return "stale"
        if checksum is not None and not self._sums_to(checksum):
            self._fall("checksum", tick)
            return "stale"
        return "applied"

    def snapshot(self, tick: BookSnapshot[N], checksum: int | None = None) -> Sequence[BookSnapshot[N] | BookDelta[N]]:
        """Take a snapshot. The answer is what to publish: nothing when it was refused (if the book still waits, `asked` is then False: ask
        again), or the snapshot and the held deltas that follow it. Those that follow may bring the book down again: look at `live`."""
        if self.live and self.hold and tick.seq is not None and self.book.seq is not None and tick.seq < self.book.seq:
            self.refused += 1  # an answer that came late: the book is ahead of it
            return ()
        held = list(dropwhile(lambda d: self._contained(tick.seq, d), self.held))
        old = self._floor is not None and tick.seq is not None and tick.seq < self._floor
        if old or (held and self.rule(tick.seq, held[0], True) is not APPLY):
            self.refused += 1
            self.asked = False
            return ()
        self.asked = False
        if self.live and self.hold:
            self._floor = self.book.seq
        reason = self._become(tick, checksum)
        if reason is not None:  # it was this snapshot that was bad: what is held is kept
            self.live, self.stale_reason, self._crossed_since = False, reason, None
            return ()
        self.held, self._held_levels, self._floor = [], 0, None
        out: list[BookSnapshot[N] | BookDelta[N]] = [tick]
        for i, delta in enumerate(held):
            answer = self.delta(delta)
            if answer == "applied":
                out.append(delta)
            elif answer == "stale":
                for later in held[i + 1 :]:
                    self._keep(later)
                break
        return out

    def _become(self, tick: BookSnapshot[N], checksum: int | None) -> str | None:
        """Take over a snapshot. Why it cannot be trusted, or None: the book is live."""
        book = self.book
        try:
            book.replace(tick)
        except BadLevel:
            return "bad_level"
        if self.depth is not None:
            book.truncate(self.depth)
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
        if self.live:
            self.asked = False
        self.live = False
        self.stale_reason = reason
        self._crossed_since = None
        self.held, self._held_levels = [], 0
        if self.hold and tick is not None:
            self._keep(tick)

    def _sums_to(self, checksum: int) -> bool:
        return self.checksum is None or self.checksum(self.book, self.instrument) == checksum

    def _crossed_too_long(self, ts: int) -> bool:
        bids, asks = self.book.bids.prices, self.book.asks.prices
        if not (bids and asks and bids[-1] > asks[0]):
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
            del held[: len(held) // 2]  # a snapshot made by now has them; one from before is refused
            self._held_levels = sum(len(d.bids) + len(d.asks) for d in held)
        return "held"
