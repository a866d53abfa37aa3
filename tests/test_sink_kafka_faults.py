"""What Kafka does to a sink (RELIABILITY K1-K10, K13), on librdkafka's mock cluster. Nothing accepted is lost, and each key stays in order.

The sink is driven as its runner drives it: what was not confirmed is written again, after `close` and `open` if that is wanted.
"""

import asyncio
import logging
import random
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streamer.policies import mailbox
from streamer.sinks import Refused, SinkDown
from streamer.sinks.kafka import KafkaSink
from streamer.sinks.kafka_config import KafkaOptions
from streamer.sinks.runner import SinkRunner
from streamer.sinks.spool import Spool
from streamer.subscription import Subscription
from streamer.types import Tick
from tests.kafka_mock import (
    CLUSTER_AUTH,
    DROP_CONNECTION,
    INIT_PRODUCER_ID,
    NOT_ENOUGH_REPLICAS,
    NOT_LEADER,
    OUT_OF_ORDER,
    POLICY_VIOLATION,
    PRODUCE,
    REQUEST_TIMED_OUT,
    STORAGE,
    TOO_LARGE,
    TOPIC_AUTH,
    MockKafka,
)
from tests.kafka_reading import first_times, ids, read, trades

KEYS = ("BTC/USDT", "ETH/USDT")


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with MockKafka() as cluster:
        yield cluster


@asynccontextmanager
async def opened(kafka: MockKafka, **options: Any) -> AsyncIterator[KafkaSink]:
    sink = KafkaSink(KafkaOptions.of({"servers": kafka.servers, **options}))
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close(5)


async def deliver(sink: KafkaSink, ticks: Sequence[Tick[Any]], tries: int = 20) -> tuple[list[Refused], list[SinkDown]]:
    """Write, again and again, until all is confirmed."""
    refused: list[Refused] = []
    downs: list[SinkDown] = []
    at = 0
    while True:
        try:
            last = await sink.write(ticks[at:])
            return [*refused, *(Refused(r.index + at, r.reason) for r in last)], downs
        except SinkDown as e:
            refused += [Refused(r.index + at, r.reason) for r in e.refused]
            at += e.confirmed
            downs.append(e)
            assert len(downs) < tries, downs
            await reopen(sink, downs)


async def reopen(sink: KafkaSink, downs: list[SinkDown]) -> None:
    while True:
        try:
            await sink.close(2)
            await sink.open()
            return
        except SinkDown as e:
            downs.append(e)
            await asyncio.sleep(0.1)


def whole(kafka: MockKafka, count: int, topic: str = "md.trade", start: int = 0) -> int:
    """All of both keys are there, in order, once what came twice is left out. How many came twice."""
    records = read(kafka.servers, topic)
    firsts = first_times(records)
    for key in KEYS:
        assert ids(firsts, f"binance:{key}") == list(range(start, count)), key
    return len(records) - len(firsts)


TRANSPARENT = {
    "not leader": [NOT_LEADER] * 5,
    "timed out": [REQUEST_TIMED_OUT] * 3,
    "not enough replicas": [NOT_ENOUGH_REPLICAS] * 4,
    "storage": [STORAGE] * 3,
    "connection dropped": [DROP_CONNECTION] * 3,
    "all of them": [NOT_LEADER, DROP_CONNECTION, NOT_ENOUGH_REPLICAS, STORAGE, REQUEST_TIMED_OUT],
}


@pytest.mark.parametrize("errors", TRANSPARENT.values(), ids=list(TRANSPARENT))
async def test_k4_passing_errors_are_not_noticed(kafka: MockKafka, errors: list[int]) -> None:
    async with opened(kafka, properties={"retry.backoff.ms": 20}) as sink:
        await sink.write(trades(10, *KEYS))
        kafka.errors(PRODUCE, *errors)
        assert await sink.write(trades(200, *KEYS, start=10)) == []
        assert sink.rebuilds == 0
    again = whole(kafka, 200)
    assert again == 0 or DROP_CONNECTION in errors, (
        "the mock may append and then drop; it does not know, as a broker does, what comes again"
    )


