"""One connection to one market of a venue: a session after the other, for ever, and the topics that each of them carries.

No feed can undo what is promised here (DESIGN section 7): full-jitter backoff that forgets only after 60 healthy seconds; subscribers
hear of a loss before the first retry; sends and connects pass the gates.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from streamer.errors import IoFailure
from streamer.gates import backoff
from streamer.hub import Carrier
from streamer.session import Session
from streamer.topics import Topic

if TYPE_CHECKING:
    from streamer.venue import Venue

log = logging.getLogger(__name__)

HEALTHY_S = 60.0
REFUSED_S = 300.0
"""Least wait after 403 or 451: the venue does not want us here, asking faster does not help."""


class Connection:
    """`topics` are those it should carry. `leaving`: another takes over from it, so its end is for good. `down`: why it cannot connect."""

    def __init__(self, venue: "Venue", market: str, name: str) -> None:
        self.venue = venue
        self.market = market
        self.name = name
        self.topics: dict[str, Topic] = {}
        self.session: Session | None = None
        self.leaving = False
        self.down: str | None = None
        self.reconnects = self.stalls = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect."""
        self._task = self.venue.spawn(self._run(), f"{self.name} connection")

    @property
    def running(self) -> bool:
        """Is it up, or will it come again?"""
        return self._task is not None and not self._task.done()

    @property
    def carrier(self) -> Carrier:
        """What it brings now."""
        return self.session.carrier if self.session is not None else Carrier(self.name)

    # topics

    def add(self, topic: Topic) -> None:
        """Carry this topic too."""
        self.topics[topic.text] = topic
        topic.reset()
        for stream in topic.streams.values():
            if self.down is not None and not stream.live:
                stream.status("down", self.down, self.venue.io.now())
        if self.session is not None:
            self._take(self.session, topic)

    def extend(self, topic: Topic, stream: Any) -> None:
        """A topic that is carried already feeds one more stream."""
        if self.session is None:
            return
        self.session.carry(topic, stream)
        if topic.acked and stream.kind == "book":
            self.resubscribe(topic)  # for its snapshot
        elif topic.acked:
            self.session.stands(stream, self.venue.io.now())

    def remove(self, topic: Topic) -> None:
        """Carry this topic no more."""
        if self.topics.pop(topic.text, None) is not None and self.session is not None:
            self.session.commands.see_to([topic.text])

    def resubscribe(self, topic: Topic) -> None:
        """Unsubscribe and subscribe, which makes the venue send a snapshot."""
        topic.reset()
        if self.session is not None:
            self.session.commands.see_to([topic.text])

    def repeat(self, topic: Topic) -> None:
        """Subscribe once more what was refused or never answered."""
        topic.reset()
        if self.session is not None:
            self.session.commands.repeat(topic.text)

    def refuse(self, topic: Topic, reason: str, fatal: bool = False) -> None:
        """The venue does not give us this topic: tell, and try again slowly unless it is `fatal`."""
        log.warning("%s: %s refused: %s", self.name, topic.text, ascii(reason))
        topic.reject(reason, fatal, self.venue.io.monotonic())
        if self.session is not None:
            self.session.commands.refused(topic.text)
            topic.heard = self.session.brought(topic)
        ts = self.venue.io.now()
        for stream in topic.streams.values():
            source = self.carrier.sources.get(stream.key)
            if source is not None:
                source.subscribed = False
            if not any(s.live for s in stream.sources.values()):
                if stream.live:
                    stream.lost("rejected", ts)
                stream.status("rejected", reason, ts)

    def renew(self, reason: str) -> None:
        """It is not what it should be: have it replaced, or, when nothing on it is live, close it and come again."""
        if any(s.live for s in self.carrier.sources.values()):
            self.venue.hand_over(self, reason)
        elif self.session is not None:
            self.session.end(reason)

    # its life

    async def retire(self) -> None:
        """Close for good."""
        self.leaving = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._forget("retired", "connecting")

    async def _run(self) -> None:
        delays = backoff()
        while True:
            least = stood = 0.0
            try:
                reason, stood = await self._one()
                self._forget(reason)
            except IoFailure as e:
                log.log(logging.DEBUG if e.reason == self.down else logging.WARNING, "%s: %s", self.name, e)
                self.venue.gates.refused(e.reason)
                least = REFUSED_S if e.reason in ("http_403", "http_451") else 0.0
                self._forget(e.reason, "down")
                self._tell_down(e.reason)
            except Exception:
                log.exception("%s ended unexpectedly, and will be made anew", self.name)
                self._forget("internal_error", "down")
                self._tell_down("internal_error")
            if self.leaving:
                return
            if stood > HEALTHY_S:
                delays = backoff()
            self.reconnects += 1
            await asyncio.sleep(max(least, next(delays)))

    async def _one(self) -> tuple[str, float]:
        """One session: why it ended, and for how many seconds it was healthy."""
        venue = self.venue
        if venue.gates.silent:
            self._tell_down("rate_limited")
        await venue.gates.connect()
        endpoint = await venue.endpoint(self.market)
        session = self.session = Session(self)
        for topic in self.topics.values():
            topic.reset()
            self._take(session, topic)
        return await session.run(endpoint), session.stood

    def _take(self, session: Session, topic: Topic) -> None:
        for stream in topic.streams.values():
            session.carry(topic, stream)
        session.commands.see_to([topic.text])

    def opened(self) -> None:
        """The socket is there."""
        self.down = None

    def _forget(self, reason: str, state: str = "stale") -> None:
        """Tell everybody what is lost, before the first retry."""
        session, self.session = self.session, None
        if session is not None:
            session.forget(reason, state)

    def _tell_down(self, reason: str) -> None:
        """What could not even be connected is down."""
        self.down = reason
        for stream in [s for t in self.topics.values() if t.rejected is None for s in t.streams.values()]:
            if not stream.live:
                stream.status("down", reason, self.venue.io.now())
