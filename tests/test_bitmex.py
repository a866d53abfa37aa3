"""What is peculiar to BitMEX: levels known by id, a sparse table for five kinds, contracts of every sort, bars named by their end."""

import asyncio
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from feeds.bitmex import FEED
from streamer import Streamer
from streamer.book_stream import BookStream
from streamer.catalog import Catalog, parse_instruments
from streamer.declaration import proof
from streamer.encode import encode
from streamer.errors import BadFrame
from streamer.line import sync_of
from streamer.recording import Line
from streamer.sim import SimServer
from streamer.spec import Ack, Broken, History, Reject, Unknown, UnknownId, fill
from streamer.types import (
    KINDS,
    BookDelta,
    BookSnapshot,
    BookStale,
    Candle,
    Funding,
    IndexPrice,
    Instrument,
    MarkPrice,
    OpenInterest,
    Quote,
    Ticker,
    Trade,
)
from tests import wires
from tests.captures import recorded, replayed, rows

HERE = Path(__file__).parent
ROWS = [json.loads(row) for row in (HERE / "exchanges/bitmex/session.jsonl").read_text().splitlines()]
LISTED = Catalog(FEED)
LISTED.update([i for row in ROWS if row["dir"] == "http" for i in parse_instruments(FEED, row["raw"].encode(), 0)])
TS = "2026-01-01T00:00:10.250Z"
NS = 1767225610250 * 10**6
MINUTE = 60 * 10**9


class Wire(wires.Wire):
    def __init__(self, num: type[float] | type[Decimal] = float) -> None:
        super().__init__(LISTED, "realtime", num)
        self.ctx.ts_recv = NS + 7

    def __call__(self, table: str, action: str, *rows: dict[str, Any], symbol: str = "XBTUSD") -> Any:
        more = {"filter": {"symbol": symbol}} if action == "partial" else {}
        return self.say({"table": table, "action": action, "data": [{"symbol": symbol} | row for row in rows]} | more)

    def say(self, message: object) -> Any:
        return super().__call__(message)

    def levels(self, action: str, *rows: tuple[int, str, int | None, float | None], symbol: str = "XBTUSD") -> Any:
        keys = "id", "side", "size", "price"
        whole = [{k: x for k, x in zip(keys, row, strict=True) if x is not None} | {"timestamp": TS} for row in rows]
        return self("orderBookL2", action, *whole, symbol=symbol)

    def state(self, action: str, symbol: str = "XBTUSD", timestamp: str = TS, **row: Any) -> dict[type, Any]:
        """What the table of instruments brings, by type."""
        return {type(tick): tick for tick in self("instrument", action, row | {"timestamp": timestamp}, symbol=symbol)}


def listed(symbol: str) -> Instrument[Any]:
    return LISTED.find(symbol)


# instruments


@pytest.mark.parametrize(
    ("id_", "symbol", "kind", "unit", "size", "steps"),
    [
        ("XBTUSD", "BTC/USD:BTC", "swap", "contracts", "1", ("0.5", "100")),
        ("XBTUSDT", "BTC/USDT:USDT", "swap", "base", "0.000001", ("0.1", "1000")),
        ("ETHUSD", "ETH/USD:BTC", "swap", "contracts", "0.000001", ("0.05", "1")),
        ("ETHUSD_ETH", "ETH/USD:ETH", "swap", "contracts", "1", ("0.05", "1")),
        ("XBTH26", "BTC/USD:BTC-260327", "future", "contracts", "1", ("0.5", "100")),
        ("ETHZ25", "ETH/BTC:BTC-251226", "future", "base", "1", ("0.00001", "1")),
        ("ETH_USDT", "ETH/USDT", "spot", "base", "0.00001", ("0.05", "1000")),
        ("SPYUSDT", "SPY/USDT:USDT", "swap", "base", "0.01", ("0.01", "1")),
    ],
)
def test_instruments(id_: str, symbol: str, kind: str, unit: str, size: str, steps: tuple[str, str]) -> None:
    """Inverse contracts are dollars; linear ones, and spot, a part of the base; a quanto is `multiplier` satoshi for a dollar of price."""
    i = LISTED.tables["realtime"][id_]
    assert (i.symbol, i.kind, i.size_unit, i.contract_size) == (symbol, kind, unit, Decimal(size))
    assert (i.price_step, i.size_step) == tuple(map(Decimal, steps))
    assert i.settle == (symbol.partition(":")[2].partition("-")[0] or None)
    assert i.active is (id_ != "ETHZ25")
    assert i.expiry == {"XBTH26": 1774612800 * 10**9, "ETHZ25": 1766750400 * 10**9}.get(id_)


