"""How books get their snapshots again: by REST, on request over the socket, or by subscribing anew. One book never disturbs another.

`Sync.asked` stays set from the asking until the book is live, so each book is asked for once. A book that falls again and again is left
alone for a while, so that it cannot eat up the venue's limits, which the others need too.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from streamer.book_stream import BookSource
from streamer.decode import rest
from streamer.errors import BadFrame, IoFailure
from streamer.gates import backoff
from streamer.line import NUM
from streamer.spec import Ctx, FromRequest, FromRest, fill

if TYPE_CHECKING:
    from streamer.session import Session
    from streamer.venue import Venue

log = logging.getLogger(__name__)

QUIET_BOOK_S = 1.0
"""A book whose deltas are held, but do not come: after so long its snapshot is asked for all the same."""
ANSWER_S = 5.0
"""A snapshot requested over the socket should be there after so long."""
FALLS, FALLS_S, HOLD_S = 5, 600.0, 30.0
"""A book that needs more snapshots than that in that time waits so long for the next (RELIABILITY D4)."""


class Snapshots:
    """Of one venue."""

    def __init__(self, venue: "Venue") -> None:
        self._venue = venue
        self._falls: dict[str, deque[float]] = {}
        self._asking: dict[BookSource, asyncio.Event] = {}
        """Whose snapshots are being asked for over the socket; set: the answer was refused, or the book fell again."""

    def first(self, session: "Session", stream: Any) -> None:
        """The subscription stands: a book whose deltas are held gets its snapshot even if no delta ever comes."""
        source = session.carrier.sources.get(stream.key)
        if isinstance(source, BookSource) and isinstance(self._venue.method(stream), FromRest | FromRequest):
            self._spawn(session, source, self._quiet(session, source))

    def resync(self, session: "Session", symbol: str) -> None:
        """Get this session's book of `symbol` a new snapshot. It was marked as asked for, so this comes once."""
        source = session.carrier.sources.get((self._venue.feed.name, symbol, "book", ""))
        if isinstance(source, BookSource) and source in self._asking:
            self._asking[source].set()
        elif isinstance(source, BookSource):
            hold = 0.0 if source.sync.renewing else self._hold(symbol)
            self._spawn(session, source, self._resync(session, source, hold))

    def forget(self, symbol: str) -> None:
        """Nobody wants this book any more."""
        self._falls.pop(symbol, None)

    def _spawn(self, session: "Session", source: BookSource, work: Coroutine[Any, Any, None]) -> None:
        self._venue.spawn(work, f"{session.connection.name} snapshot {source.stream.instrument.symbol}")

    def _hold(self, symbol: str) -> float:
        now = self._venue.io.monotonic()
        falls = self._falls.setdefault(symbol, deque(maxlen=FALLS))
        often = len(falls) == FALLS and now - falls[0] < FALLS_S
        falls.append(now)
        if often:
            log.warning("%s: the book of %s fell %d times in %.0f s: it is left alone for %.0f s",
                        self._venue.feed.name, symbol, FALLS, now - falls[0], HOLD_S)  # fmt: skip
        return HOLD_S if often else 0.0

    async def _quiet(self, session: "Session", source: BookSource) -> None:
        await asyncio.sleep(QUIET_BOOK_S)
        if _waits(session, source) and source.need() is not None:
            await self._resync(session, source, 0.0)

    async def _resync(self, session: "Session", source: BookSource, hold: float) -> None:
        stream = source.stream
        method = self._venue.method(stream)
        if isinstance(method, FromRest):
            await asyncio.sleep(hold or method.delay)
            await self._by_rest(session, source, method)
            return
        topic = next((t for t in session.connection.topics.values() if stream.key in t.streams), None)
        if topic is None:
            return
        if isinstance(method, FromRequest):
            await asyncio.sleep(hold)
            await self._by_request(session, source, lambda n: method.request(topic.text, n))
            return
        topic.reset()  # nothing is expected of it while it is left alone
        await asyncio.sleep(hold)
        if _waits(session, source) and session.connection.topics.get(topic.text) is topic:
            session.connection.resubscribe(topic)

    async def _by_rest(self, session: "Session", source: BookSource, method: FromRest) -> None:
        venue, instrument = self._venue, source.stream.instrument
        num = NUM[venue.options.numbers]
        market = session.connection.market
        read = rest(method.parse, num)
        ctx: Ctx[Any] = Ctx(venue.feed.name, market, venue.symbols(market), num)
        url = fill(method.url, instrument, "", method.depths[-1] if method.depths else None)
        told = ""
        for wait in backoff(base=1.0):
            if not _waits(session, source):
                return
            source.sync.asked = True  # ours still, until this book is live or its connection gone
            try:
                body = await venue.gates.fetch("GET", url, method.weight)
                ctx.ts_recv = venue.io.now()
                tick = read(body, ctx, instrument)
                if _waits(session, source):
                    source.snapshot(tick)
            except (IoFailure, BadFrame) as e:
                log.log(
                    logging.DEBUG if str(e) == told else logging.WARNING, "%s: snapshot of %s: %s", venue.feed.name, instrument.symbol, e
                )
                told = str(e)
            except Exception:
                log.exception("%s: snapshot of %s", venue.feed.name, instrument.symbol)
            if not _waits(session, source):
                return
            source.sync.asked = True
            await asyncio.sleep(wait)

    async def _by_request(self, session: "Session", source: BookSource, frame: Callable[[int], str]) -> None:
        """Its answer comes like any message; what is refused or lost is asked for again, by one task a book, or they would multiply."""
        again = self._asking[source] = asyncio.Event()
        try:
            for wait in backoff(base=1.0):
                socket = session.socket
                if socket is None or not _waits(session, source):
                    return
                source.sync.asked = True
                again.clear()
                try:
                    await session.commands.request(socket, frame(session.commands.next_number()))
                except Exception:
                    log.exception("%s: snapshot of %s", self._venue.feed.name, source.stream.instrument.symbol)
                with suppress(TimeoutError):
                    await asyncio.wait_for(again.wait(), ANSWER_S)
                await asyncio.sleep(wait)
        finally:
            del self._asking[source]


def _waits(session: "Session", source: BookSource) -> bool:
    """Is this still the session's book, and not live, or live and to be renewed?"""
    return session.carrier.sources.get(source.stream.key) is source and (not source.sync.live or source.sync.renewing)
