"""What is peculiar to Bybit: four markets, one sparse ticker for five kinds, books that begin anew, the side of liquidations, refusals."""

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from feeds.bybit import FEED, more
from normalizers.bybit import INTERVALS
from streamer import Streamer, registry
from streamer.book_stream import BookStream
from streamer.catalog import Catalog, parse_instruments
from streamer.encode import encode
from streamer.errors import BadFrame
from streamer.line import sync_of
from streamer.rules import APPLY, DROP, GAP, counted
from streamer.sim import SimServer
from streamer.spec import Ack, Reject, Unknown, UnknownId, fill
from streamer.sync import Sync
from streamer.types import KINDS, BookDelta, Candle, Funding, IndexPrice, MarkPrice, OpenInterest, Quote, Ticker, Trade
from tests import wires
from tests.captures import recorded, replayed, rows

HERE = Path(__file__).parent
ROWS = [json.loads(row) for row in (HERE / "exchanges/bybit/session.jsonl").read_text().splitlines()]
LISTED = Catalog(FEED)
LISTED.update([i for row in ROWS if row["dir"] == "http" for i in parse_instruments(FEED, row["raw"].encode(), 0)])
CALL, PUT = "BTC/USDT:USDT-260327-100000-C", "BTC/USD:USDC-260327-90000-P"
TS = 1767225600000


class Wire(wires.Wire):
    def __init__(self, market: str = "linear", num: type[float] | type[Decimal] = float) -> None:
        super().__init__(LISTED, market, num)

    def ticker(self, type_: str, ts: int = TS, symbol: str = "BTCUSDT", **data: str) -> dict[type, Any]:
        """A ticker message's ticks by their type."""
        message = {"topic": f"tickers.{symbol}", "type": type_, "data": {"symbol": symbol, **data}, "cs": 1, "ts": ts}
        return {type(tick): tick for tick in self(message)}


def book(type_: str, u: int, bids: list[Any], asks: list[Any], topic: str = "orderbook.50") -> dict[str, Any]:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": u, "seq": 7}
    return {"topic": f"{topic}.BTCUSDT", "type": type_, "ts": TS + 5, "data": data, "cts": TS}


# instruments


@pytest.mark.parametrize(
    ("symbol", "market", "kind", "unit", "size", "steps"),
    [
        ("BTC/USDT", "spot", "spot", "base", None, ("0.1", "0.000001")),
        ("BTC/USDT:USDT", "linear", "swap", "base", "1", ("0.10", "0.001")),
        ("BTC/USDC:USDC", "linear", "swap", "base", "1", ("0.10", "0.001")),
        ("BTC/USDT:USDT-260327", "linear", "future", "base", "1", ("0.1", "0.001")),
        ("BTC/USD:BTC", "inverse", "swap", "contracts", "1", ("0.10", "1")),
        ("BTC/USD:BTC-260327", "inverse", "future", "contracts", "1", ("0.50", "1")),
        (CALL, "option", "option", "base", "1", ("5", "0.01")),
    ],
)
def test_instruments(symbol: str, market: str, kind: str, unit: str, size: str | None, steps: tuple[str, str]) -> None:
    i = LISTED.find(symbol)
    assert FEED.market_of(i, "trade") == market
    assert LISTED.tables[market][i.id] is i
    assert (i.kind, i.size_unit, i.contract_size) == (kind, unit, None if size is None else Decimal(size))
    assert (i.price_step, i.size_step) == (Decimal(steps[0]), Decimal(steps[1]))
    assert i.expiry == (1774598400 * 10**9 if kind in ("future", "option") else None)
    assert (i.strike, i.option_type) == ((Decimal(100000), "call") if kind == "option" else (None, None))
    assert i.active


def test_one_id_two_instruments() -> None:
    assert [LISTED.tables[market]["BTCUSDT"].symbol for market in ("spot", "linear")] == ["BTC/USDT", "BTC/USDT:USDT"]


def test_what_is_being_delivered_is_not_active() -> None:
    i = LISTED.find(PUT)
    assert (i.active, i.option_type, i.strike, i.settle) == (False, "put", Decimal(90000), "USDC")


