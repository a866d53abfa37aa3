"""The Kafka sink on librdkafka's mock cluster: what lies in the topics, where, and under which name. Faults: test_sink_kafka_faults.py."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from streamer.codecs import VERSION
from streamer.errors import UsageError
from streamer.sinks import SinkDown
from streamer.sinks.kafka import KafkaSink
from streamer.sinks.kafka_config import KafkaOptions
from streamer.types import BookDelta, BookSnapshot, BookStale, Gap, Instrument, Status, Ticker, Trade
from tests.kafka_mock import DROP_CONNECTION, METADATA, PRODUCE, UNKNOWN_TOPIC, MockKafka
from tests.kafka_reading import T0, first_times, ids, read, trades


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockKafka]:
    with MockKafka() as kafka:
        yield kafka


@pytest.fixture
def kafka(cluster: MockKafka) -> Iterator[MockKafka]:
    yield cluster
    cluster.clear(PRODUCE)
    cluster.clear(METADATA)


def make(options: dict[str, Any]) -> KafkaSink:
    return KafkaSink(KafkaOptions.of(options))


@asynccontextmanager
async def opened(kafka: MockKafka, topic: str, **options: Any) -> AsyncIterator[KafkaSink]:
    """A sink whose topics are called `topic`.kind."""
    sink = make({"servers": kafka.servers, "topic": f"{topic}.{{kind}}", **options})
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close(5)


async def test_every_tick_is_there_once_in_order_with_key_time_and_headers(kafka: MockKafka) -> None:
    ticks = trades(2000, "BTC/USDT", "ETH/USDT", "SOL/USDT")
    async with opened(kafka, "once") as sink:
        assert await sink.write(ticks) == []
    records = read(kafka.servers, "once.trade")
    assert len(records) == len(ticks)
    for symbol in ("BTC/USDT", "ETH/USDT", "SOL/USDT"):
        assert ids(records, f"binance:{symbol}") == list(range(2000))
    first = next(r for r in records if r.tick == ticks[0])
    assert first.ms == T0 // 1_000_000
    assert first.headers["schema"] == f"json/trade/{VERSION}"
    assert (first.headers["exchange"], first.headers["kind"]) == ("binance", "trade")
    assert len({(r.key, r.headers["mid"]) for r in records}) == len(ticks)


async def test_the_value_is_what_streamer_stream_prints(kafka: MockKafka) -> None:
    tick = Trade("kraken", "BTC/USD", T0, T0 + 5, Decimal("50000.10"), Decimal("1E-8"), "sell", "7")
    async with opened(kafka, "value") as sink:
        await sink.write([tick])
    (record,) = read(kafka.servers, "value.trade")
    assert record.value is not None
    assert b'"price":50000.10,"size":0.00000001' in record.value
    assert msgspec.json.decode(record.value)["type"] == "trade"


async def test_what_ails_a_stream_stays_in_order_with_its_data(kafka: MockKafka) -> None:
    name = ("binance", "BTC/USDT", None, T0)
    ticks = [
        Status(*name, "book", "live"), BookSnapshot(*name, [(1.0, 2.0)], [(3.0, 4.0)], 1), BookDelta(*name, [(1.0, 0.0)], [], 2, 2, 1),
        Gap(*name, "book", "overflow", T0, T0, 3), BookStale(*name, "gap"), BookSnapshot(*name, [(1.0, 2.0)], [(3.0, 4.0)], 9),
    ]  # fmt: skip
    async with opened(kafka, "health") as sink:
        await sink.write([*ticks, Status(*name, "trade", "live"), Ticker(*name, last=1.0)])
    assert [r.tick for r in read(kafka.servers, "health.book")] == ticks
    assert [r.tick.channel for r in read(kafka.servers, "health.trade")] == ["trade"]
    assert [r.tick.last for r in read(kafka.servers, "health.ticker")] == [1.0]


def murmur2(data: bytes) -> int:
    """The hash of Java's DefaultPartitioner (MurmurHash 2.0 with its seed), made positive as it does."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        h = h * m & mask ^ (k ^ k >> 24) * m & mask
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7FFFFFFF


async def test_a_key_lies_in_the_partition_that_java_would_choose(kafka: MockKafka) -> None:
    kafka.topic("java.trade", 16)
    symbols = [f"{base}/USDT" for base in ("A", "BB", "CCC", "DDDD", "BTC", "ETH", "ÄÖÜ", "SOL", "XRP", "DOGE")]
    async with opened(kafka, "java") as sink:
        await sink.write(trades(1, *symbols))
    placed = {r.key: r.partition for r in read(kafka.servers, "java.trade")}
    assert placed == {f"binance:{s}": murmur2(f"binance:{s}".encode()) % 16 for s in symbols}
    assert len(set(placed.values())) > 3


