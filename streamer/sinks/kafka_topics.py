"""Topics: are they there, are they to be made, and how large may a message be?"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType  # type: ignore[attr-defined]

from streamer.sinks import SinkDown
from streamer.sinks.kafka_client import Relay, aside, reason_of
from streamer.sinks.kafka_config import KafkaOptions

log = logging.getLogger(__name__)
LOOK_S = 5.0
"""For one question to a broker."""
AUTO_CREATION_TRIES = 10


class Topics:
    """The topics of one cluster. `limit`: bytes of a message that every one of them takes."""

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self.limit = options.max_message_bytes
        self._partitions: dict[str, int] = {}
        self._checked: set[str] = set()
        self._learning: set[asyncio.Task[None]] = set()

    def forget(self) -> None:
        """Look at all again, but remember their partitions."""
        self.limit = self._options.max_message_bytes
        self._checked.clear()

    async def ensure(self, producer: Producer, names: Iterable[str], compacted: frozenset[str]) -> None:
        """See to it that they are there. Raises `SinkDown`."""
        for name in names:
            if name in self._checked:
                continue
            partitions = await self._look(producer, name)
            if not partitions and self._options.create_topics:
                await self._create(name, name in compacted)
            for _ in range(AUTO_CREATION_TRIES):
                partitions = partitions or await self._look(producer, name)
                if partitions:
                    break
                await asyncio.sleep(0.1)
            else:
                raise SinkDown(f"kafka has no topic {name!r}; make it, or say create_topics = true", "no_topic", reopen=True)
            self._note(name, partitions)
            self._checked.add(name)
            task = asyncio.ensure_future(self._learn_limit(name))
            self._learning.add(task)
            task.add_done_callback(self._learning.discard)

    async def _look(self, producer: Producer, name: str) -> int:
        """How many partitions it has; 0: it is not there. A cluster that makes topics by itself makes it now."""
        try:
            found = (await aside(producer.list_topics, name, min(LOOK_S, self._options.timeout_s))).topics[name]
        except KafkaException as e:
            raise SinkDown(f"kafka at {self._options.servers}: {e.args[0].str()}", reason_of(e.args[0]), reopen=True) from None
        error: KafkaError | None = found.error
        if error is not None and reason_of(error) not in ("no_topic", "broker", "unreachable"):
            raise SinkDown(f"kafka topic {name!r}: {error.str()}", reason_of(error), reopen=True)
        return 0 if error is not None else len(found.partitions)

    def _note(self, name: str, partitions: int) -> None:
        before = self._partitions.setdefault(name, partitions)
        if before != partitions:
            log.error("topic %s had %d partitions, now %d: keys change places, their order across that is lost", name, before, partitions)
            self._partitions[name] = partitions

    async def _create(self, name: str, compact: bool) -> None:
        o = self._options
        config: dict[str, str] = {"cleanup.policy": "compact" if compact else "delete"}
        if o.retention_hours and not compact:
            config["retention.ms"] = str(int(o.retention_hours * 3_600_000))
        topic = NewTopic(name, num_partitions=o.partitions, replication_factor=o.replication, config=config)
        try:
            await aside(
                self._admin(lambda a: a.create_topics([topic], operation_timeout=LOOK_S, request_timeout=2 * LOOK_S)[name].result())
            )
        except KafkaException as e:
            error = e.args[0]
            if error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise SinkDown(f"kafka does not make topic {name!r}: {error.str()}", reason_of(error), reopen=True) from None
            return
        log.info("made topic %s with %d partitions", name, o.partitions)

    async def _learn_limit(self, name: str) -> None:
        """Refuse what the topic's max.message.bytes would, if we may know it. Nobody waits for that: until it is known, the broker says."""
        resource = ConfigResource(ResourceType.TOPIC, name)
        try:
            found = await aside(self._admin(lambda a: a.describe_configs([resource], request_timeout=LOOK_S)[resource].result()))
            limit = int(found["max.message.bytes"].value)
        except (KafkaException, KeyError, TypeError, ValueError) as e:
            log.debug("topic %s does not tell its limit: %s", name, e)
            return
        if limit < self.limit:
            self.limit = limit * 9 // 10
            log.warning("topic %s takes messages of %d bytes only: larger than %d are refused", name, limit, self.limit)

    def _admin(self, ask: Any) -> Any:
        def run() -> Any:
            return ask(AdminClient(self._options.common(), logger=Relay()))

        return run