def test_what_cannot_be_named_or_traded_is_left_out() -> None:
    ids = {d["symbol"] for row in ROWS if row["dir"] == "http" for d in json.loads(row["raw"])}
    assert ids - LISTED.tables["realtime"].keys() == {".BXBT", "P_FTXZ26", "XBTH26-XBTM26"}


def test_a_list_that_is_an_error_is_no_list() -> None:
    with pytest.raises(BadFrame):
        parse_instruments(FEED, b'{"error":{"message":"Rate limit exceeded, retry in 1 seconds.","name":"RateLimitError"}}', 0)


def test_what_each_kind_of_instrument_offers() -> None:
    offered = {i.kind: {kind for kind in KINDS if (FEED.market_of(i, kind), kind) in FEED.topics} for i in LISTED.by_symbol.values()}
    assert offered["spot"] == {"trade", "book", "quote", "ticker", "candle"}
    assert offered["swap"] - offered["future"] == {"funding"}
    assert offered["swap"] - offered["spot"] == {"funding", "mark", "index", "open_interest", "liquidation"}
    state = {kind for kind in KINDS if FEED.topics.get(("realtime", kind)) == "instrument:{id}"}
    assert state == {"ticker", "funding", "mark", "index", "open_interest"}
    candles = FEED.topics["realtime", "candle"]
    assert isinstance(candles, str)
    assert fill(candles, listed("BTC/USD:BTC"), "5m") == "tradeBin5m:XBTUSD"


# levels by id


def test_changes_and_deletions_need_not_name_the_price() -> None:
    wire = Wire()
    first = wire.levels("partial", (1, "Sell", 5, 101), (2, "Buy", 7, 99), (3, "Buy", 8, 100))
    assert (first.bids, first.asks, first.seq, first.ts_event) == ([(100, 8), (99, 7)], [(101, 5)], None, NS)
    assert wire.levels("update", (2, "Buy", 6, None), (1, "Sell", 4, None)) == BookDelta(
        "bitmex", "BTC/USD:BTC", NS, NS + 7, [(99.0, 6.0)], [(101.0, 4.0)]
    )
    assert wire.levels("delete", (2, "Buy", None, None)).bids == [(99, 0)]
    assert wire.levels("delete", (3, "Buy", 8, 100)).bids == [(100, 0)]  # with the size that goes
    assert wire.levels("insert", (2, "Sell", 9, 99)).asks == [(99, 9)]


def test_nothing_counts_before_the_table_begins() -> None:
    wire = Wire()
    assert wire.levels("update", (2, "Buy", 6, 99)) == ()
    assert wire.levels("insert", (2, "Buy", 6, 99)) == ()
    assert wire.state("update", markPrice=5) == {}
    assert wire.levels("partial").bids == []
    assert wire.levels("insert", (2, "Buy", 6, 99)).bids == [(99, 6)]


@pytest.mark.parametrize(
    ("action", "level"),
    [("update", (9, "Buy", 6, 99)), ("delete", (9, "Buy", None, 99)), ("insert", (2, "Buy", 6, 99)), ("update", (2, "Sell", 6, 99))],
)
def test_a_level_that_is_not_where_it_must_be_breaks_its_book_and_no_other(action: str, level: Any) -> None:
    """What was lost was its insertion, or (of a level that comes again) its deletion."""
    wire = Wire()
    wire.levels("partial", (1, "Sell", 5, 101), (2, "Buy", 7, 99))
    wire.levels("partial", (1, "Sell", 5, 101), (2, "Buy", 7, 99), symbol="XBTUSDT")
    assert wire.levels(action, level) == Broken("BTC/USD:BTC", "gap", NS + 7)
    assert wire.levels("update", (2, "Buy", 6, 99)) == (), "nothing counts until it begins anew"
    assert wire.levels("update", (2, "Buy", 6, 99), symbol="XBTUSDT").bids == [(99, 6)]
    assert isinstance(wire.levels("partial", (2, "Buy", 7, 99)), BookSnapshot)
    assert wire.levels("update", (2, "Buy", 6, 99)).bids == [(99, 6)]