async def test_topics_by_exchange(kafka: MockKafka) -> None:
    sink = make({"servers": kafka.servers, "topic": "by.{exchange}.{kind}"})
    await sink.open()
    await sink.write([*trades(1), Trade("kraken", "BTC/USD", None, T0, 1.0, 1.0)])
    await sink.close(5)
    assert len(read(kafka.servers, "by.binance.trade")) == len(read(kafka.servers, "by.kraken.trade")) == 1


async def test_message_pack(kafka: MockKafka) -> None:
    async with opened(kafka, "packed", format="msgpack", compression="zstd") as sink:
        await sink.write(trades(10))
    records = read(kafka.servers, "packed.trade")
    assert {r.headers["schema"] for r in records} == {f"msgpack/trade/{VERSION}"}
    assert [r.tick for r in records] == list(trades(10))


async def test_twins_have_an_identity_each_and_keep_it_when_sent_again(kafka: MockKafka) -> None:
    """A venue without ids may tell two trades that are alike to the last digit; sent again, each is known again."""
    twin = Trade("coinspot", "BTC/AUD", None, T0, 1.0, 1.0)
    other = Trade("coinspot", "BTC/AUD", None, T0 + 1, 1.0, 1.0)
    async with opened(kafka, "twins") as sink:
        await sink.write([twin, twin])
        await sink.write([twin, other])  # the frame goes on in the next batch
        kafka.down()
        sink._options = msgspec.structs.replace(sink._options, timeout_s=0.3)
        with pytest.raises(SinkDown):
            await sink.write([other, other])
        kafka.up()
        await sink.open()
        await sink.write([other, other])
    mids = [r.headers["mid"] for r in first_times(read(kafka.servers, "twins.trade"))]
    assert len(mids) == len(set(mids)) == 6


async def test_the_same_tick_has_the_same_identity_in_another_process(kafka: MockKafka) -> None:
    for _ in range(2):
        async with opened(kafka, "again") as sink:
            await sink.write(trades(5))
    records = read(kafka.servers, "again.trade")
    assert len(records) == 10
    assert [r.headers["mid"] for r in records[:5]] == [r.headers["mid"] for r in records[5:]]
    assert len(first_times(records)) == 5


async def test_a_message_that_is_too_large_is_refused_alone(kafka: MockKafka) -> None:
    large = BookSnapshot("binance", "BTC/USDT", None, T0, [(float(n + 1), 1.0) for n in range(2000)], [], 1)
    async with opened(kafka, "large", max_message_bytes=10_000) as sink:
        refused = await sink.write([*trades(3), large, *trades(6, start=3)])
    assert [(r.index, r.reason) for r in refused] == [(3, "too_large")]
    assert ids(read(kafka.servers, "large.trade"), "binance:BTC/USDT") == [0, 1, 2, 3, 4, 5]


async def test_what_cannot_be_encoded_is_refused_alone(kafka: MockKafka) -> None:
    bad = Trade("binance", "BTC/USDT", None, T0, 1.0, 1.0, "buy", "\ud800")
    strange = Trade("bin ance", "BTC/USDT", None, T0, 1.0, 1.0)
    sink = make({"servers": kafka.servers, "topic": "odd.{exchange}.{kind}"})
    await sink.open()
    refused = await sink.write([*trades(1), bad, strange, *trades(2, start=1)])
    await sink.close(5)
    assert [(r.index, r.reason) for r in refused] == [(1, "unencodable"), (2, "unencodable")]
    assert len(read(kafka.servers, "odd.binance.trade")) == 2


async def test_nobody_waits_for_a_broker_that_is_not_there() -> None:
    sink = make({"servers": "127.0.0.1:1", "timeout_s": 0.5})
    began = asyncio.get_running_loop().time()
    with pytest.raises(SinkDown, match=r"127\.0\.0\.1:1") as e:
        await sink.open()
    assert e.value.reason == "unreachable"
    await sink.close(1)
    assert asyncio.get_running_loop().time() - began < 3


async def test_a_topic_that_is_not_there_is_named(kafka: MockKafka) -> None:
    async with opened(kafka, "absent") as sink:
        kafka.topic_error("absent.trade", UNKNOWN_TOPIC)
        with pytest.raises(SinkDown, match=r"no topic 'absent\.trade'.*create_topics") as e:
            await sink.write(trades(1))
        assert (e.value.reason, e.value.confirmed) == ("no_topic", 0)
        kafka.topic_error("absent.trade", 0)
        await sink.open()
        assert await sink.write(trades(1)) == []


