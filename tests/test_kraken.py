"""What is peculiar to Kraken: its checksum, the depth it counts on us to keep, one topic for two kinds, refusals that name no channel."""

import json
import zlib
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from feeds.kraken import FEED
from normalizers.kraken import CHANNELS, DEPTHS
from streamer.catalog import Catalog, parse_instruments
from streamer.checksum import fixed
from streamer.errors import BadFrame
from streamer.line import sync_of
from streamer.spec import Ack, Checked, FromStream, History, Reject, Unknown, UnknownId
from streamer.sync import Sync
from streamer.types import BookDelta, BookSnapshot, Candle, Quote, Ticker, Trade
from tests import wires
from tests.captures import rows

HERE = Path(__file__).parent / "exchanges/kraken"
SESSIONS = {p.stem: p for p in sorted(HERE.glob("*.jsonl")) if not p.name.endswith(".expected.jsonl")}
EITHER = pytest.mark.parametrize("num", [float, Decimal])


def lines(session: str, direction: str) -> list[dict[str, Any]]:
    rows = [json.loads(row) for row in SESSIONS[session].read_text().splitlines()]
    return [row for row in rows if row["dir"] == direction]


def listed() -> Catalog:
    made = Catalog(FEED)
    made.update([i for row in lines("session", "http") for i in parse_instruments(FEED, row["raw"].encode(), 0)])
    return made


LISTED = listed()


class Wire(wires.Wire):
    def __init__(self, num: type[float] | type[Decimal] = float) -> None:
        super().__init__(LISTED, "spot", num)


def kept(symbol: str, depth: int, method: FromStream | None = None) -> Sync[Any]:
    return sync_of(method or FEED.book["spot"], LISTED.find(symbol), depth)


# the worked example of https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
EXAMPLE_BIDS = """45283.5 0.10000000  45283.4 1.54582015  45282.1 0.10000000  45281.0 0.10000000  45280.3 1.54592586
                  45279.0 0.07990000  45277.6 0.03310103  45277.5 0.30000000  45277.3 1.54602737  45276.6 0.15445238"""
EXAMPLE_ASKS = """45285.2 0.00100000  45286.4 1.54571953  45286.6 1.54571109  45289.6 1.54560911  45290.2 0.15890660
                  45291.8 1.54553491  45294.7 0.04454749  45296.1 0.35380000  45297.5 0.09945542  45299.5 0.18772827"""
EXAMPLE_CHECKSUM = 3310070434


def snapshot(bids: str, asks: str, checksum: int) -> str:
    sides = [
        ",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in zip(words[::2], words[1::2], strict=True))
        for words in (bids.split(), asks.split())
    ]
    data = f'{{"symbol":"BTC/USD","bids":[{sides[0]}],"asks":[{sides[1]}],"checksum":{checksum},"timestamp":"2023-10-06T17:35:55.440295Z"}}'
    return f'{{"channel":"book","type":"snapshot","data":[{data}]}}'


@EITHER
def test_the_documents_example(num: type[float] | type[Decimal]) -> None:
    [checked] = Wire(num)(snapshot(EXAMPLE_BIDS, EXAMPLE_ASKS, EXAMPLE_CHECKSUM))
    assert isinstance(checked, Checked)
    assert isinstance(checked.tick, BookSnapshot)
    sync = kept("BTC/USD", 10)
    assert sync.snapshot(checked.tick, checked.checksum) == [checked.tick]
    method = FEED.book["spot"]
    assert isinstance(method, FromStream)
    assert method.checksum is not None
    text = method.checksum.text(list(chain(*checked.tick.asks)), LISTED.find("BTC/USD"))
    assert text.startswith(b"452852100000452864154571953452866154571109")
    assert text.endswith(b"452975994554245299518772827")
    [other] = Wire(num)(snapshot(EXAMPLE_BIDS.replace("0.07990000", "0.07990001"), EXAMPLE_ASKS, EXAMPLE_CHECKSUM))
    assert kept("BTC/USD", 10).snapshot(other.tick, other.checksum) == ()


