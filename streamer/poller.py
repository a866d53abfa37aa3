"""What a venue serves over REST only: its topics asked again and again, at the venue's pace. To the venue it looks like a connection.

A topic is a url. Answers go the way of frames: typed decode, the topic's own handler, the hub. One failing request is nothing; after
`FAILURES` in a row its streams are told as lost, and live again with the next answer. A url that the venue knows nothing of is told as
rejected and asked for slowly.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from streamer.answers import several
from streamer.book_stream import BookSource
from streamer.decode import rest
from streamer.errors import BadFrame, IoFailure
from streamer.gates import backoff
from streamer.hub import Carrier
from streamer.line import NUM, Numbers
from streamer.spec import Ctx, Poll, Symbols, Unknown
from streamer.streams import TradeSource
from streamer.topics import RETRY_REJECTED_S, Topic

if TYPE_CHECKING:
    from streamer.venue import Venue

log = logging.getLogger(__name__)

FAILURES = 3
"""Failing requests in a row after which a polled stream counts as lost."""
REFUSALS = ("http_400", "http_404")
"""There is no such thing. Believed at once of a url that never gave an answer, else after `FAILURES`."""


Reader: TypeAlias = Callable[[bytes, int, Any], list[Any]]
"""``read(body, ts_recv, instrument) -> answers``. Raises `BadFrame`."""


def reader(poll: Poll, exchange: str, market: str, symbols: Symbols, numbers: Numbers) -> Reader:
    """How the answers of one polled topic are read. `ctx.mem` lives as long as the reader."""
    read = rest(poll.parse, NUM[numbers])
    ctx: Ctx[Any] = Ctx(exchange, market, symbols, NUM[numbers])
    single = "{" in poll.url

    def answers(body: bytes, ts_recv: int, instrument: Any) -> list[Any]:
        ctx.ts_recv = ts_recv
        out = read(body, ctx, instrument if single else None)
        return list(several(out))

    return answers


class Poller:
    """All polled topics of one market of a venue."""

    def __init__(self, venue: "Venue", market: str, name: str) -> None:
        self.venue = venue
        self.market = market
        self.name = name
        self.topics: dict[str, Topic] = {}
        self.carrier = Carrier(name)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def add(self, topic: Topic) -> None:
        """Ask for this topic too."""
        self.topics[topic.text] = topic
        topic.reset()
        for stream in topic.streams.values():
            self._carry(topic, stream)
        self._tasks[topic.text] = self.venue.spawn(_Asking(self, topic).run(), f"{self.name} {topic.text}")

    def extend(self, topic: Topic, stream: Any) -> None:
        """A topic that is asked for already feeds one more stream."""
        self._carry(topic, stream)
        if topic.rejected is not None:
            stream.status("rejected", topic.rejected, self.venue.io.now())
        elif topic.acked:
            self.stands(stream)

    def remove(self, topic: Topic) -> None:
        """Ask for this topic no more."""
        if self.topics.pop(topic.text, None) is not None:
            self._tasks.pop(topic.text).cancel()

    async def retire(self) -> None:
        """End for good."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.venue.hub.lose(self.carrier, "retired", self.venue.io.now())

    def stands(self, stream: Any) -> None:
        """The venue answers for this stream. (A book is live by its own snapshots.)"""
        source = self.carrier.sources.get(stream.key)
        if source is not None and not isinstance(source, BookSource):
            source.subscribed = True
            stream.alive(self.venue.io.now())

    def lost(self, topic: Topic, reason: str, state: str) -> None:
        """No answers come; what that makes of its streams is told once."""
        now = self.venue.io.now()
        for stream in topic.streams.values():
            source = self.carrier.sources.get(stream.key)
            if isinstance(source, BookSource):
                source.distrust("bad_frame" if reason == "bad_frame" else "disconnect", now)
            elif source is not None:
                source.subscribed = False
                if isinstance(source, TradeSource) and source.shown is not None:
                    stream.paused(reason, now, state)
                elif stream.live:
                    stream.lost(reason, now, state)
            if not stream.live and stream.state != "rejected":
                stream.status(state, reason, now)

    def refused(self, topic: Topic, reason: str) -> None:
        """The venue knows no such url."""
        log.warning("%s: %s refused: %s", self.name, topic.text, ascii(reason))
        topic.reject(reason, False, self.venue.io.monotonic())
        if topic.acked:
            self.lost(topic, "rejected", "stale")
        for stream in topic.streams.values():
            stream.status("rejected", reason, self.venue.io.now())

    def silenced(self, seconds: float) -> None:
        """The venue ordered silence: whatever would have been asked for several times meanwhile is lost."""
        for topic in self.topics.values():
            if topic.poll is not None and seconds > FAILURES * topic.poll.every:
                self.lost(topic, "rate_limited", "stale" if topic.acked else "down")

    def _carry(self, topic: Topic, stream: Any) -> None:
        if stream.key not in self.carrier.sources:
            self.venue.hub.carry(self.carrier, stream, self.venue.sync(stream, topic.depth) if stream.kind == "book" else None)


