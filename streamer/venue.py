"""One venue at run time: what is wanted of it, its topics with their reference counts, the connections that carry them."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple, replace

from streamer.book_stream import BookStream
from streamer.catalog import Cache
from streamer.connection import Connection
from streamer.decode import HANDLER_ERRORS
from streamer.errors import IoFailure, UnknownSymbol
from streamer.gates import Gates
from streamer.hub import Hub
from streamer.io import Io
from streamer.line import Numbers, Tally, proof_of, sync_of
from streamer.listing import Listing
from streamer.mailbox import Mailbox, StreamKey
from streamer.poller import Poller
from streamer.silence import Silence
from streamer.snapshots import Snapshots
from streamer.spec import BookMethod, Endpoint, Feed, Symbols
from streamer.streams import Stream
from streamer.sync import Sync
from streamer.topics import Topic
from streamer.types import Instrument
from streamer.urls import rebase, rebase_endpoint
from streamer.wants import Plan, Want, plan

log = logging.getLogger(__name__)


class Options(Struct, frozen=True):
    """What the user chose for all venues. `bases`: a base url by exchange; `cache`: the folder of instrument lists and of bans."""

    numbers: Numbers = "float"
    sizes: str = "base"
    bases: dict[str, str] = {}
    cache: Path | None = None


class Venue:
    """`load`, `want` and `unwant` are the engine's; the rest is for its connections. `leaving` are those being replaced."""

    def __init__(self, feed: Feed, io: Io, hub: Hub, options: Options, spawn: Callable[[Coroutine[Any, Any, Any], str], Any]) -> None:
        self.feed = feed
        self.io = io
        self.hub = hub
        self.options = options
        folder = None if feed.name in options.bases else options.cache
        self.gates = Gates(io, feed.limits, Silence(folder, feed.name))
        self.listing = Listing(feed, io, self.gates, Cache(folder), spawn, self._instruments_changed)
        self.catalog = self.listing.catalog
        self.snapshots = Snapshots(self)
        self.tally = Tally()
        self.topics: dict[tuple[str, str], Topic] = {}
        self.feeding: dict[StreamKey, Topic] = {}
        self.connections: list[Connection] = []
        self.leaving: list[Connection] = []
        self.pollers: dict[str, Poller] = {}
        self.boxes: dict[Mailbox, int] = {}
        self.on_relist: Callable[[], None] = lambda: None
        """Told when a later list of instruments differs from what was known."""
        self.on_listing: Callable[[], None] = lambda: None
        """The engine's, and told before."""
        self._spawn = spawn
        self._names = 0

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run in the background, under the engine's care."""
        task: asyncio.Task[Any] = self._spawn(work, name)
        return task

    # instruments

    async def load(self) -> None:
        """Wait until the instruments are there; they are loaded once. Raises `IoFailure`."""
        await self.listing.load()

    def symbols(self, market: str) -> Symbols:
        """Raw ids of a market; the same object for ever, so that a refresh reaches every connection."""
        return self.catalog.tables[market]

    def _instruments_changed(self, changed: Sequence[Instrument]) -> None:
        for instrument in changed:
            for box in list(self.boxes):
                box.offer(instrument)
        self.hub.relist(changed)
        self.on_listing()
        self.on_relist()

    # what is wanted

    def want(self, want: Want, box: Mailbox) -> Stream:
        """Send a stream to a mailbox, subscribing at the venue what is not subscribed yet. Raises `UsageError` with the remedy."""
        instrument = self._find(want.symbol)
        topic = plan(self.feed, instrument, want)
        if topic is None:
            topic = plan(self.feed, instrument, replace(want, kind="book"))
            book = self.hub.stream(instrument, "book")
            self._feed_stream(topic, book)
            stream = self.hub.stream(instrument, want.kind)
            stream.attach(box)
            if isinstance(book, BookStream):
                book.quote(stream)
        else:
            stream = self.hub.stream(instrument, want.kind, want.interval)
            self._feed_stream(topic, stream)
            stream.attach(box, want.depth if want.kind == "book" else None)
        self.boxes[box] = self.boxes.get(box, 0) + 1
        return stream

    def _find(self, symbol: str) -> Instrument:
        try:
            if symbol in self.catalog.gone:
                raise UnknownSymbol(f"{self.feed.name} lists {symbol!r} no more")
            return self.catalog.find(symbol)
        except UnknownSymbol:
            self.listing.unknown()  # listed since we looked, perhaps
            raise

    def _feed_stream(self, planned: Plan | None, stream: Stream) -> None:
        if planned is None:
            return
        if isinstance(stream, BookStream):
            stream.proof = proof_of(self.method(stream))
        topic = self.topics.get((planned.market, planned.text)) or Topic(*astuple(planned))
        old = self.feeding.get(stream.key)
        if old is topic or (old is not None and (old.depth or 0) >= (topic.depth or 0)):
            return
        if old is not None:
            self._starve(old, stream)  # a deeper book was asked for: the shallow topic gives way
        topic.streams[stream.key] = stream
        self.feeding[stream.key] = topic
        if topic.connection is None:
            self.topics[topic.market, topic.text] = topic
            topic.connection = self._room(topic.market) if topic.poll is None else self._poller(topic.market)
            topic.connection.add(topic)
        else:
            topic.connection.extend(topic, stream)
        if old is not None:
            self._retire_if_empty(old.connection)

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
            self.hub.unquote(book)
            stream = book
        topic = self.feeding.get(stream.key)
        if not stream.wanted and topic is not None:
            self._starve(topic, stream)
            self._retire_if_empty(topic.connection)
            self.snapshots.forget(want.symbol)

    def _starve(self, topic: Topic, stream: Stream) -> None:
        del topic.streams[stream.key], self.feeding[stream.key]
        connection: Connection | Poller = topic.connection
        self.hub.uncarry(connection.carrier, stream, self.io.now())
        if not topic.streams:
            del self.topics[topic.market, topic.text]
            connection.remove(topic)

    def _retire_if_empty(self, connection: Connection) -> None:
        if not connection.topics and connection in self.connections:
            self.connections.remove(connection)
            self.spawn(connection.retire(), f"{connection.name} retire")

    def _room(self, market: str) -> Connection:
        most = self.feed.limits.topics_per_line
        found = next((c for c in self.connections if c.market == market and len(c.topics) < most), None)
        return found or self._connect(market)

    def _poller(self, market: str) -> Poller:
        found = self.pollers.get(market)
        if found is None:
            found = self.pollers[market] = Poller(self, market, f"{self.feed.name}/{market} polls")
        return found

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

        async def fetch(method: str, url: str) -> bytes:
            return await self.gates.fetch(method, url if base is None else rebase(url, base))

        try:
            return rebase_endpoint(await endpoint(fetch), base)
        except HANDLER_ERRORS as e:
            raise IoFailure(f"{self.feed.name}: the answer does not tell where to connect: {type(e).__name__}: {e}", "bad_answer") from None

    def method(self, stream: Stream) -> BookMethod:
        """How the book of this stream is kept right."""
        return self.feed.book[self.feed.market_of(stream.instrument, "book")]

    def sync(self, stream: Stream, depth: int | None) -> Sync[Any]:
        """A new state machine for a book."""
        return sync_of(self.method(stream), stream.instrument, depth)

    def hand_over(self, old: Connection, reason: str) -> None:
        """Replace a connection without a hole: the new one is subscribed and whole before the old one is closed."""
        if old not in self.connections:
            return
        log.info("%s: handing over: %s", old.name, reason)
        self.connections.remove(old)
        self.leaving.append(old)
        old.leaving = True
        new = self._connect(old.market)
        for topic in old.topics.values():
            twin = topic.twin(new)
            self.topics[topic.market, topic.text] = twin
            self.feeding.update(dict.fromkeys(twin.streams, twin))
            new.add(twin)
        self.spawn(self._finish_hand_over(old), f"{old.name} hand-over")

    async def _finish_hand_over(self, old: Connection) -> None:
        """However long it takes, the old connection stays until it is not needed any more, or ends by itself."""
        while old.running and any(self._needed(old, topic) for topic in old.topics.values()):  # noqa: ASYNC110  (spread over many streams)
            await asyncio.sleep(0.1)
        await old.retire()
        self.leaving.remove(old)

    def _needed(self, old: Connection, topic: Topic) -> bool:
        """Does the old connection bring something of this topic that no newer one brings?"""
        now = self.topics.get((topic.market, topic.text))
        if now is None:
            return False  # wanted no more
        before, after = old.carrier.sources, now.connection.carrier.sources
        return any(k in before and before[k].live and not (k in after and after[k].live) for k in topic.streams)

    async def close(self) -> None:
        """End every connection."""
        carriers: list[Connection | Poller] = [*self.connections, *self.leaving, *self.pollers.values()]
        await asyncio.gather(*(c.retire() for c in carriers))
