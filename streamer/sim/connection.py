"""One client's websocket, as declarations see it. What is sent is queued, in order, and leaves in a task of its own."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from aiohttp import WSMsgType, web

from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Payload
from streamer.types import Instrument

if TYPE_CHECKING:
    from streamer.sim.exchange import Exchange

log = logging.getLogger(__name__)

Frame: TypeAlias = tuple[bytes, WSMsgType]
MOST_WAITING = 16 << 20
"""Bytes that may wait for a slow client, who is cut off then, as exchanges do."""
MOST_TOPICS = 10_000
CONFUSED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a declaration's `heard` may raise over a message of an unexpected shape."""


class Connection:
    """`path` and `query` are the venue's own; `number` tells connections apart; `mem` is free for the declaration; `topics` are those
    subscribed, by the venue's text."""

    def __init__(self, exchange: "Exchange", path: str, query: Mapping[str, str], number: int) -> None:
        self.exchange = exchange
        self.path = path
        self.query = query
        self.number = number
        self.mem: dict[Any, Any] = {}
        self.topics: dict[str, Topic] = {}
        self._sent = time.monotonic()
        self._waiting: deque[Frame] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._over = False

    # for declarations

    def send(self, payload: Payload) -> None:
        """Send this."""
        self.put(self.exchange.frame(payload))

    def subscribe(self, key: str, channel: Channel, *about: Instrument, interval: str = "", depth: int | None = None) -> None:
        """From now on send what happens, beginning with what `channel.first` says. Once more of the same changes nothing."""
        if key not in self.topics and len(self.topics) < MOST_TOPICS and not self._over:
            self.topics[key] = topic = self.exchange.topic(self.path, key, channel, about, interval, depth)
            self.exchange.join(self, topic)

    def unsubscribe(self, key: str) -> bool:
        """Send it no more. False if it was not subscribed."""
        topic = self.topics.pop(key, None)
        if topic is not None:
            self.exchange.leave(self, topic)
        return topic is not None

    def every(self, seconds: float, do: Callable[["Connection"], object]) -> None:
        """Do this every so many seconds, as long as the connection lasts."""

        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                do(self)

        self.spawn(repeat())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this beside, as long as the connection lasts."""
        self._tasks.append(asyncio.ensure_future(work))

    def idle(self) -> float:
        """Seconds since something was sent."""
        return time.monotonic() - self._sent

    def ping(self) -> None:
        """Send a websocket ping."""
        self.put((b"", WSMsgType.PING))

    def close(self, code: int, text: str = "") -> None:
        """Say no more, and close."""
        self.put((code.to_bytes(2, "big") + text.encode(), WSMsgType.CLOSE))
        self._over = True

    # for the server

    def put(self, frame: Frame) -> None:
        """Send this frame, as it is."""
        if self._over:
            return
        self._waiting.append(frame)
        self._bytes += len(frame[0])
        self._sent = time.monotonic()
        self._news.set()
        if self._bytes > MOST_WAITING:
            log.warning("%s: a client is too slow and is cut off", self.exchange.venue.name)
            self._waiting.clear()
            self._bytes = 0
            self.close(1008, "too slow")

    def received(self, text: str) -> None:
        """The client sent something."""
        if self._over:
            return
        venue = self.exchange.venue
        try:
            venue.heard(self, text)
        except CONFUSED as e:
            log.info("%s: not understood: %s (%r)", venue.name, ascii(text[:200]), e)
            if venue.confused is None:
                self.close(1008, "not understood")
            else:
                self.send(venue.confused(text))

    async def write(self, ws: web.WebSocketResponse) -> None:
        """Send what is queued, until closed or cut."""
        waiting = self._waiting
        while True:
            await self._news.wait()
            self._news.clear()
            while waiting:
                frame, opcode = waiting.popleft()
                self._bytes -= len(frame)
                if opcode is WSMsgType.CLOSE:
                    await ws.close(code=int.from_bytes(frame[:2], "big"), message=frame[2:])
                    return
                try:
                    await ws.send_frame(frame, opcode)
                except ConnectionError:
                    return  # the reading side sees it too, and ends

    def gone(self) -> None:
        """The socket is no more."""
        self._over = True
        for task in self._tasks:
            task.cancel()
        for key in list(self.topics):
            self.unsubscribe(key)
