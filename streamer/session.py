"""One socket from its opening to its end, with all that is thrown away with it: routes, books, the handlers' memory, commands, watch."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streamer.commands import Commands
from streamer.errors import BadFrame
from streamer.hub import Carrier
from streamer.io import Socket
from streamer.line import Line
from streamer.spec import Ack, Endpoint, Ready, Reject, Reply, Restart, UnknownId
from streamer.streams import Need
from streamer.topics import Topic
from streamer.watch import Watch

if TYPE_CHECKING:
    from streamer.connection import Connection

log = logging.getLogger(__name__)

READY_S = 10.0
BAD_FRAMES = 10
BAD_FRAMES_S = 60.0
YOUNG_S = 60.0
"""A venue that asks a connection of less than this age to leave is not obeyed: it could go on for ever."""


class Session:
    """`commands` may be given before the socket is there; they are sent once the venue is ready."""

    def __init__(self, connection: "Connection") -> None:
        venue = connection.venue
        self.connection = connection
        self.venue = venue
        self.carrier = Carrier(connection.name)
        self.commands = Commands(venue.feed, connection.topics, self._on_sent)
        self.socket: Socket | None = None
        self.stood = 0.0
        """Seconds from its opening to the last sign of life."""
        self._line: Line | None = Line(
            venue.feed, connection.market, venue.symbols(connection.market), venue.options.numbers, self.carrier, venue.tally
        )
        self._opened = venue.io.monotonic()
        self._ready = asyncio.Event()
        self._bad: deque[float] = deque(maxlen=BAD_FRAMES + 1)
        self._early: list[str | bytes] = []
        self._ending = ""
        self._reactions: dict[type, Callable[[Any, int], None]] = {
            Need: self._need, Reply: self._reply, Ready: self._on_ready, Ack: self._on_ack, Reject: self._on_reject,
            Restart: self._on_restart, UnknownId: self._on_unknown_id, BadFrame: self._on_bad,
        }  # fmt: skip

    async def run(self, endpoint: Endpoint) -> str:
        """Connect and stay until the end, the reason of which is given. Raises `IoFailure` when there is no connecting."""
        io = self.venue.io
        socket = await io.connect(endpoint, self._on_frame, max_frame=self.venue.feed.limits.frame_bytes)
        self.socket, self._opened = socket, io.monotonic()
        self.connection.opened()
        try:
            async with asyncio.TaskGroup() as group:
                helpers = self._tell(socket), self._ping(socket, endpoint), Watch(self).run(socket), self._age()
                tasks = [group.create_task(work, name=f"{self.connection.name} helper") for work in helpers]
                if self._ending:
                    await socket.close()
                closed = await socket.wait_closed()
                if not self.over:
                    self._ending = closed.reason
                    self.forget(closed.reason)
                for task in tasks:
                    task.cancel()
        finally:
            self.stood = socket.heard() - self._opened
            await socket.close()
        log.info("%s: connection ended: %s %s %s", self.connection.name, self._ending, closed.code or "", ascii(closed.text))
        return self._ending

    @property
    def over(self) -> bool:
        """Was it given up?"""
        return self._line is None

    def end(self, reason: str) -> None:
        """Close the socket, and believe nothing that still comes from it."""
        if self._line is None:
            return
        self._ending = reason
        self.forget(reason)
        if self.socket is not None:
            self.venue.spawn(self.socket.close(), f"{self.connection.name} close")

    def forget(self, reason: str, state: str = "stale") -> None:
        """Nothing that it brought is right any more; `state` is what that makes of the streams."""
        self._line = None
        self.venue.hub.lose(self.carrier, reason, self.venue.io.now(), state)

    def carry(self, topic: Topic, stream: Any) -> None:
        """From now on it brings this stream."""
        if self._line is not None and stream.key not in self.carrier.sources:
            self.venue.hub.carry(self.carrier, stream, self.venue.sync(stream, topic.depth) if stream.kind == "book" else None)

    def stands(self, stream: Any, ts: int) -> None:
        """The venue sends this stream here."""
        if stream.kind == "book":
            self.venue.snapshots.first(self, stream)
            return
        source = self.carrier.sources.get(stream.key)
        if source is not None:
            source.subscribed = True
            stream.alive(ts)

    def brought(self, topic: Topic) -> int:
        """Ticks that came of a topic."""
        return sum(source.count for key in topic.streams if (source := self.carrier.sources.get(key)) is not None)

    def acked(self, topic: Topic, ts: int) -> None:
        """The subscription stands."""
        topic.acked, topic.rejected = True, None
        self.commands.stands(topic.text)
        for stream in topic.streams.values():
            self.stands(stream, ts)

    # frames

    def _on_frame(self, data: bytes, ts_recv: int) -> None:
        line = self._line
        if line is None:
            return
        try:
            back = line.on_frame(data, ts_recv)
            if back is not None:
                for item in back:
                    self._react(item, ts_recv)
        except Exception:
            log.exception("%s: a frame could not be handled: %s", self.connection.name, ascii(data[:200]))
            self.end("internal_error")

    def _react(self, item: Any, ts: int) -> None:
        do = self._reactions.get(item.__class__)
        if do is not None:
            do(item, ts)

    def _need(self, need: Need, ts: int) -> None:
        self.venue.snapshots.resync(self, need.symbol)

    def _reply(self, reply: Reply, ts: int) -> None:
        if self.socket is not None:
            self.socket.send(reply.frame)
        else:
            self._early.append(reply.frame)

    def _on_ready(self, ready: Ready, ts: int) -> None:
        self._ready.set()

    def _on_ack(self, ack: Ack, ts: int) -> None:
        if ack.id is not None:
            self.commands.called(str(ack.key), ack.id)
        for topic in self.commands.named(ack.key):
            self.acked(topic, ts)

    def _on_reject(self, reject: Reject, ts: int) -> None:
        topics = self.commands.named(reject.key)
        if isinstance(reject.key, int) and len(topics) > 1 and not reject.each:
            for topic in topics:
                topic.reset()
            self.commands.halve([t.text for t in topics])
            return
        for topic in topics:
            self.connection.refuse(topic, reject.reason, reject.fatal)

    def _on_restart(self, restart: Restart, ts: int) -> None:
        if not restart.planned:
            self.end(restart.reason)
        elif self.venue.io.monotonic() - self._opened > YOUNG_S:
            self.venue.hand_over(self.connection, restart.reason)
        else:
            log.info("%s: asked to leave as soon as it came (%s); it stays", self.connection.name, ascii(restart.reason))

    def _on_unknown_id(self, error: UnknownId, ts: int) -> None:
        self.venue.listing.unknown()

    def _on_bad(self, error: BadFrame, ts: int) -> None:
        """More than ten frames in a minute that make no sense: this connection is not what we think it is."""
        now = self.venue.io.monotonic()
        self._bad.append(now)
        if len(self._bad) > BAD_FRAMES and now - self._bad[0] < BAD_FRAMES_S:
            self.end("bad_frames")

    def _on_sent(self, topic: Topic) -> None:
        topic.since = self.venue.io.monotonic()
        topic.heard = self.brought(topic)
        if not self.venue.feed.acks:
            self.acked(topic, self.venue.io.now())

    # helpers, which run as long as the socket is open; an unexpected end of one ends the session

    async def _tell(self, socket: Socket) -> None:
        """Greet, then send commands."""
        for frame in (*self.venue.feed.hello, *self._early):
            socket.send(frame)
        if self.venue.feed.await_ready:
            try:
                async with asyncio.timeout(READY_S):
                    await self._ready.wait()
            except TimeoutError:
                self.end("never_ready")
                return
        await self.commands.run(socket)

    async def _ping(self, socket: Socket, endpoint: Endpoint) -> None:
        ping = self.venue.feed.ping
        every = endpoint.ping_every or (ping.every if ping is not None else self.venue.feed.quiet_s / 2)
        while True:
            await asyncio.sleep(every)
            if ping is None or ping.frame is None:
                socket.ping()
            else:
                socket.send(ping.frame)

    async def _age(self) -> None:
        """Renew the connection before the venue cuts it, not all in the same minute."""
        life = self.venue.feed.limits.life_s
        if life is not None:
            await asyncio.sleep(life * random.uniform(0.92, 0.97))
            self.venue.hand_over(self.connection, "life")
