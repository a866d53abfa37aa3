"""The hub: from what connections bring to what subscribers get, past the books. It knows no feed, engine or socket.

`Carrier.push` is synchronous: from the read callback to the subscriptions' buffers there is no task switch, future or queue. It returns
what the hub needs (a snapshot of a book) and the controls that are not the hub's to handle.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from streamer.book_stream import BookSource, BookStream
from streamer.ctx import EVERYTHING
from streamer.ledger import Ledger
from streamer.mailbox import Mailbox, StreamKey
from streamer.spec import Ack, Broken, Checked, History, Page, Ready, Reject, Reply, Restart, Unknown
from streamer.streams import Need, Source, Stream, TradeStream
from streamer.sync import Sync
from streamer.types import KIND, BookDelta, BookSnapshot, Candle, Gap, Instrument, Tick, Trade
from streamer.views import scale_of

_UPWARD = frozenset((Reply, Ready, Ack, Reject, Restart, Unknown))
_TYPES: dict[str, list[type[Tick[Any]]]] = {}
for _type, _kind in KIND.items():
    _TYPES.setdefault(_kind, []).append(_type)

Route = Callable[[Any], Need | None]


class Carrier:
    """One connection's routes into the hub: type and symbol to the source that takes it. `unrouted` counts what nobody asked for."""

    __slots__ = ("name", "on_unrouted", "routes", "sources", "unrouted")

    def __init__(self, name: str, on_unrouted: Callable[[Any], Route | None] | None = None) -> None:
        self.name = name
        self.routes: dict[Any, dict[str, Route]] = {}
        self.sources: dict[StreamKey, Source[Any]] = {}
        self.unrouted = 0
        self.on_unrouted = on_unrouted

    @property
    def wanted(self) -> Container[type]:
        """The types of ticks that are taken, as it is at any time."""
        return self.routes if self.on_unrouted is None else EVERYTHING

    def push(self, answers: Sequence[Any]) -> list[Any] | None:
        """Take a handler's answers. What comes back is for the engine: controls, and `Need`s."""
        back: list[Any] | None = None
        for answer in answers:
            more = self.take(answer)
            if more is not None:
                back = more if back is None else back + more
        return back

    def take(self, answer: Any) -> list[Any] | None:
        """`push` of one answer."""
        by_symbol = self.routes.get(answer.__class__)
        if by_symbol is not None:
            route = by_symbol.get(answer.symbol)
            if route is not None:
                need = route(answer)
                return None if need is None else [need]
        return self._stray(answer)

    def _stray(self, answer: Any) -> list[Any] | None:
        if answer.__class__ in _UPWARD:
            return [answer]
        route = self.unasked(answer)
        need = route(answer) if route is not None else None
        return None if need is None else [need]

    def suspect(self, reason: str, ts: int) -> list[Need]:
        """A frame was not understood: books that nothing else would prove wrong are stale from here on."""
        books = [s for s in self.sources.values() if isinstance(s, BookSource) and s.stream.proof in ("none", "ids")]
        return [need for s in books if (need := s.distrust(reason, ts)) is not None]

    def unasked(self, answer: Any) -> Route | None:
        """What nobody asked for is counted; in a replay it opens its stream."""
        if not answer.symbol:
            return None  # history without a trade
        if self.on_unrouted is not None:
            return self.on_unrouted(answer)
        self.unrouted += 1
        return None


