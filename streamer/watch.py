"""The watch on one session: is the link alive, were subscriptions answered, does every stream still speak?

Liveness is watched per (connection, channel, symbol) from the moment of subscribing. How long a stream may be silent adapts to how
often it speaks; a stream that never spoke is not suspected (a quiet market), but for a book, which must come. What is found is mended
step by step: subscribe again, then replace the connection (the old one stays until the new one is whole, so that nobody else suffers),
then leave that one topic alone for a while.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from streamer.book_stream import BookSource
from streamer.io import Socket
from streamer.spec import FromStream, FullRefresh

if TYPE_CHECKING:
    from streamer.session import Session
    from streamer.topics import Topic

ACK_S = 10.0
SNAPSHOT_S = 20.0
SILENCE_FLOOR_S = 60.0
SILENCE_FACTOR = 30.0
"""A stream is stalled after so many of its own mean intervals: e^-30 for random arrivals, so only a change of habit is mistaken."""
LONGEST_FACTOR = 3.0
"""And after so many times its longest silence: trades come in clusters."""
LEAST_SPOKEN = 20


class _Habit:
    """How often one source speaks: ticks since `began`, and when it last did."""

    __slots__ = ("began", "count", "last", "longest", "strikes")

    def __init__(self, now: float, count: int) -> None:
        self.began = self.last = now
        self.count = count
        self.longest = 0.0
        self.strikes = 0

    def rest(self, now: float) -> None:
        """Nothing is expected of it for now."""
        self.last, self.strikes = now, 0

    def silent(self, now: float, count: int) -> bool:
        """Is it silent for longer than it ever should be?"""
        if count != self.count:
            self.longest = max(self.longest, now - self.last)
            self.count, self.last, self.strikes = count, now, 0
            return False
        if count < LEAST_SPOKEN:
            return False
        mean = (self.last - self.began) / count
        return now - self.last > max(SILENCE_FLOOR_S, SILENCE_FACTOR * mean, LONGEST_FACTOR * self.longest) * (self.strikes + 1)


class Watch:
    """Looks at its session once a second."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._connection = session.connection
        self._venue = session.venue
        self._habits: dict[Any, _Habit] = {}

    async def run(self, socket: Socket) -> None:
        """Watch until the session is given up."""
        io, quiet = self._venue.io, self._venue.feed.quiet_s
        pinged = 0.0
        while not self._session.over:
            await asyncio.sleep(1.0)
            now = io.monotonic()
            silence = now - socket.heard()
            if silence > quiet:
                self._session.end("quiet")
            if silence > quiet / 2 and now - pinged > quiet / 4:
                pinged = now
                socket.ping()
            if len(self._habits) > 2 * len(self._session.carrier.sources) + 100:
                self._habits = {s: h for s in self._session.carrier.sources.values() if (h := self._habits.get(s)) is not None}
            for topic in list(self._connection.topics.values()):
                if not self._session.over and not self._connection.leaving:
                    self._topic(topic, now)

    def _topic(self, topic: "Topic", now: float) -> None:
        session = self._session
        if (topic.rejected is not None or (not topic.acked and topic.since is not None)) and session.brought(topic) > topic.heard:
            session.acked(topic, self._venue.io.now())  # data is an answer too
        if topic.rejected is not None:
            if not topic.fatal and now > topic.retry_at:
                self._connection.repeat(topic)
            return
        if topic.since is None:
            return  # the command waits for its turn
        sources = [s for key in topic.streams if (s := session.carrier.sources.get(key)) is not None]
        if not topic.acked:
            if now - topic.since > ACK_S:
                self._unanswered(topic, "no_ack")
        elif any(self._lacks_snapshot(s) for s in sources):
            if now - topic.since > SNAPSHOT_S:
                self._unanswered(topic, "no_snapshot")
        else:
            topic.renewed = False
            stalled = [s for s in sources if self._stalled(s, now)]
            if stalled:
                self._mend(topic, stalled)

    def _lacks_snapshot(self, source: Any) -> bool:
        """Is it a book whose snapshot should come with the subscription?"""
        if not isinstance(source, BookSource) or source.sync.live:
            return False
        return isinstance(self._venue.method(source.stream), FromStream | FullRefresh)

    def _unanswered(self, topic: "Topic", reason: str) -> None:
        if topic.resent:
            if topic.renewed and any(s.live for s in self._session.carrier.sources.values()):
                self._connection.refuse(topic, reason)  # a new connection did not help, and it is not the connection
                return
            for other in self._connection.topics.values():
                other.renewed = other.renewed or other.resent
            self._connection.renew(reason)
            return
        if reason == "no_ack":
            self._connection.repeat(topic)
        else:
            self._connection.resubscribe(topic)
        topic.resent = True

    def _stalled(self, source: Any, now: float) -> bool:
        """Has it just fallen silent? Then it is told."""
        if isinstance(source, BookSource) and not source.sync.live:
            return False
        habit = self._habits.setdefault(source, _Habit(now, self._spoken(source)))
        if not source.stream.instrument.active:
            habit.rest(now)  # trading is halted, or over: no connection would bring more
            return False
        if not habit.silent(now, self._spoken(source)):
            return False
        self._venue.listing.unknown()  # halted or delisted since we looked, perhaps
        self._connection.stalls += 1
        habit.strikes += 1
        ts = self._venue.io.now()
        if isinstance(source, BookSource):
            source.distrust("stall", ts)
            source.sync.asked = isinstance(self._venue.method(source.stream), FromStream | FullRefresh)  # others once it is subscribed
        else:
            source.subscribed = False
            if source is source.stream.leader:
                source.stream.lost("stall", ts)
        return True

    def _mend(self, topic: "Topic", stalled: list[Any]) -> None:
        if any(self._habits[s].strikes > 1 for s in stalled):
            self._connection.renew("stall")
        else:
            self._connection.resubscribe(topic)

    def _spoken(self, source: Any) -> int:
        """Ticks that it brought; of a book that gets its snapshots only when asked, the changes."""
        if isinstance(source, BookSource) and not isinstance(self._venue.method(source.stream), FullRefresh) and not source.sync.repeats:
            return source.sync.applied
        count: int = source.count
        return count
