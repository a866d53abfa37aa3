"""The way back: what a sink wrote to Kafka, read as if it came from the exchange."""

import ast
import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from msgspec.structs import replace

from streamer import BookNotLive, NotReady, Streamer, UsageError, kafka
from streamer.kafka import KafkaStreamer, consume
from streamer.policies import mailbox
from streamer.sim import SimServer
from streamer.sinks.kafka import KafkaSink
from streamer.sinks.kafka_config import KafkaOptions
from streamer.sinks.runner import SinkRunner
from streamer.types import BookDelta, BookSnapshot, BookStale, Candle, Gap, Instrument, Status, Tick, Trade
from tests.hubs import Desk, market
from tests.kafka_mock import MockKafka
from tests.kafka_reading import T0, trades

REPO = Path(__file__).parent.parent
BTC = ("binance", "BTC/USDT", None)


@pytest.fixture
def cluster() -> Iterator[MockKafka]:
    with MockKafka(1) as made:
        for kind in ("trade", "book", "ticker", "candle", "instrument"):
            made.topic(f"md.{kind}", 2)
        yield made


@asynccontextmanager
async def sinking(cluster: MockKafka, **options: Any) -> AsyncIterator[KafkaSink]:
    sink = KafkaSink(KafkaOptions.of({"servers": cluster.servers, "linger_ms": 0, **options}))
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close(5)


async def reading(s: KafkaStreamer) -> None:
    """Wait until it knows where "now" is."""
    async with asyncio.timeout(10):
        while not all(lane.ready for lane in s._wants.lanes):
            await asyncio.sleep(0.01)


async def got(sub: Any, count: int, within: float = 10.0) -> list[Any]:
    """The next so many ticks."""
    found: list[Any] = []
    async with asyncio.timeout(within):
        while len(found) < count:
            found.append(await anext(sub))
    return found


def plain(tick: Any) -> Any:
    """Levels as a list of tuples, whatever they were."""
    if isinstance(tick, BookSnapshot | BookDelta):
        return replace(tick, bids=[tuple(x) for x in tick.bids], asks=[tuple(x) for x in tick.asks])
    return tick


async def read_back(cluster: MockKafka, ticks: Sequence[Tick[Any]], *streams: str, **how: Any) -> list[Any]:
    """Write them, and read them back from the beginning."""
    async with sinking(cluster) as sink:
        await sink.write(ticks)
    async with consume(cluster.servers, start="earliest") as s:
        return await got(s.subscribe(*streams, **how), len(ticks))


async def test_a_stream_comes_back_as_it_was_with_all_that_befell_it(cluster: MockKafka) -> None:
    desk = Desk(market("A/B", exchange="binance"))
    box = mailbox("drop_oldest")
    desk.book("A/B").attach(box)
    desk.snapshot("A/B")
    for n in range(20):
        desk.delta("A/B", bids=[(90.0 + n / 10, 1.0)])
    desk.delta("A/B", bids=[(95.0, 1.0)], lost=2)  # the numbers show a hole: stale
    desk.delta("A/B", bids=[(96.0, 1.0)])
    desk.snapshot("A/B")
    desk.delta("A/B", asks=[(101.0, 0.0)])
    desk.lose()
    desk.connect("line")
    desk.snapshot("A/B")
    ticks = box.drain()
    assert {type(t) for t in ticks} == {Status, BookSnapshot, BookDelta, BookStale}
    assert await read_back(cluster, ticks, "binance:A/B", kinds=("book",)) == [plain(t) for t in ticks]


async def test_trades_come_back_with_their_gaps(cluster: MockKafka) -> None:
    desk = Desk(market("A/B", exchange="binance"))
    box = mailbox("drop_oldest", 4)
    desk.stream("A/B", "trade").attach(box)
    for _ in range(3):
        desk.trade("A/B")
    ticks = box.drain()
    for _ in range(20):  # more than the mailbox holds: a Gap
        desk.trade("A/B")
    ticks += box.drain()
    desk.lose()
    desk.connect("line")
    desk.trade("A/B")
    ticks += box.drain()
    assert {type(t) for t in ticks} == {Status, Trade, Gap}
    assert await read_back(cluster, ticks, "binance:A/B") == ticks