def test_ids_prove_a_part() -> None:
    assert proof(FEED) == {"realtime": "ids"}
    assert not sync_of(FEED.book["realtime"], listed("BTC/USD:BTC"), None).hold


@pytest.mark.parametrize("num", [float, Decimal])
@pytest.mark.parametrize("action", ["partial", "insert"])
def test_a_level_without_price_or_size_is_a_bad_frame(num: type[float] | type[Decimal], action: str) -> None:
    for level in ((3, "Buy", 6, None), (3, "Buy", None, 99)):
        wire = Wire(num)
        wire.levels("partial", (1, "Sell", 5, 101))
        with pytest.raises(ValueError, match="no price or size"):
            wire.levels(action, level)


async def test_a_book_that_broke_is_subscribed_anew() -> None:
    """Each lost insertion or deletion falls due in its time; every fall is mended by a new partial, on the same connection."""
    async with (
        SimServer(["bitmex"], rate=400, faults={"bitmex": "skip_delta"}) as sim,
        Streamer(urls={"bitmex": sim.url("bitmex")}, cache=None) as s,
    ):
        sub = s.subscribe("bitmex:BTC/USDT:USDT", kinds=["book"])
        await s.ready(sub)
        ticks: list[Any] = []
        async with asyncio.timeout(8):
            while [type(t) for t in ticks if isinstance(t, BookStale | BookSnapshot)][:3] != [BookSnapshot, BookStale, BookSnapshot]:
                await asyncio.sleep(0.02)
                ticks += sub.take()
        assert {t.reason for t in ticks if isinstance(t, BookStale)} <= {"gap", "crossed"}
        assert (s.stats()["bitmex"]["reconnects"], s.stats()["bitmex"]["bad"]) == (0, {})
    assert not sim.clock.errors


# the sparse table

WHOLE: dict[str, Any] = {
    "lastPrice": 88000, "prevPrice24h": 87000.5, "highPrice": 89000, "lowPrice": 86000, "volume24h": 700, "foreignNotional24h": 701,
    "bidPrice": 87999.5, "askPrice": 88000, "markPrice": 88001.17, "indicativeSettlePrice": 88002, "openInterest": 5000,
    "openValue": 440010000000, "fundingRate": 0.0001, "indicativeFundingRate": -0.000031,
    "fundingTimestamp": "2026-01-01T04:00:00.000Z", "fundingInterval": "2000-01-01T08:00:00.000Z",
}  # fmt: skip
ALL = {Ticker, MarkPrice, IndexPrice, OpenInterest, Funding}


def test_an_update_tells_only_the_kinds_that_it_touches() -> None:
    wire = Wire()
    assert set(wire.state("partial", **WHOLE)) == ALL
    assert set(wire.state("update", markPrice=88003)) == {MarkPrice}
    assert wire.state("update", fairBasis=1.5) == {}
    assert set(wire.state("update", openValue=440011000000)) == {OpenInterest}
    after = wire.state("update", bidPrice=87999)[Ticker]
    assert (after.last, after.open, after.high, after.low, after.volume, after.quote_volume) == (88000, 87000.5, 89000, 86000, 700, 701)
    assert (after.bid, after.bid_size, after.ask, after.ask_size) == (87999, None, 88000, None)
    assert wire.state("update", bidPrice=None)[Ticker].bid is None


