"""What is peculiar to Bitfinex: numbers of channels and messages, its checksum, signs, trades told twice, names of its own."""

import json
import zlib
from collections import Counter
from copy import copy
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from feeds.bitfinex import FEED
from normalizers.bitfinex import BARS
from streamer.catalog import Catalog, parse_instruments
from streamer.declaration import proof
from streamer.decode import HANDLER_ERRORS
from streamer.encode import encode
from streamer.errors import BadFrame, BadNumber
from streamer.line import sync_of
from streamer.replay import Replayer
from streamer.spec import Ack, Checked, History, Ready, Reject, Restart, Unknown, UnknownId, fill
from streamer.types import KINDS, BookDelta, BookSnapshot, BookStale, Candle, Liquidation, Ticker, Trade
from tests import wires
from tests.captures import recorded
from tests.test_exchanges import mutations

HERE = Path(__file__).parent / "exchanges/bitfinex"
SESSIONS = ("session", "resync")
EITHER = pytest.mark.parametrize("num", [float, Decimal])
FLAGS = 229376


def lines(session: str, direction: str) -> list[dict[str, Any]]:
    rows = [json.loads(row) for row in (HERE / f"{session}.jsonl").read_text().splitlines()]
    return [row for row in rows if row["dir"] == direction]


def listed() -> Catalog:
    made = Catalog(FEED)
    made.update(parse_instruments(FEED, lines("session", "http")[0]["raw"].encode(), 0))
    return made


LISTED = listed()


class Wire(wires.Wire):
    """Channel 1 is one of `channel`."""

    def __init__(self, channel: str = "", about: str = "tBTCUSD", num: type[float] | type[Decimal] = float, flags: int = 0) -> None:
        super().__init__(LISTED, "public", num)
        if flags:
            self({"event": "conf", "status": "OK", "flags": flags})
        if channel:
            key = "key" if channel in ("candles", "status") else "symbol"
            self({"event": "subscribed", "channel": channel, "chanId": 1, key: about, **({"len": "25"} if channel == "book" else {})})


def documents_checksum(bids: dict[str, str], asks: dict[str, str]) -> int:
    """https://docs.bitfinex.com/docs/ws-websocket-checksum, over the text of the wire, where the amounts of asks are negative."""
    best = [sorted(bids.items(), key=lambda level: -Decimal(level[0]))[:25], sorted(asks.items(), key=lambda level: Decimal(level[0]))[:25]]
    crc = zlib.crc32(":".join(text for pair in zip_longest(*best) for level in pair if level for text in level).encode())
    return crc - (1 << 32) if crc >> 31 else crc


class TextBook:
    """A book of the wire's own texts, by channel; not ours."""

    def __init__(self) -> None:
        self.sides: dict[int, tuple[dict[str, str], dict[str, str]]] = {}

    def take(self, chan: int, data: list[Any]) -> None:
        levels = data if not data or isinstance(data[0], list) else [data]
        if levels is data:
            self.sides[chan] = ({}, {})
        for price, count, amount in levels:
            side = self.sides[chan][amount.startswith("-")]
            side.pop(price, None)
            if count != "0":
                side[price] = amount


@pytest.mark.parametrize(("session", "wrong"), [("session", 0), ("resync", 1)])
def test_the_sessions_have_true_checksums_but_for_one(session: str, wrong: int) -> None:
    """Checked without our book, decoder or checksum."""
    books, differ, conn = TextBook(), 0, ""
    for row in lines(session, "in"):
        message = json.loads(row["raw"], parse_float=str, parse_int=str)
        if row["conn"] != conn:
            books, conn, names = TextBook(), row["conn"], set[int]()
        if isinstance(message, dict):
            if message["event"] == "subscribed" and message["channel"] == "book":
                names.add(message["chanId"])
        elif message[0] in names and message[1] == "cs":
            differ += documents_checksum(*books.sides[message[0]]) != int(message[2])
        elif message[0] in names and message[1] != "hb":
            books.take(message[0], message[1])
    assert differ == wrong


def test_an_integer_without_end_costs_nothing() -> None:
    """int(Decimal("1e99999999")) would compute for minutes."""
    with pytest.raises(BadFrame):
        Wire("trades", num=Decimal)('[1,"te",[1e99999999,1767225602490,1,2]]')
    for channel, frame in (
        ("trades", '[1,"te",[1,{},1,2]]'),
        ("candles", "[1,[{},1,1,1,1,1]]"),
    ):
        with pytest.raises(BadNumber, match="no integer within reason"):
            Wire(channel, "trade:1m:tBTCUSD" if channel == "candles" else "tBTCUSD", Decimal)(frame.format("1e99999999"))