async def test_k4_the_leader_moves_while_we_write(kafka: MockKafka) -> None:
    async with opened(kafka, properties={"retry.backoff.ms": 20}) as sink:
        for round_ in range(5):
            writing = asyncio.ensure_future(sink.write(trades(100 * (round_ + 1), *KEYS, start=100 * round_)))
            for partition in range(4):
                kafka.lead("md.trade", partition, 1 + round_ % 3)
            assert await writing == []
    assert whole(kafka, 500) == 0


async def test_k1_all_brokers_are_down_for_a_while(kafka: MockKafka) -> None:
    async with opened(kafka) as sink:
        await sink.write(trades(100, *KEYS))
        kafka.down()
        asyncio.get_running_loop().call_later(0.7, kafka.up)
        refused, downs = await deliver(sink, trades(200, *KEYS, start=100))
        assert (refused, downs) == ([], []), "shorter than the patience of the sink"
    assert whole(kafka, 200) == 0


async def test_k1_they_are_down_for_longer_than_the_sink_waits(kafka: MockKafka) -> None:
    async with opened(kafka) as sink:
        await sink.write(trades(100, *KEYS))
        kafka.down()
        began = asyncio.get_running_loop().time()
        with pytest.raises(SinkDown, match="Connection refused") as e:
            await sink.write(trades(200, *KEYS, start=100))
        assert asyncio.get_running_loop().time() - began < 6
        assert (e.value.reason, e.value.confirmed, e.value.reopen) == ("unreachable", 0, True)
        kafka.up()
        await sink.open()
        assert await sink.write(trades(200, *KEYS, start=100)) == []
    whole(kafka, 200)


async def test_k3_a_slow_broker_is_waited_for(kafka: MockKafka) -> None:
    async with opened(kafka) as sink:
        await sink.write(trades(1, *KEYS))
        kafka.slow(500)
        assert await sink.write(trades(200, *KEYS, start=1)) == []
        kafka.slow(0)
    assert whole(kafka, 200) == 0


async def test_k3_one_that_never_answers_is_not(kafka: MockKafka) -> None:
    async with opened(kafka, timeout_s=0.5) as sink:
        await sink.write(trades(100, *KEYS))
        kafka.slow(10_000)
        began = asyncio.get_running_loop().time()
        with pytest.raises(SinkDown, match=r"nothing was acknowledged for 0\.5 s") as e:
            await sink.write(trades(200, *KEYS, start=100))
        assert e.value.reason == "unreachable"
        assert asyncio.get_running_loop().time() - began < 3
        kafka.slow(0)
        await deliver(sink, trades(200, *KEYS, start=100)[e.value.confirmed :])
    whole(kafka, 200)


async def test_k5_the_broker_finds_a_batch_too_large_once(kafka: MockKafka) -> None:
    """Which costs librdkafka all of that batch; here it is sent again, one by one, in its order."""
    async with opened(kafka) as sink:
        await sink.write(trades(100, *KEYS))
        kafka.errors(PRODUCE, TOO_LARGE)
        assert await sink.write(trades(300, *KEYS, start=100)) == []
        assert await sink.write(trades(400, *KEYS, start=300)) == []
    whole(kafka, 400)


@pytest.mark.parametrize(("error", "reason"), [(TOO_LARGE, "too_large"), (POLICY_VIOLATION, "rejected")])
async def test_k5_one_message_is_found_bad_and_goes_alone(kafka: MockKafka, error: int, reason: str) -> None:
    async with opened(kafka) as sink:
        await sink.write(trades(10))
        kafka.errors(PRODUCE, error, error)  # the batch, then its first message by itself
        refused, downs = await deliver(sink, trades(50, start=10))
    assert downs == []
    assert [(r.index, r.reason) for r in refused] == [(0, reason)]
    assert ids(first_times(read(kafka.servers, "md.trade")), "binance:BTC/USDT") == [n for n in range(50) if n != 10]