def test_lists_come_in_pages() -> None:
    """The urls asked for are the feed's, each followed page by page; those that the session brings are among them, in this order."""
    answers = {row["url"]: json.loads(row["raw"]) for row in ROWS if row["dir"] == "http"}
    asked = []
    for first in FEED.instruments.urls:
        url: str | None = first
        while url is not None:
            asked.append(url)
            url = more(answers[url], url) if url in answers else None
    assert [url for url in asked if url in answers] == list(answers)
    assert len(asked) == len(FEED.instruments.urls) + 1


def test_the_next_page_replaces_the_cursor_and_the_last_may_have_one() -> None:
    answer = {"result": {"nextPageCursor": "0%2C3", "list": [1]}}
    assert more(answer, "https://x/y?category=option&cursor=0%2C2") == "https://x/y?category=option&cursor=0%2C3"
    assert more({"result": {"nextPageCursor": "0%2C3", "list": []}}, "https://x/y?category=option&cursor=0%2C3") is None
    assert more({"result": {"category": "spot", "list": [1]}}, "https://x/y?category=spot") is None


async def test_small_pages_make_the_same_list(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(FEED, instruments=replace(FEED.instruments, urls=[u.replace("=1000", "=2") for u in FEED.instruments.urls]))
    lists = []
    for feed in (FEED, small):
        monkeypatch.setattr(registry, "load", {"bybit": feed}.__getitem__)
        async with SimServer(["bybit"]) as sim, Streamer(urls={"bybit": sim.url("bybit")}, cache=None) as s:
            lists.append([i.symbol for i in await s.instruments("bybit")])
    assert lists[0] == lists[1]
    assert len(lists[0]) > 10


def test_a_list_that_is_an_error_is_no_list() -> None:
    with pytest.raises(BadFrame):
        parse_instruments(FEED, b'{"retCode":10006,"retMsg":"Too many visits!","result":{},"retExtInfo":{},"time":1767225600000}', 0)


# topics and commands


def offered(symbol: str) -> set[str]:
    i = LISTED.find(symbol)
    return {kind for kind in KINDS if (FEED.market_of(i, kind), kind) in FEED.topics}


def test_what_each_kind_of_instrument_offers() -> None:
    spot, priced = {"trade", "book", "quote", "ticker", "candle"}, {"mark", "index", "open_interest"}
    assert offered("BTC/USDT") == spot
    for symbol in ("BTC/USDT:USDT", "BTC/USD:BTC"):
        assert offered(symbol) == spot | priced | {"funding", "liquidation"}
        assert offered(f"{symbol}-260327") == spot | priced | {"liquidation"}
    assert offered(CALL) == {"trade", "book", "ticker", "greeks"} | priced


def topic(symbol: str, kind: Any, interval: str = "", depth: int | None = None) -> str:
    i = LISTED.find(symbol)
    template = FEED.topics[FEED.market_of(i, kind), kind]
    assert isinstance(template, str)
    return fill(template, i, FEED.intervals.get(interval, ""), depth)


def test_topics() -> None:
    assert topic("BTC/USD:BTC-260327", "book", depth=200) == "orderbook.200.BTCUSDH26"
    assert topic("BTC/USDT", "candle", "1d") == "kline.D.BTCUSDT"
    assert topic("BTC/USDT:USDT", "liquidation") == "allLiquidation.BTCUSDT"
    assert topic(CALL, "trade") == topic(PUT, "trade") == "publicTrade.BTC"
    five = {topic("BTC/USDT:USDT", kind) for kind in ("ticker", "mark", "index", "funding", "open_interest")}
    assert five == {"tickers.BTCUSDT"}


def test_a_full_line_stays_within_21000_characters() -> None:
    for longest in ("orderbook.1000.1000000BABYDOGEUSDT", "allLiquidation.1000000BABYDOGEUSDT", "orderbook.100.BTC-25JUN27-160000-P-USDT"):
        assert len(json.dumps([longest] * FEED.limits.topics_per_line)) < 21_000
    [frame] = FEED.subscribe(["tickers.BTCUSDT", "kline.1.BTCUSDT"], 7)
    assert json.loads(frame) == {"req_id": "7", "op": "subscribe", "args": ["tickers.BTCUSDT", "kline.1.BTCUSDT"]}
    assert FEED.limits.topics_per_command == 10


NOT_FOUND = "error:handler not found,topic:orderbook.500.BTCUSDT"
TWICE = "error:already subscribed,topic:orderbook.50.BTCUSDT"


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ({"success": True, "ret_msg": "subscribe", "conn_id": "c", "req_id": "10", "op": "subscribe"}, Ack(10)),
        ({"success": True, "ret_msg": "", "conn_id": "c", "req_id": "", "op": "subscribe"}, ()),
        ({"success": True, "ret_msg": "subscribe", "conn_id": "c", "op": "subscribe"}, ()),
        ({"success": True, "ret_msg": "", "conn_id": "c", "req_id": "3", "op": "unsubscribe"}, ()),
        ({"success": True, "ret_msg": "pong", "conn_id": "c", "req_id": "", "op": "ping"}, ()),
        ({"success": True, "ret_msg": "pong", "conn_id": "c", "op": "ping"}, ()),
        ({"args": ["1767225600846"], "op": "pong"}, ()),
        ({"success": False, "ret_msg": NOT_FOUND, "conn_id": "c", "req_id": "4", "op": "subscribe"}, Reject(4, NOT_FOUND, fatal=True)),
        (
            {"success": False, "ret_msg": "Invalid symbol :[tickers.XUSDT]", "conn_id": "c", "op": "subscribe"},
            Reject("tickers.XUSDT", "Invalid symbol :[tickers.XUSDT]", fatal=True),
        ),
        ({"success": False, "ret_msg": "args size >10", "conn_id": "c", "req_id": "5", "op": "subscribe"}, Reject(5, "args size >10")),
        ({"success": False, "ret_msg": "args size >10", "conn_id": "c", "op": "subscribe"}, Unknown("args size >10")),
        ({"success": False, "ret_msg": TWICE, "conn_id": "c", "req_id": "6", "op": "subscribe"}, Ack("orderbook.50.BTCUSDT")),
        (
            {"success": False, "ret_msg": "error:invalid op", "conn_id": "c", "request": {"op": "", "args": None}},
            Unknown("error:invalid op"),
        ),
        (
            {
                "success": True,
                "conn_id": "c",
                "data": {"failTopics": ["tickers.A"], "successTopics": ["tickers.B"]},
                "type": "COMMAND_RESP",
            },
            [Ack("tickers.B"), Reject("tickers.A", "failed", fatal=True)],
        ),
        ({"topic": "priceLimit.BTCUSDT", "ts": TS, "data": {"symbol": "BTCUSDT"}}, Unknown("priceLimit.BTCUSDT")),
    ],
)
def test_answers(message: dict[str, Any], answer: object) -> None:
    assert Wire()(message) == answer


