"""One batch on its way to Kafka: what is sent, acknowledged and failed. It waits for the brokers, but never for ever."""

import asyncio
from collections import deque
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from streamer.sinks.kafka_client import Relay
from streamer.sinks.kafka_messages import Message

SLICE: Final = 200
"""Messages produced in one turn of the loop: one or two ms."""
POLL_S: Final = 0.002
GRACE_S: Final = 3.0
"""librdkafka says that all brokers are down when it tries the next one, too: only when it stays so for so long it is true."""
RECALL_S: Final = 2.0
_PURGED: Final = frozenset((KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._FATAL))


class Line:
    """A producer, and what it said of the brokers. `each`: it is to tell of each message that is acknowledged. `said_times`: its length
    counts what it has to say (errors, lines of its log) besides its messages."""

    def __init__(self, conf: dict[str, Any], logger: Relay, each: bool = False) -> None:
        self.said_times = 0
        self._logger = logger
        self.down_since: float | None = None
        self.denied: KafkaError | None = None
        self.said: KafkaError | None = None
        self.fatal: KafkaError | None = None
        self.producer = Producer({**conf, "error_cb": self._error, "delivery.report.only.error": not each}, logger=self)

    def poll(self) -> KafkaError | None:
        """Run what waits to be called back; what makes the producer useless."""
        try:
            self.producer.poll(0)
        except KafkaException as e:
            self.said_times += 1
            self.fatal = e.args[0]
            return self.fatal
        return None

    def log(self, level: int, text: str, *args: Any) -> None:
        """For librdkafka, which takes this for a logger."""
        self.said_times += 1
        self._logger.log(level, text, *args)

    def heard(self) -> None:
        """A broker answered."""
        self.down_since = self.denied = None

    def _error(self, error: KafkaError) -> None:
        self.said_times += 1
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.down_since = self.down_since or asyncio.get_running_loop().time()
            return
        self.said = error
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
            self.denied = error


class Flight:
    """`acked[i]`: message i is settled. `error` is the first one, that of message `failed` if it was one's own. `places`: where messages
    landed, if that is wanted; it costs as much as all else, for librdkafka then tells of each, and not only of those that failed."""

    def __init__(self, messages: list[Message | None]) -> None:
        self.messages = messages
        self.acked = bytearray(m is None for m in messages)
        self.places: dict[int, tuple[str, int, int]] = {}
        self.error: KafkaError | None = None
        self.failed: int | None = None
        self._todo: list[int] = []  # in this attempt
        self._sent = 0  # so many of these
        self._unsafe: set[int] = set()  # of these
        self._index: dict[tuple[str, bytes, bytes], deque[int]] = {}

    @property
    def settled(self) -> int:
        """How many messages from the beginning."""
        first = self.acked.find(0)
        return len(self.acked) if first < 0 else first

    def give_up(self, index: int) -> None:
        """This one will never be taken."""
        self.acked[index] = 1
        self.messages[index] = None

    async def go(self, line: Line, timeout_s: float) -> KafkaError | None:
        """Send all that is not settled, and wait for it. What stopped it, or None. Then `recall` what is still out."""
        self.error = self.failed = None
        self._sent, self._unsafe, self._index = 0, set(), {}
        loop = asyncio.get_running_loop()
        moved, queued = loop.time(), 0
        todo = self._todo = [i for i, done in enumerate(self.acked) if not done]
        while self.error is None and (self._sent < len(todo) or queued):
            before = self._sent
            if self._sent < len(todo):
                self._produce(line.producer)
                queued = len(line.producer)
            said = line.said_times
            error = line.poll()
            if error is not None and self.error is None:
                self.error = error
            left = len(line.producer)
            if left + line.said_times - said < queued:
                moved = loop.time()
                line.heard()
            elif self.error is None and queued:
                self.error = self._lost(line, loop.time() - moved, loop.time(), timeout_s)
            queued = left
            await asyncio.sleep(0 if before < self._sent < len(todo) else POLL_S)
        if self.error is None:
            self._settle()
        return self.error

    async def recall(self, line: Line) -> KafkaError | None:
        """Take back what is out; it may have been written all the same. What was wrong, which a producer that stops tells afterwards."""
        line.producer.purge(blocking=False)
        loop = asyncio.get_running_loop()
        end = loop.time() + RECALL_S
        line.poll()
        while len(line.producer) and loop.time() < end:
            line.poll()
            await asyncio.sleep(POLL_S)
        if not len(line.producer):  # else nobody knows, and all of it is sent again
            self._settle()
        return line.fatal if line.fatal is not None and self.failed is None else self.error

    def _settle(self) -> None:
        """What was sent and did not come back is safe."""
        for index in self._todo[: self._sent]:
            if index not in self._unsafe:
                self.acked[index] = 1

    def _produce(self, producer: Producer) -> None:
        """Put the next few into the queue."""
        produce, messages, told = producer.produce, self.messages, self._told
        for index in self._todo[self._sent : self._sent + SLICE]:
            m = messages[index]
            assert m is not None  # noqa: S101  (it would be settled)
            try:
                produce(m.topic, m.value, m.key, timestamp=m.ms, headers=[("mid", m.mid), *m.more], on_delivery=told)
            except BufferError:  # it is full: wait until something went
                return
            except KafkaException as e:
                if self.error is None:
                    self.error = e.args[0]
                    self.failed = None if self.error.code() in _PURGED else index
                return
            self._sent += 1

    def _told(self, error: KafkaError | None, message: Any) -> None:
        """By librdkafka, of one that failed; of each, if `places` are wanted."""
        index = self._find(message, newest=error is not None)
        if index is None:
            return
        if error is None:
            self.places[index] = (message.topic(), message.partition(), message.offset())
            return
        self._unsafe.add(index)
        if error.code() not in _PURGED and (self.failed is None or index < self.failed):
            self.error, self.failed = error, index

    def _find(self, message: Any, newest: bool) -> int | None:
        """Which of this attempt's it is: librdkafka gives topic, key and value back, no headers. Of twins the older is there first, so it
        is the `newest` that failed."""
        if not self._index:
            for i in self._todo:
                m = self.messages[i]
                if m is not None:
                    self._index.setdefault((m.topic, m.key, m.value), deque()).append(i)
        twins = self._index.get((message.topic(), message.key(), message.value()))
        if not twins:
            return None
        return twins.pop() if newest else twins.popleft()

    @staticmethod
    def _lost(line: Line, silent_s: float, now: float, timeout_s: float) -> KafkaError | None:
        """Is it time to give up?"""
        if line.denied is not None:
            return line.denied
        if silent_s > GRACE_S and line.down_since is not None and now - line.down_since > GRACE_S:
            return KafkaError(KafkaError._ALL_BROKERS_DOWN, f"no broker answers: {line.said.str() if line.said else 'all are down'}")
        if silent_s > timeout_s:
            return KafkaError(KafkaError._TIMED_OUT, f"nothing was acknowledged for {timeout_s:g} s")
        return None