def documents_checksum(bids: dict[str, str], asks: dict[str, str]) -> int:
    """The documents' steps, over the text of the wire."""
    best = sorted(asks.items(), key=lambda level: Decimal(level[0]))[:10]
    best += sorted(bids.items(), key=lambda level: -Decimal(level[0]))[:10]
    return zlib.crc32("".join(x.replace(".", "").lstrip("0") for level in best for x in level).encode())


@pytest.mark.parametrize(("session", "wrong"), [("session", 0), ("thin", 0), ("resync", 3)])
def test_the_sessions_have_true_checksums(session: str, wrong: int) -> None:
    """Checked without our book, decoder or checksum. `resync` lacks an update: until the new snapshot the three after it cannot fit."""
    books: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    differ, commands = 0, [json.loads(row["raw"]) for row in lines(session, "out")]
    depth = next(c["params"]["depth"] for c in commands if "depth" in c.get("params", ()))
    for row in lines(session, "in"):
        message = json.loads(row["raw"], parse_float=str)
        if message.get("channel") != "book":
            continue
        for d in message["data"]:
            if message["type"] == "snapshot":
                books[d["symbol"]] = ({}, {})
            for side, known, sign in zip((d["bids"], d["asks"]), books[d["symbol"]], (-1, 1), strict=True):
                for level in side:
                    known[level["price"]] = level["qty"]
                    if not Decimal(level["qty"]):
                        del known[level["price"]]
                for price in sorted(known, key=lambda p: sign * Decimal(p))[depth:]:
                    del known[price]
            differ += documents_checksum(*books[d["symbol"]]) != d["checksum"]
    assert len(books) == 2
    assert differ == wrong


@pytest.mark.parametrize("truncate", [True, False])
def test_the_book_must_be_cut_to_the_subscribed_depth(truncate: bool) -> None:
    """Kraken does not say which levels fall out of the depth: kept, they come back when a better one goes."""
    method = FEED.book["spot"]
    assert isinstance(method, FromStream)
    wire, sync, taken = Wire(), kept("BTC/USD", 10, replace(method, truncate=truncate)), []
    for row in lines("session", "in"):
        for answer in wire(row["raw"]) if '"channel":"book","type"' in row["raw"] else ():
            if answer.symbol == "BTC/USD" and isinstance(answer.tick, BookDelta):
                taken.append(sync.delta(answer.tick, answer.checksum))
            elif answer.symbol == "BTC/USD":
                sync.snapshot(answer.tick, answer.checksum)
    assert (set(taken) == {"applied"}) is truncate
    assert sync.stale_reason == (None if truncate else "checksum")


@given(st.integers(1, 2**26 * 10**8 - 1))
def test_floats_carry_the_digits_of_sizes_to_67_million(lots: int) -> None:
    step = Decimal("0.00000001")
    size = Decimal(lots) * step
    assert fixed(float(f"{size:f}"), step) == fixed(size, step) == str(lots)


def test_instruments() -> None:
    btc, doge, ethw = (LISTED.find(s) for s in ("BTC/USD", "DOGE/USD", "ETHW/BTC"))
    assert (btc.id, doge.id, ethw.id) == ("BTC/USD", "DOGE/USD", "ETHW/BTC")
    assert (btc.price_step, btc.size_step) == (Decimal("0.1"), Decimal("0.00000001"))
    assert (doge.base, doge.quote, doge.price_step) == ("DOGE", "USD", Decimal("0.0000001"))
    assert [i.active for i in (btc, doge, ethw)] == [True, True, False]


def test_pairs_without_a_websocket_name_are_left_out() -> None:
    row = {"pair_decimals": 0, "lot_decimals": 8}
    body = orjson.dumps({"error": [], "result": {"A": row, "B": row | {"wsname": "XBT/JPY"}}})
    [only] = parse_instruments(FEED, body, 0)
    assert (only.symbol, only.price_step, only.active) == ("BTC/JPY", Decimal(1), True)


