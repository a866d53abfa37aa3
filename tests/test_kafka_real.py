"""The Kafka sink and the way back on a real Apache Kafka: what librdkafka's mock cluster cannot show, and kcat reading what we wrote."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from streamer.codecs.registry import Registry
from streamer.errors import IoFailure, UsageError
from streamer.kafka import consume
from streamer.policies import mailbox
from streamer.sinks import SinkDown
from streamer.sinks.kafka import KafkaSink
from streamer.sinks.kafka_config import KafkaOptions
from streamer.sinks.runner import SinkRunner
from streamer.sinks.spool import Spool
from streamer.subscription import Subscription
from streamer.types import BookDelta, BookSnapshot, Instrument, Status, Trade
from tests.kafka_reading import T0, first_times, ids, read, trades
from tests.kafka_real import REGISTRY, SERVERS, OwnBroker, admin, kcat, needs_kafka, needs_kcat, needs_registry, opened
from tests.test_sink_kafka_faults import KEYS, Nobody

pytestmark = [needs_kafka, pytest.mark.timeout(120)]
BTC = ("binance", "BTC/USDT", None)


@pytest.fixture
def name() -> str:
    """Topics of this test only."""
    return f"t{uuid4().hex[:10]}"


def config_of(topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    client = admin()
    return {k: v.value for k, v in client.describe_configs([resource])[resource].result(10).items()}


def configure(topic: str, key: str, value: str) -> None:
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = admin()
    client.incremental_alter_configs([resource])[resource].result(10)


async def test_topics_are_made_as_asked_and_filled_in_order(name: str) -> None:
    listed = Instrument(*BTC, T0, "BTCUSDT", "BTC", "USDT")
    book = BookSnapshot(*BTC, T0, [(1.0, 1.0)], [(2.0, 1.0)], 1)
    async with opened(name, latest_books=f"{name}.latest", retention_hours=2.0) as sink:
        assert await sink.write([*trades(3000, *KEYS), listed, book]) == []
    records = read(SERVERS, f"{name}.trade")
    for key in KEYS:
        assert ids(records, f"binance:{key}") == list(range(3000))
    assert len(records) == 6000, "each once"
    assert len(admin().list_topics(f"{name}.trade", 10).topics[f"{name}.trade"].partitions) == 3
    assert config_of(f"{name}.trade")["retention.ms"] == "7200000"
    assert {t: config_of(f"{name}.{t}")["cleanup.policy"] for t in ("trade", "instrument", "latest")} == {
        "trade": "delete", "instrument": "compact", "latest": "compact",
    }  # fmt: skip


async def test_a_topic_that_is_not_there_is_not_made_unasked(name: str) -> None:
    async with opened(name, create_topics=False) as sink:
        with pytest.raises(SinkDown, match="has no topic") as e:
            await sink.write(trades(1))
        assert e.value.reason == "no_topic"


async def test_the_broker_is_killed_and_restarted_under_load(name: str, tmp_path: Path) -> None:
    """Nothing that was accepted is lost, and each key stays in order; so also when it is stopped in order."""
    broker = OwnBroker("sink")
    await asyncio.to_thread(broker, "start")
    try:
        await _restarted(broker, name, tmp_path)
    finally:
        await asyncio.to_thread(broker, "wipe")


async def _restarted(broker: OwnBroker, name: str, tmp_path: Path) -> None:
    sub = Subscription(mailbox("drop_oldest", 200_000), Nobody(), "test")
    given = {"servers": broker.servers, "topic": f"{name}.{{kind}}", "create_topics": True, "partitions": 3, "replication": 1}
    runner = SinkRunner(KafkaSink(KafkaOptions.of(given)), sub, spool=Spool(tmp_path / "spool"))
    runner.start()
    count = 0

    async def load(seconds: float) -> None:
        nonlocal count
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            for tick in trades(count + 100, *KEYS, start=count):
                sub.box.offer(tick)
            count += 100
            await asyncio.sleep(0.05)

    for verb in ("kill", "stop"):
        await load(1.0)
        await asyncio.to_thread(broker, verb)
        await load(4.0)
        restart = asyncio.create_task(asyncio.to_thread(broker, "start"))
        await load(1.0)
        await restart
    await load(1.0)
    async with asyncio.timeout(60):
        while runner.stats().confirmed < 2 * count:
            await asyncio.sleep(0.1)
    stats = await runner.drain(10)
    assert (stats.accepted, stats.confirmed, stats.lost, stats.dropped) == (2 * count, 2 * count, {}, 0)
    assert stats.errors, "it was never noticed"
    firsts = first_times(read(broker.servers, f"{name}.trade"))
    for key in KEYS:
        assert ids(firsts, f"binance:{key}") == list(range(count)), key


async def test_a_topic_with_a_lower_limit_than_ours(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is asked for when the topic is first used, and from then on what is larger is refused here."""
    large = BookSnapshot(*BTC, T0, [(float(n + 1), 1.0 / (n + 3)) for n in range(3000)], [], 1)
    async with opened(name) as sink:
        await sink.write([Status(*BTC, T0, "book", "live")])
        configure(f"{name}.book", "max.message.bytes", "20000")
        await sink.open()
        refused = await sink.write([Status(*BTC, T0, "book", "live"), large, Status(*BTC, T0, "book", "stale")])
        assert [(r.index, r.reason) for r in refused] == [(1, "too_large")]
        async with asyncio.timeout(10):
            while "takes messages of 20000 bytes only" not in caplog.text:
                await asyncio.sleep(0.05)
        refused = await sink.write([large, Status(*BTC, T0, "book", "down")])
        assert [(r.index, r.reason, r.detail[-5:]) for r in refused] == [(0, "too_large", "18000")]
    states = [r.tick.state for r in first_times(read(SERVERS, f"{name}.book"))]
    assert states == ["live", "live", "stale", "down"]


