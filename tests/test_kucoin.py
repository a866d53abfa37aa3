"""What is peculiar to KuCoin: the way to its address, one channel a command, a hundred levels of a whole book, the order of its prices."""

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from feeds.kucoin import FEED
from streamer.catalog import Catalog, parse_instruments
from streamer.decode import rest
from streamer.encode import encode
from streamer.errors import BadFrame
from streamer.line import sync_of
from streamer.replay import Replayer
from streamer.spec import Ack, Endpoint, FromRest, Ready, Reject, Restart, Unknown
from streamer.types import BookDelta, BookSnapshot, Candle, Quote, Ticker, Trade
from tests import wires
from tests.captures import recorded, replayed

SESSION = Path(__file__).parent / "exchanges/kucoin/session.jsonl"
LIST = json.loads(SESSION.read_text().splitlines()[0])["raw"]
LISTED = Catalog(FEED)
LISTED.update(parse_instruments(FEED, LIST.encode(), 0))
NOW = 1767225600_123_456_789


class Wire(wires.Wire):
    def __init__(self, num: type[float] | type[Decimal] = float) -> None:
        super().__init__(LISTED, "spot", num)

    def data(self, topic: str, data: object) -> Any:
        return self({"topic": topic, "type": "message", "subject": "any", "data": data})


async def test_where_to_connect_is_asked_for() -> None:
    server = {
        "endpoint": "wss://ws-api-spot.kucoin.com/",
        "encrypt": True,
        "protocol": "websocket",
        "pingInterval": 18500,
        "pingTimeout": 10000,
    }
    asked = []

    async def fetch(method: str, url: str) -> bytes:
        asked.append((method, url))
        return orjson.dumps({"code": "200000", "data": {"token": "2neA==.x", "instanceServers": [server]}})

    endpoint: Any = FEED.endpoints["spot"]
    assert await endpoint(fetch) == Endpoint("wss://ws-api-spot.kucoin.com/?token=2neA==.x", ping_every=18.5)
    assert asked == [("POST", "https://api.kucoin.com/api/v1/bullet-public")]


def test_a_command_names_one_channel() -> None:
    topics = ["/market/candles:BTC-USDT_1min", "/market/candles:ETH-USDT_1hour"]
    assert FEED.together is not None
    assert {FEED.together(topic) for topic in topics} == {"/market/candles"}
    [frame] = [json.loads(frame) for frame in FEED.subscribe(topics, 12)]
    assert (frame["topic"], frame["id"], frame["response"]) == ("/market/candles:BTC-USDT_1min,ETH-USDT_1hour", "12", True)


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ({"id": "fhG0kYhuO3", "type": "welcome"}, Ready()),
        ({"id": "12", "type": "ack"}, Ack(12)),
        ({"id": "0", "type": "pong", "timestamp": 1767225600123456}, ()),
        ({"id": "12", "type": "error", "code": 404, "data": "topic /x is not found"}, Reject(12, "topic /x is not found", fatal=True)),
        ({"id": "12", "type": "error", "code": 509, "data": "exceed max permits per second"}, Reject(12, "exceed max permits per second")),
        ({"id": "12", "type": "error", "code": 401, "data": "token is expired"}, Restart("token is expired")),
        ({"type": "error", "code": 415, "data": "type is not supported"}, Unknown("type is not supported")),
        ({"topic": "/market/level3:BTC-USDT", "type": "message", "data": {}}, Unknown("/market/level3")),
    ],
)
def test_what_is_not_data(message: object, answer: object) -> None:
    assert Wire()(message) == answer


def test_a_trade() -> None:
    data = {
        "symbol": "BTC-USDT",
        "side": "sell",
        "size": "0.50",
        "price": "88000.10",
        "time": str(NOW),
        "tradeId": "6085c09769bc506996295e36",
    }
    tick = Wire(Decimal).data("/market/match:BTC-USDT", data)
    assert isinstance(tick, Trade)
    assert (tick.side, tick.id, str(tick.price), str(tick.size)) == ("sell", "6085c09769bc506996295e36", "88000.10", "0.50")
    assert tick.ts_event == NOW, "to the ns"


def test_a_candle_is_open_close_high_low() -> None:
    for interval, bar in FEED.intervals.items():
        data = {"symbol": "BTC-USDT", "candles": ["1767225600", "2", "3", "4", "1", "10", "25"], "time": NOW}
        tick = Wire().data(f"/market/candles:BTC-USDT_{bar}", data)
        assert isinstance(tick, Candle)
        assert (tick.open, tick.close, tick.high, tick.low, tick.volume, tick.quote_volume) == (2.0, 3.0, 4.0, 1.0, 10.0, 25.0)
        assert (tick.interval, tick.ts_open, tick.ts_event, tick.closed) == (interval, 1767225600 * 10**9, NOW, None)