def test_a_list_that_is_an_error_is_no_list() -> None:
    with pytest.raises(BadFrame):
        parse_instruments(FEED, b'{"error":["EGeneral:Temporary lockout"]}', 0)


TRADES = """{"channel":"trade","type":"%s","data":[
    {"symbol":"BTC/USD","side":"sell","price":67000.0,"qty":0.00100000,"ord_type":"market","trade_id":7,"timestamp":"2026-01-01T00:00:00.5Z"},
    {"symbol":"DOGE/USD","side":"buy","price":0.1234500,"qty":12.50000000,"ord_type":"limit","trade_id":3,
     "timestamp":"2026-01-01T00:00:00.123456Z"}]}""".replace("\n", "")


def test_trades() -> None:
    sold, bought = Wire(Decimal)(TRADES % "update")
    assert isinstance(sold, Trade)
    assert (sold.side, sold.id, sold.ts_event) == ("sell", "7", 1767225600500000000)
    assert [str(x) for x in (sold.price, sold.size, bought.price, bought.size)] == ["67000.0", "0.00100000", "0.1234500", "12.50000000"]
    assert (bought.symbol, bought.side, bought.ts_event) == ("DOGE/USD", "buy", 1767225600123456000)


def test_a_snapshot_of_trades_is_history_of_each_symbol() -> None:
    both = Wire()(TRADES % "snapshot")
    assert [type(h) for h in both] == [History, History]
    assert [[t.id for t in h.trades] for h in both] == [["7"], ["3"]]
    assert list(Wire()('{"channel":"trade","type":"snapshot","data":[]}')) == []


def test_a_ticker_feeds_two_kinds() -> None:
    text = '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":%s,"bid_qty":0.01000000,"ask":67000.9,"ask_qty":2.0}]}'
    quote, day = Wire(Decimal)(text % "67000.0")
    assert isinstance(quote, Quote)
    assert isinstance(day, Ticker)
    assert (quote.bid, str(quote.bid_size), quote.ask, quote.ts_event) == (Decimal(67000), "0.01000000", Decimal("67000.9"), None)
    assert (day.bid, day.ask_size, day.last, day.open) == (Decimal(67000), Decimal(2), None, None)
    quote, day = Wire()(text % "0.0")
    assert (quote.bid, quote.bid_size, day.bid, day.bid_size, quote.ask) == (None, None, None, None, 67000.9)


def test_of_a_snapshot_of_bars_the_last_is_news() -> None:
    bar = {"symbol": "BTC/USD", "open": 1, "high": 2, "low": 0.5, "close": 1.5, "trades": 9, "volume": 3, "vwap": 1.2, "interval": 21600}
    bars = [bar | {"interval_begin": f"2026-01-01T00:0{i}:00.000000000Z"} for i in range(3)]
    message = {"channel": "ohlc", "type": "snapshot", "timestamp": "2026-01-01T00:02:07.123456789Z", "data": bars}
    [last] = Wire()(message)
    assert isinstance(last, Candle)
    assert (last.ts_open, last.ts_event, last.interval) == (1767225720 * 10**9, 1767225727123456789, "15d")
    assert (last.trades, last.closed) == (9, None)
    assert len(Wire()(message | {"type": "update"})) == 3
    assert Wire()(message | {"data": []}) == []


DEPTH = "Subscription depth not supported"
TOPICS = [f"{name}:{symbol}" for name in CHANNELS for symbol in ("BTC/USD", "DOGE/USD")]


