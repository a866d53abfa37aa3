"""Reading topics to their end, for the tests of what was written; and ticks that are worth writing."""

import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from confluent_kafka import Consumer, TopicPartition

from streamer.codecs import codec_of
from streamer.types import Tick, Trade

T0 = time.time_ns() // 1_000_000_000 * 1_000_000_000
"""Now: Kafka deletes what is older than a topic keeps by the time of its messages."""
PATIENCE_S = 20.0


class Record(NamedTuple):
    """A message as it lies in the topic."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes | None
    headers: dict[str, str]
    ms: int

    @property
    def tick(self) -> Any:
        """The tick in it."""
        return codec_of(self.headers["schema"].split("/")[0], decimal=False).decode(self.value or b"")


def read(servers: str, *topics: str, **conf: Any) -> list[Record]:
    """All that the topics hold now, each partition in its order."""
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": uuid4().hex, "enable.auto.commit": False, "fetch.wait.max.ms": 10} | conf
    )
    found: list[Record] = []
    try:
        for topic in topics:
            for partition in consumer.list_topics(topic, 10).topics[topic].partitions:
                found += _partition(consumer, topic, partition)
    finally:
        consumer.close()
    return found


def _partition(consumer: Consumer, topic: str, partition: int) -> list[Record]:
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
    if low == high:
        return []
    consumer.assign([TopicPartition(topic, partition, low)])
    found: list[Record] = []
    until = time.monotonic() + PATIENCE_S
    while consumer.position([TopicPartition(topic, partition)])[0].offset < high:
        assert time.monotonic() < until, f"{topic}/{partition} was read to {found[-1:]} of {high}"
        for m in consumer.consume(1000, 0.2):
            assert m.error() is None, m.error()
            headers = {name: value.decode() for name, value in m.headers() or []}
            found.append(Record(topic, partition, m.offset(), (m.key() or b"").decode(), m.value(), headers, m.timestamp()[1]))
    consumer.unassign()
    return found


def first_times(records: Iterable[Record]) -> list[Record]:
    """Without what came again, as a reader knows it."""
    seen: dict[tuple[str, str, str], Record] = {}
    for r in records:
        seen.setdefault((r.topic, r.key, r.headers["mid"]), r)
    return list(seen.values())


def ids(records: Iterable[Record], key: str) -> list[int]:
    """The ids of a stream's trades, in the order in which they lie there."""
    return [int(r.tick.id) for r in records if r.key == key]


def trades(stop: int, *symbols: str, start: int = 0) -> Sequence[Tick[Any]]:
    """Of each symbol in turn those with the ids from `start` to before `stop`."""
    return [
        Trade("binance", symbol, None, T0 + n * 1000, 50_000.0 + n, 0.25, "buy", str(n))
        for n in range(start, stop)
        for symbol in symbols or ("BTC/USDT",)
    ]