def test_numbers_below_a_millionth_are_hashed_as_javascript_writes_them() -> None:
    """Seen by users (bfx-api-node-models, issue 70): with 0.00000056 the checksum does not match, with 5.6e-7 it does."""
    rows = [row for row in lines("session", "in") if row["raw"].startswith("[407407,")]
    wire = Wire(num=Decimal)
    wire({"event": "subscribed", "channel": "book", "chanId": 407407, "symbol": "tBTT:UST", "len": "100"})
    sync = sync_of(FEED.book["public"], LISTED.find("BTT/USDT"), 100)
    checked = 0
    for row in rows:
        answer = wire(row["raw"])
        if isinstance(answer, BookSnapshot):
            assert sync.snapshot(answer)
        elif isinstance(answer, Checked):
            checked += 1
            assert sync.verify(answer.checksum)
        else:
            assert sync.delta(answer) == "applied"
    assert checked == 2


# channels and messages by number


def test_the_connection_is_counted_from_the_flags_on() -> None:
    (hello,) = FEED.hello
    assert orjson.loads(hello) == {"event": "conf", "flags": FLAGS}
    assert FEED.await_ready
    wire = Wire()
    assert list(wire({"event": "info", "version": 2, "serverId": "x", "platform": {"status": 1}})) == []
    assert wire({"event": "conf", "status": "OK", "flags": FLAGS}) == Ready()
    assert wire({"event": "conf", "status": "FAILED", "flags": FLAGS}) == Unknown("conf None")
    assert proof(FEED) == {"public": "sequence+checksum"}


@pytest.mark.parametrize("flags", [2**64 - 1, "x", [1], None])
def test_flags_that_are_none_are_not_kept(flags: Any) -> None:
    wire = Wire(flags=FLAGS)
    with pytest.raises(BadFrame):
        wire({"event": "conf", "status": "OK", "flags": flags})
    assert wire.ctx.mem["flags"] == FLAGS


@pytest.mark.parametrize(("flags", "tail"), [(FLAGS, ",{},1767225600000]"), (65536, ",{}]"), (65536 | 131072, ",{}]")])
def test_every_array_counts_whatever_it_is(flags: int, tail: str) -> None:
    wire = Wire("trades", flags=flags)
    frames = ["[1,[]", '[1,"hb"', '[1,"te",[5,1767225600000,0.1,88000]', '[1,"tu",[5,1767225600000,0.1,88000]', '[2,"cs",-5', "[2,[1,2,3]"]
    for n, frame in enumerate(frames, 1):
        assert not isinstance(wire(frame + tail.format(n)), Restart)
    assert wire('[1,"hb"' + tail.format(len(frames) + 2)) == Restart("sequence")


def test_without_the_flag_nothing_is_counted() -> None:
    wire = Wire("book")
    assert isinstance(wire("[1,[[88000,1,1]]]"), BookSnapshot)
    assert isinstance(wire("[1,[88000,1,1]]"), BookDelta)


def test_rows_may_grow() -> None:
    """New fields may be appended at any time (General); tickers got a null at their end."""
    assert Wire("book")('[1,[88000,1,-1,null,7],7,1767225600000,"new"]').asks == [(88000.0, 1.0)]
    assert Wire("trades")('[1,"te",[5,1767225600000,-0.1,88000,null],7,1767225600000,9]').side == "sell"
    assert Wire("ticker")(f"[1,{[1.0] * 14},7]").last == 1.0


@EITHER
def test_levels(num: Any) -> None:
    wire = Wire("book", num=num)
    snapshot = wire("[1,[[87999,1,1.25],[88000,3,0.50],[88001,1,-0.75]],1,1767225600123]")
    assert (snapshot.bids, snapshot.asks) == ([(87999, num("1.25")), (88000, num("0.5"))], [(88001, num("0.75"))])
    assert snapshot.ts_event == 1767225600123 * 10**6
    gone = wire("[1,[88000,0,1],2,1767225600123]")
    assert (gone.bids, gone.asks) == ([(88000, 0)], ())
    gone = wire("[1,[88001,0,-1],3,1767225600123]")
    assert (gone.bids, gone.asks) == ((), [(88001, 0)])
    assert (wire("[1,[],4]").bids, wire("[1,[],4]").asks) == ([], [])


