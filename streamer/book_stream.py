"""The hub's record of one order book, and its sources: each connection that carries the book keeps it with a `Sync` of its own."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from streamer.book import Book
from streamer.ledger import Ledger
from streamer.mailbox import LEVEL_BYTES, Mailbox, weight
from streamer.spec import Broken, Checked
from streamer.streams import Need, Source, Stream
from streamer.sync import Sync
from streamer.types import BookDelta, BookSnapshot, BookStale, Instrument, Level, Quote, Status, Tick
from streamer.views import DepthView, Scale, scale_levels, scale_tick


class BookStream(Stream):
    """A book. `live` means: the leading source's book is known to be right."""

    __slots__ = ("_before", "_best", "proof", "quotes", "views")

    def __init__(self, instrument: Instrument, kind: str, interval: str, scale: Scale | None, ledger: Ledger) -> None:
        super().__init__(instrument, kind, interval, scale, ledger)
        self.views: dict[int, DepthView] = {}
        self.quotes: Stream | None = None
        self._best: tuple[Any, ...] = ()  # the last quote published; empty while the book is stale
        self.proof = "none"
        self._before = Counter[str]()  # what the sources that are gone had counted

    @property
    def book(self) -> Book[Any] | None:
        """The book in venue units, or None while it is not known to be right."""
        leader = self.leader
        return leader.sync.book if isinstance(leader, BookSource) and leader.sync.live else None

    @property
    def ts_book(self) -> int:
        """`ts_recv` of the last change applied."""
        return self.leader.sync.ts_recv if isinstance(self.leader, BookSource) else 0

    def relist(self, instrument: Instrument, scale: Scale | None) -> None:
        """The instrument is another now. A live book is told anew, because its sizes may count otherwise."""
        super().relist(instrument, scale)
        for source in self.sources.values():
            if isinstance(source, BookSource):
                source.sync.relist(instrument)
        if isinstance(self.leader, BookSource) and self.leader.live:
            self.lead(self.leader)

    @property
    def wanted(self) -> bool:
        """Does anybody listen, to the book or to quotes cut from it?"""
        return bool(self.boxes) or any(v.boxes for v in self.views.values()) or (self.quotes is not None and self.quotes.wanted)

    def attach(self, box: Mailbox, depth: int | None = None) -> None:
        """Send this book, cut to `depth`; a late subscriber first gets a snapshot of the book as it is."""
        if depth is None:
            super().attach(box)
        else:
            view = self.views.setdefault(depth, DepthView(depth))
            if box not in view.boxes:
                view.boxes = (*view.boxes, box)
                self._greet(box)
        snapshot = self.own_snapshot(depth)
        if snapshot is not None:
            if depth is not None and self.book is not None and len(self.views[depth].boxes) == 1:
                self.views[depth].snapshot(snapshot, self.book)
            box.offer_book(snapshot, weight(snapshot))

    def detach(self, box: Mailbox) -> None:
        """Send no more."""
        super().detach(box)
        for depth, view in list(self.views.items()):
            view.boxes = tuple(b for b in view.boxes if b is not box)
            if not view.boxes:
                del self.views[depth]

    def own_snapshot(self, depth: int | None = None) -> BookSnapshot[Any] | None:
        """The book as it is, in the units of the ticks; None while it is stale."""
        book = self.book
        if book is None:
            return None
        bids, asks = book.bids.top(depth), book.asks.top(depth)
        if self.scale is not None:
            bids, asks = scale_levels(bids, self.scale), scale_levels(asks, self.scale)
        exchange, symbol, _, _ = self.key
        return BookSnapshot(exchange, symbol, None, self.ts_book, bids, asks, book.seq)

    def counts(self) -> dict[str, int]:
        """What became of deltas (`applied`, `dropped`) and snapshots (`refused`), and how many checksums were compared (`checksums`)."""
        total = self._before.copy()
        for source in self.sources.values():
            total.update(_counted(source))
        return dict(total)

    def forget(self, carrier: Any) -> None:
        """That connection carries this book no more; what it counted stays."""
        gone = self.sources.get(carrier)
        if gone is not None:
            self._before.update(_counted(gone))
        super().forget(carrier)

    def source(self, carrier: Any) -> Source[Any]:
        """Books need a `Sync` of their own for each connection: use `book_source`."""
        raise TypeError("a book's source needs a Sync")

    def book_source(self, carrier: Any, sync: Sync[Any]) -> "BookSource":
        """A source on another connection, with the state machine that keeps its book."""
        made = self.sources[carrier] = BookSource(self, sync)
        if self.leader is None:
            self.leader = made
        return made

    def gone(self, carrier: Any, reason: str, ts: int, state: str = "stale") -> None:
        """That connection is gone. If it led, a live source takes over at once, or the book is stale."""
        led = self.leader is not None and self.leader is self.sources.get(carrier)
        self.forget(carrier)
        if not isinstance(self.leader, BookSource) or not self.leader.live:
            self.lost(reason, ts, state)
        elif led:
            self.lead(self.leader)

    def lead(self, source: "BookSource") -> None:
        """Publish this source's live book from now on, beginning with a snapshot."""
        self.leader = source
        book = source.sync.book
        self.ts_last = source.sync.ts_recv
        self.publish_book(BookSnapshot(*self.key[:2], None, self.ts_last, book.bids.top(), book.asks.top(), book.seq), book)

    def publish_book(self, tick: BookSnapshot[Any] | BookDelta[Any], book: Book[Any]) -> None:
        """Give a book tick in venue units to every subscriber, cut where they asked for less."""
        self.published += 1
        if self.boxes:
            out = tick if self.scale is None else scale_tick(tick, self.scale)
            heavy = LEVEL_BYTES * (len(out.bids) + len(out.asks))  # type: ignore[attr-defined]  # its `weight`
            for box in self.boxes:
                box.offer_book(out, heavy)  # type: ignore[arg-type]
        if self.views:
            self._publish_views(tick, book)
        if self.quotes is not None:
            self._quote(tick, book)

    def _publish_views(self, tick: BookSnapshot[Any] | BookDelta[Any], book: Book[Any]) -> None:
        for view in self.views.values():
            cut: Any = view.snapshot(tick, book) if isinstance(tick, BookSnapshot) else view.delta(tick, book)
            if cut is None:
                continue
            if self.scale is not None:
                cut = scale_tick(cut, self.scale)
            for box in view.boxes:
                box.offer_book(cut, weight(cut))

    def _quote(self, tick: Tick[Any], book: Book[Any]) -> None:
        """Publish the best bid and offer when they changed or were stale, for venues without such a channel."""
        bid, ask = book.best_bid or (None, None), book.best_ask or (None, None)
        best = (bid[0], bid[1], ask[0], ask[1])
        if self.quotes is not None and best != self._best:
            self._best = best
            self.quotes.alive(tick.ts_recv)
            self.quotes.publish(Quote(tick.exchange, tick.symbol, tick.ts_event, tick.ts_recv, bid[0], bid[1], ask[0], ask[1], "book"))

    def quote(self, quotes: Stream) -> None:
        """Cut these quotes from the book from now on, beginning with what it is now."""
        if self.quotes is quotes:
            return
        self.quotes, self._best, book = quotes, (), self.book
        if book is not None:
            self._quote(BookSnapshot(*self.key[:2], None, self.ts_book, (), ()), book)

    def whole(self, tick: BookSnapshot[Any]) -> None:
        """A snapshot made the book right (again)."""
        if not self.live:
            self.live = True
            exchange, symbol, _, _ = self.key
            self.ledger.whole(exchange, symbol, "book", tick.ts_recv, "snapshot")
            self.status("live", None, tick.ts_recv)

    def fell(self, reason: str, ts: int) -> None:
        """Tell, once, that the book is not to be trusted."""
        if self.live:
            self.live = False
            exchange, symbol, _, _ = self.key
            stale: BookStale[Any] = BookStale(exchange, symbol, None, ts, reason)
            self.ledger.stale(stale, self.proof if reason in ("gap", "checksum") else "none")
            for view in self.views.values():
                for box in view.boxes:
                    box.offer(stale)
            self._tell(stale)
            self._note("stale", reason, ts)
            self.on_state()
            self._best = ()
            if self.quotes is not None:
                self.quotes.lost(reason, ts)

    def lost(self, reason: str, ts: int, state: str = "stale") -> None:
        """No connection brings it any more: `BookStale` says it all, or `Status` when the book was not live yet."""
        self.fell(reason if reason in ("unsubscribed", "shutdown") else "disconnect", ts)
        self.status(state, reason, ts)

    def status(self, state: str, reason: str | None, ts: int) -> None:
        """Tell a change of health to everybody, those with a cut view included."""
        if state != self.state:
            for view in self.views.values():
                for box in view.boxes:
                    box.offer(Status(*self.key[:2], None, ts, "book", state, reason))
        super().status(state, reason, ts)