class _Asking:
    """One topic's questions, until cancelled."""

    def __init__(self, poller: Poller, topic: Topic) -> None:
        poll = topic.poll
        assert poll is not None  # noqa: S101  (only polled topics come here)
        self._poller = poller
        self._venue = venue = poller.venue
        self._topic = topic
        self._poll = poll
        self._read = reader(poll, venue.feed.name, poller.market, venue.symbols(poller.market), venue.options.numbers)
        self._failures = 0
        self._waits: Iterator[float] = backoff(base=1.0)

    async def run(self) -> None:
        io = self._venue.io
        while True:
            self._heed_silence()
            began = io.monotonic()
            wait = await self._ask()
            await asyncio.sleep(max(0.0, began + wait - io.monotonic()))

    def _heed_silence(self) -> None:
        """Whoever it was that the venue told: the gates let nobody pass."""
        silence = self._venue.gates.silent_until - self._venue.io.monotonic()
        if silence > 0:
            self._poller.silenced(silence)

    async def _ask(self) -> float:
        """Ask once; when to ask next, in seconds."""
        try:
            body = await self._venue.gates.fetch("GET", self._topic.text, self._poll.weight)
            self._take(body)
        except (IoFailure, BadFrame) as e:
            return self._failed(e)
        except Exception as e:
            log.log(logging.DEBUG if self._failures else logging.ERROR, "%s: an answer to %s could not be handled",
                    self._poller.name, self._topic.text, exc_info=e)  # fmt: skip
            return self._lose("internal_error")
        self._failures, self._waits = 0, backoff(base=1.0)
        return self._poll.every

    def _take(self, body: bytes) -> None:
        venue, topic = self._venue, self._topic
        venue.tally.frames += 1
        instrument = next((stream.instrument for stream in topic.streams.values()), None)
        try:
            answers = self._read(body, venue.io.now(), instrument)
        except BadFrame as e:
            if venue.tally.bad_answer(e, body):
                venue.listing.unknown()
            raise
        topic.acked, topic.rejected = True, None
        for stream in topic.streams.values():
            self._poller.stands(stream)
        for control in self._poller.carrier.push(answers) or ():
            if isinstance(control, Unknown):
                venue.tally.name(venue.tally.unknown, control.what)

    def _failed(self, error: IoFailure | BadFrame) -> float:
        topic, poller = self._topic, self._poller
        level = logging.WARNING if self._failures in (0, FAILURES - 1) else logging.DEBUG
        if error.reason in REFUSALS and (not topic.acked or self._failures >= FAILURES - 1):
            self._failures += 1
            poller.refused(topic, str(error))
            return RETRY_REJECTED_S
        log.log(level, "%s: %s", poller.name, error)
        return self._lose("bad_frame" if isinstance(error, BadFrame) else error.reason, at_once=False)

    def _lose(self, reason: str, at_once: bool = True) -> float:
        self._failures += 1
        if not at_once and self._failures < FAILURES:
            return self._poll.every
        self._poller.lost(self._topic, reason, "stale" if self._topic.acked else "down")
        return max(self._poll.every, next(self._waits))