async def test_candles_of_the_interval_that_was_asked_for(cluster: MockKafka) -> None:
    ticks = [Candle(*BTC, T0, i, T0, 1.0, 2.0, 0.5, 1.5) for i in ("1m", "5m", "1m")]
    async with sinking(cluster) as sink:
        await sink.write(ticks)
    async with consume(cluster.servers, start="earliest") as s:
        found = await got(s.subscribe("binance:BTC/USDT", kinds=("candle",), interval="1m"), 3)
    assert [t.interval for t in found if isinstance(t, Candle)] == ["1m", "1m"]


async def test_decimals_keep_their_digits(cluster: MockKafka) -> None:
    tick = Trade(*BTC, T0, Decimal("50000.10"), Decimal("1E-8"), "buy", "1")
    async with sinking(cluster) as sink:
        await sink.write([tick])
    for numbers, price in (("decimal", Decimal("50000.10")), ("float", 50000.1)):
        async with consume(cluster.servers, start="earliest", numbers=numbers) as s:
            (_, back) = await got(s.subscribe("binance:BTC/USDT"), 2)
            assert (str(back.price), type(back.price)) == (str(price), type(price))


async def test_the_book_is_served_while_it_is_right_and_only_then(cluster: MockKafka) -> None:
    async with sinking(cluster) as sink, consume(cluster.servers) as s:
        sub = s.subscribe("binance:BTC/USDT", kinds=("book",))
        assert s.book("binance:BTC/USDT") is None
        with pytest.raises(NotReady, match=r"binance:BTC/USDT book \(no snapshot yet\)"):
            await s.ready(sub, timeout=1)
        await sink.write([BookSnapshot(*BTC, T0, [(10.0, 1.0)], [(11.0, 2.0)], 5), BookDelta(*BTC, T0 + 1, [(10.5, 3.0)], [], 6, 6, 5)])
        await s.ready(sub)
        await got(sub, 3)
        book = s.book("binance:BTC/USDT")
        assert book is not None
        assert (book.best_bid, book.best_ask, book.seq) == ((10.5, 3.0), (11.0, 2.0), 6)
        await sink.write([BookStale(*BTC, T0 + 2, "checksum")])
        assert (await got(sub, 1))[0] == BookStale(*BTC, T0 + 2, "checksum")
        assert s.book("binance:BTC/USDT") is None
        with pytest.raises(BookNotLive):
            book.best_bid  # noqa: B018
        assert [e.cause for e in s.ledger.open()] == ["checksum"]
        await sink.write([BookSnapshot(*BTC, T0 + 3, [(8.0, 1.0)], [(9.0, 2.0)], 9)])
        await got(sub, 2)
        assert book.best_bid == (8.0, 1.0)
        await sink.write([Gap(*BTC, T0 + 4, "book", "overflow", T0, T0 + 4, 7, None, "count")])
        await got(sub, 1)
        assert s.book("binance:BTC/USDT") is None, "ticks of it were dropped before they were written"


async def test_depth_is_cut_here(cluster: MockKafka) -> None:
    whole = BookSnapshot(*BTC, T0, [(10.0 - n, 1.0) for n in range(5)], [(11.0 + n, 1.0) for n in range(5)], 5)
    async with sinking(cluster) as sink:
        await sink.write([whole, BookDelta(*BTC, T0 + 1, [(6.0, 9.0)], [], 6, 6, 5), BookDelta(*BTC, T0 + 2, [(10.0, 0.0)], [], 7, 7, 6)])
    async with consume(cluster.servers, start="earliest") as s:
        found = await got(s.subscribe("binance:BTC/USDT", kinds=("book",), depth=2), 3)
    assert [(t.bids, t.asks) for t in found[1:]] == [
        ([(10.0, 1.0), (9.0, 1.0)], [(11.0, 1.0), (12.0, 1.0)]), ([(10.0, 0.0), (8.0, 1.0)], ()),
    ]  # fmt: skip