def test_a_trade_is_taken_when_it_is_executed_and_not_again() -> None:
    wire = Wire("trades")
    told = wire('[1,"te",[1790000205,1767225602490,0.002,88001],1,1767225602500]')
    assert told == Trade("bitfinex", "BTC/USD", 1767225602490 * 10**6, 0, 88001.0, 0.002, "buy", "1790000205")
    assert list(wire('[1,"tu",[1790000205,1767225602490,0.002,88001],2,1767225603500]')) == []
    assert wire("[1,[[7,1767225602490,1,2],[6,1767225602490,1,2]],3,1767225603500]") == History(
        [Trade("bitfinex", "BTC/USD", 1767225602490 * 10**6, 0, 2.0, 1.0, "buy", i) for i in ("6", "7")]
    )


def test_sizes_of_the_ticker_are_no_quote() -> None:
    """BID_SIZE is the "sum of the 25 highest bid sizes" (Ticker)."""
    tick = Wire("ticker")("[1,[88000,14.34954787,88001,9.75,1060,0.0122,88001,544.32,88950,86100],1]")
    assert tick == Ticker("bitfinex", "BTC/USD", None, 0, 88001.0, None, 88950.0, 86100.0, 544.32, None, 88000.0, None, 88001.0, None)
    assert "quote" not in FEED.kinds()


def test_candles_are_open_close_high_low_and_only_the_last_of_history() -> None:
    for bar, interval in BARS.items():
        wire = Wire("candles", f"trade:{bar}:tDUSK:USD")
        tick = wire("[1,[[1767225660000,10,12,15,9,3.5],[1767225600000,1,1,1,1,1]],1]")
        assert isinstance(tick, Candle)
        assert (tick.symbol, tick.interval, tick.ts_open) == ("DUSK/USD", interval, 1767225660 * 10**9)
        assert (tick.open, tick.high, tick.low, tick.close, tick.volume, tick.closed) == (10, 15, 9, 12, 3.5, None)
    assert list(wire("[1,[],2]")) == []
    assert FEED.intervals["1w"] == "7D"


def test_a_status_told_again_is_nothing_new() -> None:
    wire = Wire("status", "deriv:tBTCF0:USTF0")
    row = "[1,[1767225602110,null,88010.4,88000.5,null,6.2e7,null,1767254400000,0.00015,3873,null,null,null,null,null,null,null,8851.8],{}]"
    ticks = wire(row.format(1))
    assert [type(t).__name__ for t in ticks] == ["Funding", "OpenInterest", "IndexPrice"]  # no mark price in it
    assert (ticks[0].rate, ticks[0].predicted_rate, ticks[0].interval_s) == (None, 0.00015, 28800)
    assert list(wire(row.format(2))) == []


def test_a_status_that_was_not_understood_is_still_news() -> None:
    wire = Wire("status", "deriv:tBTCF0:USTF0")
    row = "[1,[1767225602110,null,88010.4,88000.5,null,6.2e7,null,{},0.00015,3873,null,null,null,null,null,null,null,8851.8],1]"
    with pytest.raises((BadFrame, BadNumber)):
        wire(row.format("9" * 30))
    assert len(wire(row.format(1767254400000))) == 3


@EITHER
def test_a_liquidation_comes_once_with_its_digits(num: Any) -> None:
    """The amount is the position's: a short one (negative) is closed by buying."""
    wire = Wire("status", "liq:global", num)
    row = '["pos",142397657,1767225602110.2002,null,"tBTCUSD",-2.62932,91.583875238719,null,{},1,null,{}]'
    assert wire(f"[1,[{row.format(0, 112.27)},{row.format(1, 'null')}],1]") == []
    head = "bitfinex", "BTC/USD", 1767225602110 * 10**6, 0
    assert wire(f"[1,[{row.format(1, 112.27)}],1]") == [Liquidation(*head, "buy", num("112.27"), num("2.62932"), "142397657")]
    with pytest.raises(UnknownId):
        wire(f"[1,[{row.format(1, 1).replace('BTCUSD', 'XYZUSD')}],1]")


# names