# the sparse ticker

WHOLE = {
    "lastPrice": "88000.0", "prevPrice24h": "87000.0", "highPrice24h": "89000.0", "lowPrice24h": "86000.0", "markPrice": "88001.0",
    "indexPrice": "88002.0", "openInterest": "20.0", "singleOpenInterest": "10.0", "singleOpenInterestValue": "880010.0",
    "turnover24h": "5000.0", "volume24h": "7.0", "nextFundingTime": "1767254400000", "fundingRate": "0.0001", "fundingIntervalHour": "4",
    "bid1Price": "87999.9", "bid1Size": "3.0", "ask1Price": "88000.1", "ask1Size": "4.0",
}  # fmt: skip


def test_a_delta_tells_only_the_kinds_that_it_touches() -> None:
    wire = Wire()
    assert set(wire.ticker("snapshot", **WHOLE)) == {Ticker, MarkPrice, IndexPrice, OpenInterest, Funding}
    assert set(wire.ticker("delta", markPrice="88003.0")) == {MarkPrice}
    assert set(wire.ticker("delta", price24hPcnt="0.01", tickDirection="PlusTick")) == set()
    assert wire.ticker("delta", singleOpenInterestValue="880020.0")[OpenInterest].amount == 10.0
    assert wire.ticker("delta", nextFundingTime="1767268800000")[Funding].rate == 0.0001
    after = wire.ticker("delta", bid1Size="3.5")[Ticker]
    assert (after.bid, after.bid_size, after.ask, after.last, after.open, after.quote_volume) == (
        87999.9,
        3.5,
        88000.1,
        88000.0,
        87000.0,
        5000.0,
    )