def test_commands_name_all_symbols_of_a_channel() -> None:
    frames = [json.loads(frame) for frame in FEED.subscribe(TOPICS, 3)]
    assert len(frames) == len(CHANNELS)
    assert all(frame["params"]["symbol"] == ["BTC/USD", "DOGE/USD"] for frame in frames)
    asked = {frame["params"]["channel"]: frame["params"] for frame in frames}
    assert asked["trade"]["snapshot"] is True
    assert asked["ticker"]["event_trigger"] == "bbo"
    assert [frame["params"]["depth"] for frame in frames if frame["params"]["channel"] == "book"] == list(DEPTHS)
    assert all("snapshot" not in json.loads(frame)["params"] for frame in FEED.unsubscribe(TOPICS, 4))


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_answers_name_the_topic(n: int) -> None:
    wire, acked, refused = Wire(), [], []
    for frame in map(json.loads, FEED.subscribe(TOPICS, n)):
        for symbol in frame["params"]["symbol"]:
            answer = {"method": "subscribe", "req_id": frame["req_id"]}
            acked.append(wire(answer | {"result": frame["params"] | {"symbol": symbol}, "success": True}))
            refused.append(wire(answer | {"error": "Already subscribed", "success": False, "symbol": symbol}))
    assert acked == [Ack(topic) for topic in TOPICS]
    assert refused == [Reject(topic, "Already subscribed") for topic in TOPICS]


def test_an_unknown_pair_is_hopeless() -> None:
    [frame] = FEED.subscribe(["ticker:XBT/USD"], 1)
    error = {"error": "Currency pair not supported XBT/USD", "method": "subscribe", "success": False, "symbol": "XBT/USD"}
    answer = Wire()(error | {"req_id": json.loads(frame)["req_id"]})
    assert answer == Reject("ticker:XBT/USD", "Currency pair not supported XBT/USD", fatal=True)


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ({"channel": "heartbeat"}, ()),
        ({"channel": "status", "type": "update", "data": [{"system": "online", "version": "2.0.10"}]}, ()),
        ({"method": "pong", "time_in": "2026-01-01T00:00:00.000001Z"}, ()),
        ({"method": "unsubscribe", "result": {"channel": "book", "depth": 10, "symbol": "BTC/USD"}, "success": True}, ()),
        ({"Error": "Exceeded msg rate"}, Unknown("Exceeded msg rate")),
        (
            {"error": DEPTH, "method": "subscribe", "success": False},
            Unknown("Subscription depth not supported"),
        ),
        ({"channel": "level3", "type": "update", "data": []}, Unknown("level3")),
    ],
)
def test_what_is_not_data(message: dict[str, Any], answer: object) -> None:
    assert Wire()(message) == answer


@pytest.mark.parametrize(
    "message",
    [
        '{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[],"asks":[]}]}',
        '{"channel":"book","type":"partial","data":[]}',
        '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD"}]}',
        '{"channel":"ticker"}',
        '[0,[],"trade","XBT/USD"]',
    ],
)
def test_a_shape_that_is_not_theirs_costs_the_frame(message: str) -> None:
    with pytest.raises(BadFrame):
        Wire()(message)


def test_a_time_that_is_none_costs_the_frame() -> None:
    with pytest.raises(ValueError, match="is not a time"):
        Wire()(TRADES.replace("00:00:00.5Z", "00:00:00.5") % "update")


def test_an_unlisted_pair_is_told() -> None:
    with pytest.raises(UnknownId):
        Wire()(TRADES.replace("DOGE/USD", "NEW/USD") % "update")


@EITHER
def test_messages_of_others_documents_are_understood(num: type[float] | type[Decimal]) -> None:
    """Single v2 messages that ccxt quotes: shapes only, cut short, so their checksums cannot be right."""
    wire, found = Wire(num), []
    matic = replace(LISTED.find("BTC/USD"), symbol="MATIC/USD", id="MATIC/USD", base="MATIC")
    wire.ctx.sym = type(wire.ctx.sym)({**wire.ctx.sym, "MATIC/USD": matic})
    for row in rows("kraken/ccxtdoc-1"):
        message = json.loads(row["raw"]) if row["dir"] == "in" else None
        if isinstance(message, dict) and {"channel", "type", "data"} <= message.keys():
            found += [type(answer) for answer in wire(message)]
    assert found == [Quote, Ticker, Trade, Candle, Checked, Checked]
