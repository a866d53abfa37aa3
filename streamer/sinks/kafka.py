"""The sink `kafka`: every tick acknowledged by all in-sync replicas, in order for each key.

A batch is one flight of an idempotent producer. When one of its messages fails the producer stops (`enable.gapless.guarantee`), what is
out is taken back, and a new producer sends what was not acknowledged, in its order. So a tick may come twice, with the same `mid`, but the
first time of each is in order.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

from streamer.codecs import NotKnown, codec_of
from streamer.errors import IoFailure, UsageError
from streamer.sinks import Refused, SinkDown
from streamer.sinks.kafka_client import Relay, aside, reason_of
from streamer.sinks.kafka_config import KafkaOptions
from streamer.sinks.kafka_flight import Flight, Line
from streamer.sinks.kafka_latest import LatestBooks
from streamer.sinks.kafka_messages import Message, Messages
from streamer.sinks.kafka_topics import LOOK_S, Topics
from streamer.types import Tick

log = logging.getLogger(__name__)
MOST_REBUILDS: Final = 5
REBUILD_WINDOW_S: Final = 600.0
MOST_REFUSALS: Final = 10
"""In one batch. More is a broker that takes nothing, not a bad message."""
ENCODE_SLICE: Final = 500
_ONE_BY_ONE: Final = {"batch.num.messages": 1, "linger.ms": 0, "max.in.flight.requests.per.connection": 1}


def make(options: KafkaOptions) -> "KafkaSink":
    """The sink, out of the options of its table. Raises `UsageError` when they contradict themselves."""
    options.check()
    return KafkaSink(options)


class KafkaSink:
    """Implements `streamer.sinks.Sink`. `rebuilds` counts the producers that were replaced because they had become useless."""

    name = "kafka"

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        registry = None
        if options.schema_registry:
            from streamer.codecs.registry import Registry

            registry = Registry(options.schema_registry, options.user_info)
        self._codec = codec_of(options.format, registry=registry)
        self._messages = Messages(options, self._codec)
        self._topics = Topics(options)
        self._latest = LatestBooks(options.latest_every_s) if options.latest_books else None
        self._line: Line | None = None
        self._line_for: tuple[int, bool] = (0, False)
        self._lately: deque[float] = deque(maxlen=MOST_REBUILDS)
        self.rebuilds = 0

    async def open(self) -> None:
        """Reach a broker. Raises `SinkDown`."""
        self._topics.forget()
        line = self._producer()
        try:
            await aside(line.producer.list_topics, None, min(LOOK_S, self._options.timeout_s))
        except Exception as e:
            self._let_go()
            line.poll()
            error: Any = line.denied or line.said or (e.args[0] if e.args else None)
            if not isinstance(error, KafkaError):
                raise
            raise SinkDown(f"kafka at {self._options.servers}: {ascii(error.str())[1:-1]}", reason_of(error), reopen=True) from None
        if self._latest is not None:
            self._latest.forget()

    async def write(self, ticks: Sequence[Tick[Any]]) -> Sequence[Refused]:
        """Send them, and wait until each is acknowledged. Raises `SinkDown`."""
        refused: list[Refused] = []
        made: list[Message | None] = []
        flight = Flight(made)
        self._messages.begin()
        try:
            await self._encode(ticks, made, refused)
            flight = Flight(made)
            await self._topics.ensure(self._producer().producer, self._wanted(), self._compacted())
            await self._fly(flight, refused)
        except SinkDown as e:
            self._let_go()
            e.confirmed = flight.settled
            e.refused = [r for r in refused if r.index < e.confirmed]
            self._messages.commit(ticks, made, e.confirmed)
            raise
        except BaseException:  # cancelled: what is out is taken back by the producer's end
            self._let_go()
            raise
        self._messages.commit(ticks, made, len(ticks))
        if self._latest is not None:
            await self._tell_latest(self._latest, ticks, flight)
        return sorted(refused, key=lambda r: r.index)

    async def close(self, timeout: float) -> None:
        """Let go of the producer."""
        line, self._line = self._line, None
        if line is not None:
            line.producer.purge(blocking=False)
            async with asyncio.timeout(timeout):
                await aside(_end, line)

    # before a flight

    async def _encode(self, ticks: Sequence[Tick[Any]], made: list[Message | None], refused: list[Refused]) -> None:
        """Make the messages, a slice in each turn of the loop. Raises `SinkDown` when a schema cannot be had."""
        while len(made) < len(ticks):
            try:
                self._messages.fill(ticks, made, len(made) + ENCODE_SLICE, self._topics.limit, refused)
            except NotKnown as e:
                try:
                    await self._codec.learn(e)
                except (IoFailure, UsageError) as failure:
                    raise SinkDown(str(failure), "schema_registry") from None
            await asyncio.sleep(0)

    def _wanted(self) -> list[str]:
        return sorted(self._messages.topics) + ([self._options.latest_books] if self._latest is not None else [])

    def _compacted(self) -> frozenset[str]:
        return frozenset({self._options.latest_books} | {t for t in self._messages.topics if "instrument" in t})

    # in flight

    async def _fly(self, flight: Flight, refused: list[Refused]) -> None:
        """Until all is settled, with as many producers as it takes. Raises `SinkDown`."""
        one_by_one = False
        while True:
            line = self._producer(one_by_one)
            error = await flight.go(line, self._options.timeout_s)
            if error is None:
                if one_by_one:
                    self._let_go()  # the next batch goes as usual
                return
            own = await flight.recall(line) or error
            self._let_go()
            reason = reason_of(own)
            if reason == "broker":
                reason = reason_of(error)  # it may be what stopped the producer
            error = own
            if reason in ("too_large", "rejected"):
                # one message of a batch is bad, and the broker does not say which
                if one_by_one and flight.failed is not None:
                    refused.append(Refused(flight.failed, reason, error.str()))
                    flight.give_up(flight.failed)
                    if len(refused) >= MOST_REFUSALS:
                        raise SinkDown(f"kafka takes none of these: {error.str()}", reason, reopen=True)
                one_by_one = True
            elif reason == "fatal":
                self._rebuilt(error)
            else:
                raise SinkDown(f"kafka at {self._options.servers}: {ascii(error.str())[1:-1]}", reason, reopen=True)

    def _rebuilt(self, error: KafkaError) -> None:
        now = asyncio.get_running_loop().time()
        if len(self._lately) == MOST_REBUILDS and now - self._lately[0] < REBUILD_WINDOW_S:
            raise SinkDown(f"kafka: {MOST_REBUILDS} producers failed within ten minutes: {error.str()}", "fatal", reopen=True)
        self._lately.append(now)
        self.rebuilds += 1
        log.warning("kafka: a new producer, for the old one failed: %s", ascii(error.str())[1:-1])

    async def _tell_latest(self, latest: LatestBooks, ticks: Sequence[Tick[Any]], flight: Flight) -> None:
        """Put the books that are due where readers begin. When that fails it is tried again later: nobody loses anything by it."""
        for index, place in sorted(flight.places.items()):
            latest.take(ticks[index], place)
        due = latest.due(asyncio.get_running_loop().time())
        if not due:
            return
        books = [book for book, _ in due]
        made: list[Message | None] = []
        refused: list[Refused] = []
        try:
            self._messages.begin()
            await self._encode(books, made, refused)
            for m, (_, at) in zip(made, due, strict=True):
                if m is not None:
                    m.topic = self._options.latest_books
                    m.more = (*m.more, ("at", f"{at[0]}:{at[1]}:{at[2]}".encode()))
            await self._fly(Flight(made), refused)
        except SinkDown as e:
            log.warning("kafka: %d books were not put into %s: %s", len(due), self._options.latest_books, e)
            latest.untold(books)
            self._let_go()
        for r in refused:
            log.warning(
                "kafka: the book of %s:%s was not put there: %s", books[r.index].exchange, books[r.index].symbol, r.detail or r.reason
            )

    # producers

    def _producer(self, one_by_one: bool = False) -> Line:
        """The one that is there, or a new one when it is not or is made for something else. Nothing is in flight."""
        made_for = (self._topics.limit, one_by_one)
        if self._line is None or self._line_for != made_for:
            self._let_go()
            conf = self._options.producer(self._topics.limit) | (_ONE_BY_ONE if one_by_one else {})
            try:
                self._line = Line(conf, Relay(), each=self._latest is not None)
            except (KafkaException, ValueError, TypeError, AttributeError) as e:  # what librdkafka does not know or cannot read
                raise UsageError(f"kafka: {_said(e)}") from None
            self._line_for = made_for
        return self._line

    def _let_go(self) -> None:
        """End the producer in a thread of its own; what it still had is taken back."""
        line, self._line = self._line, None
        if line is not None:
            line.producer.purge(blocking=False)
            task = asyncio.ensure_future(aside(_end, line))
            task.add_done_callback(lambda t: t.cancelled() or t.exception())


def _end(line: Line) -> None:
    """The last reference goes here, and with it librdkafka's threads and connections."""
    line.producer.purge(blocking=False)
    del line.producer


def _said(error: Exception) -> str:
    first = error.args[0] if error.args else error
    return ascii(first.str() if isinstance(first, KafkaError) else str(first))[1:-1]
