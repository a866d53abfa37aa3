"""The engine: venues at run time, what each subscriber wants of them, and the care for everything that runs in the background."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from msgspec import Struct

from streamer import registry
from streamer.errors import IoFailure, StreamerError, UsageError, nearest
from streamer.hub import Hub
from streamer.io import Io
from streamer.mailbox import Mailbox
from streamer.spec import Feed
from streamer.streams import Stream
from streamer.symbols import parse, split
from streamer.types import KINDS, Kind, Status
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


def check_kinds(kinds: Sequence[str]) -> None:
    """Raise `UsageError` for a kind that is none."""
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"there is no kind {kind!r}{nearest(kind, KINDS)} Kinds: {', '.join(KINDS)}")
    if not kinds:
        raise UsageError(f"no kinds were asked for; choose from {', '.join(KINDS)}")


class Engine:
    """Implements `subscription.Manager`. `io_of` gives the world of one exchange (a recorder wraps it)."""

    def __init__(self, io_of: Callable[[str], Io], options: Options) -> None:
        self.hub = Hub(options.sizes)
        self.options = options
        self.venues: dict[str, Venue] = {}
        self._io_of = io_of
        self._tasks: set[asyncio.Task[Any]] = set()
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
            found = self.venues[exchange] = Venue(feed, self._io_of(exchange), self.hub, self.options, self.spawn)
        return found

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

    # care for what runs in the background

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run in the background; an unexpected end is logged, never lost."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, StreamerError):
            log.error("%s ended unexpectedly", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """End every connection and task; subscriptions can still be read to their end."""
        self._closing = True
        for box in list(self._wants):
            box.finish()
        self.notify()
        await asyncio.gather(*(v.close() for v in self.venues.values()))
        while tasks := [t for t in self._tasks if t is not asyncio.current_task()]:  # an ending one may leave another behind
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for venue in self.venues.values():
            await venue.io.close()
