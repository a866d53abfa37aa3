"""What is peculiar to Binance USDⓈ-M: two addresses, delivery contracts, liquidations; and its recording, against the raw frames."""

from collections import Counter, defaultdict
from decimal import Decimal
from functools import cache
from typing import Any

import orjson
import pytest

from feeds.binanceusdm import FEED
from streamer.book_stream import BookStream
from streamer.catalog import parse_instruments
from streamer.encode import encode
from streamer.errors import UnsupportedKind
from streamer.recording import Line
from streamer.replay import Replayer
from streamer.spec import Ctx, FromRest, Symbols
from streamer.types import BookDelta, BookSnapshot, BookStale, Candle, Instrument, Liquidation, Quote, Tick, Trade
from streamer.wants import Want, plan
from tests import captures, sessions

SESSION = sessions.ROOT / "binanceusdm" / "session.jsonl"


@cache
def listed() -> dict[str, Instrument]:
    body = next(line for line in sessions.lines(SESSION) if line.dir == "http").payload()
    return {i.id: i for i in parse_instruments(FEED, body, 0)}


def topic(id: str, kind: Any) -> tuple[str, str]:
    planned = plan(FEED, listed()[id], Want("binanceusdm", listed()[id].symbol, kind, "1m"))
    assert planned is not None
    return planned.market, planned.text


def decoded(stream: str, data: Any, num: Any = float) -> Any:
    symbols = Symbols(listed())
    return FEED.normalize.compile(num)(orjson.dumps({"stream": stream, "data": data}), Ctx("binanceusdm", "", symbols, num))


def test_each_kind_is_at_the_address_that_has_it() -> None:
    assert {topic("BTCUSDT", kind) for kind in ("book", "quote")} == {("public", "btcusdt@depth@100ms"), ("public", "btcusdt@bookTicker")}
    assert topic("BTCUSDT", "trade") == ("market", "btcusdt@aggTrade")
    assert topic("BTCUSDT", "candle") == ("market", "btcusdt@kline_1m")
    assert {topic("BTCUSDT", kind) for kind in ("mark", "index", "funding")} == {("market", "btcusdt@markPrice@1s")}
    assert topic("BTCUSDT_260327", "liquidation") == ("market", "btcusdt_260327@forceOrder")
    assert topic("BTCUSDT", "open_interest")[1] == "https://fapi.binance.com/fapi/v1/openInterest?symbol=BTCUSDT"
    assert "1s" not in FEED.intervals


def test_delivery_contracts_have_no_funding() -> None:
    with pytest.raises(UnsupportedKind, match="no funding for BTC/USDT:USDT-260327"):
        topic("BTCUSDT_260327", "funding")
    ticks = decoded("btcusdt_260327@markPrice@1s", {"E": 1, "s": "BTCUSDT_260327", "p": "2", "i": "3", "r": "", "T": 0})
    assert [str(t.__struct_config__.tag) for t in ticks] == ["mark_price", "index_price"]


def test_what_is_listed() -> None:
    facts = {i.id: (i.symbol, i.kind, i.settle, i.active, i.size_unit, i.contract_size) for i in listed().values()}
    one = "base", Decimal(1)
    assert facts == {
        "BTCUSDT": ("BTC/USDT:USDT", "swap", "USDT", True, *one),
        "BTCUSDT_260327": ("BTC/USDT:USDT-260327", "future", "USDT", True, *one),
        "ETHUSDC": ("ETH/USDC:USDC", "swap", "USDC", True, *one),
        "TSLAUSDT": ("TSLA/USDT:USDT", "swap", "USDT", True, *one),
        "OLDUSDT": ("OLD/USDT:USDT", "swap", "USDT", False, *one),
    }
    assert [i.symbol for i in listed().values() if i.expiry is not None] == ["BTC/USDT:USDT-260327"]


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("PERPETUAL", "swap"),
        ("PERPETUAL DELIVERING", "swap"),
        ("TRADIFI_PERPETUAL", "swap"),
        ("", "swap"),  # not yet traded
        ("CURRENT_QUARTER", "future"),
        ("NEXT_QUARTER", "future"),
        ("CURRENT_QUARTER DELIVERING", "future"),
        ("NEXT_MONTH", "future"),
    ],
)
def test_contract_types(type_: str, kind: str) -> None:
    row = {"symbol": "X", "contractType": type_, "deliveryDate": 1774598400000, "status": "TRADING", "filters": []}
    body = orjson.dumps({"symbols": [row | {"baseAsset": "币安人生", "quoteAsset": "USDT", "marginAsset": "USDT"}]})
    (found,) = parse_instruments(FEED, body, 0)
    assert (found.kind, found.expiry is not None) == (kind, kind == "future")
    assert (found.price_step, found.size_step) == (None, None)


