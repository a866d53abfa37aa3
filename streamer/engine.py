"""The engine: venues at run time, and what each subscriber wants of them."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from streamer import registry
from streamer.asks import check_kinds
from streamer.delisting import Delisting
from streamer.errors import IoFailure, StreamerError, UnknownSymbol, UsageError
from streamer.hub import Hub
from streamer.io import Io
from streamer.mailbox import Mailbox
from streamer.spec import Feed
from streamer.streams import Stream
from streamer.symbols import parse, split
from streamer.tasks import Tasks
from streamer.types import BookStale, Kind, Status
from streamer.urls import rebase_feed
from streamer.venue import Options, Venue
from streamer.wants import Want

log = logging.getLogger(__name__)


class Shape(Struct, frozen=True):
    """What a subscription wants of each of its streams."""

    kinds: Sequence[Kind] = ("trade",)
    depth: int | None = None
    interval: str = "1m"

    def wants(self, stream: str) -> list[Want]:
        """The wants for ``exchange:symbol``. Raises `BadSymbol`."""
        exchange, symbol = split(stream)
        parse(symbol)
        return [
            Want(exchange, symbol, kind, self.interval if kind == "candle" else "", self.depth if kind in ("book", "quote") else None)
            for kind in self.kinds
        ]


class Engine:
    """Implements `subscription.Manager`. `io_of` gives the world of one exchange (a recorder wraps it)."""

    def __init__(self, io_of: Callable[[str], Io], options: Options) -> None:
        self.hub = Hub(options.sizes)
        self.options = options
        self.venues: dict[str, Venue] = {}
        self._io_of = io_of
        self._tasks = Tasks()
        self.spawn = self._tasks.spawn
        self._shapes: dict[Mailbox, Shape] = {}
        self._wants: dict[Mailbox, dict[Want, Stream | StreamerError | None]] = {}
        self._changed = asyncio.Event()
        self._closing = False

    # subscribers

    def open(self, box: Mailbox, shape: Shape, streams: Sequence[str]) -> None:
        """A new subscriber. Raises `UsageError` for what is known to be wrong at once; the rest is told in-band and by `ready`."""
        check_kinds(shape.kinds)
        self._shapes[box] = shape
        self._wants[box] = {}
        box.repair = lambda key: self._repair(key, shape.depth)
        try:
            self.add(box, streams)
        except Exception:
            self.release(box)
            raise

    def add(self, box: Mailbox, streams: Sequence[str]) -> None:
        """Send these streams too. What was refused before (an unknown symbol, say) is tried again."""
        self._check_open(box)
        mine = self._wants[box]
        asked = dict.fromkeys(w for s in streams for w in self._shapes[box].wants(s))
        wants = [w for w in asked if w not in mine or isinstance(mine[w], StreamerError)]
        venues = {w.exchange: self.venue(w.exchange) for w in wants}
        for want in wants:
            mine[want] = None
        for exchange, venue in venues.items():
            self.spawn(self._serve(venue, box, [w for w in wants if w.exchange == exchange]), f"{exchange} subscribe")

    def remove(self, box: Mailbox, streams: Sequence[str]) -> None:
        """Send these no more."""
        if box not in self._wants:
            return
        for want in dict.fromkeys(w for s in streams for w in self._shapes[box].wants(s)):
            if want in self._wants[box]:
                self._drop(box, want)

    def release(self, box: Mailbox) -> None:
        """The subscriber is gone."""
        for want in list(self._wants.get(box, ())):
            self._drop(box, want)
        self._wants.pop(box, None)
        self._shapes.pop(box, None)

    def _drop(self, box: Mailbox, want: Want) -> None:
        served = self._wants[box].pop(want)
        if isinstance(served, Stream) and not self._closing:
            self.venues[want.exchange].unwant(want, box)

    def _check_open(self, box: Mailbox) -> None:
        if box.closed or box not in self._wants:
            raise UsageError("this subscription is closed; subscribe again")

    async def _serve(self, venue: Venue, box: Mailbox, wants: list[Want]) -> None:
        """Load the venue's instruments, however long that takes, then subscribe."""
        told = ""
        while waiting := self._waiting(box, wants):
            reason = await self._load(venue)
            if reason is None:
                break
            if reason != told:
                told = reason
                for want in waiting:
                    self._tell(venue, box, want, "down", reason)
        for want in self._waiting(box, wants):
            self._subscribe(venue, box, want)
        self.notify()

    def _waiting(self, box: Mailbox, wants: Sequence[Want]) -> list[Want]:
        """Those not served yet, nor taken back."""
        mine = self._wants.get(box, {})
        return [w for w in wants if w in mine and mine[w] is None]

    async def _load(self, venue: Venue) -> str | None:
        """Why the instruments could not be loaded. The venue sees to the pace at which that is tried."""
        try:
            await venue.load()
        except StreamerError as e:
            log.warning("%s: instruments: %s", venue.feed.name, e)
            return e.reason if isinstance(e, IoFailure) else str(e)
        except Exception:  # noqa: BLE001  (logged once for all who wait, by the task that loads)
            return "internal_error"
        return None

    def _subscribe(self, venue: Venue, box: Mailbox, want: Want) -> None:
        mine = self._wants[box]
        try:
            stream = venue.want(want, box)
        except StreamerError as e:
            mine[want] = e
            self._tell(venue, box, want, "rejected", str(e))
        except Exception as e:
            log.exception("%s: %s of %s could not be subscribed", want.exchange, want.kind, want.symbol)
            mine[want] = StreamerError(f"{want.exchange} has a fault: its {want.kind} of {want.symbol} cannot be subscribed: {e!r}")
            self._tell(venue, box, want, "rejected", "internal_error")
        else:
            mine[want] = stream
            stream.on_state = self.notify

    # what is listed later, or no more

    def _relisted(self, venue: Venue, leaving: Delisting) -> None:
        """The venue's list is another now. What it did not know and knows now is served; what it knows no more ends."""
        known = [(box, want, served) for box, wants in self._wants.items() for want, served in wants.items()]
        mine = [x for x in known if x[1].exchange == venue.feed.name]
        leaving.look({want.symbol for _, want, served in mine if isinstance(served, Stream)})
        there = venue.catalog.by_symbol.keys() - venue.catalog.gone
        for box, want, served in mine:
            if isinstance(served, UnknownSymbol) and want.symbol in there:
                self._subscribe(venue, box, want)
        self.notify()

    def _delist(self, venue: Venue, symbol: str) -> None:
        """End the streams of a symbol. Who had them is told, and gets them again if it is listed again."""
        log.warning("%s lists %s no more: its streams end", venue.feed.name, symbol)
        for box, wants in self._wants.items():
            for want, served in wants.items():
                if (want.exchange, want.symbol) != (venue.feed.name, symbol) or not isinstance(served, Stream):
                    continue
                if want.kind == "book" and served.live:
                    box.offer(BookStale(want.exchange, symbol, None, venue.io.now(), "delisted"))
                wants[want] = UnknownSymbol(f"{want.exchange} lists {symbol!r} no more")
                venue.unwant(want, box)
                self._tell(venue, box, want, "rejected", "delisted")
        self.notify()

    def _tell(self, venue: Venue, box: Mailbox, want: Want, state: str, reason: str) -> None:
        box.offer(Status(want.exchange, want.symbol, None, venue.io.now(), want.kind, state, reason))

    def _repair(self, key: Any, depth: int | None) -> Any:
        book = self.hub.book(key[0], key[1])
        return book.own_snapshot(depth) if book is not None else None

    # what is so

    def venue(self, exchange: str) -> Venue:
        """The venue at run time. Raises `UnknownExchange` with the nearest names, `BadFeed`, or `UsageError` for a bad url."""
        found = self.venues.get(exchange)
        if found is None:
            feed: Feed = registry.load(exchange)
            base = self.options.bases.get(exchange)
            if base is not None:
                feed = rebase_feed(feed, base)
            found = self.adopt(feed, self._io_of(exchange))
        return found

    def adopt(self, feed: Feed, io: Io) -> Venue:
        """Serve a feed by its name from now on."""
        venue = self.venues[feed.name] = Venue(feed, io, self.hub, self.options, self.spawn)
        leaving = Delisting(venue, partial(self._delist, venue))
        venue.on_listing = lambda: self._relisted(venue, leaving)
        return venue

    def pending(self, box: Mailbox) -> tuple[list[tuple[Want, str]], StreamerError | None]:
        """The wants of a subscriber that are not live, each with its state; and the first error among them. Raises `UsageError` when it is
        closed."""
        self._check_open(box)
        waiting: list[tuple[Want, str]] = []
        error: StreamerError | None = None
        for want, served in self._wants.get(box, {}).items():
            if isinstance(served, StreamerError):
                error = error or served
            elif served is None:
                waiting.append((want, "loading instruments"))
            elif served.state == "rejected":
                error = error or UsageError(f"{want.exchange} refused {want.kind} of {want.symbol}: {served.reason}")
            elif not served.live:
                waiting.append((want, served.state))
        return waiting, error

    def served(self, box: Mailbox) -> Mapping[Want, Stream | StreamerError | None]:
        """What became of each want of a subscriber: its stream, why there is none, or None while the instruments are not there."""
        return dict(self._wants.get(box, {}))

    def notify(self) -> None:
        """Something changed its state."""
        self._changed.set()

    async def changed(self) -> None:
        """Wait until something changes its state."""
        self._changed.clear()
        await self._changed.wait()

    async def close(self) -> None:
        """End every connection and task; subscriptions can still be read to their end."""
        self._closing = True
        for box in list(self._wants):
            box.finish()
        self.notify()
        await asyncio.gather(*(v.close() for v in self.venues.values()))
        await self._tasks.close()
        for venue in self.venues.values():
            await venue.io.close()
