"""What is peculiar to OKX: its names, contracts, sequence resets, checksums and refusals."""

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from feeds.okx import FEED
from normalizers.okx import BARS, arg_of, topic_of
from streamer.catalog import Catalog, parse_instruments
from streamer.errors import BadFrame
from streamer.line import sync_of
from streamer.spec import Ack, Checked, Reject, Restart, Symbols, Unknown, fill
from streamer.sync import Sync
from streamer.types import KINDS, BookDelta, BookSnapshot, Candle, Instrument, Ticker, Trade
from tests import captures, wires

HERE = Path(__file__).parent


def catalog(rows: list[dict[str, Any]]) -> Catalog:
    made = Catalog(FEED)
    made.update([i for row in rows if row["dir"] == "http" for i in parse_instruments(FEED, row["raw"].encode(), 0)])
    return made


LISTED = catalog([json.loads(row) for row in (HERE / "exchanges/okx/session.jsonl").read_text().splitlines()])


class Wire(wires.Wire):
    def __init__(self, listed: Catalog = LISTED, num: type[float] | type[Decimal] = float, market: str = "public") -> None:
        super().__init__(listed, market, num)


def book(action: str, bids: list[Any], asks: list[Any], prev: int, seq: int, checksum: int = 0) -> dict[str, Any]:
    data = {"asks": asks, "bids": bids, "ts": "1767225600000", "checksum": checksum, "prevSeqId": prev, "seqId": seq}
    return {"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": action, "data": [data]}


@pytest.mark.parametrize(
    ("symbol", "kind", "unit", "size", "step"),
    [
        ("BTC/USDT", "spot", "base", None, "0.00000001"),
        ("BTC/USDT:USDT", "swap", "base", "0.01", "0.01"),
        ("BTC/USD:BTC", "swap", "contracts", "100", "1"),
        ("BTC/USD:BTC-260327", "future", "contracts", "100", "1"),
        ("BTC/USD:USD-260327", "future", "base", "0.01", "0.01"),
        ("BTC/USD:BTC-260327-100000-C", "option", "base", "0.01", "1"),
    ],
)
def test_contracts(symbol: str, kind: str, unit: str, size: str | None, step: str) -> None:
    i = LISTED.find(symbol)
    assert (i.kind, i.size_unit, i.size_step) == (kind, unit, Decimal(step))
    assert i.contract_size == (None if size is None else Decimal(size))
    assert i.expiry == (1774598400 * 10**9 if kind in ("future", "option") else None)
    assert (i.strike, i.option_type) == ((Decimal(100000), "call") if kind == "option" else (None, None))


def test_only_live_instruments_are_active() -> None:
    states = {symbol: i.active for symbol, i in LISTED.by_symbol.items()}
    assert [s for s, active in states.items() if not active] == ["OKB/USDT", "BTC/USD:BTC-260327-100000-P"]


def test_a_list_that_is_an_error_is_no_list() -> None:
    with pytest.raises(BadFrame):
        parse_instruments(FEED, b'{"code":"50011","msg":"Too Many Requests","data":[]}', 0)


def offered(symbol: str) -> set[str]:
    i = LISTED.find(symbol)
    return {kind for kind in KINDS if (FEED.market_of(i, kind), kind) in FEED.topics}


def test_what_each_kind_of_instrument_offers() -> None:
    always = {"trade", "book", "quote", "ticker", "candle"}
    assert offered("BTC/USDT") == always | {"index"}
    assert offered("BTC/USDT:USDT") == always | {"funding", "mark", "index", "open_interest", "liquidation"}
    assert offered("BTC/USD:BTC-260327") == always | {"mark", "open_interest", "liquidation"}
    assert offered("BTC/USD:BTC-260327-100000-C") == always | {"mark", "open_interest", "greeks"}


def topic(symbol: str, kind: Any, interval: str = "") -> str:
    i = LISTED.find(symbol)
    template = FEED.topics[FEED.market_of(i, kind), kind]
    assert isinstance(template, str)
    return fill(template, i, FEED.intervals.get(interval, ""))


