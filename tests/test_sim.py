"""The simulation: what its markets are true to, and how its server answers each client in the venue's own words. End to end: test_e2e."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import orjson
import pytest
from msgspec.structs import replace

from streamer import Streamer
from streamer.errors import StreamerError, UsageError
from streamer.recording import Writer
from streamer.sim import VENUES, SimServer
from streamer.sim.connection import Connection
from streamer.sim.faults import EVERY
from streamer.sim.listed import listed, made_up, spot
from streamer.sim.market import Market
from streamer.sim.topic import Topic
from streamer.sim.venue import Channel
from streamer.sim.venues import kraken, okx
from streamer.sim.window import Window
from streamer.types import BookDelta, BookStale, Quote, Trade
from tests.captures import capture

D = Decimal
T0 = 1_700_000_000_000_000_000
STEP = 50_000_000
BTC = next(spot("binance", lambda base, quote: base + quote, [("BTC", "USDT", "0.01", "0.00001")]))
THIN = listed(replace(BTC.instrument, symbol="THIN/USDT", id="THINUSDT", price_step=D("0.5")), D(20))
Book = tuple[list[Any], list[Any]]


# markets


def applied(book: Book, delta: BookDelta[D]) -> Book:
    """The plainest way to apply a delta."""
    sides = []
    for levels, changes, sign in ((book[0], delta.bids, -1), (book[1], delta.asks, 1)):
        sizes = dict(levels) | dict(changes)
        sides.append(sorted(((p, x) for p, x in sizes.items() if x), key=lambda level: sign * level[0]))
    return sides[0], sides[1]


@pytest.mark.parametrize("what", [BTC, THIN], ids=["deep", "thin"])
def test_deltas_lead_from_each_true_book_to_the_next(what: Any) -> None:
    market = Market(what, 1, T0, depth=40)
    book, before = market.book(), market.seq
    books: dict[int, Book] = {}
    for n in range(400):
        for tick in market.step(T0 + n * STEP):
            if isinstance(tick, BookDelta):
                assert (tick.first, tick.prev, tick.last) == (before + 1, before, market.seq)
                book, before = applied(book, tick), market.seq
        assert book == market.book()
        assert all(0.8 * 40 <= len(side) <= 40 for side in book) or what is THIN
        assert book[0][0][0] < book[1][0][0]
        books[before] = book
    assert all(market.book(seq) == known for seq, known in books.items())
    with pytest.raises(LookupError):
        market.book(market.seq + 1)
    with pytest.raises(LookupError):
        market.book(next(seq for seq in range(min(books), before) if seq not in books))


def test_trades_take_what_the_book_had_at_their_price_and_count_in_the_day() -> None:
    market = Market(BTC, 1, T0)
    volume, traded, ids = market.volume, D(0), []
    for n in range(400):
        book = market.book()
        for tick in market.step(T0 + n * STEP):
            if isinstance(tick, Trade):
                assert tick.size <= dict(book[1 if tick.side == "buy" else 0])[tick.price]
                traded += tick.size
                ids.append(int(tick.id or 0))
            elif isinstance(tick, Quote):
                assert ((tick.bid, tick.bid_size), (tick.ask, tick.ask_size)) == (market.book()[0][0], market.book()[1][0])
    assert len(ids) > 100
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert market.volume == volume + traded
    assert market.now("ticker", T0).last == market.trades[-1].price


def test_a_market_near_nothing_never_runs_out_of_bids() -> None:
    cheap = listed(replace(BTC.instrument, symbol="CHEAP/USDT", id="CHEAPUSDT", price_step=D("0.0001")), D("0.005"))
    for seed in range(3):
        market = Market(cheap, seed, T0, depth=40)
        for i in range(5000):
            market.step(T0 + i * STEP)
            (bids, asks) = market.book()
            assert bids
            assert asks
            assert 0 < bids[0][0] < asks[0][0]


def test_the_same_seed_makes_the_same_market() -> None:
    one, two, other = (Market(BTC, seed, T0) for seed in (7, 7, 8))
    for n in range(50):
        assert one.step(T0 + n * STEP) == two.step(T0 + n * STEP)
    assert one.book() == two.book() != other.book()


@pytest.mark.parametrize("fallen", [False, True])
def test_a_window_keeps_a_client_right_who_cuts_his_book_or_is_told_what_fell_out(fallen: bool) -> None:
    market = Market(BTC, 3, T0, depth=40)
    window = Window(market, 10)
    book: Book = (window.bids, window.asks)
    for n in range(500):
        market.step(T0 + n * STEP)
        bids, asks = window.changes(fallen)
        book = applied(book, BookDelta("", "", None, 0, bids, asks))
        if not fallen:
            book = book[0][:10], book[1][:10]
        assert book == (market.book()[0][:10], market.book()[1][:10])


# checksums, of the documents' own examples

KRAKEN_ASKS = """45285.2 0.00100000  45286.4 1.54571953  45286.6 1.54571109  45289.6 1.54560911  45290.2 0.15890660
                 45291.8 1.54553491  45294.7 0.04454749  45296.1 0.35380000  45297.5 0.09945542  45299.5 0.18772827"""
KRAKEN_BIDS = """45283.5 0.10000000  45283.4 1.54582015  45282.1 0.10000000  45281.0 0.10000000  45280.3 1.54592586
                 45279.0 0.07990000  45277.6 0.03310103  45277.5 0.30000000  45277.3 1.54602737  45276.6 0.15445238"""


def levels(text: str) -> list[tuple[D, D]]:
    words = [D(word) for word in text.split()]
    return list(zip(words[::2], words[1::2], strict=True))


def topic(market: Any = None) -> Topic:
    """A topic of this market."""
    exchange: Any = SimpleNamespace(market=lambda instrument: market)
    return Topic(exchange, "", "", Channel((), lambda topic, tick: None), [BTC.instrument], interval="", depth=None)


def test_krakens_checksum_is_that_of_its_documents() -> None:
    window: Any = SimpleNamespace(bids=levels(KRAKEN_BIDS), asks=levels(KRAKEN_ASKS))
    assert kraken.crc(topic(), window) == 3310070434


def test_okxs_checksum_takes_bid_and_ask_in_turn_and_goes_on_with_the_longer_side() -> None:
    sides = {"b": levels("3366.1 7.0"), "a": levels("3366.8 9 3368 8 3372 8.50")}
    market: Any = SimpleNamespace(bids="b", asks="a", levels=lambda side, n: sides[side][:n])
    hashed: list[str] = []
    spied: Any = SimpleNamespace(market=market, crc32=lambda text, signed: hashed.append(text) or 0)
    okx.crc(spied)
    assert hashed == ["3366.1:7:3366.8:9:3368:8:3372:8.5"]
    assert topic().crc32("3366.1:7:3366.8:9:3366:6:3368:8") == 2413953002
    assert topic().crc32("3366.1:7:3366.8:9:3366:6:3368:8", signed=True) == 2413953002 - (1 << 32)


# the server, in each venue's words


class Client:
    """A websocket without any feed."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def say(self, message: Any) -> None:
        """Send text, or JSON."""
        await self.ws.send_str(message if isinstance(message, str) else orjson.dumps(message).decode())

    async def hear(self, true: Callable[[Any], object] = lambda m: True) -> Any:
        """The next message of which this is true."""
        async with asyncio.timeout(3):
            while True:
                message = await self.ws.receive()
                assert message.type is aiohttp.WSMsgType.TEXT, message
                try:
                    found = orjson.loads(message.data)
                except orjson.JSONDecodeError:
                    found = message.data
                if true(found):
                    return found


