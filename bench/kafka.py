"""What does a tick cost on its way into Kafka? The sink against a bare `Producer.produce` of the same bytes, and against aiokafka.

Three mock brokers (librdkafka's, over TCP) run in a process of their own on the other core. Counted is the CPU of the producing process,
all its threads; `loop` is that of the thread of the event loop alone. The sink also makes the bytes out of ticks and waits for every
single acknowledgement; the other two are given the bytes. aiokafka runs in the peers' environment (`make bench-peers`).
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import uvloop
from confluent_kafka import Producer, libversion

from bench.peers import Driver, aiokafka, frames
from bench.table import Column, Run, cores, paired, pin, ratio, spread
from streamer.sinks.kafka import KafkaSink
from streamer.sinks.kafka_config import KafkaOptions
from streamer.sinks.kafka_messages import Message
from streamer.types import BookDelta, Tick, Trade

KEYS = 50
BATCH = 10_000
"""Ticks of a write: what a sink is given at most."""
NUMBERS = count()


class Cost(NamedTuple):
    """Us of CPU per tick: of the loop's thread until it was in the queue, and until all were acknowledged; of the process. Per second."""

    enqueue: float
    loop: float
    process: float
    acked: float


def ticks(kind: str, batches: int) -> list[list[Tick[Any]]]:
    """Batches of trades, or of book updates with eight levels."""
    made: list[Tick[Any]] = []
    for n in range(batches * BATCH):
        symbol, ts = f"COIN{n % KEYS}/USDT", 1_700_000_000_000_000_000 + next(NUMBERS)
        if kind == "trade":
            made.append(Trade("binance", symbol, ts, ts, 50_000.25 + n, 0.125, "buy", str(n)))
        else:
            levels = [(50_000.25 - i, 0.125 * i) for i in range(4)]
            made.append(BookDelta("binance", symbol, ts, ts, levels, levels, n, n, n - 1))
    return [made[i : i + BATCH] for i in range(0, len(made), BATCH)]


class Made(NamedTuple):
    """A message, all of it made before it is counted."""

    topic: str
    key: bytes
    value: bytes
    ms: int
    headers: Any


class Clock:
    """CPU of the loop's thread and of the process, and the wall's, since it was made."""

    def __init__(self) -> None:
        self._began = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        return time.thread_time(), time.process_time(), time.perf_counter()

    def read(self) -> tuple[float, float, float]:
        """Seconds of each."""
        return tuple(b - a for a, b in zip(self._began, self._now(), strict=True))  # type: ignore[return-value]


async def by_sink(options: KafkaOptions, batches: Sequence[Sequence[Tick[Any]]]) -> Cost:
    """As its runner does it: one batch after the other."""
    sink = KafkaSink(options)
    await sink.open()
    await sink.write(batches[0][:100])  # a producer's first half second is its own
    messages: list[Message | None] = []
    sink._messages.begin()
    clock = Clock()
    await sink._encode(batches[0], messages, [])
    encode = clock.read()[0]
    put = _put(sink, messages)
    clock = Clock()
    for batch in batches:
        assert not await sink.write(batch)
    cost = _cost((encode + put) / len(messages), clock, sum(map(len, batches)))
    await sink.close(5)
    return cost


def _put(sink: KafkaSink, messages: Sequence[Message | None]) -> float:
    """Seconds that the loop's thread needs to produce them, with a callback for those that fail."""
    line = sink._producer()
    clock = Clock()
    failed: Callable[[Any, Any], None] = lambda error, message: None  # noqa: E731
    for m in messages:
        assert m is not None
        line.producer.produce(m.topic, m.value, m.key, timestamp=m.ms, headers=m.headers, on_delivery=failed)
    took = clock.read()[0]
    line.producer.flush(30)
    return took


async def messages_of(options: KafkaOptions, batches: Sequence[Sequence[Tick[Any]]]) -> list[list[Made]]:
    """The same bytes."""
    sink = KafkaSink(options)
    found = []
    for batch in batches:
        made: list[Message | None] = []
        await sink._encode(batch, made, [])
        found.append([Made(m.topic, m.key, m.value, m.ms, m.headers) for m in made if m is not None])
    return found