def test_once_a_minute_everything_is_told_for_who_subscribed_since() -> None:
    wire = Wire()
    wire.state("partial", **WHOLE)
    assert set(wire.state("update", markPrice=1, timestamp="2026-01-01T00:00:59.999Z")) == {MarkPrice}
    assert set(wire.state("update", markPrice=2, timestamp="2026-01-01T00:01:00.000Z")) == ALL
    assert set(wire.state("update", markPrice=3, timestamp="2026-01-01T00:01:00.100Z")) == {MarkPrice}


def test_funding_is_due_and_foretold() -> None:
    wire = Wire()
    funding = wire.state("partial", **WHOLE)[Funding]
    assert (funding.rate, funding.predicted_rate, funding.interval_s) == (0.0001, -0.000031, 28_800)
    assert funding.ts_next == 1767240000 * 10**9
    assert wire.state("update", fundingInterval="2000-01-02T00:00:00.000Z")[Funding].interval_s == 86_400


def test_open_value_is_in_the_smallest_unit_and_given_where_it_is_quote() -> None:
    for symbol, value in (("XBTUSDT", Decimal(440010)), ("XBTUSD", None), ("ETHUSD", None), ("ETHZ25", Decimal("4400.1"))):
        told = Wire(Decimal).state("partial", symbol, **WHOLE)[OpenInterest]
        assert (told.amount, told.value) == (5000, value)


def test_spot_has_a_ticker_alone() -> None:
    wire = Wire()
    assert set(wire.state("partial", "ETH_USDT", **WHOLE)) == {Ticker}
    assert wire.state("update", "ETH_USDT", markPrice=5) == {}


def test_a_bad_number_costs_one_message_only() -> None:
    for num in (float, Decimal):
        wire = Wire(num)
        wire.state("partial", **WHOLE)
        for bad in ("x", "1_0", {}, [1]):
            with pytest.raises((ValueError, ArithmeticError, TypeError, BadFrame)):
                wire.state("update", lastPrice=bad)
        for bad in (1.5, 1767240000000, "1e9", "9999-01-01T08:00:00.000Z"):
            with pytest.raises((ValueError, TypeError)):
                wire.state("update", fundingTimestamp=bad)
        assert wire.state("update", bidPrice=87999)[Ticker].last == 88000


# trades, quotes, candles, liquidations


def fill_(id_: str, **more: Any) -> dict[str, Any]:
    return {"timestamp": TS, "side": "Sell", "size": 100, "price": 88000.5, "tickDirection": "ZeroMinusTick", "trdMatchID": id_} | more


def test_what_traded_before_is_history() -> None:
    wire = Wire()
    before = wire("trade", "partial", fill_("a"), fill_("b"))
    assert isinstance(before, History)
    assert [t.id for t in before.trades] == ["a", "b"]
    [now] = wire("trade", "insert", fill_("c"))
    assert now == Trade("bitmex", "BTC/USD:BTC", NS, NS + 7, 88000.5, 100.0, "sell", "c")
    assert [t.side for t in wire("trade", "insert", fill_("d", side="Buy"), fill_("e", side=""))] == ["buy", None]
    with pytest.raises(UnknownId):
        wire("trade", "insert", fill_("f"), symbol="NOSUCH")


def test_a_side_without_orders_is_left_out() -> None:
    one, other = Wire()(
        "quote", "insert", {"timestamp": TS, "askPrice": 101, "askSize": 5}, {"timestamp": TS, "bidPrice": 99, "bidSize": 7}
    )
    assert (one.bid, one.bid_size, one.ask, one.ask_size) == (None, None, 101, 5)
    assert (other.bid, other.bid_size, other.ask, other.ask_size) == (99, 7, None, None)