def test_once_a_minute_everything_is_told_for_who_subscribed_since() -> None:
    wire = Wire()
    wire.ticker("snapshot", **WHOLE)
    assert set(wire.ticker("delta", TS + 59_999, bid1Size="3.5")) == {Ticker}
    told = wire.ticker("delta", TS + 60_000, bid1Size="3.6")
    assert set(told) == {Ticker, MarkPrice, IndexPrice, OpenInterest, Funding}
    assert (told[Funding].rate, told[Funding].interval_s, told[Funding].ts_next) == (0.0001, 14_400, 1767254400 * 10**9)
    assert set(wire.ticker("delta", TS + 60_100, bid1Size="3.7")) == {Ticker}


def test_a_snapshot_forgets_and_symbols_do_not_mix() -> None:
    wire = Wire()
    wire.ticker("snapshot", **WHOLE)
    wire.ticker("snapshot", symbol="BTCPERP", lastPrice="1.0")
    assert wire.ticker("delta", symbol="BTCPERP", bid1Size="2.0", bid1Price="0.9")[Ticker].last == 1.0
    assert wire.ticker("delta", bid1Size="3.5")[Ticker].last == 88000.0
    wire.ticker("snapshot", markPrice="88004.0")
    assert wire.ticker("delta", bid1Size="3.5")[Ticker].last is None


@pytest.mark.parametrize("num", [float, Decimal])
def test_a_bad_number_costs_one_message_only(num: type[float] | type[Decimal]) -> None:
    wire = Wire(num=num)
    wire.ticker("snapshot", **WHOLE)
    for bad in ("1_0", "x", "--1"):
        with pytest.raises((ValueError, ArithmeticError, BadFrame)):
            wire.ticker("delta", lastPrice=bad)
    assert wire.ticker("delta", bid1Size="3.5")[Ticker].last == 88000


def test_zero_is_a_rate_but_no_price() -> None:
    told = Wire().ticker("snapshot", **WHOLE | {"fundingRate": "0", "bid1Price": "0.0", "bid1Size": "0", "volume24h": "0.0000"})
    assert told[Funding].rate == 0
    assert (told[Ticker].bid, told[Ticker].bid_size, told[Ticker].ask, told[Ticker].volume) == (None, None, 88000.1, 0)


def test_futures_have_no_funding() -> None:
    told = Wire().ticker("snapshot", symbol="BTCUSDT-27MAR26", **WHOLE | {"fundingRate": "", "nextFundingTime": ""})
    assert Funding not in told


def test_open_interest_is_that_of_one_side() -> None:
    told = Wire().ticker("snapshot", **WHOLE)
    assert (told[OpenInterest].amount, told[OpenInterest].value) == (10.0, 880010.0)


def test_what_inverse_and_options_turn_over_is_not_in_quote() -> None:
    inverse = Wire("inverse").ticker("snapshot", symbol="BTCUSD", **WHOLE)
    assert (inverse[Ticker].volume, inverse[Ticker].quote_volume, inverse[OpenInterest].value) == (7.0, None, None)
    row = {"bidPrice": "1", "bidSize": "2", "volume24h": "3", "turnover24h": "4", "openInterest": "5"}
    option = Wire("option").ticker("snapshot", symbol=LISTED.find(CALL).id, **row)
    assert (option[Ticker].bid, option[Ticker].volume, option[Ticker].quote_volume, option[OpenInterest].amount) == (1, 3, None, 5)


# trades, liquidations, candles


def fills(name: str, *rows: tuple[str, str]) -> dict[str, Any]:
    data = [{"T": TS, "s": s, "S": side, "v": "2", "p": "5", "i": f"{n}", "BT": False, "seq": 1} for n, (s, side) in enumerate(rows)]
    return {"topic": name, "type": "snapshot", "ts": TS, "data": data}


def test_the_side_of_a_liquidation_is_the_orders() -> None:
    longs, shorts = Wire()(fills("allLiquidation.BTCUSDT", ("BTCUSDT", "Buy"), ("BTCUSDT", "Sell")))
    assert (longs.side, shorts.side) == ("sell", "buy")
    bought, sold = Wire()(fills("publicTrade.BTCUSDT", ("BTCUSDT", "Buy"), ("BTCUSDT", "Sell")))
    assert (bought.side, sold.side) == ("buy", "sell")


def test_trades_of_options_not_listed_are_left_out() -> None:
    both = fills("publicTrade.BTC", (LISTED.find(CALL).id, "Buy"), ("BTC-2JAN26-1-C-USDT", "Buy"))
    assert [tick.symbol for tick in Wire("option")(both)] == [CALL]
    with pytest.raises(UnknownId):
        Wire()(fills("publicTrade.NEWUSDT", ("NEWUSDT", "Buy")))