class BookSource(Source["BookStream"]):
    """One connection's book of a stream."""

    __slots__ = ("sync",)

    def __init__(self, stream: BookStream, sync: Sync[Any]) -> None:
        super().__init__(stream)
        self.sync = sync

    @property
    def live(self) -> bool:
        """Is this connection's book known to be right?"""
        return self.sync.live

    def tick(self, tick: Any) -> Need | None:
        """Take a delta."""
        return self.delta(tick)

    def delta(self, tick: BookDelta[Any], checksum: int | None = None) -> Need | None:
        """Take a delta, verified if the venue sent a checksum with it."""
        self.count += 1
        sync, stream = self.sync, self.stream
        taken = sync.delta(tick, checksum)
        if taken == "applied":
            if stream.leader is self:
                stream.ts_last = tick.ts_recv
                if sync.noted and (sync.cut[0] or sync.cut[1]):
                    tick = _with_cut(tick, *sync.cut)
                stream.publish_book(tick, sync.book)
            return self.need() if sync.noted and sync.thin else None
        if taken == "stale":
            return self._fallen(tick.ts_recv)
        return None if sync.live else self.need()

    def snapshot(self, tick: BookSnapshot[Any], checksum: int | None = None) -> Need | None:
        """Take a snapshot."""
        self.count += 1
        sync, stream = self.sync, self.stream
        out = sync.snapshot(tick, checksum)
        if out:
            if stream.leader is not self and not stream.live:
                stream.leader = self
            if stream.leader is self:
                self._publish(out)
        return None if sync.live else self._fallen(tick.ts_recv)

    def _publish(self, out: Any) -> None:
        """A snapshot and the deltas after it. They were all applied before the first is told, so a view or a quote of the states between
        would be wrong: with views or quotes one snapshot of the outcome stands for all."""
        sync, stream = self.sync, self.stream
        if not sync.live:
            return
        first = out[0]
        stream.whole(first)
        stream.ts_last = out[-1].ts_recv
        if len(out) == 1:
            if sync.depth is not None and max(len(first.bids), len(first.asks)) > sync.depth:
                first = replace(first, bids=sync.book.bids.top(), asks=sync.book.asks.top())
            stream.publish_book(first, sync.book)
        elif stream.views or stream.quotes is not None or sync.depth is not None or sync.reach is not None:
            stream.lead(self)
        else:
            for tick in out:
                stream.publish_book(tick, sync.book)

    def checked(self, answer: Checked[Any]) -> Need | None:
        """A checksum, alone or with the tick after which it holds."""
        tick = answer.tick
        if isinstance(tick, BookDelta):
            return self.delta(tick, answer.checksum)
        if tick is not None:
            return self.snapshot(tick, answer.checksum)
        sync, ts = self.sync, answer.ts_recv
        return None if not sync.live or sync.verify(answer.checksum) else self._fallen(sync.ts_recv if ts is None else ts)

    def broken(self, answer: Broken) -> Need | None:
        """The handler saw that something was missed."""
        return self.distrust(answer.reason, answer.ts_recv)

    def distrust(self, reason: str, ts: int) -> Need | None:
        """Something may be missing that nothing else would show."""
        return self._fallen(ts) if self.sync.fall(reason) else None

    def need(self) -> Need | None:
        """Ask for a snapshot, unless it was asked for already."""
        if self.sync.asked:
            return None
        self.sync.asked = True
        return Need(self.stream.instrument.symbol, self.sync.stale_reason or "thin")

    def _fallen(self, ts: int) -> Need | None:
        stream = self.stream
        if stream.leader is self:
            other = next((s for s in stream.sources.values() if s is not self and isinstance(s, BookSource) and s.sync.live), None)
            stream.fell(self.sync.stale_reason or "gap", ts)
            if other is not None:
                stream.whole(BookSnapshot(*stream.key[:2], None, ts, (), ()))
                stream.lead(other)
        return self.need()


def _counted(source: Source[Any]) -> dict[str, int]:
    sync = source.sync if isinstance(source, BookSource) else None
    if sync is None:
        return {}
    return {"applied": sync.applied, "dropped": sync.dropped, "refused": sync.refused, "checksums": sync.summed}


def _with_cut(delta: BookDelta[Any], bids: Sequence[Any], asks: Sequence[Any]) -> BookDelta[Any]:
    """The delta, and what is outside of the depth that is kept: the venue sends no removals for those, and a reader does not count."""
    d = delta
    return BookDelta(d.exchange, d.symbol, d.ts_event, d.ts_recv, _removed(d.bids, bids), _removed(d.asks, asks), d.first, d.last, d.prev)


def _removed(levels: Sequence[Level[Any]], prices: Sequence[Any]) -> Sequence[Level[Any]]:
    return [level for level in levels if level[0] not in prices] + [(p, p - p) for p in prices] if prices else levels