async def test_k5_a_broker_that_takes_nothing_is_down(kafka: MockKafka) -> None:
    """It is not the messages then, and none of them is given up for ever."""
    async with opened(kafka) as sink:
        await sink.write(trades(1))
        kafka.errors(PRODUCE, *[POLICY_VIOLATION] * 30)
        with pytest.raises(SinkDown, match="takes none of these") as e:
            await sink.write(trades(100, start=1))
        assert len(e.value.refused) <= 10
        assert e.value.confirmed == len(e.value.refused)


async def test_k6_rights_are_taken_away(kafka: MockKafka) -> None:
    async with opened(kafka) as sink:
        await sink.write(trades(100, *KEYS))
        kafka.errors(PRODUCE, TOPIC_AUTH)
        with pytest.raises(SinkDown, match="Topic authorization failed") as e:
            await sink.write(trades(200, *KEYS, start=100))
        assert (e.value.reason, e.value.reopen) == ("unauthorized", True)
        kafka.clear(PRODUCE)
        await deliver(sink, trades(200, *KEYS, start=100)[e.value.confirmed :])
    whole(kafka, 200)


async def test_k7_the_producer_is_rebuilt(kafka: MockKafka) -> None:
    async with opened(kafka) as sink:
        await sink.write(trades(100, *KEYS))
        kafka.errors(PRODUCE, OUT_OF_ORDER)
        assert await sink.write(trades(300, *KEYS, start=100)) == []
        assert sink.rebuilds == 1
    whole(kafka, 300)


async def test_k7_but_not_for_ever(kafka: MockKafka) -> None:
    async with opened(kafka) as sink:
        await sink.write(trades(1))
        kafka.errors(PRODUCE, *[OUT_OF_ORDER] * 10)
        with pytest.raises(SinkDown, match="5 producers failed within ten minutes") as e:
            await sink.write(trades(10, start=1))
        assert (sink.rebuilds, e.value.reason, e.value.confirmed) == (5, "fatal", 0)
        kafka.clear(PRODUCE)
        await deliver(sink, trades(10, start=1))
    assert ids(first_times(read(kafka.servers, "md.trade")), "binance:BTC/USDT") == list(range(10))


async def test_k7_no_right_to_be_idempotent(kafka: MockKafka) -> None:
    sink = KafkaSink(KafkaOptions.of({"servers": kafka.servers}))
    kafka.errors(INIT_PRODUCER_ID, CLUSTER_AUTH)
    await sink.open()
    with pytest.raises(SinkDown, match="Cluster authorization failed") as e:
        await sink.write(trades(10))
    assert e.value.reason == "unauthorized"
    await deliver(sink, trades(10))
    await sink.close(2)
    assert ids(read(kafka.servers, "md.trade"), "binance:BTC/USDT") == list(range(10))


async def test_k8_a_full_queue_of_librdkafka_is_waited_for(kafka: MockKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("streamer.sinks.kafka_config", fromlist=["KEPT"]).KEPT, "queue.buffering.max.messages", 100)
    async with opened(kafka) as sink:
        assert await sink.write(trades(2000, *KEYS)) == []
    assert whole(kafka, 2000) == 0


async def test_k2_memory_stays_flat_when_they_are_down_for_good(kafka: MockKafka) -> None:
    async with opened(kafka, timeout_s=0.2) as sink:
        ticks = trades(2000, *KEYS)
        kafka.down()
        for attempt in range(6):
            if attempt == 2:
                tracemalloc.start()
            with pytest.raises(SinkDown):
                await sink.write(ticks)
            await asyncio.sleep(0.05)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held < 3_000_000, "what is tried again is not kept again"