def test_instruments() -> None:
    facts = {i.symbol: (i.id, i.kind, i.base, i.quote, i.settle, i.contract_size) for i in LISTED.by_symbol.values()}
    assert facts == {
        "BTC/USD": ("tBTCUSD", "spot", "BTC", "USD", None, None),
        "BTC/USDT": ("tBTCUST", "spot", "BTC", "USDT", None, None),
        "DUSK/USD": ("tDUSK:USD", "spot", "DUSK", "USD", None, None),
        "BTT/USDT": ("tBTT:UST", "spot", "BTT", "USDT", None, None),
        "TESTBTC/TESTUSD": ("tTESTBTC:TESTUSD", "spot", "TESTBTC", "TESTUSD", None, None),
        "BTC/USDT:USDT": ("tBTCF0:USTF0", "swap", "BTC", "USDT", "USDT", 1),
        "ETH/BTC:BTC": ("tETHF0:BTCF0", "swap", "ETH", "BTC", "BTC", 1),
    }
    assert {(i.price_step, i.size_step, i.size_unit) for i in LISTED.by_symbol.values()} == {(None, Decimal("1E-8"), "base")}


def test_what_spot_does_not_have_is_not_asked_for() -> None:
    """An unknown `status` key gets no answer at all, so it would never be told from a slow one."""
    has = {s: {k for k in KINDS if (FEED.market_of(LISTED.find(s), k), k) in FEED.topics} for s in ("BTC/USD", "BTC/USDT:USDT")}
    assert has["BTC/USD"] == {"trade", "book", "ticker", "candle", "liquidation"}
    assert has["BTC/USDT:USDT"] == has["BTC/USD"] | {"funding", "mark", "index", "open_interest"}


def test_every_topic_is_a_command_of_its_own_and_known_again_by_its_answer() -> None:
    for (_, kind), template in FEED.topics.items():
        assert isinstance(template, str)
        topic = fill(template, LISTED.find("BTC/USDT:USDT"), "1m", 100 if kind == "book" else None)
        (frame,) = FEED.subscribe([topic], 1)
        asked = orjson.loads(frame)
        assert Wire()(asked | {"event": "subscribed", "chanId": 5}) == Ack(topic, "5")
        refused = Wire()(asked | {"event": "error", "msg": "symbol: invalid", "code": 10300, "pair": "x"})
        assert refused == Reject(topic, "symbol: invalid", fatal=True)
    assert len(FEED.subscribe(["trades:tBTCUSD", "ticker:tBTCUSD"], 1)) == 2


def test_other_answers() -> None:
    wire = Wire("trades")
    asked = {"channel": "trades", "symbol": "tBTCUSD"}
    assert wire(asked | {"event": "error", "msg": "subscribe: limit", "code": 10305}) == Reject("trades:tBTCUSD", "subscribe: limit")
    assert wire(asked | {"event": "error", "msg": "subscribe: dup", "code": 10301, "chanId": 1}) == Unknown("error 10301")
    assert wire({"event": "error", "msg": "unsubscribe: invalid", "code": 10400}) == Unknown("error 10400")
    assert wire({"event": "info", "code": 20051, "msg": "Stopping"}) == Restart("info 20051", planned=True)
    assert list(wire({"event": "info", "code": 20060, "msg": "Maintenance"})) == []
    assert FEED.unsubscribe(["5", "trades:tBTCUSD"], 1) == [
        '{"event":"unsubscribe","chanId":5}'
    ]  # one without a number yet has none to name
    assert isinstance(wire('[1,"te",[5,1767225600000,1,2]]'), Trade)
    assert list(wire({"event": "unsubscribed", "status": "OK", "chanId": 1})) == []
    assert wire('[1,"te",[6,1767225600000,1,2]]') is None


@EITHER
@pytest.mark.parametrize("session", SESSIONS)
def test_mutants_of_every_frame_are_read_as_on_a_whole_connection(session: str, num: Any) -> None:
    """(The generic test's connection ends with the first number that is changed.)"""
    wire, random, seen = Wire(num=num), Random(session), Counter[str]()
    for row in lines(session, "in"):
        mem = wire.ctx.mem
        for mutant in mutations(row["raw"].encode(), random):
            wire.ctx.mem = copy(mem)
            try:
                out = wire.decode(mutant, wire.ctx)
            except (BadFrame, *HANDLER_ERRORS) as e:
                seen[type(e).__name__] += 1
            else:
                for answer in out if isinstance(out, list | tuple) else (out,):
                    seen[type(answer).__name__] += 1
        wire.ctx.mem = mem
        wire(row["raw"])
    assert seen["BadFrame"] > 100
    assert seen["BookDelta"] > 0
    assert seen["Restart"] > 10