def test_a_quote_names_its_symbol_in_the_topic() -> None:
    both = {"asks": ["88001.0", "1.5"], "bids": ["88000.0", "0.5"], "timestamp": 1767225600123}
    tick = Wire().data("/spotMarket/level1:ETH-USDT", both)
    assert isinstance(tick, Quote)
    assert (tick.symbol, tick.bid, tick.bid_size, tick.ask, tick.ask_size) == ("ETH/USDT", 88000.0, 0.5, 88001.0, 1.5)
    for none in ([], ["0", "0"]):
        tick = Wire().data("/spotMarket/level1:ETH-USDT", both | {"bids": none})
        assert (tick.bid, tick.bid_size, tick.ask) == (None, None, 88001.0)


def test_a_quote_of_the_older_channel() -> None:
    data = {"sequence": "7", "price": "88000.5", "size": "0.1", "bestAsk": "88001.0", "bestAskSize": "1.5", "bestBid": "88000.0"}
    wire = Wire()
    tick = wire.data("/market/ticker:ETH-USDT", data | {"bestBidSize": "0.5", "time": 1767225600123})
    assert tick == Quote("kucoin", "ETH/USDT", 1767225600123 * 10**6, 0, 88000.0, 0.5, 88001.0, 1.5)
    for none in ("0", None):
        tick = wire.data("/market/ticker:ETH-USDT", data | {"bestBid": none, "bestBidSize": "0", "time": 1767225600123})
        assert (tick.bid, tick.bid_size, tick.ask) == (None, None, 88001.0)


def test_the_day_keeps_the_digits_of_bare_numbers() -> None:
    text = (
        '{"topic":"/market/snapshot:BTC-USDT","data":{"data":{"symbol":"BTC-USDT","datetime":1767225600123,"vol":2227.69895852000000000001,'
    )
    text += '"lastTradedPrice":67158.1,"buy":0,"bidSize":0.0,"sell":1.0e-5,"changePrice":315.20000000000000000000}}}'
    tick = Wire(Decimal)(text)
    assert isinstance(tick, Ticker)
    assert (str(tick.volume), str(tick.last), tick.ask) == ("2227.69895852000000000001", "67158.1", Decimal("0.00001"))
    assert (tick.bid, tick.bid_size, tick.open) == (None, None, None)


def changes(first: int, last: int, asks: Any, bids: Any) -> dict[str, Any]:
    return {"symbol": "BTC-USDT", "sequenceStart": first, "sequenceEnd": last, "changes": {"asks": asks, "bids": bids}}


def whole(seq: int, bids: Any, asks: Any) -> BookSnapshot[float]:
    method = FEED.book["spot"]
    assert isinstance(method, FromRest)
    body = orjson.dumps({"code": "200000", "data": {"time": 1767225600123, "sequence": str(seq), "bids": bids, "asks": asks}})
    tick: BookSnapshot[float] = rest(method.parse, float)(body, Wire().ctx, LISTED.find("BTC/USDT"))
    return tick


def test_the_documents_example_of_calibration() -> None:
    """The message reaches back over the snapshot: its changes up to 16 are what the snapshot has (the page has first and last swapped)."""
    asks = [["3988.59", "3", "16"], ["3988.61", "0", "19"], ["3988.62", "8", "15"]]
    delta = Wire().data("/market/level2:BTC-USDT", changes(15, 19, asks, [["3988.50", "44", "18"]]))
    sync = sync_of(FEED.book["spot"], LISTED.find("BTC/USDT"), None)
    assert sync.delta(delta) == "held"
    bids = [["3988.51", "56"], ["3988.50", "15"], ["3988.49", "100"], ["3988.48", "10"]]
    assert sync.snapshot(whole(16, bids, [["3988.59", "3"], ["3988.60", "47"], ["3988.61", "32"], ["3988.62", "8"]]))
    assert (sync.live, sync.book.seq) == (True, 19)
    assert sync.book.asks.top() == [(3988.59, 3.0), (3988.6, 47.0), (3988.62, 8.0)]
    assert sync.book.bids.top() == [(3988.51, 56.0), (3988.5, 44.0), (3988.49, 100.0), (3988.48, 10.0)]
    assert sync.edges == (None, None), "less than a hundred levels are all there are"