async def test_k10_a_secret_is_nowhere(caplog: pytest.LogCaptureFixture, kafka: MockKafka) -> None:
    """The mock cluster speaks no SASL, so this fails, and tells why; on a real broker: test_kafka_real.py."""
    canary = "S3CR3T-CANARY"
    options = KafkaOptions.of({
        "servers": kafka.servers, "security": "sasl_plaintext", "sasl_user": "me", "sasl_password": canary, "timeout_s": 1.0,
        "schema_registry_user_info": f"me:{canary}", "properties": {"debug": "all"},
    })  # fmt: skip
    with caplog.at_level(logging.DEBUG):
        sink = KafkaSink(options)
        with pytest.raises(SinkDown) as e:
            await sink.open()
        await sink.close(2)
    assert caplog.text.count("\n") > 20, "librdkafka said nothing at all"
    for text in (caplog.text, str(e.value), repr(options), str(options), repr(sink)):
        assert canary not in text


async def test_k13_more_partitions_are_told(kafka: MockKafka, caplog: pytest.LogCaptureFixture) -> None:
    """Keys change places then, so order across that moment is gone: documented, and told in the log."""
    async with opened(kafka) as sink:
        await sink.write(trades(1))
        sink._topics._partitions["md.trade"] = 2  # as if there had been two when we last looked: the mock cannot add any
        await sink.open()
        await sink.write(trades(1))
    assert "topic md.trade had 2 partitions, now 4" in caplog.text


class Nobody:
    def add(self, box: Any, streams: Any) -> None: ...
    def remove(self, box: Any, streams: Any) -> None: ...
    def release(self, box: Any) -> None: ...


def running(kafka: MockKafka, tmp_path: Path, **options: Any) -> tuple[SinkRunner, Subscription]:
    """A runner with a spool; ticks are offered to the mailbox of its subscription."""
    sub = Subscription(mailbox("drop_oldest", 100_000), Nobody(), "test")
    sink = KafkaSink(KafkaOptions.of({"servers": kafka.servers, **options}))
    return SinkRunner(sink, sub, spool=Spool(tmp_path / "spool")), sub


async def test_brokers_come_and_go_under_load_and_nothing_is_lost(kafka: MockKafka, tmp_path: Path) -> None:
    """The runner, its spool and the sink, while brokers are killed, return, and answer with errors."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    runner, sub = running(kafka, tmp_path, timeout_s=1.0, properties={"retry.backoff.ms": 20})
    runner.start()
    for step in range(40):
        for tick in trades(50 * (step + 1), *KEYS, start=50 * step):
            sub.box.offer(tick)
        if step % 8 == 2:
            kafka.down(*rng.sample(range(1, 4), rng.choice((1, 3))))
        if step % 8 == 6:
            kafka.up()
        if step % 8 == 7:
            kafka.errors(PRODUCE, *rng.sample([NOT_LEADER, DROP_CONNECTION, OUT_OF_ORDER, TOPIC_AUTH, STORAGE], 2))
        await asyncio.sleep(rng.uniform(0.01, 0.1))
    kafka.up()
    kafka.clear(PRODUCE)
    async with asyncio.timeout(30):
        while runner.stats().confirmed < 4000:
            await asyncio.sleep(0.05)
    stats = await runner.drain(10)
    assert stats.accepted == stats.confirmed == 4000
    assert stats.lost == {}
    whole(kafka, 2000)


async def test_r3_the_end_comes_in_time_though_no_broker_is_there_and_the_next_start_delivers(kafka: MockKafka, tmp_path: Path) -> None:
    runner, sub = running(kafka, tmp_path)
    runner.start()
    for tick in trades(500, *KEYS):
        sub.box.offer(tick)
    async with asyncio.timeout(10):
        while runner.stats().confirmed < 1000:
            await asyncio.sleep(0.02)
    kafka.down()
    for tick in trades(1500, *KEYS, start=500):
        sub.box.offer(tick)
    await asyncio.sleep(0.1)
    began = asyncio.get_running_loop().time()
    stats = await runner.drain(2)
    assert asyncio.get_running_loop().time() - began < 3
    assert stats.accepted == 3000 == stats.confirmed + stats.spooled
    kafka.up()
    runner, _ = running(kafka, tmp_path)
    runner.start()
    async with asyncio.timeout(10):
        while runner.stats().confirmed < 2000:
            await asyncio.sleep(0.02)
    await runner.drain(5)
    whole(kafka, 1500)