@pytest.mark.parametrize(("said", "side"), [("SELL", "sell"), ("BUY", "buy")])
def test_a_liquidation_has_the_side_of_its_order(said: str, side: str) -> None:
    """Unlike Bybit's, which names the position's."""
    order = {"s": "BTCUSDT", "S": said, "q": "2.000", "p": "10.10", "ap": "11.00", "l": "1.000", "z": "1.500", "T": 7}
    tick = decoded("btcusdt@forceOrder", {"e": "forceOrder", "E": 8, "o": order})
    assert isinstance(tick, Liquidation)
    assert (tick.side, tick.price, tick.size, tick.ts_event) == (side, 10.1, 2.0, 7_000_000)


def test_times_are_the_matching_engines_where_there_are_two() -> None:
    quote = decoded("btcusdt@bookTicker", {"s": "BTCUSDT", "u": 1, "b": "1", "B": "2", "a": "3", "A": "4", "T": 5, "E": 6})
    depth = decoded("btcusdt@depth@100ms", {"s": "BTCUSDT", "E": 6, "T": 5, "U": 1, "u": 2, "pu": 0, "b": [], "a": []})
    assert (quote.ts_event, depth.ts_event) == (5_000_000, 5_000_000)


# the recording


@cache
def recorded() -> tuple[Line, ...]:
    return tuple(captures.recorded("binanceusdm/cryptofeed-1"))


@cache
def replayed() -> tuple[list[Tick[Any]], Replayer]:
    return captures.replayed("binanceusdm", recorded(), numbers="decimal")


def raw(channel: str) -> list[Any]:
    frames = [orjson.loads(line.payload()) for line in recorded() if line.dir == "in"]
    return [f["data"] for f in frames if f["stream"].partition("@")[2] == channel]


def test_the_recording_is_understood_to_the_last_frame() -> None:
    ticks, replayer = replayed()
    summary = replayer.summary()
    assert (summary.bad, summary.unknown, summary.unknown_ids) == ({}, {}, {})
    assert len(sessions.books(replayer)) == 4
    assert not [t for t in ticks if isinstance(t, BookStale)]
    counts = Counter(type(t) for t in ticks)
    assert {Trade: counts[Trade], Quote: counts[Quote], Candle: counts[Candle]} == {
        Trade: len(raw("aggTrade")), Quote: len(raw("bookTicker")), Candle: len(raw("kline_1m"))
    }  # fmt: skip


def test_trades_have_the_wires_digits() -> None:
    ticks, _ = replayed()
    ours = [(str(t.price), str(t.size), t.side, t.id) for t in ticks if isinstance(t, Trade)]
    assert ours == [(d["p"], d["q"], "sell" if d["m"] else "buy", str(d["a"])) for d in raw("aggTrade")]


def test_the_books_are_those_that_the_documents_steps_give() -> None:
    """Built here once more, with nothing but dicts: drop u < lastUpdateId, begin with U <= lastUpdateId <= u, then pu is the u before."""
    method = FEED.book["public"]
    assert isinstance(method, FromRest)
    events: dict[str, list[Any]] = defaultdict(list)
    for d in raw("depth@100ms"):
        events[d["s"]].append(d)
    _, replayer = replayed()
    for line in recorded():
        if line.url is None or "/depth" not in line.url:
            continue
        id, snapshot = line.url.partition("symbol=")[2].partition("&")[0], orjson.loads(line.payload())
        sides = [dict(snapshot["bids"]), dict(snapshot["asks"])]
        last = None
        for d in events[id]:
            if d["u"] < snapshot["lastUpdateId"]:
                continue
            assert d["pu"] == last if last is not None else d["U"] <= snapshot["lastUpdateId"] <= d["u"]
            last = d["u"]
            for side, changes in zip(sides, (d["b"], d["a"]), strict=True):
                side.update(changes)
        (stream,) = [s for s in replayer.hub.streams.values() if isinstance(s, BookStream) and s.instrument.id == id]
        assert stream.book is not None
        assert stream.book.seq == last
        for ours, theirs, worst in zip((stream.book.bids, stream.book.asks), sides, (min, max), strict=True):
            edge = worst(Decimal(p) for p, _ in snapshot["bids" if worst is min else "asks"])  # beyond it not all levels are known
            true = {Decimal(p): Decimal(q) for p, q in theirs.items() if Decimal(q)}
            known = {p: q for p, q in true.items() if (p >= edge if worst is min else p <= edge)}
            assert dict(ours.top()) == known


def test_the_same_bytes_twice() -> None:
    first, _ = replayed()
    again = Replayer(recorded, exchange="binanceusdm", numbers="decimal")
    assert [encode(t) for line in recorded() for t in again.feed(line)] == [encode(t) for t in first]
    assert Counter(type(t) for t in first)[BookDelta] > 700
    assert [t.ts_event for t in first if isinstance(t, BookSnapshot)]