async def test_a_reader_begins_with_a_true_book(name: str) -> None:
    async with opened(name, latest_books=f"{name}.latest", latest_every_s=0.1) as sink:
        await sink.write([BookSnapshot(*BTC, T0, [(10.0, 1.0)], [(20.0, 1.0)], 0), *trades(1)])
        for n in range(1, 50):
            await sink.write([BookDelta(*BTC, T0 + n, [(10.0 - n / 10, float(n))], [], n, n, n - 1)])
            await asyncio.sleep(0.01)
        async with consume(SERVERS, topic=f"{name}.{{kind}}", latest_books=f"{name}.latest") as s:
            sub = s.subscribe("binance:BTC/USDT", kinds=("book", "trade"))
            await s.ready(sub)
            await sink.write([BookDelta(*BTC, T0 + 50, [(5.0, 50.0)], [], 50, 50, 49), *trades(2, start=1)])
            found: list[Any] = []
            async with asyncio.timeout(10):
                while not any(isinstance(t, Trade) for t in found) or s.book("binance:BTC/USDT").seq != 50:  # type: ignore[union-attr]
                    found.append(await anext(sub))
            book = s.book("binance:BTC/USDT")
            assert book is not None
            assert book.bids() == [(10.0, 1.0), *((round(10.0 - n / 10, 9), float(n)) for n in range(1, 51))]
            assert [t.id for t in found if isinstance(t, Trade)] == ["1"], "trades begin now"


@needs_kcat
async def test_kcat_reads_what_we_wrote(name: str) -> None:
    async with opened(name, compression="zstd") as sink:
        await sink.write(trades(100, *KEYS))
    rows = kcat("-C", "-t", f"{name}.trade", "-o", "beginning", "-e", "-q", "-f", "%k|%T|%h|%s\n").splitlines()
    assert len(rows) == 200
    seen: dict[str, list[int]] = {}
    for row in rows:
        key, ms, headers, value = row.split("|", 3)
        tick = json.loads(value)
        assert key == f"{tick['exchange']}:{tick['symbol']}"
        assert int(ms) == tick["ts_recv"] // 1_000_000
        named = dict(h.split("=", 1) for h in headers.split(","))
        assert named["schema"] == "json/trade/1"
        assert (named["exchange"], named["kind"]) == ("binance", "trade")
        assert named["mid"].startswith(f"{tick['ts_recv']:x}-")
        seen.setdefault(key, []).append(int(tick["id"]))
    assert seen == {f"binance:{key}": list(range(100)) for key in KEYS}


@needs_registry
@pytest.mark.parametrize("format", ["avro", "protobuf"])
async def test_schemas_are_registered_and_values_read_by_them(name: str, format: str) -> None:
    ticks = [*trades(5), BookSnapshot(*BTC, T0, [(10.0, 1.0)], [(20.0, 1.0)], 0)]
    async with opened(name, format=format, schema_registry=REGISTRY) as sink:
        assert await sink.write(ticks) == []
    async with consume(SERVERS, topic=f"{name}.{{kind}}", start="earliest", schema_registry=REGISTRY) as s:
        sub = s.subscribe("binance:BTC/USDT", kinds=("book", "trade"))
        async with asyncio.timeout(10):
            found = [await anext(sub) for _ in range(8)]
    data = [t for t in found if not isinstance(t, Status)]
    assert sorted(data, key=lambda t: isinstance(t, BookSnapshot)) == ticks
    async with consume(SERVERS, topic=f"{name}.{{kind}}", start="earliest") as s:
        with pytest.raises(UsageError, match="schema_registry = URL"):
            await anext(s.subscribe("binance:BTC/USDT"))


@needs_registry
async def test_the_registry_knows_our_rule_and_refuses_what_breaks_it() -> None:
    client = Registry(REGISTRY)
    subject = f"streamer.v1.T{uuid4().hex[:8]}"
    field = {"name": "price", "type": "double"}
    record: dict[str, Any] = {"type": "record", "name": "T", "namespace": "streamer.v1", "fields": [field]}
    number = await client.register(subject, "AVRO", json.dumps(record))
    assert (await client.schema(number))[0] == "AVRO"
    added = {"name": "more", "type": ["null", "string"], "default": None}
    assert await client.register(subject, "AVRO", json.dumps(record | {"fields": [field, added]})) != number
    with pytest.raises((UsageError, IoFailure), match=r"(?i)compatib"):
        await client.register(subject, "AVRO", json.dumps(record | {"fields": [{"name": "price", "type": "string"}]}))