async def test_a_reader_that_comes_late_begins_with_a_true_book(cluster: MockKafka) -> None:
    cluster.topic("md.latest", 2)
    names = [("binance", symbol, None) for symbol in ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT")]
    async with sinking(cluster, latest_books="md.latest", latest_every_s=0.1) as sink:
        await sink.write([BookSnapshot(*name, T0, [(10.0, 1.0)], [(20.0, 1.0)], 0) for name in names])
        for n in range(1, 30):
            await sink.write([BookDelta(*name, T0 + n, [(10.0 - n / 10, float(n))], [], n, n, n - 1) for name in names])
            if n == 15:
                await asyncio.sleep(0.12)
        async with consume(cluster.servers, latest_books="md.latest") as s:
            subs = [s.subscribe(f"{e}:{x}", kinds=("book", "trade")) for e, x, _ in names]
            for sub in subs:
                await s.ready(sub)
            await sink.write([BookDelta(*name, T0 + 30, [(7.0, 30.0)], [], 30, 30, 29) for name in names])
            for (exchange, symbol, _), sub in zip(names, subs, strict=True):
                found = [t for t in await got(sub, 2) if not isinstance(t, Status)]
                while not (isinstance(found[-1], BookDelta) and found[-1].last == 30):
                    found += await got(sub, 1)
                first = found[0]
                assert isinstance(first, BookSnapshot)
                assert first.seq is not None
                assert first.seq >= 15
                assert [d.last for d in found[1:]] == list(range(first.seq + 1, 31)), "every delta behind it, once"
                book = s.book(f"{exchange}:{symbol}")
                assert book is not None
                assert book.bids() == [(10.0, 1.0), *((round(10.0 - n / 10, 9), float(n)) for n in range(1, 30)), (7.0, 30.0)]


async def test_a_latest_book_that_cannot_be_gone_on_from_is_not_believed(cluster: MockKafka, caplog: pytest.LogCaptureFixture) -> None:
    cluster.topic("md.latest", 1)
    caplog.set_level("INFO")
    async with sinking(cluster) as sink:
        tick = BookSnapshot(*BTC, T0, [(10.0, 1.0)], [(20.0, 1.0)], 0)
        made: list[Any] = []
        await sink._encode([tick], made, [])
        (message,) = made
        producer = Producer({"bootstrap.servers": cluster.servers})
        for at in (b"md.book:0:999", b"nonsense"):
            producer.produce("md.latest", message.value, message.key, headers=[*message.headers, ("at", at)])
            producer.flush(5)
            async with consume(cluster.servers, latest_books="md.latest") as s:
                with pytest.raises(NotReady):
                    await s.ready(s.subscribe("binance:BTC/USDT", kinds=("book",)), timeout=1.0)
    assert "older than what its topic still holds" in caplog.text
    assert "does not say where it stands" in caplog.text


async def test_what_was_written_twice_comes_once(cluster: MockKafka) -> None:
    async with sinking(cluster) as sink:
        await sink.write(trades(100))
    async with sinking(cluster) as sink:  # another process, which had not been told that these were safe
        await sink.write(trades(150, start=50))
    async with consume(cluster.servers, start="earliest") as s:
        found = await got(s.subscribe("binance:BTC/USDT"), 151)
    assert [t.id for t in found[1:]] == [str(n) for n in range(150)]


async def test_the_beginning_and_times_are_found(cluster: MockKafka) -> None:
    ticks = [Trade(*BTC, T0 + n * 1_000_000_000, 1.0, 1.0, "buy", str(n)) for n in range(10)]
    async with sinking(cluster) as sink:
        await sink.write(ticks)
        async with consume(cluster.servers) as s:
            sub = s.subscribe("binance:BTC/USDT")
            await s.ready(sub)
            await sink.write([Trade(*BTC, T0, 1.0, 1.0, "buy", "new")])
            assert [t.id for t in (await got(sub, 2))[1:]] == ["new"]
        async with consume(cluster.servers, start="earliest") as s:
            assert [t.id for t in (await got(s.subscribe("binance:BTC/USDT"), 12))[1:]] == [*map(str, range(10)), "new"]


async def test_a_slow_reader_is_waited_for(cluster: MockKafka) -> None:
    async with sinking(cluster) as sink:
        await sink.write(trades(5000))
    async with consume(cluster.servers, start="earliest") as s:
        sub = s.subscribe("binance:BTC/USDT", max_items=50)
        await asyncio.sleep(0.5)
        assert sub.queued < 50 + 600
        found = await got(sub, 5001)
        assert sub.dropped == 0
    assert [t.id for t in found[1:]] == [str(n) for n in range(5000)]


async def test_or_loses_what_it_asked_to_lose(cluster: MockKafka) -> None:
    ticks = [BookSnapshot(*BTC, T0, [(10.0, 1.0)], [(20.0, 1.0)], 0)]
    deltas = [BookDelta(*BTC, T0 + n, [(10.0, 1.0 + n)], [], n, n, n - 1) for n in range(1, 300)]
    async with sinking(cluster) as sink:
        await sink.write([*ticks, *deltas])
    async with consume(cluster.servers, start="earliest") as s:
        sub = s.subscribe("binance:BTC/USDT", kinds=("book",), policy="drop_oldest", max_items=20)
        await s.ready(sub)
        await asyncio.sleep(0.3)
        assert sub.dropped > 0
        found = sub.take()
        assert [type(t) for t in found if not isinstance(t, BookDelta | Status)] == [Gap, BookSnapshot]
        assert sub.published == sub.delivered + sub.queued + sub.dropped + sub.conflated


async def test_a_message_that_is_no_tick_costs_itself_and_makes_its_book_stale(cluster: MockKafka) -> None:
    async with sinking(cluster) as sink, consume(cluster.servers) as s:
        sub = s.subscribe("binance:BTC/USDT", kinds=("book", "trade"))
        await reading(s)
        await sink.write([BookSnapshot(*BTC, T0, [(10.0, 1.0)], [(20.0, 1.0)], 0)])
        await s.ready(sub)
        await got(sub, 2)
        producer = Producer({"bootstrap.servers": cluster.servers})
        for topic, value in (("md.trade", b"\xff{"), ("md.book", b'{"type":"book_delta"}'), ("md.trade", b"[" * 100_000)):
            producer.produce(topic, value, b"binance:BTC/USDT")
        producer.flush(5)
        assert isinstance((await got(sub, 1))[0], BookStale)
        assert s.book("binance:BTC/USDT") is None
        async with asyncio.timeout(5):
            while s.stats()["bad"] != {"md.trade": 2, "md.book": 1}:
                await asyncio.sleep(0.02)
        await sink.write(trades(1))
        assert (await got(sub, 2))[1] == trades(1)[0]


async def test_brokers_go_and_come_and_nothing_is_lost(cluster: MockKafka) -> None:
    async with sinking(cluster, timeout_s=1.0) as sink, consume(cluster.servers) as s:
        sub = s.subscribe("binance:BTC/USDT", kinds=("book", "trade"))
        snapshot = BookSnapshot(*BTC, T0, [(10.0, 1.0)], [(20.0, 1.0)], 0)
        await reading(s)
        await sink.write([snapshot, *trades(1)])
        await got(sub, 4)
        cluster.down()
        told = await got(sub, 2)
        assert [(type(t), t.state, t.reason) for t in told] == [(Status, "stale", "disconnect")] * 2
        assert s.book("binance:BTC/USDT") is None
        cluster.up()
        assert [t.state for t in await got(sub, 2)] == ["live", "live"]
        assert s.book("binance:BTC/USDT") is not None
        await sink.close(1)
        await sink.open()
        await sink.write(trades(3, start=1))
        assert [t.id for t in await got(sub, 2)] == ["1", "2"]


async def test_streams_can_be_added_and_removed(cluster: MockKafka) -> None:
    async with sinking(cluster) as sink, consume(cluster.servers, start="earliest") as s:
        await sink.write(trades(3, "BTC/USDT", "ETH/USDT"))
        sub = s.subscribe("binance:BTC/USDT")
        await got(sub, 4)
        sub.add("binance:ETH/USDT")
        assert {t.symbol for t in await got(sub, 4)} == {"ETH/USDT"}
        sub.remove("binance:BTC/USDT")
        await sink.write(trades(4, "BTC/USDT", "ETH/USDT", start=3))
        assert {t.symbol for t in await got(sub, 1)} == {"ETH/USDT"}
        sub.close()
        async with asyncio.timeout(5):
            while s._wants.lanes:
                await asyncio.sleep(0.02)
        assert s._inbox.hub.streams == {}


async def test_several_subscribers_share_a_stream(cluster: MockKafka) -> None:
    async with sinking(cluster) as sink, consume(cluster.servers) as s:
        one = s.subscribe("binance:BTC/USDT", kinds=("book",))
        await reading(s)
        await sink.write([BookSnapshot(*BTC, T0, [(10.0, 1.0)], [(20.0, 1.0)], 0)])
        await got(one, 2)
        late = s.subscribe("binance:BTC/USDT", kinds=("book",))
        assert isinstance((await got(late, 1))[0], BookSnapshot), "a late one first gets the book as it is"
        seen: list[Any] = []
        s.subscribe("binance:BTC/USDT", kinds=("book",), callback=seen.append)
        await sink.write([BookDelta(*BTC, T0 + 1, [(9.0, 1.0)], [], 1, 1, 0)])
        assert await got(one, 1) == await got(late, 1)
        await asyncio.sleep(0.01)
        assert [type(t) for t in seen] == [BookSnapshot, BookDelta]
        assert len(s._wants.lanes) == 1


async def test_instruments(cluster: MockKafka) -> None:
    old = Instrument(*BTC, T0, "BTCUSDT", "BTC", "USDT", price_step=Decimal("0.1"))
    new = replace(old, ts_recv=T0 + 1, price_step=Decimal("0.01"))
    other = Instrument("kraken", "BTC/USD", None, T0, "XBT/USD", "BTC", "USD")
    async with sinking(cluster) as sink:
        await sink.write([old, other])
        async with consume(cluster.servers, start="earliest") as s:
            sub = s.subscribe("binance:BTC/USDT")
            assert await got(sub, 1) == [old]
            await sink.write([new])
            assert await got(sub, 1) == [new], "it comes in the stream when it changes, as from an exchange"
            assert await s.instruments("binance") == [new]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"kinds": ("trades",)}, "there is no kind 'trades'; did you mean trade"),
    "policy": ({"policy": "drop"}, "policy 'drop' is none of"),
    "conflated trades": ({"policy": "conflate"}, "would lose trades"),
    "depth": ({"kinds": ("book",), "depth": 0}, "less than one level"),
}