class Hub:
    """All streams by key, and the gap ledger. `sizes`: `base` turns the venue's contract counts into base units, `venue` leaves them."""

    def __init__(self, sizes: str = "base") -> None:
        if sizes not in ("base", "venue"):
            raise ValueError(f"sizes={sizes!r} is neither 'base' nor 'venue'")
        self.sizes = sizes
        self.streams: dict[StreamKey, Stream] = {}
        self.ledger = Ledger()

    def stream(self, instrument: Instrument, kind: str, interval: str = "") -> Stream:
        """The stream of this kind, made if it is not there yet. `interval` only for candles."""
        key = (instrument.exchange, instrument.symbol, kind, interval if kind == "candle" else "")
        found = self.streams.get(key)
        if found is None:
            make = {"book": BookStream, "trade": TradeStream}.get(kind, Stream)
            scale = scale_of(instrument) if self.sizes == "base" else None
            found = self.streams[key] = make(instrument, kind, key[3], scale, self.ledger)
        return found

    def relist(self, instruments: Iterable[Instrument]) -> None:
        """The venue changed the facts of these instruments: from now on their sizes and checksums are reckoned with the new ones."""
        new = {(i.exchange, i.symbol): i for i in instruments}
        for stream in self.streams.values():
            instrument = new.get(stream.key[:2])
            if instrument is not None:
                stream.relist(instrument, scale_of(instrument) if self.sizes == "base" else None)

    def book(self, exchange: str, symbol: str) -> BookStream | None:
        """The book's stream, if anybody asked for it."""
        found = self.streams.get((exchange, symbol, "book", ""))
        return found if isinstance(found, BookStream) else None

    def carry(self, carrier: Carrier, stream: Stream, sync: Sync[Any] | None = None) -> Source[Any]:
        """From now on `carrier` brings this stream; a book with the `Sync` that keeps it right."""
        if isinstance(stream, BookStream) and sync is not None:
            book = stream.book_source(carrier, sync)
            ways: dict[Any, Route] = {BookDelta: book.delta, BookSnapshot: book.snapshot, Checked: book.checked, Broken: book.broken}
            self._route(carrier, stream, ways)
            carrier.sources[stream.key] = book
            return book
        source = stream.source(carrier)
        routes: dict[Any, Route] = dict.fromkeys(_TYPES[stream.kind], source.tick)
        if stream.kind == "candle":
            routes = {Candle: self._candle_route(carrier, stream)}
        elif stream.kind == "trade":
            routes = {Trade: source.tick, History: source.history, Page: source.page, Gap: source.gap}  # type: ignore[attr-defined]
        self._route(carrier, stream, routes)
        carrier.sources[stream.key] = source
        return source

    def uncarry(self, carrier: Carrier, stream: Stream, ts: int | None = None) -> None:
        """`carrier` brings this stream no more. A stream that nobody carries or wants is forgotten; who wants it still is told that it was
        lost at `ts`. None: another carrier takes it over in the same turn, nobody need know."""
        carrier.sources.pop(stream.key, None)
        if ts is not None and stream.wanted:
            stream.gone(carrier, "unsubscribed", ts)
        else:
            stream.forget(carrier)
        symbol = stream.instrument.symbol
        others = stream.kind == "candle" and any(k[:3] == stream.key[:3] for k in carrier.sources)
        if not others:
            more: dict[str, list[type]] = {"book": [Checked, Broken], "trade": [History, Page, Gap]}
            for kind_type in (*_TYPES[stream.kind], *more.get(stream.kind, ())):
                by_symbol = carrier.routes.get(kind_type, {})
                by_symbol.pop(symbol, None)
                if not by_symbol:
                    carrier.routes.pop(kind_type, None)  # it is not `wanted` any more
        self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        if not stream.sources and not stream.wanted and self.streams.get(stream.key) is stream:
            del self.streams[stream.key]

    def lose(self, carrier: Carrier, reason: str, ts: int, state: str = "stale") -> None:
        """The connection is gone. Streams that no other connection carries live are told to be in this `state`, before anything else."""
        for key in list(carrier.sources):
            stream = carrier.sources.pop(key).stream
            stream.gone(carrier, reason, ts, state)
            self._forget(stream)
        carrier.routes.clear()

    def detach(self, box: Mailbox) -> None:
        """A subscriber is gone."""
        for stream in self.streams.values():
            stream.detach(box)

    def unquote(self, book: BookStream) -> None:
        """Nobody wants quotes cut from this book any more."""
        if book.quotes is not None:
            self.streams.pop(book.quotes.key, None)
            book.quotes = None

    def _route(self, carrier: Carrier, stream: Stream, routes: dict[Any, Route]) -> None:
        for kind_type, route in routes.items():
            carrier.routes.setdefault(kind_type, {})[stream.instrument.symbol] = route

    def _candle_route(self, carrier: Carrier, stream: Stream) -> Route:
        exchange, symbol, kind, _ = stream.key
        sources = carrier.sources

        def route(tick: Candle[Any]) -> Need | None:
            source = sources.get((exchange, symbol, kind, tick.interval))
            if source is None:
                more = carrier.unasked(tick)
                return more(tick) if more is not None else None
            return source.tick(tick)

        return route
