"""Who wants which streams out of Kafka, and the consumers that bring them: one for the streams that a call of `add` opened together."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from streamer.book_stream import BookStream
from streamer.errors import UsageError
from streamer.hub import Carrier
from streamer.kafka_inbox import Inbox, boxes_of
from streamer.kafka_lane import Lane
from streamer.kafka_places import Plan
from streamer.mailbox import Mailbox, StreamKey
from streamer.rules import unnumbered
from streamer.sinks.kafka_config import Link
from streamer.streams import Stream
from streamer.symbols import parse, split
from streamer.sync import Sync
from streamer.types import Instrument, Kind


class Shape(Struct, frozen=True):
    """What a subscription takes of each of its streams."""

    kinds: tuple[Kind, ...]
    depth: int | None
    interval: str


class Source(Struct, frozen=True):
    """Where the sink wrote: the cluster, its topics, the compacted topic of latest books or "", and where in them to begin."""

    link: Link
    topic: str
    latest: str
    start: str | int


class Wants:
    """Implements `subscription.Manager`. `changed` is called when a stream or a consumer comes to another state."""

    def __init__(self, source: Source, inbox: Inbox, changed: Callable[[], None]) -> None:
        self.lanes: list[Lane] = []
        self._source = source
        self._inbox = inbox
        self._changed = changed
        self._shapes: dict[Mailbox, Shape] = {}

    async def close(self) -> None:
        """End every consumer. What is queued can still be read."""
        lanes, self.lanes = self.lanes, []
        await asyncio.gather(*(lane.close() for lane in lanes))
        for box in self._shapes:
            box.finish()

    def open(self, box: Mailbox, shape: Shape, streams: Sequence[str]) -> None:
        """A new subscriber. Raises `UsageError`."""
        self._shapes[box] = shape
        try:
            self.add(box, streams)
        except UsageError:
            del self._shapes[box]
            raise
        box.repair = self._repair

    def add(self, box: Mailbox, streams: Sequence[str]) -> None:
        """Send these streams too."""
        shape = self._shapes[box]
        pairs = [split(name) for name in streams]
        for _, symbol in pairs:
            parse(symbol)
        new: dict[str, list[Stream]] = {}
        for exchange, symbol in pairs:
            for kind in shape.kinds:
                stream = self._stream(exchange, symbol, kind, shape.interval)
                if stream.key not in self._inbox.lane_of:
                    new.setdefault(exchange if "{exchange}" in self._source.topic else "", []).append(stream)
                stream.attach(box, shape.depth)
        for several in new.values():
            self._open_lane(several)

    def remove(self, box: Mailbox, streams: Sequence[str]) -> None:
        """Send these no more."""
        gone = {split(name) for name in streams}
        for stream in [s for s in self._inbox.hub.streams.values() if s.key[:2] in gone]:
            stream.detach(box)
        self._tidy()

    def release(self, box: Mailbox) -> None:
        """The subscriber is gone."""
        self._inbox.hub.detach(box)
        self._shapes.pop(box, None)
        self._tidy()

    def waiting(self, box: Mailbox) -> list[Stream]:
        """What is not live yet. Raises what makes waiting useless."""
        streams = [s for s in self._inbox.hub.streams.values() if box in boxes_of(s)]
        if box.error is not None:
            raise box.error
        lanes = {s.key: self._inbox.lane_of[s.key] for s in streams if s.key in self._inbox.lane_of}
        for lane in lanes.values():
            if lane.error is not None:
                raise lane.error
        return [s for s in streams if not (lanes[s.key].ready and (s.live or not isinstance(s, BookStream)))]

    def why(self, stream: Stream) -> str:
        """Why a stream is not live yet."""
        lane = self._inbox.lane_of[stream.key]
        if lane.down is not None:
            return lane.down
        return "no snapshot yet" if lane.ready else "connecting"

    def _stream(self, exchange: str, symbol: str, kind: Kind, interval: str) -> Stream:
        parts = parse(symbol)
        unknown: Any = Instrument(exchange, symbol, None, 0, symbol, parts.base, parts.quote, parts.settle, parts.kind)
        stream = self._inbox.hub.stream(unknown, kind, interval)
        if not stream.sources:
            carrier = self._inbox.carriers.setdefault(exchange, Carrier(exchange))
            # the deltas were checked where they were written, and each partition is whole
            self._inbox.hub.carry(carrier, stream, Sync(stream.instrument, unnumbered) if kind == "book" else None)
            stream.on_state = self._changed
        return stream

    def _open_lane(self, streams: list[Stream]) -> None:
        exchange = streams[0].key[0]
        topics = sorted({self._inbox.topic_of(s.kind, exchange) for s in streams})
        books = self._inbox.topic_of("book", exchange) if any(s.kind == "book" for s in streams) else ""
        instruments = self._inbox.topic_of("instrument", exchange)
        plan = Plan(topics, [instruments] if instruments not in topics else [], books, self._source.latest, self._source.start)
        lane = Lane(self._source.link, plan, {f"{s.key[0]}:{s.key[1]}".encode() for s in streams}, self._inbox, self._changed)
        lane.task.add_done_callback(lambda _: self._ended(lane))
        self.lanes.append(lane)
        self._inbox.lane_of.update(dict.fromkeys((s.key for s in streams), lane))

    def _tidy(self) -> None:
        """Forget streams that nobody wants, and end the consumers that have none left."""
        for key, lane in list(self._inbox.lane_of.items()):
            stream = self._inbox.hub.streams.get(key)
            if stream is None or not stream.wanted:
                if stream is not None:
                    self._inbox.hub.uncarry(self._inbox.carriers[key[0]], stream)
                del self._inbox.lane_of[key]
                if not any(k[:2] == key[:2] and x is lane for k, x in self._inbox.lane_of.items()):
                    lane.keys.discard(f"{key[0]}:{key[1]}".encode())
        for lane in self.lanes:
            if not lane.keys:
                lane.end()

    def _ended(self, lane: Lane) -> None:
        """It can go on no more: its subscribers are told by an exception, if it did not end because there are none."""
        if lane in self.lanes:
            self.lanes.remove(lane)
        if lane.error is None:
            return
        for box in {box for key, x in self._inbox.lane_of.items() if x is lane for box in boxes_of(self._inbox.hub.streams.get(key))}:
            box.close(lane.error)

    def _repair(self, key: StreamKey) -> Any:
        """Our own book, for a subscriber that dropped some of it."""
        stream = self._inbox.hub.streams.get(key)
        return stream.own_snapshot() if isinstance(stream, BookStream) else None