@pytest.mark.parametrize(
    ("symbol", "kind", "interval", "arg"),
    [
        ("BTC/USDT", "trade", "", {"channel": "trades", "instId": "BTC-USDT"}),
        ("BTC/USD:BTC", "index", "", {"channel": "index-tickers", "instId": "BTC-USD"}),
        ("BTC/USDT:USDT", "liquidation", "", {"channel": "liquidation-orders", "instType": "SWAP"}),
        ("BTC/USD:USD-260327", "liquidation", "", {"channel": "liquidation-orders", "instType": "FUTURES"}),
        ("BTC/USD:BTC-260327-100000-C", "greeks", "", {"channel": "opt-summary", "instFamily": "BTC-USD"}),
        ("BTC/USDT", "candle", "1h", {"channel": "candle1H", "instId": "BTC-USDT"}),
        ("BTC/USDT", "candle", "1d", {"channel": "candle1Dutc", "instId": "BTC-USDT"}),
        ("BTC/USDT", "candle", "1M", {"channel": "candle1Mutc", "instId": "BTC-USDT"}),
    ],
)
def test_topics_and_their_answers(symbol: str, kind: str, interval: str, arg: dict[str, str]) -> None:
    text = topic(symbol, kind, interval)
    assert arg_of(text) == arg
    assert topic_of(arg) == text
    wire = Wire()
    assert wire({"id": "4", "event": "subscribe", "arg": arg, "connId": "a4d3ae55"}) == Ack(text)
    assert wire({"id": "5", "event": "unsubscribe", "arg": arg, "connId": "a4d3ae55"}) is None
    words = ",".join(f"{name}:{value}" for name, value in arg.items())
    says = f"Wrong URL or {words} doesn't exist. Please use the correct URL, channel and parameters referring to API document."
    refused = wire({"id": "6", "event": "error", "code": "60018", "msg": says, "connId": "a4d3ae55"})
    assert refused == Reject(text, says, fatal=True)


def test_errors_and_notices() -> None:
    wire = Wire()
    assert wire({"id": "7", "event": "error", "code": "60014", "msg": "Requests too frequent"}) == Reject(7, "Requests too frequent")
    with pytest.raises(BadFrame):
        wire({"id": "9" * 30, "event": "error", "code": "60014", "msg": "Requests too frequent"})
    assert wire({"event": "error", "code": "60014", "msg": "Requests too frequent"}) == Unknown("error")
    assert wire({"event": "notice", "code": "64008", "msg": "soon"}) == Restart("notice 64008", planned=True)
    assert wire({"event": "notice", "code": "64009", "msg": "?"}) == Unknown("notice")
    assert wire({"event": "channel-conn-count", "channel": "books", "connCount": "2"}) == Unknown("channel-conn-count")
    assert wire({"arg": {"channel": "price-limit", "instId": "BTC-USDT"}, "data": []}) == Unknown("price-limit")


def test_the_longest_command_fits() -> None:
    long_named = Instrument("okx", "", None, 0, "1000SATS-USD_UM_XPERP-310404-100000-C", "", "")
    longest = fill("channel:liquidation-orders,instFamily:{id}", long_named)
    (frame,) = FEED.subscribe([longest] * FEED.limits.topics_per_command, 10**6)
    assert len(frame) <= 64 * 1024


def test_a_level_may_grow_or_shrink() -> None:
    wire = Wire()
    (tick,) = wire(book("update", [["1", "2"]], [["3", "4", "0", "1", "new"]], 5, 6))
    assert (tick.bids, tick.asks) == ([(1.0, 2.0)], [(3.0, 4.0)])


def test_checksum_of_zero_is_none() -> None:
    wire = Wire()
    (plain,) = wire(book("snapshot", [["1", "2", "0", "1"]], [], -1, 6))
    assert isinstance(plain, BookSnapshot)
    assert plain.seq == 6
    (checked,) = wire(book("update", [["1", "2", "0", "1"]], [], 6, 7, checksum=-5))
    assert isinstance(checked, Checked)
    assert (checked.checksum, checked.symbol) == (-5, "BTC/USDT")
    assert isinstance(checked.tick, BookDelta)
    assert (checked.tick.prev, checked.tick.last) == (6, 7)


def synced() -> tuple[Wire, Sync[Any]]:
    wire, sync = Wire(), sync_of(FEED.book["public"], LISTED.find("BTC/USDT"), None)
    sync.snapshot(wire(book("snapshot", [["10", "1", "0", "1"]], [["11", "1", "0", "1"]], -1, 10))[0])
    return wire, sync


def test_a_reset_of_the_sequence_is_no_gap() -> None:
    """The example of OKX's documents: normal, no change, reset for maintenance, normal."""
    wire, sync = synced()
    for prev, seq in ((10, 15), (15, 15), (15, 3), (3, 5)):
        assert sync.delta(wire(book("update", [[str(seq), "1", "0", "1"]], [], prev, seq))[0]) == "applied"
    assert sync.live
    assert sync.book.seq == 5
    assert sync.delta(wire(book("update", [], [], 6, 8))[0]) == "stale"
    assert sync.stale_reason == "gap"


def test_a_wrong_checksum_is_noticed() -> None:
    """bid:size:ask:size of this book, by hand: zlib.crc32(b"10:1:11:2") as int32 is -227900693."""
    wire, sync = synced()
    answer = wire(book("update", [], [["11", "2", "0", "1"]], 10, 11, checksum=-227900693))[0]
    assert sync.delta(answer.tick, answer.checksum) == "applied"
    answer = wire(book("update", [], [["11", "3", "0", "1"]], 11, 12, checksum=-227900693))[0]
    assert sync.delta(answer.tick, answer.checksum) == "stale"
    assert sync.stale_reason == "checksum"