def test_a_price_of_0_only_counts() -> None:
    delta = Wire().data("/market/level2:BTC-USDT", changes(7, 8, [["0", "0", "7"]], [["0", "5", "8"]]))
    assert isinstance(delta, BookDelta)
    assert (delta.bids, delta.asks, delta.first, delta.last, delta.ts_event) == ([], [], 7, 8, None)


def test_a_hundred_levels_end_where_they_end() -> None:
    sync = sync_of(FEED.book["spot"], LISTED.find("BTC/USDT"), None)
    sync.snapshot(whole(1, [[str(200 - i), "1"] for i in range(100)], [[str(201 + i), "1"] for i in range(99)]))
    assert sync.edges == (101.0, None)
    delta = Wire().data("/market/level2:BTC-USDT", changes(2, 3, [["900", "1", "2"]], [["50", "1", "3"]]))
    assert sync.delta(delta) == "applied"
    assert (sync.book.bids.worst, sync.book.asks.worst, sync.cut) == (101.0, 900.0, ([50.0], ()))


def test_a_list_that_is_an_error_is_no_list() -> None:
    for body in (b'{"code":"429000","msg":"too many requests"}', b'{"code":"400100","data":[]}'):
        with pytest.raises(BadFrame):
            parse_instruments(FEED, body, 0)
    assert {i.symbol: i.active for i in LISTED.by_symbol.values()} == {"BTC/USDT": True, "ETH/USDT": True, "XMR/BTC": False}


def replay_twice(name: str) -> tuple[list[dict[str, Any]], list[Any], Replayer]:
    """What plain JSON says, what we say (the same twice), and the state at the end."""
    lines = recorded(f"kucoin/{name}")
    ticks, replayer = replayed("kucoin", lines, numbers="decimal")
    again, _ = replayed("kucoin", lines, numbers="decimal")
    assert b"".join(map(encode, ticks)) == b"".join(map(encode, again))
    summary = replayer.summary()
    assert (summary.bad, summary.unknown_ids, summary.stale) == ({}, {}, {})
    assert summary.unknown == {}
    assert summary.live_books == summary.books
    rows = [json.loads(line.payload()) | {"url": line.url} for line in lines if line.dir != "out"]
    told = [(t.symbol, t.id, f"{t.price:f}", f"{t.size:f}", t.side, t.ts_event) for t in ticks if isinstance(t, Trade)]
    matches = [m["data"] for m in rows if m.get("subject") == "trade.l3match"]
    names = {i["symbol"]: f"{i['baseCurrency']}/{i['quoteCurrency']}" for i in rows[0]["data"]}
    assert told == [(names[m["symbol"]], m["tradeId"], m["price"], m["size"], m["side"], int(m["time"])) for m in matches]
    return rows, ticks, replayer


def test_a_recording_of_books() -> None:
    """Its snapshots are whole ones, by a login. Our books are those of plain JSON, as deep as the snapshots went."""
    rows, ticks, replayer = replay_twice("cryptofeed-1")
    count = Counter(type(t) for t in ticks)
    assert (count[Trade], count[Candle], count[BookSnapshot], count[BookDelta]) == (18, 6, 9, 3805)
    books: dict[str, Any] = {}
    for m in rows:
        if "level2?symbol=" in (m["url"] or ""):
            d = m["data"]
            books[m["url"].partition("=")[2]] = [int(d["sequence"]), *({Decimal(p): s for p, s in d[side]} for side in ("bids", "asks"))]
    for m in rows:
        if m.get("subject") == "trade.l2update" and m["data"]["symbol"] in books:
            book = books[m["data"]["symbol"]]
            for side, name in ((book[1], "bids"), (book[2], "asks")):
                for price, size, seq in m["data"]["changes"][name]:
                    if int(seq) > book[0] and Decimal(price):
                        side[Decimal(price)] = size
                        if not Decimal(size):
                            del side[Decimal(price)]
    assert len(books) == 9
    for raw, (_, bids, asks) in books.items():
        source: Any = next(s for s in replayer.hub.streams.values() if s.instrument.id == raw and s.kind == "book").leader
        (low, high), book = source.sync.edges, source.sync.book
        assert {p: f"{s:f}" for p, s in book.bids.sizes.items()} == {p: s for p, s in bids.items() if p >= low}
        assert {p: f"{s:f}" for p, s in book.asks.sizes.items()} == {p: s for p, s in asks.items() if p <= high}


def test_a_recording_of_trades() -> None:
    _, ticks, _ = replay_twice("cryptofeed-2")
    assert Counter(type(t) for t in ticks)[Trade] == 12
