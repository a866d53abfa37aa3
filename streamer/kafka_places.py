"""Where to begin to read in a Kafka cluster: at its end, its beginning or a time; books at the latest of their snapshots."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, TopicPartition
from msgspec import Struct

from streamer.errors import IoFailure, UsageError, nearest
from streamer.sinks.kafka_client import Relay, aside
from streamer.sinks.kafka_config import Link

log = logging.getLogger(__name__)
ASK_S: Final = 5.0
WAIT_S: Final = 0.2
AT_ONCE: Final = 500
"""Messages that are asked for, and given before others have their turn of the loop."""


class Plan(Struct):
    """What a lane reads. `topics`: what it wants of them; `books`: the topic of books among them, `latest` that of their snapshots, or "".
    `start`: "now", "earliest" or a time in ns."""

    topics: list[str]
    optional: list[str]
    books: str
    latest: str
    start: str | int


class Places:
    """Of a plan, once they were looked for. All of it waits for the cluster, so it belongs in a thread."""

    def __init__(self, servers: str, plan: Plan) -> None:
        self._servers = servers
        self._plan = plan
        self._floor: dict[tuple[str, int], int] = {}
        self._from: dict[tuple[str, int, bytes], int] = {}

    def before(self, topic: str, partition: int, key: bytes, offset: int) -> bool:
        """Is a message of this key from before the beginning?"""
        return offset < self._from.get((topic, partition, key), self._floor.get((topic, partition), 0))

    def look(self, consumer: Consumer, keys: set[bytes], stop: Callable[[], bool]) -> tuple[list[TopicPartition], list[Any]]:
        """Where to begin, and the latest snapshots of the books among `keys`. Raises `UsageError` and `KafkaException`."""
        plan, there = self._plan, consumer.list_topics(timeout=ASK_S).topics
        for name in plan.topics:
            if name not in there:
                raise UsageError(f"kafka at {self._servers} has no topic {name!r}{nearest(name, there) or ''}")
        names = plan.topics + [t for t in plan.optional if t in there]
        places = [p for name in names for p in self._of_topic(consumer, name, list(there[name].partitions))]
        if not plan.latest or plan.start != "now" or not plan.books:
            return places, []
        if plan.latest not in there:
            raise UsageError(f"kafka at {self._servers} has no topic {plan.latest!r} of latest books")
        first = self._latest(consumer, list(there[plan.latest].partitions), keys, stop)
        for place in places:
            ahead = [offset for (topic, partition, _), offset in self._from.items() if (topic, partition) == (place.topic, place.partition)]
            place.offset = min([place.offset, *ahead])
        return places, first

    def _of_topic(self, consumer: Consumer, topic: str, partitions: Iterable[int]) -> list[TopicPartition]:
        found = []
        start = self._plan.start
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

    def _latest(self, consumer: Consumer, partitions: Iterable[int], keys: set[bytes], stop: Callable[[], bool]) -> list[Any]:
        """The latest snapshot of each of our books from which it can be gone on."""
        newest: dict[bytes, Any] = {}
        latest = self._plan.latest
        for partition in partitions:
            for m in _held(consumer, latest, partition, stop):
                if m.error() is not None:
                    raise KafkaException(m.error())
                key = m.key()
                if key in keys and m.value() is not None:
                    newest[key] = m
        return [m for key, m in newest.items() if self._bridged(consumer, key, m)]

    def _bridged(self, consumer: Consumer, key: bytes, message: Any) -> bool:
        """Is what follows this snapshot still there?"""
        topic, _, place = dict(message.headers() or []).get("at", b"").decode(errors="replace").partition(":")
        partition, _, offset = place.partition(":")
        if topic != self._plan.books or not (partition.isdecimal() and offset.isdecimal()):
            log.warning("%s: a snapshot of %s does not say where it stands", self._plan.latest, ascii(key))
            return False
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, int(partition)), timeout=ASK_S)
        if not low <= int(offset) + 1 <= high:
            log.info("the latest snapshot of %s is older than what its topic still holds", ascii(key))
            return False
        self._from[topic, int(partition), key] = int(offset) + 1
        return True


def _held(consumer: Consumer, topic: str, partition: int, stop: Callable[[], bool] = lambda: False) -> Iterator[Any]:
    """All messages that a partition holds now, errors among them."""
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ASK_S)
    if low == high:
        return
    consumer.assign([TopicPartition(topic, partition, low)])
    while consumer.position([TopicPartition(topic, partition)])[0].offset < high and not stop():
        yield from consumer.consume(AT_ONCE, WAIT_S)
    consumer.unassign()


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
                found += [m for m in _held(consumer, topic, partition) if m.error() is None]
        except KafkaException as e:
            raise IoFailure(f"kafka at {link.servers}: {e.args[0].str()}", "kafka") from None
        finally:
            consumer.close()
        return found

    return await aside(read)