@pytest.mark.parametrize(("interval", "span"), [("1m", MINUTE), ("5m", 5 * MINUTE), ("1h", 60 * MINUTE), ("1d", 1440 * MINUTE)])
def test_a_bar_is_named_by_its_end(interval: str, span: int) -> None:
    row = {
        "timestamp": "2026-01-01T00:00:00.000Z",
        "open": 1,
        "high": 3,
        "low": 0.5,
        "close": 2,
        "volume": 9,
        "trades": 4,
        "foreignNotional": 8,
    }
    [bar] = Wire()(f"tradeBin{interval}", "insert", row)
    assert isinstance(bar, Candle)
    assert (bar.interval, bar.ts_open + span, bar.ts_event, bar.closed) == (interval, 1767225600 * 10**9, 1767225600 * 10**9, True)
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quote_volume, bar.trades) == (1, 3, 0.5, 2, 9, 8, 4)
    assert [b.close for b in Wire()(f"tradeBin{interval}", "partial", row, row | {"close": 7})] == [7], "the last of those before"
    assert Wire()(f"tradeBin{interval}", "insert", {"timestamp": TS, "trades": 0, "volume": 0}) == [], "never traded"


def test_of_a_liquidation_only_that_it_comes_is_news() -> None:
    wire, order = Wire(), {"orderID": "x", "side": "Buy", "price": 89000.5, "leavesQty": 900}
    [told] = wire("liquidation", "insert", order)
    assert (told.side, told.price, told.size, told.id, told.ts_event) == ("buy", 89000.5, 900, "x", None)
    assert wire("liquidation", "partial", order) == []
    assert wire("liquidation", "update", {"orderID": "x", "leavesQty": 100}) == []
    assert wire("liquidation", "delete", {"orderID": "x"}) == []
    for name in ("price", "leavesQty"):
        with pytest.raises(ValueError, match="no price or size"):
            wire("liquidation", "insert", order | {name: None})


# answers

ASKED = {"op": "subscribe", "args": ["trade:XBTUSD", "trade:NOSUCH", "orderBookL2:NOSUCH"]}
WHY = "Unknown or expired symbol: NOSUCH. Please see the documentation at https://www.bitmex.com/app/wsAPI."
LIMIT = "Rate limit exceeded, retry in 1 seconds."


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ({"success": True, "subscribe": "trade:XBTUSD", "request": ASKED, "pool": "Secondary"}, Ack("trade:XBTUSD")),
        ({"success": True, "unsubscribe": "trade:XBTUSD", "request": {"op": "unsubscribe", "args": ["trade:XBTUSD"]}}, ()),
        ({"info": "Welcome to the BitMEX Realtime API.", "version": "x", "docs": "y", "limit": {"remaining": 39}}, ()),
        (
            {"status": 400, "error": WHY, "meta": {}, "request": ASKED},
            [Reject("trade:NOSUCH", WHY, fatal=True), Reject("orderBookL2:NOSUCH", WHY, fatal=True)],
        ),
        (
            {"status": 400, "error": "Unknown or expired symbol.", "meta": {}, "request": {"op": "subscribe", "args": ["trade:X"]}},
            [Reject("trade:X", "Unknown or expired symbol.", fatal=True)],
        ),
        ({"status": 400, "error": "Unknown or expired symbol.", "meta": {}, "request": ASKED}, Unknown("Unknown or expired symbol.")),
        (
            {"status": 400, "error": "You are already subscribed to this topic: trade:XBTUSD", "meta": {}, "request": ASKED},
            [Ack("trade:XBTUSD")],
        ),
        (
            {"status": 429, "error": LIMIT, "meta": {"retryAfter": 1}, "request": {"op": "subscribe", "args": ["trade:A", "trade:B"]}},
            [Reject("trade:A", LIMIT), Reject("trade:B", LIMIT)],
        ),
        ({"error": LIMIT}, Unknown(LIMIT)),
        ({"table": "funding", "action": "insert", "data": [{"symbol": "XBTUSD", "fundingRate": 0.0001}]}, Unknown("funding")),
    ],
)
def test_answers(message: dict[str, Any], answer: object) -> None:
    assert Wire().say(message) == answer


def test_twenty_topics_a_command() -> None:
    assert FEED.limits.topics_per_command == 20
    assert FEED.subscribe(["trade:A", "quote:B"], 3) == ['{"op":"subscribe","args":["trade:A","quote:B"]}']


# the recording, of 2021: no times of levels, prices only in insertions


@pytest.fixture(scope="module")
def capture() -> list[Line]:
    return recorded("bitmex/cryptofeed-1")


