"""One consumer of a Kafka cluster, from a stated place in its topics on, to whoever takes the messages; one thread, one task.

It belongs to no consumer group: every reader sees all that it asks for, and begins where it says. A book begins at the compacted topic of
snapshots, if there is one: each says behind which message it stands, and what lies before that is not given.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from msgspec import Struct

from streamer.errors import IoFailure, StreamerError, UsageError, nearest
from streamer.gates import backoff
from streamer.sinks.kafka_client import Relay, aside
from streamer.sinks.kafka_config import Link

log = logging.getLogger(__name__)
ASK_S: Final = 5.0
WAIT_S: Final = 0.2
AT_ONCE: Final = 500
"""Messages that are asked for, and given before others have their turn of the loop."""
REMEMBERED: Final = 20_000
"""Identities of a partition's messages, to know those that come twice: a batch of the sink's and more."""


class Taker(Protocol):
    """Who gets the messages."""

    async def message(self, lane: "Lane", message: Any) -> None:
        """One of a key that the lane is for. The first of a book may be its snapshot out of the compacted topic."""

    def overrun(self, lane: "Lane", topic: str) -> None:
        """Messages of this topic were deleted before they were read."""

    def reachable(self, lane: "Lane", yes: bool) -> None:
        """All brokers are gone, or one is there again."""

    async def room(self, lane: "Lane") -> None:
        """Wait until there is room for more."""


class Plan(Struct):
    """What a lane reads. `topics`: what it wants of them; `books`: the topic of books among them, `latest` that of their snapshots, or "".
    `start`: "now", "earliest" or a time in ns."""

    topics: list[str]
    optional: list[str]
    books: str
    latest: str
    start: str | int


class Lane:
    """`keys`: the streams that it is for. `ready`: it knows where it begins. `error`: why it ended."""

    def __init__(self, link: Link, plan: Plan, keys: set[bytes], taker: Taker, changed: Callable[[], None]) -> None:
        self.keys = keys
        self.plan = plan
        self.ready = False
        self.down: str | None = None
        self.error: StreamerError | None = None
        self._link = link
        self._taker = taker
        self._changed = changed
        self._from: dict[tuple[str, int, bytes], int] = {}
        self._floor: dict[tuple[str, int], int] = {}
        self._known: dict[tuple[str, int], tuple[set[bytes], deque[bytes]]] = {}
        self._pool = ThreadPoolExecutor(1, "kafka-lane")
        self._over = False
        self.task = asyncio.get_running_loop().create_task(self._run(), name="kafka lane")

    def end(self) -> None:
        """Soon, by itself."""
        self._over = True

    async def close(self) -> None:
        """End it, and wait until it has."""
        self._over = True
        await asyncio.wait({self.task})

    async def _run(self) -> None:
        try:
            await self._read()
        except StreamerError as e:
            self.error = e
        except KafkaException as e:
            self.error = IoFailure(f"kafka at {self._link.servers}: {e.args[0].str()}", "kafka")
        finally:
            self._pool.shutdown(wait=False)
            self._changed()

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        conf = self._link.common() | {
            "group.id": f"streamer-{uuid4().hex}", "enable.auto.commit": False, "auto.offset.reset": "error", "fetch.wait.max.ms": 100,
            "error_cb": lambda e: loop.call_soon_threadsafe(self._said, e),
        }  # fmt: skip
        consumer = await self._call(lambda: Consumer(conf, logger=Relay()))
        try:
            first = await self._begin(consumer)
            self.ready = True
            self._changed()
            for message in first:
                await self._taker.message(self, message)
            while not self._over:
                await self._give(consumer, await self._call(_fetch, consumer))
        finally:
            await self._call(consumer.close)

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    # where to begin

    async def _begin(self, consumer: Consumer) -> list[Any]:
        """Go to where the plan says. The snapshots that are given first."""
        for delay in backoff(cap=5.0):
            try:
                places, first = await self._call(self._look, consumer)
                await self._call(consumer.assign, places)
                break
            except KafkaException as e:
                self.down = e.args[0].str()
                self._changed()
                log.warning("kafka at %s: %s; trying again", self._link.servers, self.down)
            for _ in range(int(delay / WAIT_S) + 1):
                if self._over:
                    return []
                await asyncio.sleep(WAIT_S)
        self.down = None
        found: list[Any] = first
        return found

    def _look(self, consumer: Consumer) -> tuple[list[TopicPartition], list[Any]]:
        """In the thread: the places, and the latest books."""
        there = consumer.list_topics(timeout=ASK_S).topics
        for name in self.plan.topics:
            if name not in there:
                raise UsageError(f"kafka at {self._link.servers} has no topic {name!r}{nearest(name, there) or ''}")
        names = self.plan.topics + [t for t in self.plan.optional if t in there]
        places = [p for name in names for p in self._places(consumer, name, list(there[name].partitions))]
        if not self.plan.latest or self.plan.start != "now" or not self.plan.books:
            return places, []
        if self.plan.latest not in there:
            raise UsageError(f"kafka at {self._link.servers} has no topic {self.plan.latest!r} of latest books")
        first = self._latest(consumer, list(there[self.plan.latest].partitions))
        for place in places:
            ahead = [offset for (topic, partition, _), offset in self._from.items() if (topic, partition) == (place.topic, place.partition)]
            place.offset = min([place.offset, *ahead])
        return places, first

    def _places(self, consumer: Consumer, topic: str, partitions: Iterable[int]) -> list[TopicPartition]:
        found = []
        start = self.plan.start
        for partition in partitions:
            place = TopicPartition(topic, partition)
            low, high = consumer.get_watermark_offsets(place, timeout=ASK_S)
            place.offset = low if start == "earliest" else high
            if isinstance(start, int):
                (at,) = consumer.offsets_for_times([TopicPartition(topic, partition, start // 1_000_000)], timeout=ASK_S)
                place.offset = at.offset if at.offset >= 0 else high
            self._floor[topic, partition] = place.offset
            found.append(place)
        return found

    def _latest(self, consumer: Consumer, partitions: Iterable[int]) -> list[Any]:
        """The latest snapshot of each of our books from which it can be gone on."""
        newest: dict[bytes, Any] = {}
        for partition in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(self.plan.latest, partition), timeout=ASK_S)
            if low == high:
                continue
            consumer.assign([TopicPartition(self.plan.latest, partition, low)])
            while consumer.position([TopicPartition(self.plan.latest, partition)])[0].offset < high and not self._over:
                for m in consumer.consume(AT_ONCE, WAIT_S):
                    if m.error() is not None:
                        raise KafkaException(m.error())
                    key = m.key()
                    if key in self.keys and m.value() is not None:
                        newest[key] = m
            consumer.unassign()
        return [m for key, m in newest.items() if self._bridged(consumer, key, m)]

    def _bridged(self, consumer: Consumer, key: bytes, message: Any) -> bool:
        """Is what follows this snapshot still there?"""
        topic, _, place = dict(message.headers() or []).get("at", b"").decode(errors="replace").partition(":")
        partition, _, offset = place.partition(":")
        if topic != self.plan.books or not (partition.isdecimal() and offset.isdecimal()):
            log.warning("%s: a snapshot of %s does not say where it stands", self.plan.latest, ascii(key))
            return False
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, int(partition)), timeout=ASK_S)
        if not low <= int(offset) + 1 <= high:
            log.info("the latest snapshot of %s is older than what its topic still holds", ascii(key))
            return False
        self._from[topic, int(partition), key] = int(offset) + 1
        return True

    # and go on

    async def _give(self, consumer: Consumer, messages: list[Any]) -> None:
        for m in messages:
            error = m.error()
            if error is not None:
                await self._failed(consumer, m, error)
            elif m.key() in self.keys and self._wanted(m):
                await self._taker.message(self, m)
        if self.down is not None and (messages or await self._call(_answers, consumer)):
            self._up()
        await asyncio.sleep(0)
        await self._taker.room(self)

    def _wanted(self, m: Any) -> bool:
        """Not from before we begin, and not there twice."""
        key, topic, partition = m.key(), m.topic(), m.partition()
        if m.offset() < self._from.get((topic, partition, key), self._floor.get((topic, partition), 0)):
            return False
        mid = next((value for name, value in m.headers() or () if name == "mid"), None)
        if mid is None:
            return True
        known, order = self._known.setdefault((topic, partition), (set(), deque()))
        identity = key + mid
        if identity in known:
            return False
        known.add(identity)
        order.append(identity)
        if len(order) > REMEMBERED:
            known.discard(order.popleft())
        return True

    async def _failed(self, consumer: Consumer, m: Any, error: KafkaError) -> None:
        if error.code() != KafkaError._AUTO_OFFSET_RESET:
            if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._AUTHENTICATION):
                raise IoFailure(f"kafka topic {m.topic()}: {error.str()}", "kafka")
            log.warning("kafka topic %s: %s", m.topic(), ascii(error.str()))
            return
        place = TopicPartition(m.topic(), m.partition())
        low, _ = await self._call(lambda: consumer.get_watermark_offsets(place, timeout=ASK_S))
        log.warning("kafka topic %s/%d: what we had not read was deleted; going on at %d", place.topic, place.partition, low)
        place.offset = low
        await self._call(consumer.incremental_unassign, [place])
        await self._call(consumer.incremental_assign, [place])
        self._taker.overrun(self, place.topic)

    def _said(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN and self.ready and self.down is None:
            self.down = error.str()
            self._taker.reachable(self, False)

    def _up(self) -> None:
        self.down = None
        self._taker.reachable(self, True)


def _fetch(consumer: Consumer) -> list[Any]:
    """In the thread: what comes, as soon as it does, and all that is there with it."""
    first = consumer.poll(WAIT_S)
    return [] if first is None else [first, *consumer.consume(AT_ONCE - 1, 0)]


def _answers(consumer: Consumer) -> bool:
    try:
        consumer.list_topics(timeout=1.0)
    except KafkaException:
        return False
    return True


async def read_to_end(link: Link, topic: str) -> list[Any]:
    """All messages that a topic holds now. Raises `IoFailure` and `UsageError`."""

    def read() -> list[Any]:
        consumer = Consumer(link.common() | {"group.id": f"streamer-{uuid4().hex}", "enable.auto.commit": False}, logger=Relay())
        found = []
        try:
            partitions = consumer.list_topics(topic, timeout=ASK_S).topics[topic]
            if partitions.error is not None:
                raise UsageError(f"kafka at {link.servers} has no topic {topic!r}")
            for partition in partitions.partitions:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ASK_S)
                consumer.assign([TopicPartition(topic, partition, low)])
                while low < high and consumer.position([TopicPartition(topic, partition)])[0].offset < high:
                    found += [m for m in consumer.consume(AT_ONCE, WAIT_S) if m.error() is None]
        except KafkaException as e:
            raise IoFailure(f"kafka at {link.servers}: {e.args[0].str()}", "kafka") from None
        finally:
            consumer.close()
        return found

    return await aside(read)
