"""The hub's record of one order book, and its sources: each connection that carries the book keeps it with a `Sync` of its own."""

from typing import Any

from streamer.book import Book
from streamer.ledger import Ledger
from streamer.mailbox import Mailbox, weight
from streamer.spec import Checked
from streamer.streams import Need, Source, Stream
from streamer.sync import Sync
from streamer.types import BookDelta, BookSnapshot, BookStale, Instrument, Quote, Status, Tick
from streamer.views import DepthView, Scale, scale_levels, scale_tick


class BookStream(Stream):
    """A book. `live` means: the leading source's book is known to be right."""

    __slots__ = ("proof", "quotes", "views")

    def __init__(self, instrument: Instrument, kind: str, interval: str, scale: Scale | None, ledger: Ledger) -> None:
        super().__init__(instrument, kind, interval, scale, ledger)
        self.views: dict[int, DepthView] = {}
        self.quotes: Stream | None = None
        self.proof = "none"

    @property
    def book(self) -> Book[Any] | None:
        """The book in venue units, or None while it is not known to be right."""
        leader = self.leader
        return leader.sync.book if isinstance(leader, BookSource) and leader.sync.live else None

    @property
    def ts_book(self) -> int:
        """`ts_recv` of the last change applied."""
        return self.leader.sync.ts_recv if isinstance(self.leader, BookSource) else 0

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

    def source(self, carrier: Any) -> Source:
        """Books need a `Sync` of their own for each connection: use `book_source`."""
        raise TypeError("a book's source needs a Sync")

    def book_source(self, carrier: Any, sync: Sync[Any]) -> "BookSource":
        """A source on another connection, with the state machine that keeps its book."""
        made = self.sources[carrier] = BookSource(self, sync)
        if self.leader is None:
            self.leader = made
        return made

    def forget(self, carrier: Any) -> None:
        """That connection is gone. If it led, a live source takes over at once, or the book is stale."""
        gone = self.sources.pop(carrier, None)
        if gone is None or gone is not self.leader:
            return
        others = [s for s in self.sources.values() if isinstance(s, BookSource)]
        self.leader = next((s for s in others if s.sync.live), others[0] if others else None)

    def lead(self, source: "BookSource") -> None:
        """Publish this source's book from now on."""
        self.leader = source
        snapshot = self.own_snapshot()
        if snapshot is not None and source.sync.live:
            book = source.sync.book
            raw = BookSnapshot(*self.key[:2], None, source.sync.ts_recv, book.bids.top(), book.asks.top(), book.seq)
            self.publish_book(raw, book)

    def publish_book(self, tick: BookSnapshot[Any] | BookDelta[Any], book: Book[Any]) -> None:
        """Give a book tick in venue units to every subscriber, cut where they asked for less."""
        self.published += 1
        if self.boxes:
            out = tick if self.scale is None else scale_tick(tick, self.scale)
            heavy = weight(out)
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
        """Publish the best bid and offer when they changed, for venues without such a channel."""
        bid, ask = book.best_bid or (None, None), book.best_ask or (None, None)
        best = (bid[0], bid[1], ask[0], ask[1])
        source = self.leader
        if self.quotes is not None and isinstance(source, BookSource) and best != source.best:
            source.best = best
            self.quotes.alive(tick.ts_recv)
            self.quotes.publish(Quote(tick.exchange, tick.symbol, tick.ts_event, tick.ts_recv, bid[0], bid[1], ask[0], ask[1], "book"))

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
            self.state = "stale"
            self.on_state()
            if self.quotes is not None:
                self.quotes.lost(reason, ts)

    def lost(self, reason: str, ts: int) -> None:
        """The connection is gone; `BookStale` says it all."""
        self.fell("disconnect", ts)

    def status(self, state: str, reason: str | None, ts: int) -> None:
        """Tell a change of health to everybody, those with a cut view included."""
        if state != self.state:
            for view in self.views.values():
                for box in view.boxes:
                    box.offer(Status(*self.key[:2], None, ts, "book", state, reason))
        super().status(state, reason, ts)


class BookSource(Source):
    """One connection's book of a stream."""

    __slots__ = ("best", "sync")
    stream: BookStream

    def __init__(self, stream: BookStream, sync: Sync[Any]) -> None:
        super().__init__(stream)
        self.sync = sync
        self.best: tuple[Any, ...] = ()

    def tick(self, tick: Any) -> Need | None:
        """Take a delta."""
        return self.delta(tick, None)

    def delta(self, tick: BookDelta[Any], checksum: int | None) -> Need | None:
        """Take a delta, verified if the venue sent a checksum with it."""
        self.count += 1
        sync, stream = self.sync, self.stream
        taken = sync.delta(tick, checksum)
        if taken == "applied":
            if stream.leader is self:
                stream.ts_last = tick.ts_recv
                stream.publish_book(tick, sync.book)
            return None
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
        stream.whole(out[0])
        stream.ts_last = out[-1].ts_recv
        if len(out) == 1:
            stream.publish_book(out[0], sync.book)
        elif stream.views or stream.quotes is not None:
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
        sync = self.sync
        return None if not sync.live or sync.verify(answer.checksum) else self._fallen(sync.ts_recv)

    def distrust(self, reason: str, ts: int) -> Need | None:
        """Something may be missing that nothing else would show."""
        return self._fallen(ts) if self.sync.fall(reason) else None

    def need(self) -> Need | None:
        """Ask for a snapshot, unless it was asked for already."""
        if self.sync.asked:
            return None
        self.sync.asked = True
        return Need(self.stream.instrument.symbol, self.sync.stale_reason or "waiting")

    def _fallen(self, ts: int) -> Need | None:
        stream = self.stream
        if stream.leader is self:
            other = next((s for s in stream.sources.values() if s is not self and isinstance(s, BookSource) and s.sync.live), None)
            stream.fell(self.sync.stale_reason or "gap", ts)
            if other is not None:
                stream.whole(BookSnapshot(*stream.key[:2], None, ts, (), ()))
                stream.lead(other)
        return self.need()