def frames(table: str) -> list[dict[str, Any]]:
    """The raw messages of a table, numbers as their text."""
    raw = [row["raw"] for row in rows("bitmex/cryptofeed-1") if row["dir"] == "in"]
    return [m for m in (json.loads(x, parse_float=Decimal, parse_int=Decimal) for x in raw) if m.get("table") == table]


def test_the_capture_is_understood_whole(capture: list[Line]) -> None:
    ticks, replayer = replayed("bitmex", capture)
    summary = replayer.summary()
    assert (summary.bad, summary.unknown, summary.unknown_ids, summary.stale) == (Counter(), Counter(), Counter(), Counter())
    assert (summary.live_books, summary.books) == (10, 10)
    count = Counter(type(tick).__name__ for tick in ticks)
    assert (count["Trade"], count["BookSnapshot"], count["BookDelta"], count["Quote"]) == (17, 10, 1969, 436)
    assert [encode(tick) for tick in ticks] == [encode(tick) for tick in replayed("bitmex", capture)[0]]


def test_recorded_trades_are_those_inserted_to_the_digit(capture: list[Line]) -> None:
    ticks, replayer = replayed("bitmex", capture, numbers="decimal", sizes="venue")
    ids = {i.symbol: i.id for i in replayer.instruments("bitmex")}
    told = [(ids[t.symbol], str(t.price), str(t.size), t.side, t.id) for t in ticks if isinstance(t, Trade)]
    raw = [d for m in frames("trade") if m["action"] == "insert" for d in m["data"]]
    assert told == [(d["symbol"], str(d["price"]), str(d["size"]), d["side"].lower(), d["trdMatchID"]) for d in raw]
    bests = [(ids[t.symbol], str(t.bid), str(t.bid_size), str(t.ask), str(t.ask_size)) for t in ticks if isinstance(t, Quote)]
    names = "symbol", "bidPrice", "bidSize", "askPrice", "askSize"
    assert bests == [tuple(str(d[name]) for name in names) for m in frames("quote") for d in m["data"]]


def test_recorded_books_are_those_of_the_wire_to_the_digit(capture: list[Line]) -> None:
    """Kept a second time, by row, as BitMEX's documents tell it."""
    _, replayer = replayed("bitmex", capture, numbers="decimal", sizes="venue")
    rows: dict[str, dict[Any, dict[str, Any]]] = {}
    for m in frames("orderBookL2"):
        for d in m["data"]:
            held = rows.setdefault(d["symbol"], {})
            if m["action"] == "delete":
                del held[d["side"], d["id"]]
            else:
                held[d["side"], d["id"]] = held.get((d["side"], d["id"]), {}) | d
    kept = {s.instrument.id: s.book for s in replayer.hub.streams.values() if isinstance(s, BookStream) and s.book is not None}
    assert kept.keys() == rows.keys()
    for id_, held in rows.items():
        for side, book in (("Buy", kept[id_].bids), ("Sell", kept[id_].asks)):
            assert {str(price): str(size) for price, size in book.top()} == {
                str(d["price"]): str(d["size"]) for (where, _), d in held.items() if where == side
            }


def test_each_insertion_lost_from_the_capture_is_noticed_when_its_level_is_told_of_again(capture: list[Line]) -> None:
    """The fifty first, each alone."""
    places = [i for i, line in enumerate(capture) if line.dir == "in" and b'"orderBookL2","action":"insert"' in line.payload()][:50]
    noticed = 0
    for place in places[::5]:
        lost = json.loads(capture[place].payload())["data"]
        keys = {(d["symbol"], d["side"], d["id"]) for d in lost}
        later = [
            json.loads(line.payload()) for line in capture[place + 1 :] if line.dir == "in" and b'"table":"orderBookL2"' in line.payload()
        ]
        again = any((d["symbol"], d["side"], d["id"]) in keys for m in later for d in m["data"])
        _, replayer = replayed("bitmex", capture[:place] + capture[place + 1 :])
        assert sum(replayer.summary().stale.values()) == again
        noticed += again
    assert noticed