@pytest.mark.parametrize(("how", "told"), WRONG.values(), ids=list(WRONG))
async def test_what_is_wrong_is_said_at_once(cluster: MockKafka, how: dict[str, Any], told: str) -> None:
    async with consume(cluster.servers) as s:
        with pytest.raises(UsageError, match=told):
            s.subscribe("binance:BTC/USDT", **how)
        assert s._wants._shapes == {}


async def test_consume_says_what_is_wrong() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"numbers": "int"}, "numbers="), ({"start": "later"}, "start="), ({"start": -1}, "start="),
        ({"topic": "a b"}, "no name of a topic"),
        ({"topic": "md.{symbol}"}, r"not of {symbol}"), ({"sasl_pasword": "x"}, "did you mean sasl_password"),
    ]  # fmt: skip
    for how, told in wrong:
        with pytest.raises(UsageError, match=told):
            consume("127.0.0.1:1", **how)
    with pytest.raises(UsageError, match="async with consume"):
        consume("127.0.0.1:1").subscribe("binance:BTC/USDT")


async def test_a_topic_that_is_not_there_ends_the_subscription_with_its_name(cluster: MockKafka) -> None:
    async with consume(cluster.servers, topic="md.{kind}s") as s:
        sub = s.subscribe("binance:BTC/USDT")
        with pytest.raises(UsageError, match=r"no topic 'md\.trades'; did you mean md\.trade"):
            await s.ready(sub)
        with pytest.raises(UsageError, match="no topic"):
            await anext(sub)