@asynccontextmanager
async def connected(venue: str, path: str, **how: Any) -> AsyncIterator[tuple[Client, SimServer]]:
    """A client of a simulated venue."""
    async with SimServer([venue], **how) as sim, aiohttp.ClientSession() as session:
        async with session.ws_connect(sim.url(venue) + path) as ws:
            yield Client(ws), sim
        assert sim.clock.errors == []


async def got(sim: SimServer, venue: str, path: str, method: str = "GET") -> tuple[int, Any]:
    """(status, body) of a REST request."""
    async with aiohttp.ClientSession() as session, session.request(method, sim.url(venue) + path) as response:
        return response.status, orjson.loads(await response.read())


async def test_binance_commands() -> None:
    async with connected("binance", "/stream") as (client, _):
        await client.say({"method": "SUBSCRIBE", "params": ["btcusdt@trade", "nosuchusdt@trade"], "id": 5})
        assert await client.hear(lambda m: "id" in m) == {"result": None, "id": 5}
        trade = (await client.hear(lambda m: "stream" in m))["data"]
        assert (trade["e"], trade["s"]) == ("trade", "BTCUSDT")
        assert len(trade["p"].partition(".")[2]) == 8
        await client.say({"method": "LIST_SUBSCRIPTIONS", "id": 6})
        assert await client.hear(lambda m: "id" in m) == {"result": ["btcusdt@trade"], "id": 6}
        await client.say({"method": "SUBSCRIBE", "params": ["btcusdt@nosuch"], "id": 7})
        assert (await client.hear(lambda m: m.get("id") == 7))["error"]["code"] == 2
        await client.say("{")
        assert (await client.hear(lambda m: "error" in m))["error"]["msg"] == "Invalid request"
        await client.say({"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 8})
        assert await client.hear(lambda m: m.get("id") == 8) == {"result": None, "id": 8}
        await asyncio.sleep(0.3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.hear()


async def test_binance_streams_in_the_address_and_rest() -> None:
    async with connected("binance", "/stream?streams=btcusdt@depth@100ms/ethusdt@bookTicker", rate=50) as (client, sim):
        assert {(await client.hear())["stream"] for _ in range(8)} == {"btcusdt@depth@100ms", "ethusdt@bookTicker"}
        status, book = await got(sim, "binance", "/api/v3/depth?symbol=BTCUSDT&limit=5")
        assert (status, len(book["bids"]), len(book["asks"])) == (200, 5, 5)
        after = await client.hear(lambda m: m["stream"][:3] == "btc" and m["data"]["u"] > book["lastUpdateId"])
        assert after["data"]["U"] <= book["lastUpdateId"] + 1
        assert await got(sim, "binance", "/api/v3/depth?symbol=NOSUCH") == (400, {"code": -1121, "msg": "Invalid symbol."})
        assert (await got(sim, "binance", "/api/v3/depth?symbol=BTCUSDT&limit=x"))[0] == 400
        assert (await got(sim, "binance", "/api/v3/nosuch"))[0] == 404
        assert (await got(sim, "nosuch", "/"))[0] == 404


async def test_kraken_commands() -> None:
    async with connected("kraken", "/v2") as (client, sim):
        assert (await client.hear())["channel"] == "status"
        await client.say({"method": "ping", "req_id": 3})
        pong = await client.hear()
        assert (pong["method"], pong["req_id"]) == ("pong", 3)
        book = {"channel": "book", "symbol": ["BTC/USD", "NOSUCH/USD"], "depth": 25, "snapshot": True}
        await client.say({"method": "subscribe", "params": book, "req_id": 18})
        ack = await client.hear()
        assert (ack["req_id"], ack["success"], ack["result"]["depth"], ack["result"]["symbol"]) == (18, True, 25, "BTC/USD")
        first = await client.hear(lambda m: m.get("type") == "snapshot")
        assert [len(first["data"][0][side]) for side in ("bids", "asks")] == [25, 25]
        refusal = await client.hear(lambda m: m.get("success") is False)
        assert (refusal["error"], refusal["symbol"]) == ("Currency pair not supported NOSUCH/USD", "NOSUCH/USD")
        for interval, success in ((1, True), (5, False), (7, False)):
            await client.say({"method": "subscribe", "params": {"channel": "ohlc", "symbol": ["BTC/USD"], "interval": interval}})
            assert (await client.hear(lambda m: "success" in m))["success"] is success
        await client.say("{}")
        assert (await client.hear(lambda m: "error" in m))["error"] == "Malformed request"
        sim.clock.paused = True
        assert await client.hear(lambda m: m.get("channel") == "heartbeat") == {"channel": "heartbeat"}


async def test_okx_commands() -> None:
    async with connected("okx", "/ws/v5/public") as (client, sim):
        await client.say("ping")
        assert await client.hear() == "pong"
        args = [{"channel": "books", "instId": "BTC-USDT"}, {"channel": "trades", "instId": "NOSUCH-USDT"}]
        await client.say({"id": "2", "op": "subscribe", "args": args})
        ack = await client.hear()
        assert (ack["id"], ack["event"], ack["arg"]) == ("2", "subscribe", args[0])
        first = await client.hear()
        assert (first["action"], first["data"][0]["prevSeqId"]) == ("snapshot", -1)
        refusal = await client.hear(lambda m: m.get("event") == "error")
        assert (refusal["code"], refusal["id"]) == ("60018", "2")
        assert "channel:trades,instId:NOSUCH-USDT doesn't exist" in refusal["msg"]
        update = await client.hear(lambda m: m.get("action") == "update")
        assert update["data"][0]["prevSeqId"] == first["data"][0]["seqId"]
        for wrong in ({"channel": "candle1m", "instId": "BTC-USDT"}, {"channel": "funding-rate", "instId": "BTC-USDT"}):
            await client.say({"op": "subscribe", "args": [wrong]})
            assert (await client.hear(lambda m: m.get("event") == "error"))["code"] == "60018"
        for nonsense in ("[]", '{"op":"dance","args":[]}', "pin"):
            await client.say(nonsense)
            assert (await client.hear(lambda m: m.get("event") == "error"))["code"] == "60012"
        assert (await got(sim, "okx", "/api/v5/public/instruments?instType=OPTION"))[0] == 400


async def test_only_the_venues_own_paths_take_websockets() -> None:
    async with SimServer(["okx"]) as sim, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            await session.ws_connect(sim.url("okx") + "/ws/v5/private")


async def test_a_client_that_makes_no_sense_or_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange: Any = SimpleNamespace(venue=replace(okx.VENUE, confused=None), frame=lambda payload: (b"x" * 1000, aiohttp.WSMsgType.TEXT))
    closed: list[int] = []
    monkeypatch.setattr(Connection, "close", lambda self, code, text: closed.append(code))
    Connection(exchange, "/ws/v5/public", {}, 1).received("{")
    assert closed == [1008]
    monkeypatch.setattr("streamer.sim.connection.MOST_WAITING", 10_000)
    slow = Connection(exchange, "/ws/v5/public", {}, 2)
    for _ in range(11):
        slow.send("")
    assert closed == [1008, 1008]


async def test_one_topic_is_encoded_once_for_all_and_forgotten_after_the_last() -> None:
    async with connected("okx", "/ws/v5/public", keep=10) as (one, sim), aiohttp.ClientSession() as session:
        async with session.ws_connect(sim.url("okx") + "/ws/v5/public") as ws:
            for client in (one, Client(ws)):
                await client.say({"op": "subscribe", "args": [{"channel": "trades", "instId": "BTC-USDT"}]})
            heard = [await client.hear(lambda m: "data" in m) for client in (one, Client(ws))]
            assert heard[0] == heard[1]
            assert sim.topics("okx") == ["channel:trades,instId:BTC-USDT"] * 2
            [(key, tick, frames)] = [x for x in sim.sent("okx") if x[1].id == heard[0]["data"][0]["tradeId"]]
            assert (key, orjson.loads(frames[0])) == (sim.topics("okx")[0], heard[0])
            assert isinstance(tick, Trade)
        await one.say({"op": "unsubscribe", "args": [{"channel": "trades", "instId": "BTC-USDT"}]})
        await one.hear(lambda m: m.get("event") == "unsubscribe")
        assert sim.topics("okx") == []
        assert sim.exchanges["okx"]._topics == {}


async def test_two_depths_of_one_book_are_two_topics_each_true() -> None:
    async with connected("kraken", "/v2", rate=50) as (client, sim):
        for depth in (10, 25):
            await client.say({"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": depth}})
        heard = [await client.hear(lambda m: m.get("type") in ("snapshot", "update")) for _ in range(40)]
        assert {len(m["data"][0]["bids"]) for m in heard if m["type"] == "snapshot"} == {10, 25}
        assert len([m for m in heard if m["type"] == "update"]) == 38
        assert sim.market("kraken", "BTC/USD").seq > 0


# what the server is told


def test_what_cannot_be_served_is_refused_with_the_remedy() -> None:
    with pytest.raises(UsageError, match="no simulation of 'binanc'; did you mean binance"):
        SimServer(["binanc"])
    with pytest.raises(UsageError, match="there are skip_delta, bad_checksum and mute:KIND"):
        SimServer(["binance"], faults={"binance": "explode"})
    with pytest.raises(UsageError, match="mute:KIND"):
        SimServer(["binance"], faults={"binance": "mute:nosuch"})
    with pytest.raises(UsageError, match="given for kraken, which is not served"):
        SimServer(["binance"], faults={"kraken": "skip_delta"})


async def test_a_taken_port_is_told() -> None:
    async with SimServer(["binance"]) as sim:
        port = int(sim.url("binance").rsplit(":", 1)[1].split("/")[0])
        with pytest.raises(StreamerError, match=f"cannot listen on port {port}"):
            await SimServer(["binance"], port=port).start()


def test_every_declaration_is_that_of_its_name() -> None:
    assert {"binance", "binanceus", "kraken", "okx"} <= {*VENUES}
    for name in VENUES:
        venue = import_module(f"streamer.sim.venues.{name}").VENUE
        instruments = [x.instrument for x in venue.lists(name, T0, made_up(3))]
        assert venue.name == name
        assert {i.exchange for i in instruments} == {name}
        assert len({i.symbol for i in instruments}) == len(instruments)


def test_the_list_of_venues_imports_no_web_server() -> None:
    code = "import sys, streamer.sim as s; assert s.VENUES; sys.exit('aiohttp' in sys.modules or 'streamer.sim.venues.okx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=False).returncode == 0  # noqa: S603


async def test_made_up_symbols_and_their_markets_come_when_asked_for() -> None:
    async with SimServer(["binance"], symbols=500) as sim:
        status, info = await got(sim, "binance", "/api/v3/exchangeInfo")
        assert (status, len(info["symbols"])) == (200, 506)
        exchange = sim.exchanges["binance"]
        assert exchange._running == {}
        assert (await got(sim, "binance", "/api/v3/depth?symbol=S0499USDT"))[0] == 200
        assert list(exchange._running) == ["S0499/USDT"]


async def test_a_fault_in_one_declaration_stops_only_its_market(caplog: pytest.LogCaptureFixture) -> None:
    async with SimServer(["binance", "okx"], rate=50) as sim, aiohttp.ClientSession() as session:
        broken = sim.exchanges["okx"]
        broken.step = lambda running: 1 / 0  # type: ignore[method-assign]
        async with session.ws_connect(sim.url("okx") + "/ws/v5/public") as a, session.ws_connect(sim.url("binance") + "/stream") as b:
            await Client(a).say({"op": "subscribe", "args": [{"channel": "trades", "instId": "BTC-USDT"}]})
            await Client(b).say({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})
            await Client(b).hear(lambda m: "stream" in m)
        assert sim.clock.errors == ["okx: ZeroDivisionError('division by zero')"]
    assert "stands still" in caplog.text


async def test_a_market_that_nobody_asks_for_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.sim.exchange.AWAKE_S", 0.1)
    async with SimServer(["binance"], rate=100) as sim:
        market = sim.market("binance", "BTC/USDT")
        await asyncio.sleep(0.4)
        stopped = market.seq
        await asyncio.sleep(0.1)
        assert market.seq == stopped
        assert sim.market("binance", "BTC/USDT") is market
        await asyncio.sleep(0.1)
        assert market.seq > stopped


async def test_a_machine_that_cannot_keep_up_makes_fewer_steps_and_goes_on_answering() -> None:
    async with SimServer(["binance"], symbols=60, rate=5000) as sim:
        markets = [sim.market("binance", f"S{i:04d}/USDT") for i in range(60)]
        began = [m.seq for m in markets]
        start = time.monotonic()
        for _ in range(5):
            await got(sim, "binance", "/api/v3/depth?symbol=BTCUSDT")
            await asyncio.sleep(0.05)
        assert time.monotonic() - start < 2
        assert all(m.seq > seq for m, seq in zip(markets, began, strict=True))


# faults, as a streamer sees them


async def stale_reasons(venue: str, symbol: str, fault: str) -> tuple[set[str], bool]:
    """Why a book fell, and whether it came back."""
    async with SimServer([venue], rate=100, faults={venue: fault}) as sim, Streamer(urls={venue: sim.url(venue)}, cache=None) as s:
        sub = s.subscribe(f"{venue}:{symbol}", kinds=("book",))
        await s.ready(sub)
        reasons: set[str] = set()
        async with asyncio.timeout(5):
            while not reasons:
                await asyncio.sleep(0.02)
                reasons |= {t.reason for t in sub.take() if isinstance(t, BookStale)}
            while s.book(f"{venue}:{symbol}") is None:
                await asyncio.sleep(0.02)
        return reasons, s.stats()[venue]["bad"] == {}


@pytest.mark.parametrize(
    ("venue", "symbol", "fault", "reason"),
    [
        ("binance", "BTC/USDT", "skip_delta", "gap"),
        ("okx", "BTC/USDT", "skip_delta", "gap"),
        ("okx", "BTC/USDT:USDT", "bad_checksum", "checksum"),
        ("kraken", "BTC/USD", "skip_delta", "checksum"),
        ("kraken", "BTC/USD", "bad_checksum", "checksum"),
        ("bitfinex", "BTC/USD", "skip_delta", "disconnect"),  # it counts the connection
        ("bitfinex", "BTT/USDT", "bad_checksum", "checksum"),
    ],
)
async def test_faults_make_the_book_stale_and_it_comes_back(venue: str, symbol: str, fault: str, reason: str) -> None:
    assert await stale_reasons(venue, symbol, fault) == ({reason}, True)


async def test_a_muted_kind_never_comes() -> None:
    async with connected("kraken", "/v2", rate=EVERY, faults={"kraken": "mute:trade"}, keep=500) as (client, sim):
        for channel in ("trade", "book"):
            await client.say({"method": "subscribe", "params": {"channel": channel, "symbol": ["BTC/USD"]}})
        for _ in range(30):
            assert (await client.hear(lambda m: "type" in m and m["channel"] != "status"))["channel"] == "book"
        assert not [tick for _, tick, _ in sim.sent("kraken") if isinstance(tick, Trade)]
        assert any(tick.side for tick in sim.market("kraken", "BTC/USD").trades)


# recordings


async def test_a_recording_is_served_again(tmp_path: Path) -> None:
    path, symbol = tmp_path / "btc.jsonl.gz", "kraken:BTC/USD"
    writer = Writer(path)
    async with SimServer(["kraken"], rate=50) as sim, Streamer(urls={"kraken": sim.url("kraken")}, cache=None, recorder=writer) as s:
        sub = s.subscribe(symbol, kinds=("trade", "book"))
        await s.ready(sub)
        await asyncio.sleep(0.5)
    writer.close()
    recorded = [(t.id, t.price) for t in sub.take() if isinstance(t, Trade)]
    assert len(recorded) > 5
    async with SimServer(["kraken"], recordings={"kraken": path}) as sim, Streamer(urls={"kraken": sim.url("kraken")}, cache=None) as s:
        sub = s.subscribe(symbol, kinds=("trade", "book"))
        await s.ready(sub)
        again: list[Any] = []
        async with asyncio.timeout(5):
            while len(again) < len(recorded):
                await asyncio.sleep(0.02)
                again += [(t.id, t.price) for t in sub.take() if isinstance(t, Trade)]
        assert again == recorded
        assert s.stats()["kraken"]["bad"] == {}


async def test_rest_answers_of_a_recording_are_found_by_their_query_and_come_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    writer = Writer(path)
    for symbol, body in (("A", "1"), ("B", "2"), ("A", "3")):
        writer.write("binance", "http", "", f"https://api.binance.com/api/v3/depth?symbol={symbol}&limit=5", T0, body)
    writer.write("binance", "http", "", "https://api.binance.com/api/v3/x", T0, '{"code":1}', 418)
    writer.close()
    async with SimServer(["binance"], recordings={"binance": path}) as sim:
        asked = [await got(sim, "binance", f"/api/v3/depth?limit=9&symbol={symbol}") for symbol in "ABAAB"]
        assert asked == [(200, 1), (200, 2), (200, 3), (200, 3), (200, 2)]
        assert await got(sim, "binance", "/api/v3/x") == (418, {"code": 1})
    with pytest.raises(UsageError, match="holds nothing of kraken"):
        SimServer(["kraken"], recordings={"kraken": path})


async def test_what_a_real_exchange_sent_is_served_again() -> None:
    async with (
        SimServer(["binance"], recordings={"binance": capture("binance/cryptofeed-1")}) as sim,
        Streamer(urls={"binance": sim.url("binance")}, cache=None) as s,
    ):
        await s.ready(s.subscribe("binance:NKN/USDT", kinds=("book", "quote")))
        book = s.book("binance:NKN/USDT")
        assert book is not None
        assert len(book.bids()) > 100
        assert s.stats()["binance"]["bad"] == {}
