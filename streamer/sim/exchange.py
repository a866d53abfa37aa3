"""One simulated venue at run time: its instruments, the markets that somebody asked about, and who is told what."""

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import WSMsgType

from streamer.encode import encode
from streamer.sim.connection import CONFUSED, Connection, Frame
from streamer.sim.faults import Faults
from streamer.sim.listed import Listed
from streamer.sim.market import Market
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel, Pairs, Payload, Refused, Request, Venue, flat
from streamer.types import KIND, Candle, Instrument, Kind, Tick

log = logging.getLogger(__name__)

AWAKE_S = 30.0
"""A market that nobody subscribed to goes on for so long after a REST request."""


def plain(payload: Payload) -> bytes:
    """A payload as bytes."""
    return payload if isinstance(payload, bytes) else payload.encode() if isinstance(payload, str) else encode(payload)


class Running:
    """A market, and the topics that it feeds."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.topics: dict[Kind, list[Topic]] = {}
        self.asked = 0.0
        self.scheduled = False

    def awake(self) -> bool:
        """Is there any reason to go on?"""
        return bool(self.topics) or time.monotonic() - self.asked < AWAKE_S


class Exchange:
    """`instruments` is what it lists. `log`: the newest (topic, tick, frames) that were sent, if they are kept."""

    def __init__(
        self, venue: Venue, seed: object, schedule: Callable[[Running], None], *, more: Pairs, remember: int, faults: Faults, log: int
    ) -> None:
        self.venue = venue
        self.faults = faults
        self.log: deque[tuple[str, Tick[Any], tuple[bytes, ...]]] | None = deque(maxlen=log) if log else None
        self._seed = seed
        self._schedule = schedule
        self._remember = remember
        self._listed: dict[str, Listed] = {x.instrument.symbol: x for x in venue.lists(venue.name, self.now(), more)}
        self.instruments: Sequence[Instrument] = [x.instrument for x in self._listed.values()]
        self._by_id: dict[str, list[Instrument]] = {}
        for instrument in self.instruments:
            self._by_id.setdefault(instrument.id, []).append(instrument)
        self._running: dict[str, Running] = {}
        self._topics: dict[tuple[str, str], Topic] = {}
        self._rest = [(re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path))), f) for path, f in venue.rest.items()]

    # for declarations

    def now(self) -> int:
        """Wall clock, ns UTC."""
        return time.time_ns()

    def find(self, id: str, *kinds: str) -> Instrument | None:
        """The instrument of this id, of one of these kinds (spot, swap, ...) if any are given."""
        return next((i for i in self._by_id.get(id, ()) if not kinds or i.kind in kinds), None)

    def market(self, instrument: Instrument) -> Market:
        """Its market, which begins at the first question after it."""
        return self._run(instrument).market

    # for the server and its connections

    def opens(self, path: str) -> bool:
        """Does this path take websockets?"""
        return path in self.venue.sockets or "*" in self.venue.sockets

    def opened(self, connection: Connection) -> None:
        """A client has come."""
        if self.venue.opened is not None:
            self.venue.opened(connection)

    def topic(self, path: str, key: str, channel: Channel, about: Sequence[Instrument], interval: str, depth: int | None) -> Topic:
        """The topic that everybody shares who asks for the same on the same path."""
        found = self._topics.get((path, key))
        return found or self._topics.setdefault((path, key), Topic(self, path, key, channel, about, interval=interval, depth=depth))

    def join(self, connection: Connection, topic: Topic) -> None:
        """Tell it to this connection too, from the beginning."""
        for instrument in topic.instruments if not topic.subscribers else ():
            running = self._run(instrument)
            for kind in topic.channel.kinds:
                running.topics.setdefault(kind, []).append(topic)
            if "candle" in topic.channel.kinds:
                topic.now("candle", instrument)  # begins the bar
        topic.subscribers[connection] = None
        if topic.channel.first is not None:
            beginning = flat(topic.channel.first(topic))  # of a muted topic too: what it remembers begins here
            for payload in () if all(self.faults.muted(kind) for kind in topic.channel.kinds) else beginning:
                connection.put(self._frame(connection, topic, payload))

    def leave(self, connection: Connection, topic: Topic) -> None:
        """Tell it to this connection no more."""
        del topic.subscribers[connection]
        if not topic.subscribers:
            del self._topics[topic.path, topic.key]
            for instrument in topic.instruments:
                topics = self._running[instrument.symbol].topics
                for kind in topic.channel.kinds:
                    topics[kind].remove(topic)
                    if not topics[kind]:
                        del topics[kind]

    def answer(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Answer a REST request: (status, body)."""
        for pattern, respond in self._rest:
            match = pattern.fullmatch(path)
            if match is not None:
                try:
                    return 200, plain(respond(Request(self, method, path, query, match.groupdict(), body)))
                except Refused as e:
                    return e.status, plain(e.payload)
                except CONFUSED as e:
                    log.info("%s: %s %s not understood: %r", self.venue.name, method, ascii(path), e)
                    return 400, plain({"error": "not understood"})
        return 404, plain({"error": f"the simulation of {self.venue.name} has no {path}"})

    def step(self, running: Running) -> None:
        """Let one market make a step, and tell whoever subscribed."""
        for tick in running.market.step(self.now()):
            for topic in tuple(running.topics.get(KIND[type(tick)], ())):
                if not isinstance(tick, Candle) or tick.interval == topic.interval:
                    self._tell(topic, tick)

    def frame(self, payload: Payload) -> Frame:
        """A payload as a frame."""
        data, pack = plain(payload), self.venue.pack
        if pack is not None:
            return pack(data), WSMsgType.BINARY
        return data, WSMsgType.BINARY if isinstance(payload, bytes) else WSMsgType.TEXT

    def _tell(self, topic: Topic, tick: Tick[Any]) -> None:
        fate = self.faults.fate(topic.key, tick)
        topic.spoiled = fate == "spoil"
        payloads = tuple(flat(topic.channel.tell(topic, tick)))
        topic.spoiled = False
        frames: tuple[Frame, ...] = ()
        for connection in tuple(topic.subscribers):
            if not frames or self.venue.wrap is not None:
                frames = tuple(self._frame(connection, topic, payload) for payload in payloads)
            for frame in frames if fate != "lose" else ():
                connection.put(frame)
        if self.log is not None and fate != "lose":
            self.log.append((topic.key, tick, tuple(data for data, _ in frames)))

    def _frame(self, connection: Connection, topic: Topic, payload: Payload) -> Frame:
        wrap = self.venue.wrap
        return self.frame(payload if wrap is None else wrap(connection, topic, payload))

    def _run(self, instrument: Instrument) -> Running:
        running = self._running.get(instrument.symbol)
        if running is None:
            market = Market(self._listed[instrument.symbol], self._seed, self.now(), remembered=self._remember)
            running = self._running[instrument.symbol] = Running(market)
        running.asked = time.monotonic()
        if not running.scheduled:
            self._schedule(running)
        return running