def test_candles_say_their_interval_as_ccxt_does() -> None:
    row = {"start": TS, "end": 0, "open": "1", "high": "2", "low": "0.5", "close": "1.5", "volume": "10", "turnover": "15", "confirm": True}
    for market, symbol, value in (("linear", "BTCUSDT", 15.0), ("inverse", "BTCUSD", None)):
        for bar, interval in INTERVALS.items():
            data = [row | {"interval": bar}]
            [tick] = Wire(market)({"topic": f"kline.{bar}.{symbol}", "data": data, "ts": TS, "type": "snapshot"})
            assert isinstance(tick, Candle)
            assert (tick.interval, tick.ts_open, tick.closed, tick.volume, tick.quote_volume) == (interval, TS * 10**6, True, 10, value)
    with pytest.raises(ValueError, match="invalid literal"):  # a text times a million would be a long one
        Wire()({"topic": "kline.1.BTCUSDT", "data": [row | {"interval": "1", "start": "x"}], "ts": TS, "type": "snapshot"})


# books and quotes


def synced() -> tuple[Wire, Sync[Any]]:
    wire, sync = Wire(), sync_of(FEED.book["linear"], LISTED.find("BTC/USDT:USDT"), None)
    sync.snapshot(wire(book("snapshot", 40, [["10", "1"]], [["11", "1"]])))
    return wire, sync


def test_a_restart_of_the_service_overwrites_the_book() -> None:
    wire, sync = synced()
    assert sync.delta(wire(book("delta", 41, [["9", "1"]], []))) == "applied"
    assert len(sync.snapshot(wire(book("snapshot", 1, [["8", "1"]], [["12", "1"]])))) == 1
    assert (sync.book.seq, sync.book.bids.top(), sync.live) == (1, [(8.0, 1.0)], True)
    assert sync.delta(wire(book("delta", 2, [], [["12", "0"], ["12.5", "3"]]))) == "applied"
    assert sync.book.asks.top() == [(12.5, 3.0)]


def test_numbers_begun_anew_without_a_snapshot_are_a_gap() -> None:
    wire, sync = synced()
    assert sync.delta(wire(book("delta", 41, [], []))) == "applied"
    assert sync.delta(wire(book("delta", 41, [], []))) == "dropped"
    assert sync.delta(wire(book("delta", 2, [], []))) == "stale"
    assert sync.stale_reason == "gap"


@pytest.mark.parametrize(
    ("last", "fresh", "verdict"),
    [(41, True, APPLY), (41, False, APPLY), (40, True, DROP), (40, False, DROP), (39, True, DROP), (39, False, GAP), (42, True, GAP)],
)
def test_counted(last: int, fresh: bool, verdict: object) -> None:
    assert counted(40, BookDelta("bybit", "A/B", None, 0, [], [], last, last), fresh) is verdict


def test_quotes_are_whole() -> None:
    quote = Wire()(book("snapshot", 9, [["10", "1"]], [], "orderbook.1"))
    assert isinstance(quote, Quote)
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size, quote.ts_event) == (10.0, 1.0, None, None, TS * 10**6)
    assert Wire()(book("delta", 10, [["10", "0"]], [], "orderbook.1")) == Unknown("delta of orderbook.1")
    assert isinstance(Wire()(book("delta", 10, [["10", "0"]], [], "orderbook.1000")), BookDelta)


# recordings


def frames(name: str, topic_: str) -> list[tuple[str, dict[str, Any]]]:
    """The raw messages of a topic, by market."""
    inward = [(row["url"].rpartition("/")[2], json.loads(row["raw"])) for row in rows(f"bybit/{name}") if row["dir"] == "in"]
    return [(market, m) for market, m in inward if m.get("topic", "").startswith(topic_)]


SYMBOL = {"spot": "{}/USDT", "linear": "{}/USDT:USDT"}


def symbol(market: str, id_: str) -> str:
    return SYMBOL[market].format(id_.removesuffix("USDT"))