async def test_brokers_that_are_not_there_yet_are_waited_for(cluster: MockKafka) -> None:
    cluster.down()
    async with consume(cluster.servers) as s:
        sub = s.subscribe("binance:BTC/USDT")
        with pytest.raises(NotReady, match=r"binance:BTC/USDT trade \("):
            await s.ready(sub, timeout=0.5)
        cluster.up()
        await s.ready(sub, timeout=20)


class Played:
    """The README's strategy, run on something else than a `Streamer`."""

    def __init__(self, world: Any) -> None:
        text = (REPO / "README.md").read_text()
        block = next(b for b in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S) if "s.book(" in b)
        tree = ast.parse(block)
        tree.body = [n for n in tree.body if not (isinstance(n, ast.Expr) and "asyncio.run" in ast.unparse(n))]
        self.names: dict[str, Any] = {"print": self.print}
        exec(compile(tree, "README.md", "exec"), self.names)  # noqa: S102
        self.names["Streamer"] = lambda: world
        self.lines: list[str] = []

    def print(self, *words: Any) -> None:
        self.lines.append(" ".join(map(str, words)))


async def test_the_strategy_of_the_readme_runs_unchanged_on_a_topic(cluster: MockKafka) -> None:
    """Two venues are simulated, streamed, and written to Kafka; the strategy reads the topics."""
    async with (
        SimServer(["binance", "kraken"], rate=50) as sim,
        Streamer(urls={v: sim.url(v) for v in ("binance", "kraken")}, cache=None) as s,
    ):
        feed = s.subscribe("binance:BTC/USDT", "kraken:BTC/USD", kinds=("trade", "book"))
        runner = SinkRunner(KafkaSink(KafkaOptions.of({"servers": cluster.servers})), feed)
        runner.start()
        played = Played(consume(cluster.servers, start="earliest"))
        running = asyncio.ensure_future(played.names["main"]())
        async with asyncio.timeout(20):
            while not (running.done() or {"binance", "kraken"} <= {x.split()[0] for x in played.lines if " at " in x}):
                await asyncio.sleep(0.05)
            while not (running.done() or any(x.startswith("kraken (") for x in played.lines)):
                await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await runner.drain(5)