def test_an_index_goes_to_the_spot_pair_and_the_swaps() -> None:
    wire = Wire()

    def of(name: str) -> list[str]:
        row = {"instId": name, "idxPx": "88000.1", "ts": "1767225600000"}
        return [tick.symbol for tick in wire({"arg": {"channel": "index-tickers", "instId": name}, "data": [row]})]

    assert of("BTC-USDT") == ["BTC/USDT", "BTC/USDT:USDT"]
    assert of("BTC-USD") == ["BTC/USD:BTC"]
    um = replace(LISTED.find("BTC/USD:BTC"), symbol="BTC/USD:USD", id="BTC-USD_UM-SWAP", settle="USD")
    wire.ctx.sym = Symbols({**wire.ctx.sym, um.id: um})
    assert of("BTC-USD") == ["BTC/USD:BTC", "BTC/USD:USD"], "the index of a swap listed later, settled in USD"
    with pytest.raises(KeyError):
        of("XYZ-USD")


@pytest.mark.parametrize(("type_", "quote_volume"), [("SPOT", 5.0), ("SWAP", None)])
def test_turnover_is_in_quote_for_spot_only(type_: str, quote_volume: float | None) -> None:
    row = dict.fromkeys(("last", "open24h", "high24h", "low24h", "bidPx", "bidSz", "askPx", "askSz"), "")
    row |= {"instType": type_, "instId": "BTC-USDT", "vol24h": "3", "volCcy24h": "5", "ts": "1767225600000"}
    (tick,) = Wire()({"arg": {"channel": "tickers", "instId": "BTC-USDT"}, "data": [row]})
    assert isinstance(tick, Ticker)
    assert (tick.volume, tick.quote_volume, tick.last, tick.bid) == (3.0, quote_volume, None, None)


def test_candles_say_their_interval_as_ccxt_does() -> None:
    wire = Wire(market="business")
    row = ["1767225600000", "1", "2", "0.5", "1.5", "10", "0.1", "15", "1"]
    for interval, bar in BARS.items():
        (tick,) = wire({"arg": {"channel": "candle" + bar, "instId": "BTC-USDT-SWAP"}, "data": [row]})
        assert isinstance(tick, Candle)
        assert (tick.interval, tick.closed, tick.volume, tick.quote_volume) == (interval, True, 10.0, 15.0)


def test_a_time_without_end_costs_nothing() -> None:
    """int(Decimal("1e99999999")) would compute for minutes."""
    row = ["1e99999999", "1", "2", "0.5", "1.5", "10", "0.1", "15", "1"]
    with pytest.raises(ValueError, match="invalid literal"):
        Wire(num=Decimal, market="business")({"arg": {"channel": "candle1m", "instId": "BTC-USDT"}, "data": [row]})


def answers(rows: list[dict[str, Any]], listed: Catalog, num: type[float] | type[Decimal]) -> Iterator[tuple[str, Any]]:
    wire = Wire(listed, num)
    for row in rows:
        if row["dir"] == "in":
            out = wire(row["raw"].encode())
            for answer in out if isinstance(out, list) else [out]:
                yield row["conn"], answer


@pytest.mark.parametrize("num", [float, Decimal])
@pytest.mark.parametrize(
    ("name", "trades", "checksums"), [("cryptofeed-1", 74, 290), ("cryptofeed-2", 19, 3679), ("cryptofeed-3", 108, 4372)]
)
def test_recorded_checksums_hold(name: str, trades: int, checksums: int, num: type[float] | type[Decimal]) -> None:
    """Every frame of a capture is understood, and every checksum in it is that of our book, from floats and from Decimals."""
    rows = captures.rows(f"okx/{name}")
    listed = catalog(rows)
    syncs: dict[tuple[str, str], Sync[Any]] = {}
    seen: Counter[str] = Counter()
    for conn, answer in answers(rows, listed, num):
        seen[type(answer).__name__] += 1
        if not isinstance(answer, Checked):
            assert isinstance(answer, Trade | Ticker | Ack)
            continue
        sync = syncs.get((conn, answer.symbol))
        if sync is None:
            sync = syncs[conn, answer.symbol] = sync_of(FEED.book["public"], listed.find(answer.symbol), None)
        if isinstance(answer.tick, BookSnapshot):
            assert sync.snapshot(answer.tick, answer.checksum)
        else:
            assert answer.tick is not None
            assert sync.delta(answer.tick, answer.checksum) == "applied"
    assert (seen["Trade"], seen["Checked"]) == (trades, checksums)
