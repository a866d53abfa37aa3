"""One venue at run time: its instruments, its topics with their reference counts, its connections, its snapshots."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from msgspec import Struct

from streamer.book_stream import BookSource, BookStream
from streamer.catalog import FRESH_NS, Cache, Catalog, fetch_instruments
from streamer.connection import Connection
from streamer.decode import rest
from streamer.errors import BadFrame, IoFailure, UnsupportedKind, UsageError
from streamer.gates import Gates, backoff
from streamer.hub import Hub
from streamer.io import Io
from streamer.line import NUM, Numbers, Tally, proof_of, sync_of
from streamer.mailbox import Mailbox
from streamer.spec import BookMethod, Ctx, Endpoint, Feed, FromRest, Symbols, fill
from streamer.streams import Stream
from streamer.sync import Sync
from streamer.topics import Topic
from streamer.types import Instrument, Kind
from streamer.urls import rebase_endpoint

log = logging.getLogger(__name__)

REFRESH_S = 3600.0
UNKNOWN_ID_S = 300.0
HAND_OVER_S = 30.0
QUIET_BOOK_S = 1.0
"""A book kept by REST whose deltas do not come: after so long its snapshot is asked for all the same."""


class Options(Struct, frozen=True):
    """What the user chose for all venues. `bases`: a base url by exchange; `cache`: the folder of instrument lists."""

    numbers: Numbers = "float"
    sizes: str = "base"
    bases: dict[str, str] = {}
    cache: Path | None = None


class Want(Struct, frozen=True):
    """What a subscription wants of a venue. `depth` None: as deep as the venue goes."""

    exchange: str
    symbol: str
    kind: Kind
    interval: str = ""
    depth: int | None = None


class Venue:
    """`want` and `unwant` are the engine's; the rest is for its connections."""

    def __init__(self, feed: Feed, io: Io, hub: Hub, options: Options, spawn: Callable[[Coroutine[Any, Any, Any], str], Any]) -> None:
        self.feed = feed
        self.io = io
        self.hub = hub
        self.options = options
        self.gates = Gates(io, feed.limits)
        self.catalog = Catalog(feed)
        self.tally = Tally()
        self.topics: dict[tuple[str, str], Topic] = {}
        self.connections: list[Connection] = []
        self.boxes: dict[Mailbox, int] = {}
        self._spawn = spawn
        self._loading: asyncio.Task[None] | None = None
        self._cache = Cache(None if feed.name in options.bases else options.cache)
        self._refresh = asyncio.Event()
        self._refreshed = float("-inf")
        self._names = 0

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run in the background, under the engine's care."""
        task: asyncio.Task[Any] = self._spawn(work, name)
        return task

    # instruments

    async def load(self) -> None:
        """Wait until the instruments are there; they are loaded once. Raises `IoFailure`."""
        if self._loading is None or (self._loading.done() and not self.catalog.by_symbol):
            self._loading = self.spawn(self._load(), f"{self.feed.name} instruments")
        await asyncio.shield(self._loading)

    async def _load(self) -> None:
        now = self.io.now()
        name = self.feed.name
        found = await asyncio.to_thread(self._cache.read, name, now - FRESH_NS)
        if not found:
            try:
                found = await fetch_instruments(self.feed, self.gates, self.io)
                await asyncio.to_thread(self._cache.write, name, found)
            except IoFailure as e:
                found = await asyncio.to_thread(self._cache.read, name, 0)
                if not found:
                    raise
                log.warning("%s: instruments of an older day are used: %s", name, e)
        self.catalog.update(found)
        self.spawn(self._keep_fresh(), f"{name} instrument refresh")

    async def _keep_fresh(self) -> None:
        while True:
            try:
                async with asyncio.timeout(REFRESH_S):
                    await self._refresh.wait()
            except TimeoutError:
                pass  # an hour has passed
            self._refresh.clear()
            self._refreshed = self.io.monotonic()
            try:
                found = await fetch_instruments(self.feed, self.gates, self.io)
            except IoFailure as e:
                log.warning("%s: instruments not refreshed: %s", self.feed.name, e)
                continue
            for instrument in self.catalog.update(found):
                for box in list(self.boxes):
                    box.offer(instrument)
            await asyncio.to_thread(self._cache.write, self.feed.name, found)

    def unknown_id(self) -> None:
        """The venue named an instrument that we do not know: read the list again, at most every five minutes."""
        if self.io.monotonic() - self._refreshed > UNKNOWN_ID_S:
            self._refresh.set()

    def symbols(self, market: str) -> Symbols:
        """Raw ids of a market; the same object for ever, so that a refresh reaches every connection."""
        return self.catalog.tables[market]

    # what is wanted

    def resolve(self, want: Want) -> tuple[Stream, Topic | None]:
        """The stream of a want and the topic that feeds it (None: cut from the book). Raises `UsageError` with the remedy."""
        instrument = self.catalog.find(want.symbol)
        feed = self.feed
        market = feed.market_of(instrument, want.kind)
        template = feed.topics.get((market, want.kind))
        stream = self.hub.stream(instrument, want.kind, want.interval)
        if template is None:
            if want.kind == "quote" and (feed.market_of(instrument, "book"), "book") in feed.topics:
                return stream, None
            has = ", ".join(k for k in feed.kinds() if (feed.market_of(instrument, k), k) in feed.topics)
            raise UnsupportedKind(f"{feed.name} has no {want.kind} for {want.symbol}; it has {has}")
        if not isinstance(template, str):
            raise UnsupportedKind(f"{feed.name} serves {want.kind} only by REST, which is not built yet")
        interval = self._interval(want) if want.kind == "candle" else ""
        depth = self._depth(market, want.depth) if want.kind == "book" else None
        text = fill(template, instrument, interval, depth)
        return stream, self.topics.get((market, text)) or Topic(market, text, depth)

    def _interval(self, want: Want) -> str:
        interval = self.feed.intervals.get(want.interval)
        if interval is None:
            raise UsageError(f"{self.feed.name} has no candles of {want.interval!r}; it has {', '.join(self.feed.intervals)}")
        return interval

    def _depth(self, market: str, asked: int | None) -> int | None:
        """The least depth on offer that is deep enough; the deepest for None."""
        method = self.feed.book.get(market)
        depths = method.depths if method is not None else ()
        if not depths:
            return None
        return depths[-1] if asked is None else next((d for d in depths if d >= asked), depths[-1])

    def want(self, want: Want, box: Mailbox) -> Stream:
        """Send a stream to a mailbox, subscribing at the venue what is not subscribed yet."""
        stream, topic = self.resolve(want)
        self.boxes[box] = self.boxes.get(box, 0) + 1
        if topic is None:
            book, topic = self.resolve(Want(want.exchange, want.symbol, "book", "", want.depth))
            if isinstance(book, BookStream):
                book.quotes = stream
                self._feed_stream(topic, book)
        else:
            self._feed_stream(topic, stream)
        stream.attach(box, want.depth if want.kind == "book" else None)
        return stream

    def _feed_stream(self, topic: Topic | None, stream: Stream) -> None:
        if topic is None:
            return
        old = next((t for t in self.topics.values() if stream.key in t.streams), None)
        if old is not None and old is not topic:
            if (old.depth or 0) >= (topic.depth or 0):
                return
            self._starve(old, stream)  # a deeper book was asked for: the shallow topic gives way
        if isinstance(stream, BookStream):
            stream.proof = proof_of(self.method(stream))
        known = stream.key in topic.streams
        topic.streams[stream.key] = stream
        if topic.connection is None:
            self.topics[topic.market, topic.text] = topic
            topic.connection = self._room(topic.market)
            topic.connection.add(topic)
        elif not known:
            topic.connection.extend(topic, stream)

    def unwant(self, want: Want, box: Mailbox) -> None:
        """Take a stream away from a mailbox; topics that feed nobody are unsubscribed."""
        stream = self.hub.streams.get((want.exchange, want.symbol, want.kind, want.interval))
        self.boxes[box] = self.boxes.get(box, 1) - 1
        if self.boxes[box] <= 0:
            del self.boxes[box]
        if stream is None:
            return
        stream.detach(box)
        book = self.hub.book(want.exchange, want.symbol)
        if book is not None and book.quotes is stream and not stream.wanted:
            book.quotes = None
            stream = book
        if not stream.wanted:
            for topic in [t for t in self.topics.values() if stream.key in t.streams]:
                self._starve(topic, stream)

    def _starve(self, topic: Topic, stream: Stream) -> None:
        del topic.streams[stream.key]
        connection: Connection = topic.connection
        self.hub.uncarry(connection.carrier, stream)
        if not topic.streams:
            del self.topics[topic.market, topic.text]
            connection.remove(topic)
            if not connection.topics:
                self.connections.remove(connection)
                self.spawn(connection.retire(), f"{connection.name} retire")

    def _room(self, market: str) -> Connection:
        most = self.feed.limits.topics_per_line
        found = next((c for c in self.connections if c.market == market and len(c.topics) < most), None)
        return found or self._connect(market)

    def _connect(self, market: str) -> Connection:
        self._names += 1
        connection = Connection(self, market, f"{self.feed.name}/{market}#{self._names}")
        self.connections.append(connection)
        connection.start()
        return connection

    # for the connections

    async def endpoint(self, market: str) -> Endpoint:
        """Where to connect now; a token-fetching endpoint is asked anew each time."""
        endpoint = self.feed.endpoints[market]
        if isinstance(endpoint, str):
            return Endpoint(endpoint)
        if isinstance(endpoint, Endpoint):
            return endpoint
        base = self.options.bases.get(self.feed.name)
        return rebase_endpoint(await endpoint(self.gates.fetch), base)

    def method(self, stream: Stream) -> BookMethod:
        """How the book of this stream is kept right."""
        return self.feed.book[self.feed.market_of(stream.instrument, "book")]

    def sync(self, stream: Stream, depth: int | None) -> Sync[Any]:
        """A new state machine for a book."""
        return sync_of(self.method(stream), stream.instrument, depth)

    def first_snapshot(self, connection: Connection, stream: BookStream) -> None:
        """The subscription stands: a book kept by REST gets its snapshot even if no delta ever comes."""
        if isinstance(self.method(stream), FromRest):
            self.spawn(self._first_snapshot(connection, stream), f"{connection.name} first snapshot")

    async def _first_snapshot(self, connection: Connection, stream: BookStream) -> None:
        await asyncio.sleep(QUIET_BOOK_S)
        source = connection.carrier.sources.get(stream.key)
        if isinstance(source, BookSource) and not source.sync.live and source.need() is not None:
            self.resync(connection, stream.instrument.symbol)

    def resync(self, connection: Connection, symbol: str) -> None:
        """Get this connection's book of `symbol` a new snapshot. It was marked as asked for, so this comes once."""
        stream = self.hub.book(self.feed.name, symbol)
        source = connection.carrier.sources.get((self.feed.name, symbol, "book", ""))
        if stream is None or not isinstance(source, BookSource):
            return
        method = self.method(stream)
        if isinstance(method, FromRest):
            self.spawn(self._snapshot(connection, stream.instrument, source, method), f"{connection.name} snapshot {symbol}")
        else:
            topic = next((t for t in connection.topics.values() if stream.key in t.streams), None)
            if topic is not None and connection.socket is not None:
                connection.resubscribe(topic)

    async def _snapshot(self, connection: Connection, instrument: Instrument, source: BookSource, method: FromRest) -> None:
        read = rest(method.parse, NUM[self.options.numbers])
        ctx: Ctx[Any] = Ctx(self.feed.name, connection.market, self.symbols(connection.market), NUM[self.options.numbers])
        url = fill(method.url, instrument, "", method.depths[-1] if method.depths else None)
        carrier = connection.carrier
        await asyncio.sleep(method.delay)
        for wait in backoff(base=1.0):
            if carrier.sources.get(source.stream.key) is not source or source.sync.live:
                return
            source.sync.asked = True
            try:
                body = await self.gates.fetch("GET", url, method.weight)
                ctx.ts_recv = self.io.now()
                tick = read(body, ctx, instrument)
                if carrier.sources.get(source.stream.key) is source and not source.sync.live:
                    source.snapshot(tick)
            except (IoFailure, BadFrame) as e:
                log.warning("%s: snapshot of %s: %s", self.feed.name, instrument.symbol, e)
            if source.sync.live:
                return
            source.sync.asked = True  # ours still, until this book is live or its connection gone
            await asyncio.sleep(wait)

    def hand_over(self, old: Connection, reason: str) -> None:
        """A planned reconnect: the new connection is subscribed and whole before the old one is closed."""
        if old not in self.connections:
            return
        log.info("%s: handing over: %s", old.name, reason)
        self.connections.remove(old)
        new = self._connect(old.market)
        for topic in old.topics.values():
            twin = Topic(topic.market, topic.text, topic.depth)
            twin.streams, twin.connection = topic.streams, new
            self.topics[topic.market, topic.text] = twin
            new.add(twin)
        self.spawn(self._finish_hand_over(old, new), f"{old.name} hand-over")

    async def _finish_hand_over(self, old: Connection, new: Connection) -> None:
        deadline = self.io.monotonic() + HAND_OVER_S
        while not new.settled and self.io.monotonic() < deadline:  # noqa: ASYNC110  (what settles is spread over many streams)
            await asyncio.sleep(0.1)
        await old.retire()

    async def close(self) -> None:
        """End every connection."""
        await asyncio.gather(*(c.retire() for c in self.connections))