async def test_books_out_of_kafka_are_those_of_the_exchange(cluster: MockKafka) -> None:
    venues = {"binance": "BTC/USDT", "kraken": "BTC/USD", "okx": "BTC/USDT:USDT"}
    cluster.topic("md.latest", 2)
    async with SimServer(list(venues), rate=50) as sim, Streamer(urls={v: sim.url(v) for v in venues}, cache=None) as s:
        feed = s.subscribe(*(f"{v}:{x}" for v, x in venues.items()), kinds=("trade", "book"))
        runner = SinkRunner(
            KafkaSink(KafkaOptions.of({"servers": cluster.servers, "latest_books": "md.latest", "latest_every_s": 0.2})), feed
        )  # fmt: skip
        runner.start()
        await asyncio.sleep(1.0)
        async with consume(cluster.servers, latest_books="md.latest") as back:
            subs = [back.subscribe(f"{v}:{x}", kinds=("trade", "book")) for v, x in venues.items()]
            for sub in subs:
                await back.ready(sub)
            await asyncio.sleep(0.5)
            ours = {}
            for v, x in venues.items():
                book = s.book(f"{v}:{x}")
                assert book is not None
                ours[v] = (book.seq, book.bids(), book.asks())
            await runner.drain(5)
            for v, x in venues.items():
                async with asyncio.timeout(5):
                    while (found := back.book(f"{v}:{x}")) is None or (found.bids(), found.asks()) != ours[v][1:]:
                        for sub in subs:
                            sub.take()
                        await asyncio.sleep(0.02)


def test_it_has_what_a_streamer_has() -> None:
    """A strategy uses these, and finds the same parameters."""
    import inspect

    for name in ("subscribe", "ready", "book", "instruments", "ledger", "stats", "close"):
        theirs, ours = getattr(Streamer, name), getattr(KafkaStreamer, name)
        if inspect.isfunction(theirs):
            assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters), name
    assert kafka.consume is consume


async def test_what_kafka_deleted_before_it_was_read_is_told(cluster: MockKafka) -> None:
    """A reader that waits too long: the mock cluster keeps five MB of a partition."""
    cluster.topic("old.trade", 1)
    cluster.topic("old.book", 1)
    sink = KafkaSink(KafkaOptions.of({"servers": cluster.servers, "topic": "old.{kind}", "compression": "none"}))
    await sink.open()
    await sink.write([*trades(300), BookSnapshot(*BTC, T0, [(10.0, 1.0)], [(20.0, 1.0)], 0)])
    async with consume(cluster.servers, topic="old.{kind}", start="earliest", properties={"queued.min.messages": 1}) as s:
        sub = s.subscribe("binance:BTC/USDT", kinds=("trade", "book"), max_items=10)
        await reading(s)
        async with asyncio.timeout(10):
            while not sub.box.full:
                await asyncio.sleep(0.01)
        consumer_stuck = [t for t in sub.take() if isinstance(t, Trade)]
        for n in range(8):
            await sink.write(trades(300 + 5000 * (n + 1), start=300 + 5000 * n))
        found: list[Any] = list(consumer_stuck)
        async with asyncio.timeout(20):
            while not (isinstance(found[-1], Trade) and any(isinstance(t, Gap) for t in found)):
                found.append(await anext(sub))
    gaps = [t for t in found if isinstance(t, Gap)]
    ids = [int(t.id) for t in found if isinstance(t, Trade)]
    holes = [(a, b) for a, b in pairwise(ids) if b != a + 1]
    assert ids == sorted(ids)
    assert len(holes) == len(gaps) > 0, "every hole is told"
    assert {(g.channel, g.cause) for g in gaps} == {("trade", "overflow")}
    await sink.close(5)
