"""What a venue serves over REST only: its topics asked again and again, at the venue's pace. To the venue it looks like a connection.

A topic is a url. Answers go the way of frames: typed decode, the topic's own handler, the hub. One failing request is nothing; streams
are told as lost after `FAILURES` in a row, and live again with the next answer.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamer.book_stream import BookSource
from streamer.decode import rest
from streamer.errors import BadFrame, IoFailure
from streamer.hub import Carrier
from streamer.line import NUM
from streamer.spec import Ctx, Poll, Unknown
from streamer.topics import Topic

if TYPE_CHECKING:
    from streamer.venue import Venue

log = logging.getLogger(__name__)

FAILURES = 3
"""Failing requests in a row after which a polled stream counts as lost."""


def reader(poll: Poll, venue_name: str, market: str, symbols: Any, numbers: str) -> Callable[[bytes, int, Any], list[Any]]:
    """``read(body, ts_recv, instrument) -> answers`` of one topic. Raises `BadFrame`; `ctx.mem` lives as long as the reader."""
    read = rest(poll.parse, NUM[numbers])
    ctx: Ctx[Any] = Ctx(venue_name, market, symbols, NUM[numbers])

    def answers(body: bytes, ts_recv: int, instrument: Any) -> list[Any]:
        ctx.ts_recv = ts_recv
        out = read(body, ctx, instrument)
        return [] if out is None else list(out) if isinstance(out, list | tuple) else [out]

    return answers


class Poller:
    """All polled topics of one market of a venue."""

    socket = None
    reconnects = 0

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
        self._tasks[topic.text] = self.venue.spawn(self._ask(topic), f"{self.name} poll {topic.text}")

    def extend(self, topic: Topic, stream: Any) -> None:
        """A topic that is asked for already feeds one more stream."""
        self._carry(topic, stream)
        if topic.acked and stream.kind != "book":
            stream.alive(self.venue.io.now())

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

    def _carry(self, topic: Topic, stream: Any) -> None:
        if stream.key not in self.carrier.sources:
            self.venue.hub.carry(self.carrier, stream, self.venue.sync(stream, topic.depth) if stream.kind == "book" else None)

    async def _ask(self, topic: Topic) -> None:
        venue, poll = self.venue, topic.poll
        assert poll is not None  # noqa: S101  (only polled topics come here)
        read = reader(poll, venue.feed.name, self.market, venue.symbols(self.market), venue.options.numbers)
        failures = 0
        while True:
            began = venue.io.monotonic()
            try:
                body = await venue.gates.fetch("GET", topic.text, poll.weight)
                self._take(topic, body, read)
                failures = 0
            except (IoFailure, BadFrame) as e:
                failures += 1
                log.log(logging.WARNING if failures in (1, FAILURES) else logging.DEBUG, "%s: %s: %s", self.name, topic.text, e)
                if failures >= FAILURES:
                    self._lost(topic, e.reason)
            await asyncio.sleep(max(0.0, began + poll.every - venue.io.monotonic()))

    def _take(self, topic: Topic, body: bytes, read: Callable[[bytes, int, Any], list[Any]]) -> None:
        venue, now = self.venue, self.venue.io.now()
        venue.tally.frames += 1
        instrument = next(iter(topic.streams.values())).instrument if topic.streams else None
        try:
            answers = read(body, now, instrument)
        except BadFrame as e:
            venue.tally.bad_frame(e.reason, body)
            raise
        for control in self.carrier.push(answers) or ():
            if isinstance(control, Unknown):
                venue.tally.name(venue.tally.unknown, control.what)
        topic.acked = True
        for stream in topic.streams.values():
            if stream.kind != "book":
                stream.alive(now)

    def _lost(self, topic: Topic, reason: str) -> None:
        now = self.venue.io.now()
        for stream in topic.streams.values():
            source = self.carrier.sources.get(stream.key)
            if isinstance(source, BookSource):
                source.distrust(reason, now)
            else:
                stream.lost(reason, now)