# recordings


def told(rows: list[Any]) -> Counter[str]:
    """What a capture holds, counted from its raw frames without our code."""
    messages = [orjson.loads(row.raw) for row in rows if row.dir == "in"]
    names = {m["chanId"]: m["channel"] for m in messages if isinstance(m, dict) and m["event"] == "subscribed"}
    counts = Counter[str]()
    for chan, payload, *more in (m for m in messages if isinstance(m, list)):
        counts["last"] = more[-1]
        counts["arrays"] += 1
        shape = payload if isinstance(payload, str) else "many" if not payload or isinstance(payload[0], list) else "one"
        counts[f"{names[chan]} {shape}"] += 1
    return counts


@EITHER
def test_the_recorded_connection_is_whole(num: Any) -> None:
    """Its flags were 65536: a sequence, no checksums, no times. Its 1670 arrays are counted without a hole; trades are history only."""
    rows = recorded("bitfinex/cryptofeed-1")
    there = told(rows)
    assert [json.loads(r.raw)["flags"] for r in rows if r.dir == "in" and '"conf"' in r.raw] == [65536]
    assert there["last"] == there["arrays"] == 1670
    replayer = Replayer(lambda: rows, exchange="bitfinex", numbers="float" if num is float else "decimal")
    ticks = [t for row in rows for t in replayer.feed(row)]
    summary = replayer.summary()
    assert (summary.bad, summary.unknown, summary.unknown_ids, summary.stale) == ({}, {}, {}, {})
    assert (summary.live_books, summary.frames) == (7, 1693)
    assert summary.ticks["book_snapshot"] == there["book many"] == 7
    assert summary.ticks["book_delta"] == there["book one"] == 1593
    assert summary.ticks["ticker"] == there["ticker one"] == 21
    assert summary.ticks["trade"] == there["trades te"] + there["trades tu"] == 0
    assert there["trades many"] == 7
    assert all(isinstance(t.bids[0][0] if t.bids else t.asks[0][0], num) for t in ticks if isinstance(t, BookDelta | BookSnapshot))
    again = Replayer(lambda: rows, exchange="bitfinex", numbers="float" if num is float else "decimal")
    assert [encode(t) for row in rows for t in again.feed(row)] == [encode(t) for t in ticks]


@EITHER
def test_the_recorded_books_are_those_of_the_wire(num: Any) -> None:
    """After every message our book has the wire's own texts (100 levels a side at most), and the checksum of its documents over them."""
    rows = recorded("bitfinex/cryptofeed-1")
    replayer = Replayer(lambda: rows, exchange="bitfinex", numbers="float" if num is float else "decimal")
    books, symbols = TextBook(), dict[str, str]()
    method: Any = FEED.book["public"]
    compared = 0
    for row in rows:
        replayer.feed(row)
        message = json.loads(row.raw, parse_float=str, parse_int=str)
        if row.dir != "in" or (isinstance(message, dict) and message.get("channel") != "book"):
            continue
        if isinstance(message, dict):
            symbols[message["chanId"]] = message["symbol"]
        elif message[0] in symbols and message[1] != "hb":
            books.take(message[0], message[1])
            stream = replayer.hub.book("bitfinex", symbols[message[0]])
            assert stream is not None
            assert stream.book is not None
            bids, asks = books.sides[message[0]]
            assert max(len(bids), len(asks)) <= 100
            assert {num(p): num(a) for p, a in bids.items()} == stream.book.bids.sizes
            assert {num(p): -num(a) for p, a in asks.items()} == stream.book.asks.sizes
            assert method.checksum(stream.book, stream.instrument) == documents_checksum(bids, asks)
            compared += 1
    assert compared == 1600


def test_a_hole_in_the_recorded_sequence_ends_the_connection_and_every_book() -> None:
    rows = recorded("bitfinex/cryptofeed-1")
    place = next(i for i, row in enumerate(rows) if row.raw.endswith(",1000]"))
    replayer = Replayer(lambda: rows, exchange="bitfinex")
    ticks = [t for i, row in enumerate(rows) if i != place for t in replayer.feed(row)]
    assert sum(isinstance(t, BookStale) for t in ticks) == 7
    assert replayer.summary().live_books == 0
    assert not any(isinstance(t, BookDelta) for t in ticks[max(i for i, t in enumerate(ticks) if isinstance(t, BookStale)) :])