def by_producer(options: KafkaOptions, batches: Sequence[Sequence[Made]]) -> Cost:
    """No loop, no callbacks: what cannot be had cheaper from Python."""
    producer = Producer(options.producer(options.max_message_bytes) | {"delivery.report.only.error": True, "log_level": 3})
    for m in batches[0][:100]:
        producer.produce(m.topic, m.value, m.key, timestamp=m.ms, headers=m.headers)
    producer.flush(10)
    clock = Clock()
    enqueue = 0.0
    for batch in batches:
        before = time.thread_time()
        for m in batch:
            producer.produce(m.topic, m.value, m.key, timestamp=m.ms, headers=m.headers)
        enqueue += time.thread_time() - before
        producer.flush(30)
    total = sum(map(len, batches))
    return _cost(enqueue / total, clock, total)


def by_aiokafka(driver: Driver, servers: str, file: Path) -> Cost:
    """In a process of its own, out of a file of the same messages."""
    return Cost(**driver.ask({"servers": servers, "file": str(file), "batch": BATCH}))


def written(kind: str, batches: Sequence[Sequence[Made]]) -> Path:
    """The messages as a file, which goes when we end."""
    file = frames() / f"{kind}.messages"
    with file.open("wb") as f:
        for m in (m for batch in batches for m in batch):
            f.write(orjson.dumps([m.topic, m.key.decode(), m.value.decode(), m.ms, [[k, v.decode()] for k, v in m.headers]]) + b"\n")
    return file


def _cost(enqueue: float, clock: Clock, total: int) -> Cost:
    thread, process, wall = clock.read()
    return Cost(enqueue * 1e6, thread / total * 1e6, process / total * 1e6, total / wall)


def main() -> None:
    run = Run("kafka", __doc__)
    ours, theirs = cores()
    pin(theirs)
    brokers = subprocess.Popen([sys.executable, "-m", "tests.kafka_mock"], stdin=-1, stdout=-1, text=True)
    pin(ours)
    assert brokers.stdout is not None
    options = KafkaOptions.of({"servers": brokers.stdout.readline().strip()})
    table = run.section(
        f"into Kafka: CPU us per tick, and ticks/s acknowledged (librdkafka {libversion()[0]}, three mock brokers)",
        Column("what", "ticks by"), Column("enqueue", "enqueue", ".2f"), Column("loop", "loop until acked", ".2f"),
        Column("process", "process until acked", ".2f", "all threads of the process, librdkafka's included"),
        Column("acked", "acked/s", ".0f"), Column("times", "x bare produce", ".2f", "of the process's CPU, round by round"),
    )  # fmt: skip
    try:
        for kind in ("trade", "book"):
            _compare(run, table, options, kind)
    finally:
        brokers.kill()
        brokers.wait()
    run.end()


def _compare(run: Run, table: Any, options: KafkaOptions, kind: str) -> None:
    batches = ticks(kind, 1 if run.quick else 5)
    same = uvloop.run(messages_of(options, batches))
    found: dict[str, list[Cost]] = {}

    def side(name: str, function: Callable[[], Cost]) -> Callable[[], float]:
        def once() -> float:
            cost = function()
            found.setdefault(name, []).append(cost)
            return cost.process

        return once

    sides = {
        "the sink": side("the sink", lambda: uvloop.run(by_sink(options, batches))),
        "bare produce": side("bare produce", lambda: by_producer(options, same)),
    }
    other = aiokafka()
    if other is not None:
        file = written(kind, same)
        sides["aiokafka"] = side("aiokafka", lambda: by_aiokafka(other, options.servers, file))
    measured = paired(run.rounds, sides)
    for name, costs in found.items():
        counted = costs[1:]  # the first round does not count
        figures: dict[str, Any] = {f: spread(getattr(c, f) for c in counted) for f in Cost._fields}
        table.row(what=f"{kind}s, {name}", times=ratio(measured[name], measured["bare produce"]), **figures)
    run.bar(
        f"{kind}: CPU of the sink against a bare produce of the same bytes",
        ratio(measured["the sink"], measured["bare produce"]).median,
        2.0,
    )
    if other is None:
        print("  not compared with aiokafka: run `make bench-peers` first")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