def test_a_capture_of_2026_is_understood_whole() -> None:
    lines = recorded("bybit/cryptofeed-3")
    ticks, replayer = replayed("bybit", lines)
    summary = replayer.summary()
    assert (summary.bad, summary.unknown, summary.unknown_ids, summary.stale) == (Counter(), Counter(), Counter(), Counter())
    assert (summary.live_books, summary.books) == (6, 6)
    count = Counter(type(tick).__name__ for tick in ticks)
    assert (count["Trade"], count["BookSnapshot"], count["BookDelta"], count["Candle"]) == (347, 6, 2142, 100)
    assert [encode(tick) for tick in ticks] == [encode(tick) for tick in replayed("bybit", lines)[0]]
    told = [(t.symbol, t.price, t.size, t.side, t.id, t.ts_event) for t in ticks if isinstance(t, Trade)]
    raw = [(market, d) for market, m in frames("cryptofeed-3", "publicTrade") for d in m["data"]]
    assert told == [(symbol(market, d["s"]), float(d["p"]), float(d["v"]), d["S"].lower(), d["i"], d["T"] * 10**6) for market, d in raw]


def test_recorded_books_are_those_of_the_wire_to_the_digit() -> None:
    """Kept a second time from the raw text. Levels that fall out of the 200 are removed by Bybit: none needs cutting."""
    lines = recorded("bybit/cryptofeed-3")
    _, replayer = replayed("bybit", lines, numbers="decimal")
    books: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    for market, m in frames("cryptofeed-3", "orderbook."):
        name = symbol(market, m["data"]["s"])
        if m["type"] == "snapshot":
            books[name] = ({}, {})
        for side, levels in zip(books[name], (m["data"]["b"], m["data"]["a"]), strict=True):
            side.update(levels)
            for price in [price for price, size in side.items() if not float(size)]:
                del side[price]
            assert len(side) <= 200
        assert max(map(Decimal, books[name][0])) < min(map(Decimal, books[name][1]))
    kept = {s.instrument.symbol: s.book for s in replayer.hub.streams.values() if isinstance(s, BookStream) and s.book is not None}
    assert kept.keys() == books.keys()
    for name, sides in books.items():
        for ours, theirs in zip((kept[name].bids, kept[name].asks), sides, strict=True):
            assert {str(price): str(size) for price, size in ours.top()} == theirs


def test_recorded_tickers_are_merged_to_the_digit() -> None:
    ticks, _ = replayed("bybit", recorded("bybit/cryptofeed-3"), numbers="decimal")
    last = {(type(tick), tick.symbol): tick for tick in ticks}
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for market, m in frames("cryptofeed-3", "tickers."):
        key = market, m["data"]["symbol"]
        rows[key] = rows.get(key, {}) | m["data"]
    assert len(rows) == 6
    for (market, id_), row in rows.items():
        name = symbol(market, id_)
        day = last[Ticker, name]
        fields = (day.last, day.open, day.high, day.low, day.volume, day.quote_volume, day.bid, day.bid_size, day.ask, day.ask_size)
        names = ("lastPrice", "prevPrice24h", "highPrice24h", "lowPrice24h", "volume24h", "turnover24h")
        best = ("bid1Price", "bid1Size", "ask1Price", "ask1Size")
        assert [None if x is None else str(x) for x in fields] == [row.get(n) for n in (*names, *best)]
        if market == "linear":
            interest, funding = last[OpenInterest, name], last[Funding, name]
            assert (str(last[MarkPrice, name].price), str(last[IndexPrice, name].price)) == (row["markPrice"], row["indexPrice"])
            assert (str(interest.amount), str(interest.value)) == (row["singleOpenInterest"], row["singleOpenInterestValue"])
            assert (f"{funding.rate:f}", funding.ts_next) == (row["fundingRate"], int(row["nextFundingTime"]) * 10**6)


def test_a_capture_of_quotes_is_understood_whole() -> None:
    lines = recorded("bybit/cryptofeed-2")
    ticks, replayer = replayed("bybit", lines)
    summary = replayer.summary()
    assert (summary.bad, summary.unknown, summary.stale) == (Counter(), Counter(), Counter())
    told = [(t.symbol, t.bid, t.bid_size, t.ask, t.ask_size) for t in ticks if isinstance(t, Quote)]
    raw = [m["data"] for _, m in frames("cryptofeed-2", "orderbook.1.")]
    assert told == [(d["s"], *map(float, d["b"][0]), *map(float, d["a"][0])) for d in raw]
    assert len(told) == 337
