"""What consumers bring, decoded and pushed into the hub: data as from a connection, and what befell the streams where they were written.

`BookStale` makes the book stale here, a `Gap` is told at its place, a `Status` is the stream's own. What only happens here (no broker can
be reached, Kafka deleted what was not read yet) is told in the same words.
"""

import asyncio
import logging
import time
from collections import Counter
from typing import Any

from streamer.book_stream import BookSource, BookStream
from streamer.codecs import BadValue, Codec, NotKnown, codec_of
from streamer.codecs.registry import Registry
from streamer.errors import IoFailure, StreamerError
from streamer.hub import Carrier, Hub
from streamer.kafka_lane import Lane
from streamer.mailbox import Mailbox, StreamKey
from streamer.sinks.kafka_config import Link
from streamer.spec import Broken
from streamer.streams import Stream
from streamer.types import BookStale, Gap, Instrument, Status, Tick

log = logging.getLogger(__name__)


class Inbox:
    """Implements `streamer.kafka_lane.Taker`. `carriers` by exchange; `lane_of`: which consumer brings a stream; `bad`: messages that were
    not understood, by topic."""

    def __init__(self, link: Link, topic: str, decimal: bool) -> None:
        self.hub = Hub("venue")  # sizes are as they were written
        self.carriers: dict[str, Carrier] = {}
        self.lane_of: dict[StreamKey, Lane] = {}
        self.bad: Counter[str] = Counter()
        self.over = False
        self._topic = topic
        self._decimal = decimal
        self._registry = Registry(link.schema_registry, link.user_info) if link.schema_registry else None
        self._codecs: dict[str, Codec] = {}
        self._before: dict[StreamKey, tuple[str, str | None]] = {}

    def topic_of(self, kind: str, exchange: str) -> str:
        """Where a stream's messages are."""
        return self._topic.replace("{kind}", kind).replace("{exchange}", exchange)

    async def message(self, lane: Lane, message: Any) -> None:
        """Decode it, and push it into the hub."""
        try:
            tick = await self.decode(message)
        except BadValue as e:
            self._misunderstood(lane, message, e)
            return
        carrier = self.carriers.get(tick.exchange)
        if carrier is None:
            return
        if isinstance(tick, BookStale):
            carrier.take(Broken(tick.symbol, tick.reason, tick.ts_recv))
        elif isinstance(tick, Gap):
            self._gap(tick)
        elif isinstance(tick, Status):
            self._status(tick)
        elif isinstance(tick, Instrument):
            self._listed(tick)
        else:
            carrier.take(tick)

    def overrun(self, lane: Lane, topic: str) -> None:
        """Kafka deleted what we had not read: told like any other loss."""
        now = time.time_ns()
        for stream in self._of(lane):
            if self.topic_of(stream.kind, stream.key[0]) != topic:
                continue
            for source in stream.sources.values():
                if isinstance(source, BookSource):
                    source.distrust("gap", now)
            if not isinstance(stream, BookStream):
                exchange, symbol, kind, _ = stream.key
                self._gap(Gap(exchange, symbol, None, now, kind, "overflow", stream.ts_last, now, None, None, "sequence"))

    def reachable(self, lane: Lane, yes: bool) -> None:
        """Tell the change to everybody."""
        for stream in self._of(lane):
            if not yes:
                self._before[stream.key] = (stream.state, stream.reason)
                stream.status("stale", "disconnect", time.time_ns())
            elif stream.key in self._before:
                stream.status(*self._before.pop(stream.key), time.time_ns())

    async def room(self, lane: Lane) -> None:
        """Wait for slow readers that asked for it."""
        boxes = {box for stream in self._of(lane) for box in boxes_of(stream) if box.policy == "block"}
        while any(box.full and not box.closed for box in boxes) and not self.over:  # noqa: ASYNC110  (a mailbox tells nobody when it is read)
            await asyncio.sleep(0.002)

    async def decode(self, message: Any) -> Tick[Any]:
        """The tick in a message. Raises `BadValue`, and `UsageError` when it wants a Schema Registry."""
        schema = next((value for name, value in message.headers() or () if name == "schema"), b"json")
        format = schema.partition(b"/")[0].decode(errors="replace")
        codec = self._codecs.get(format)
        if codec is None:
            codec = self._codecs[format] = codec_of(format, decimal=self._decimal, registry=self._registry)
        value = message.value() or b""
        for delay in (0.1, 0.5, 2.0):
            try:
                return codec.decode(value)
            except NotKnown as e:
                try:
                    await codec.learn(e)
                except IoFailure as failure:
                    log.warning("%s; trying again", failure)
                    await asyncio.sleep(delay)
        raise BadValue("its schema cannot be had")

    def _misunderstood(self, lane: Lane, message: Any, error: StreamerError) -> None:
        """It costs that message; if it may have held an update of a book, that book is stale."""
        topic = message.topic()
        if not self.bad[topic]:
            log.warning("kafka topic %s, offset %d: %s", topic, message.offset(), error)
        self.bad[topic] += 1
        exchange, _, symbol = message.key().decode(errors="replace").partition(":")
        stream = self.hub.streams.get((exchange, symbol, "book", ""))
        if stream is not None and topic == lane.plan.books:
            self.carriers[exchange].take(Broken(symbol, "bad_frame", time.time_ns()))

    def _gap(self, tick: Gap[Any]) -> None:
        """Told as it was told. What is known of a book that lost ticks is nothing until the snapshot that follows."""
        for stream in self._named(tick.exchange, tick.symbol, tick.channel):
            for source in stream.sources.values():
                if isinstance(source, BookSource):
                    source.sync.fall("gap")
            stream.ledger.gap(tick)
            stream.live = stream.live and (tick.ts_to is not None or isinstance(stream, BookStream))
            for box in boxes_of(stream):
                box.offer(tick)

    def _status(self, tick: Status[Any]) -> None:
        for stream in self._named(tick.exchange, tick.symbol, tick.channel):
            if not isinstance(stream, BookStream):
                stream.live = tick.state == "live"
            self._before.pop(stream.key, None)
            stream.status(tick.state, tick.reason, tick.ts_recv)

    def _listed(self, tick: Instrument) -> None:
        for box in {box for s in self.hub.streams.values() if s.key[:2] == (tick.exchange, tick.symbol) for box in boxes_of(s)}:
            box.offer(tick)

    def _named(self, exchange: str, symbol: str, channel: str) -> list[Stream]:
        return [s for s in self.hub.streams.values() if s.key[:3] == (exchange, symbol, channel)]

    def _of(self, lane: Lane) -> list[Stream]:
        return [self.hub.streams[key] for key, x in self.lane_of.items() if x is lane and key in self.hub.streams]


def boxes_of(stream: Stream | None) -> tuple[Mailbox, ...]:
    """Everybody who gets a stream, in whole or cut."""
    if stream is None:
        return ()
    views = stream.views.values() if isinstance(stream, BookStream) else ()
    return tuple(dict.fromkeys([*stream.boxes, *(box for view in views for box in view.boxes)]))
