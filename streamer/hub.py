"""The hub: from what connections bring to what subscribers get, past the books. It knows no feed, engine or socket.

`Carrier.push` is synchronous: from the read callback to the subscriptions' buffers there is no task switch, future or queue. It returns
what the hub needs (a snapshot of a book) and the controls that are not the hub's to handle.
"""

from collections.abc import Callable, Sequence
from typing import Any

from streamer.book_stream import BookSource, BookStream
from streamer.ledger import Ledger
from streamer.mailbox import Mailbox, StreamKey
from streamer.spec import Ack, Checked, History, Ready, Reject, Reply, Restart, Unknown
from streamer.streams import Need, Source, Stream, TradeStream
from streamer.sync import Sync
from streamer.types import KIND, BookDelta, BookSnapshot, Candle, Instrument, Tick, Trade
from streamer.views import scale_of

_UPWARD = frozenset((Reply, Ready, Ack, Reject, Restart, Unknown))
_TYPES: dict[str, list[type[Tick[Any]]]] = {}
for _type, _kind in KIND.items():
    _TYPES.setdefault(_kind, []).append(_type)

Route = Callable[[Any], Need | None]


class Carrier:
    """One connection's routes into the hub: (type, symbol) to the source that takes it. `unrouted` counts what nobody asked for."""

    __slots__ = ("name", "on_unrouted", "routes", "sources", "unrouted")

    def __init__(self, name: str, on_unrouted: Callable[[Any], Route | None] | None = None) -> None:
        self.name = name
        self.routes: dict[tuple[Any, str], Route] = {}
        self.sources: dict[StreamKey, Source] = {}
        self.unrouted = 0
        self.on_unrouted = on_unrouted

    def push(self, answers: Sequence[Any]) -> list[Any] | None:
        """Take a handler's answers. What comes back is for the engine: controls, and `Need`s."""
        routes = self.routes
        back: list[Any] | None = None
        for answer in answers:
            cls = answer.__class__
            if cls in _UPWARD:
                back = [answer] if back is None else [*back, answer]
                continue
            if cls is History:
                if not answer.trades:
                    continue
                symbol = answer.trades[0].symbol
            else:
                symbol = answer.symbol
            route = routes.get((cls, symbol)) or self._unrouted(answer)
            need = route(answer) if route is not None else None
            if need is not None:
                back = [need] if back is None else [*back, need]
        return back

    def suspect(self, reason: str, ts: int) -> list[Need]:
        """A frame was not understood: books that nothing else would prove wrong are stale from here on."""
        books = [s for s in self.sources.values() if isinstance(s, BookSource) and s.stream.proof == "none"]
        return [need for s in books if (need := s.distrust(reason, ts)) is not None]

    def _unrouted(self, answer: Any) -> Route | None:
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

    def book(self, exchange: str, symbol: str) -> BookStream | None:
        """The book's stream, if anybody asked for it."""
        found = self.streams.get((exchange, symbol, "book", ""))
        return found if isinstance(found, BookStream) else None

    def carry(self, carrier: Carrier, stream: Stream, sync: Sync[Any] | None = None) -> Source:
        """From now on `carrier` brings this stream; a book with the `Sync` that keeps it right."""
        if isinstance(stream, BookStream) and sync is not None:
            book = stream.book_source(carrier, sync)
            self._route(carrier, stream, {BookDelta: book.tick, BookSnapshot: book.snapshot, Checked: book.checked})
            carrier.sources[stream.key] = book
            return book
        source = stream.source(carrier)
        routes: dict[Any, Route] = dict.fromkeys(_TYPES[stream.kind], source.tick)
        if stream.kind == "candle":
            routes = {Candle: self._candle_route(carrier, stream)}
        elif stream.kind == "trade":
            routes = {Trade: source.tick, History: source.history}  # type: ignore[attr-defined]
        self._route(carrier, stream, routes)
        carrier.sources[stream.key] = source
        return source

    def uncarry(self, carrier: Carrier, stream: Stream) -> None:
        """`carrier` brings this stream no more. A stream that nobody carries or wants is forgotten."""
        carrier.sources.pop(stream.key, None)
        stream.forget(carrier)
        symbol = stream.instrument.symbol
        others = stream.kind == "candle" and any(k[:3] == stream.key[:3] for k in carrier.sources)
        if not others:
            for kind_type in (*_TYPES[stream.kind], Checked if stream.kind == "book" else History if stream.kind == "trade" else None):
                carrier.routes.pop((kind_type, symbol), None)
        if not stream.sources and not stream.wanted:
            self.streams.pop(stream.key, None)

    def lose(self, carrier: Carrier, reason: str, ts: int) -> None:
        """The connection is gone. Streams that no other connection carries live are told as stale, before anything else."""
        for key in list(carrier.sources):
            stream = self.streams.get(key)
            carrier.sources.pop(key)
            if stream is None:
                continue
            led = stream.leader is not None and stream.leader is stream.sources.get(carrier)
            stream.forget(carrier)
            if isinstance(stream, BookStream):
                if led and stream.book is not None and isinstance(stream.leader, BookSource):
                    stream.lead(stream.leader)
                elif stream.book is None:
                    stream.lost(reason, ts)
            elif not stream.sources:
                stream.lost(reason, ts)
        carrier.routes.clear()

    def detach(self, box: Mailbox) -> None:
        """A subscriber is gone."""
        for stream in self.streams.values():
            stream.detach(box)

    def _route(self, carrier: Carrier, stream: Stream, routes: dict[Any, Route]) -> None:
        for kind_type, route in routes.items():
            carrier.routes[kind_type, stream.instrument.symbol] = route

    def _candle_route(self, carrier: Carrier, stream: Stream) -> Route:
        exchange, symbol, kind, _ = stream.key
        sources = carrier.sources

        def route(tick: Candle[Any]) -> Need | None:
            source = sources.get((exchange, symbol, kind, tick.interval))
            if source is None:
                carrier.unrouted += 1
                return None
            return source.tick(tick)

        return route