async def test_the_loop_is_never_held_for_long(kafka: MockKafka) -> None:
    """While ten thousand ticks are written everything else in the process goes on."""
    gaps: list[float] = []

    async def beat() -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(0)
            now = loop.time()
            gaps.append(now - last)
            last = now

    async with opened(kafka, "smooth") as sink:
        beating = asyncio.ensure_future(beat())
        await sink.write(trades(10_000))
        beating.cancel()
    assert sorted(gaps)[-3] < 0.05, sorted(gaps)[-5:]


async def test_a_cancelled_write_is_taken_back_and_can_be_written_again(kafka: MockKafka) -> None:
    async with opened(kafka, "cut") as sink:
        kafka.slow(1000)
        writing = asyncio.ensure_future(sink.write(trades(500)))
        await asyncio.sleep(0.1)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        kafka.slow(0)
        await sink.write(trades(500))
    assert ids(first_times(read(kafka.servers, "cut.trade")), "binance:BTC/USDT") == list(range(500))


async def test_the_latest_books_are_what_a_reader_would_have(kafka: MockKafka) -> None:
    name = ("binance", "BTC/USDT", None)
    async with opened(kafka, "books", latest_books="books.latest", latest_every_s=0.1) as sink:
        await sink.write([
            BookSnapshot(*name, T0, [(10.0, 1.0)], [(11.0, 1.0)], 5), BookDelta(*name, T0 + 1, [(9.0, 2.0)], [(11.0, 0.0)], 6, 6, 5),
        ])  # fmt: skip
        await asyncio.sleep(0.15)
        await sink.write([BookStale(*name, T0 + 2, "gap"), BookDelta(*name, T0 + 3, [(8.0, 1.0)], [], 8, 8, 7)])
        await asyncio.sleep(0.15)
        await sink.write([BookSnapshot(*name, T0 + 4, [(7.0, 1.0)], [], 20)])
    written = read(kafka.servers, "books.book")
    latest = read(kafka.servers, "books.latest")
    assert [r.tick.bids for r in latest] == [[(10.0, 1.0), (9.0, 2.0)], [(7.0, 1.0)]], "no book is told while it is stale"
    assert latest[0].tick.asks == []
    assert latest[0].tick.seq == 6
    assert [r.key for r in latest] == ["binance:BTC/USDT"] * 2
    assert [r.headers["at"] for r in latest] == [f"books.book:{r.partition}:{r.offset}" for r in (written[1], written[4])]


async def test_books_that_cannot_be_put_there_cost_no_tick(kafka: MockKafka) -> None:
    tick = BookSnapshot("binance", "BTC/USDT", None, T0, [(float(n + 1), 1.0) for n in range(100)], [], 1)
    deltas = [BookDelta("binance", "BTC/USDT", None, T0 + n, [(1000.0 + n, 1.0)], [], n + 1, n + 1, n) for n in range(1, 500)]
    async with opened(kafka, "lean", latest_books="lean.latest", latest_every_s=0.1, max_message_bytes=3000) as sink:
        assert await sink.write([tick, *deltas]) == []
    assert len(read(kafka.servers, "lean.book")) == 500
    assert read(kafka.servers, "lean.latest") == [], "the book is larger than a message may be"


async def test_instruments(kafka: MockKafka) -> None:
    tick = Instrument("binance", "BTC/USDT", None, T0, "BTCUSDT", "BTC", "USDT", price_step=Decimal("0.01"))
    async with opened(kafka, "listed") as sink:
        await sink.write([tick])
    assert [r.tick for r in read(kafka.servers, "listed.instrument")] == [tick]


async def test_properties_reach_librdkafka_and_its_complaints_the_user(kafka: MockKafka) -> None:
    with pytest.raises(UsageError, match=r"no\.such\.thing"):
        await make({"servers": kafka.servers, "properties": {"no.such.thing": "1"}}).open()
    with pytest.raises(UsageError, match=r"ssl_ca: there is no file '/nowhere/ca\.pem'"):
        await make({"servers": kafka.servers, "security": "ssl", "ssl_ca": "/nowhere/ca.pem"}).open()
    async with opened(kafka, "named", properties={"client.id": "mine", "socket.keepalive.enable": True}) as sink:
        assert await sink.write(trades(1)) == []


async def test_a_dropped_connection_is_nothing(kafka: MockKafka) -> None:
    async with opened(kafka, "drop") as sink:
        kafka.errors(PRODUCE, DROP_CONNECTION, DROP_CONNECTION)
        assert await sink.write(trades(200)) == []
        assert sink.rebuilds == 0
    assert ids(read(kafka.servers, "drop.trade"), "binance:BTC/USDT") == list(range(200))
