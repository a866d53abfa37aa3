"""The watch on one connection: is the link alive, were subscriptions answered, does every stream still speak?

Liveness is watched per (connection, channel, symbol) from the moment of subscribing. How long a stream may be silent adapts to how
often it speaks; a stream that never spoke is not suspected (a quiet market), but for a book, which must come.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from streamer.book_stream import BookSource
from streamer.io import Socket
from streamer.spec import FromRest

if TYPE_CHECKING:
    from streamer.connection import Connection
    from streamer.topics import Topic

ACK_S = 10.0
SNAPSHOT_S = 20.0
SILENCE_FLOOR_S = 60.0
SILENCE_FACTOR = 30.0
"""A stream is stalled after so many of its own mean intervals: e^-30 for random arrivals, so only a change of habit is mistaken."""
LEAST_SPOKEN = 20


class _Habit:
    """How often one source speaks: ticks since `began`, and when it last did."""

    __slots__ = ("began", "count", "last", "strikes")

    def __init__(self, now: float, count: int) -> None:
        self.began = self.last = now
        self.count = count
        self.strikes = 0

    def silent(self, now: float, count: int) -> bool:
        """Is it silent for longer than it ever should be?"""
        if count != self.count:
            self.count, self.last, self.strikes = count, now, 0
            return False
        if count < LEAST_SPOKEN:
            return False
        mean = (self.last - self.began) / count
        return now - self.last > max(SILENCE_FLOOR_S, SILENCE_FACTOR * mean) * (self.strikes + 1)


class Watch:
    """Looks at its connection once a second."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._habits: dict[Any, _Habit] = {}
        self.stalls = 0

    async def run(self, socket: Socket) -> None:
        """Watch until cancelled. What is found is mended through the connection."""
        connection = self._connection
        io, quiet = connection.venue.io, connection.venue.feed.quiet_s
        self._habits.clear()
        pinged = 0.0
        while True:
            await asyncio.sleep(1.0)
            now = io.monotonic()
            silence = now - socket.heard()
            if silence > quiet:
                connection.end("quiet")
                return
            if silence > quiet / 2 and now - pinged > quiet / 4:
                pinged = now
                socket.ping()
            for topic in list(connection.topics.values()):
                if not self._topic(topic, now):
                    return

    def _topic(self, topic: "Topic", now: float) -> bool:
        """See to one topic. False when the connection was given up."""
        connection = self._connection
        if topic.rejected is not None:
            if not topic.fatal and now > topic.retry_at:
                connection.resubscribe(topic)
            return True
        sources = [s for key in topic.streams if (s := connection.carrier.sources.get(key)) is not None]
        if not topic.acked and any(s.count for s in sources):
            connection._acked(topic, connection.venue.io.now())
        if not topic.acked and now - topic.since > ACK_S:
            if topic.resent:
                connection.end("no_ack")
                return False
            connection.resubscribe(topic)
            topic.resent = True
            return True
        return all(self._source(topic, source, now) for source in sources)

    def _source(self, topic: "Topic", source: Any, now: float) -> bool:
        connection = self._connection
        if isinstance(source, BookSource) and not source.sync.live:
            method = connection.venue.method(source.stream)
            if topic.acked and not isinstance(method, FromRest) and now - topic.since > SNAPSHOT_S:
                if topic.resent:
                    connection.end("no_snapshot")
                    return False
                connection.resubscribe(topic)
                topic.resent = True
            return True
        habit = self._habits.get(source)
        if habit is None:
            self._habits[source] = _Habit(now, source.count)
            return True
        if not habit.silent(now, source.count):
            return True
        self.stalls += 1
        habit.strikes += 1
        ts = connection.venue.io.now()
        if isinstance(source, BookSource):
            need = source.distrust("stall", ts)
            if need is not None:
                connection.venue.resync(connection, need.symbol)
        else:
            source.stream.lost("stall", ts)
        if habit.strikes > 1:
            connection.end("stall")
            return False
        connection.resubscribe(topic)
        return True
