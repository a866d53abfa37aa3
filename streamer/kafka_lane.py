"""One consumer of a Kafka cluster, from a stated place in its topics on, to whoever takes the messages; one thread, one task.

It belongs to no consumer group: every reader sees all that it asks for, and begins where it says. A book begins at the compacted topic of
snapshots, if there is one: each says behind which message it stands, and what lies before that is not given.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamer.errors import IoFailure, StreamerError
from streamer.gates import backoff
from streamer.kafka_places import ASK_S, AT_ONCE, WAIT_S, Places, Plan
from streamer.sinks.kafka_client import Relay
from streamer.sinks.kafka_config import Link

log = logging.getLogger(__name__)
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
        self._places = Places(link.servers, plan)
        self._known: dict[tuple[str, int], tuple[set[bytes], deque[bytes]]] = {}
        self._pool = ThreadPoolExecutor(1, "kafka-lane")
        self._over = False
        self._heard = ""
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
                places, first = await self._call(self._places.look, consumer, self.keys, lambda: self._over)
                await self._call(consumer.assign, places)
                break
            except KafkaException as e:
                await self._call(consumer.poll, 0)  # only so are errors called back, and they say more: that a password is wrong
                await asyncio.sleep(0)
                self.down = self._heard or e.args[0].str()
                self._changed()
                log.warning("kafka at %s: %s; trying again", self._link.servers, self.down)
            for _ in range(int(delay / WAIT_S) + 1):
                if self._over:
                    return []
                await asyncio.sleep(WAIT_S)
        self.down = None
        found: list[Any] = first
        return found

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
        if self._places.before(topic, partition, key, m.offset()):
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
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._heard = error.str()
        elif self.ready and self.down is None:
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
