"""One connection to one market of a venue: connect, subscribe, watch, come again, for ever.

No feed can undo what is promised here (DESIGN section 7): full-jitter backoff that forgets only after 60 healthy seconds; subscribers
hear of a loss before the first retry; sends and connects pass the gates; a silent link is found by our own watch.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from aiolimiter import AsyncLimiter

from streamer.book_stream import BookSource
from streamer.errors import BadFrame, IoFailure
from streamer.gates import backoff
from streamer.hub import Carrier
from streamer.io import Closed, Socket
from streamer.line import Line
from streamer.spec import Ack, Endpoint, Ready, Reject, Reply, Restart, UnknownId
from streamer.streams import Need
from streamer.topics import Topic
from streamer.watch import Watch

if TYPE_CHECKING:
    from streamer.venue import Venue

log = logging.getLogger(__name__)

HEALTHY_S = 60.0
REFUSED_S = 300.0
"""Least wait after 403 or 451: the venue does not want us here, asking faster does not help."""
BAD_FRAMES = 10
BAD_FRAMES_S = 60.0


class Connection:
    """`topics` are those it should carry; `settled` is set once each of them is live or rejected."""

    def __init__(self, venue: "Venue", market: str, name: str) -> None:
        self.venue = venue
        self.market = market
        self.name = name
        self.topics: dict[str, Topic] = {}
        self.carrier = Carrier(name)
        self.socket: Socket | None = None
        self.reconnects = 0
        self.watch = Watch(self)
        self._line: Line | None = None
        self._ready = asyncio.Event()
        self._commands: deque[tuple[str, str]] = deque()
        self._queued = asyncio.Event()
        self._numbers: dict[int, list[str]] = {}
        self._number = 0
        self._bad: deque[float] = deque(maxlen=BAD_FRAMES)
        self._ending = ""
        self._retiring = False
        self._task: asyncio.Task[None] | None = None
        self._reactions: dict[type, Callable[[Any, int], None]] = {
            Need: self._need, Reply: self._reply, Ready: self._on_ready, Ack: self._on_ack, Reject: self._on_reject,
            Restart: self._on_restart, UnknownId: self._on_unknown_id, BadFrame: self._on_bad,
        }  # fmt: skip

    # what the venue asks of it

    def start(self) -> None:
        """Begin to connect."""
        self._task = self.venue.spawn(self._run(), f"{self.name} connection")

    def add(self, topic: Topic) -> None:
        """Carry this topic too."""
        self.topics[topic.text] = topic
        topic.reset(self.venue.io.monotonic())
        if self._line is not None:
            for stream in topic.streams.values():
                self._carry(topic, stream)
        if self.socket is not None:
            self._queue("subscribe", [topic.text])

    def extend(self, topic: Topic, stream: Any) -> None:
        """A topic that is carried already feeds one more stream."""
        if self._line is None:
            return
        self._carry(topic, stream)
        if topic.acked:
            stream.alive(self.venue.io.now())

    def remove(self, topic: Topic) -> None:
        """Carry this topic no more."""
        if self.topics.pop(topic.text, None) is not None and self.socket is not None:
            self._queue("unsubscribe", [topic.text])

    def resubscribe(self, topic: Topic) -> None:
        """Unsubscribe and subscribe, which makes the venue send a snapshot."""
        topic.reset(self.venue.io.monotonic())
        self._queue("unsubscribe", [topic.text])
        self._queue("subscribe", [topic.text])

    def end(self, reason: str) -> None:
        """Close the socket; unless retiring, it comes again."""
        if self.socket is not None and not self._ending:
            self._ending = reason
            self.venue.spawn(self.socket.close(), f"{self.name} close")

    async def retire(self) -> None:
        """Close for good."""
        self._retiring = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self.socket is not None:
            await self.socket.close()
        self.venue.hub.lose(self.carrier, "retired", self.venue.io.now())

    @property
    def settled(self) -> bool:
        """Is every topic live or rejected here?"""
        return self.socket is not None and all(
            t.rejected or (t.acked and all(self._source_live(s) for s in t.streams.values())) for t in self.topics.values()
        )

    def _source_live(self, stream: Any) -> bool:
        source = self.carrier.sources.get(stream.key)
        return source is None or not isinstance(source, BookSource) or source.sync.live

    # its life

    async def _run(self) -> None:
        delays = backoff()
        while not self._retiring:
            started = self.venue.io.monotonic()
            least = 0.0
            connected = True
            try:
                reason = await self._session()
            except IoFailure as e:
                reason, connected = e.reason, False
                log.warning("%s: %s", self.name, e)
                least = REFUSED_S if reason in ("http_403", "http_451") else 0.0
            self._lost(reason, connected)
            if self.venue.io.monotonic() - started > HEALTHY_S:
                delays = backoff()
            self.reconnects += 1
            await asyncio.sleep(max(least, next(delays)))

    async def _session(self) -> str:
        """Connect, subscribe, and stay until the end. Gives the reason of the end."""
        venue = self.venue
        await venue.gates.connect()
        endpoint = await venue.endpoint(self.market)
        self._fresh_line()
        socket = await venue.io.connect(endpoint, self._on_frame, max_frame=venue.feed.limits.frame_bytes)
        self.socket = socket
        tasks: list[asyncio.Task[Any]] = []
        try:
            for work in (self._send(socket), self._ping(socket, endpoint), self.watch.run(socket), self._age()):
                tasks.append(venue.spawn(work, f"{self.name} helper"))
            if venue.feed.await_ready:
                async with asyncio.timeout(10):
                    await self._ready.wait()
            self._queue("subscribe", list(self.topics))
            closed = await socket.wait_closed()
        except TimeoutError:
            closed = Closed("protocol", text="the venue never said that it is ready")
        finally:
            self.socket = None
            for task in tasks:
                task.cancel()
            await socket.close()
        log.info("%s: connection ended: %s %s %s", self.name, self._ending or closed.reason, closed.code or "", ascii(closed.text))
        return self._ending or closed.reason

    def _fresh_line(self) -> None:
        """Everything of a connection is thrown away with it: routes, books, the handlers' memory."""
        venue = self.venue
        self.carrier = Carrier(self.name)
        self._line = Line(venue.feed, self.market, venue.symbols(self.market), venue.options.numbers, self.carrier, venue.tally)
        self._ready.clear()
        self._ending = ""
        self._commands.clear()
        self._numbers.clear()
        now = venue.io.monotonic()
        for topic in self.topics.values():
            topic.reset(now)
            for stream in topic.streams.values():
                self._carry(topic, stream)

    def _carry(self, topic: Topic, stream: Any) -> None:
        if stream.key not in self.carrier.sources:
            self.venue.hub.carry(self.carrier, stream, self.venue.sync(stream, topic.depth) if stream.kind == "book" else None)

    def _lost(self, reason: str, connected: bool) -> None:
        """Tell everybody, before the first retry: what was live is stale; what could not even be connected is down."""
        now = self.venue.io.now()
        self._line = None
        self.venue.hub.lose(self.carrier, reason, now)
        if not connected:
            for stream in (s for t in self.topics.values() if t.rejected is None for s in t.streams.values()):
                if not stream.live:
                    stream.status("down", reason, now)

    # frames

    def _on_frame(self, data: bytes, ts_recv: int) -> None:
        line = self._line
        if line is None:
            return
        back = line.on_frame(data, ts_recv)
        if back is not None:
            for item in back:
                self._react(item, ts_recv)

    def _react(self, item: Any, ts: int) -> None:
        do = self._reactions.get(item.__class__)
        if do is not None:
            do(item, ts)

    def _need(self, need: Need, ts: int) -> None:
        self.venue.resync(self, need.symbol)

    def _reply(self, reply: Reply, ts: int) -> None:
        if self.socket is not None:
            self.socket.send(reply.frame)

    def _on_ready(self, ready: Ready, ts: int) -> None:
        self._ready.set()

    def _on_ack(self, ack: Ack, ts: int) -> None:
        for topic in self._named(ack.key):
            self._acked(topic, ts)

    def _acked(self, topic: Topic, ts: int) -> None:
        topic.acked = True
        for stream in topic.streams.values():
            if stream.kind == "book":
                self.venue.first_snapshot(self, stream)
            else:
                stream.alive(ts)

    def _on_reject(self, reject: Reject, ts: int) -> None:
        for topic in self._named(reject.key):
            log.warning("%s: %s refused: %s", self.name, topic.text, ascii(reject.reason))
            topic.reject(reject.reason, reject.fatal, self.venue.io.monotonic())
            for stream in topic.streams.values():
                stream.status("rejected", reject.reason, ts)

    def _on_restart(self, restart: Restart, ts: int) -> None:
        if restart.planned:
            self.venue.hand_over(self, restart.reason)
        else:
            self.end(restart.reason)

    def _on_unknown_id(self, error: UnknownId, ts: int) -> None:
        self.venue.unknown_id()

    def _on_bad(self, error: BadFrame, ts: int) -> None:
        """More than ten frames in a minute that make no sense: this connection is not what we think it is."""
        now = self.venue.io.monotonic()
        self._bad.append(now)
        if len(self._bad) == BAD_FRAMES and now - self._bad[0] < BAD_FRAMES_S:
            self._bad.clear()
            self.end("bad_frames")

    def _named(self, key: str | int) -> list[Topic]:
        """The topics that an answer is about: by number of the command or by text. A number means those not answered by name yet."""
        texts = self._numbers.get(key, []) if isinstance(key, int) else [key]
        return [self.topics[t] for t in texts if t in self.topics]

    # its helpers

    def _queue(self, verb: str, texts: Iterable[str]) -> None:
        self._commands.extend((verb, text) for text in texts)
        self._queued.set()

    async def _send(self, socket: Socket) -> None:
        """Send commands in order, as many topics in one as the venue takes, at its pace."""
        feed = self.venue.feed
        gate = AsyncLimiter(*feed.limits.sends)
        while True:
            await self._queued.wait()
            await asyncio.sleep(0)  # what is subscribed in the same turn goes in one command
            if not self._commands:
                self._queued.clear()
                continue
            verb, texts = self._next_command(feed.limits.topics_per_command)
            self._number += 1
            if verb == "subscribe":
                self._numbers[self._number] = texts
            for frame in (feed.subscribe if verb == "subscribe" else feed.unsubscribe)(texts, self._number) if texts else ():
                await gate.acquire()
                socket.send(frame)
            now = self.venue.io.monotonic()
            for topic in (self.topics[t] for t in texts if t in self.topics):
                topic.since = now

    def _next_command(self, most: int) -> tuple[str, list[str]]:
        """The longest run of the same verb; topics given up meanwhile are not subscribed any more."""
        commands = self._commands
        verb = commands[0][0]
        texts: list[str] = []
        while commands and commands[0][0] == verb and len(texts) < most:
            text = commands.popleft()[1]
            if verb == "unsubscribe" or text in self.topics:
                texts.append(text)
        return verb, texts

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
            self.venue.hand_over(self, "life")
