"""What is peculiar to HTX: both sides counted, gzip and pings, books on request, ids, nine addresses, and what subscribing brings."""

import asyncio
import gzip
import json
from base64 import b64decode
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from feeds.htx import FEED
from normalizers.htx import INTERVALS
from streamer import Streamer
from streamer.catalog import Catalog, parse_instruments
from streamer.encode import encode
from streamer.errors import BadFrame
from streamer.line import sync_of
from streamer.replay import Replayer
from streamer.sim import SimServer
from streamer.spec import Ack, History, Reject, Reply, Unknown, fill
from streamer.types import KINDS, BookSnapshot, BookStale, Candle, IndexPrice, MarkPrice, Quote, Ticker, Trade
from tests import wires
from tests.captures import capture, recorded, replayed, rows

HERE = Path(__file__).parent
ROWS = [json.loads(row) for row in (HERE / "exchanges/htx/session.jsonl").read_text().splitlines()]
LISTED = Catalog(FEED)
LISTED.update(
    [
        i
        for row in ROWS
        if row["dir"] == "http" and "contract_code=" not in row["url"]
        for i in parse_instruments(FEED, row["raw"].encode(), 0)
    ]
)
TS = 1767225600000
SPOT, LINEAR, INVERSE = "BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC"


class Wire(wires.Wire):
    def __init__(self, market: str = "linear", num: type[float] | type[Decimal] = float) -> None:
        super().__init__(LISTED, market, num)


def push(topic: str, tick: Any) -> dict[str, Any]:
    return {"ch": f"market.{topic}", "ts": TS, "tick": tick}


# instruments


@pytest.mark.parametrize(
    ("symbol", "id", "kind", "unit", "size", "steps"),
    [
        (SPOT, "btcusdt", "spot", "base", None, ("0.01", "0.000001")),
        (LINEAR, "BTC-USDT", "swap", "base", "0.001", ("0.1", "1")),
        ("DOGE/USDT:USDT", "DOGE-USDT", "swap", "base", "100", ("0.00001", "1")),
        ("BTC/USDT:USDT-260327", "BTC-USDT-260327", "future", "base", "0.001", ("0.1", "1")),
        (INVERSE, "BTC-USD", "swap", "contracts", "100", ("0.1", "1")),
        ("BTC/USD:BTC-260327", "BTC260327", "future", "contracts", "100", ("0.01", "1")),
    ],
)
def test_instruments(symbol: str, id: str, kind: str, unit: str, size: str | None, steps: tuple[str, str]) -> None:
    i = LISTED.find(symbol)
    assert (i.id, i.kind, i.size_unit) == (id, kind, unit)
    assert (None if i.contract_size is None else str(i.contract_size)) == size  # neither 0.001000000000000000 nor 1E+2
    assert (i.price_step, i.size_step) == (Decimal(steps[0]), Decimal(steps[1]))
    assert i.expiry == (1774598400 * 10**9 if kind == "future" else None)
    assert i.active


def test_what_is_suspended_is_not_active() -> None:
    assert not LISTED.find("CYBER/USDT:USDT").active
    assert not LISTED.find("LUNA/USDT").active


def test_a_swap_that_ends_is_no_future() -> None:
    row = {"symbol": "BTC", "contract_code": "BTC-USDT", "contract_size": 100, "price_tick": 1e-8, "contract_status": 0,
           "delivery_time": "1774598400000", "business_type": "swap"}  # fmt: skip
    [i] = parse_instruments(FEED, orjson.dumps({"status": "ok", "data": [row], "ts": TS}), 0)
    assert (i.symbol, i.kind, i.expiry, str(i.contract_size), i.price_step) == (LINEAR, "swap", None, "100", Decimal("1e-8"))


def test_a_list_that_is_an_error_is_no_list() -> None:
    with pytest.raises(BadFrame):
        parse_instruments(FEED, b'{"status":"error","err_code":1034,"err_msg":"too many requests","ts":1767225600000}', 0)


# addresses and topics


def test_what_each_kind_of_instrument_offers_and_where() -> None:
    every = {"trade", "book", "quote", "ticker", "candle"}
    offered = {s: {k: m for k in KINDS if (m := FEED.market_of(LISTED.find(s), k), k) in FEED.topics} for s in LISTED.by_symbol}
    assert set(offered[SPOT]) == every
    for swap in (LINEAR, INVERSE):
        assert set(offered[swap]) == every | {"mark", "index", "open_interest", "funding", "liquidation"}
        assert set(offered[f"{swap}-260327"]) == every | {"mark", "open_interest", "liquidation"}
    addresses = [offered[s]["liquidation"] for s in (LINEAR, f"{LINEAR}-260327", INVERSE, f"{INVERSE}-260327")]
    assert addresses == ["linear_notice", "linear_notice", "swap_notice", "future_notice"]
    assert {offered[SPOT][k] for k in every} == {"spot", "spot_book"}
    hosts = {market: str(url).split("/")[2] for market, url in FEED.endpoints.items()}
    assert (hosts["spot"], hosts["future"]) == ("api.huobi.pro", "api.hbdm.com")  # the path is `/ws` on both


def topic(symbol: str, kind: Any, interval: str = "", depth: int | None = None) -> str:
    i = LISTED.find(symbol)
    template = FEED.topics[FEED.market_of(i, kind), kind]
    return fill(template if isinstance(template, str) else template.url, i, FEED.intervals.get(interval, ""), depth)


def test_topics_and_commands() -> None:
    assert topic(SPOT, "candle", "1h") == "market.btcusdt.kline.60min"
    assert topic(f"{INVERSE}-260327", "liquidation") == "public.BTC.liquidation_orders"
    assert topic(LINEAR, "open_interest").endswith("/linear-swap-api/v1/swap_open_interest?business_type=all&contract_code=BTC-USDT")
    deep = topic(LINEAR, "book", depth=150)
    assert FEED.subscribe([deep], 7) == [f'{{"sub":"{deep}","id":"7","data_type":"incremental"}}']
    assert FEED.unsubscribe([deep], 8) == [f'{{"unsub":"{deep}","id":"8","data_type":"incremental"}}']
    assert FEED.subscribe(["public.BTC-USDT.funding_rate"], 9) == ['{"op":"sub","cid":"9","topic":"public.BTC-USDT.funding_rate"}']


# pings and answers


def test_pings_are_answered_in_their_own_form() -> None:
    assert Wire()(b'{"ping":1492420473027}') == Reply('{"pong":1492420473027}')
    assert Wire("linear_notice")(b'{"op":"ping","ts":"1492420473027"}') == Reply('{"op":"pong","ts":"1492420473027"}')


def test_answers() -> None:
    wire, name = Wire(), "public.BTC-USDT.funding_rate"
    assert wire({"id": "3", "status": "ok", "subbed": "market.BTC-USDT.bbo", "ts": TS}) == Ack("market.BTC-USDT.bbo")
    assert wire({"op": "sub", "cid": "3", "topic": name, "ts": TS, "err-code": 0}) == Ack(name)
    for done in ({"id": "4", "status": "ok", "unsubbed": "market.BTC-USDT.bbo", "ts": TS}, {"op": "unsub", "topic": name, "err-code": 0}):
        assert wire(done) == ()
    error = {"status": "error", "ts": TS, "err-code": "bad-request"}
    assert wire(error | {"id": "5", "err-msg": "invalid topic "}) == Reject(5, "invalid topic ", fatal=True)  # nameless on coin-margined
    assert wire(error | {"id": "5", "err-msg": "429 too many request"}) == Reject(5, "429 too many request")
    assert wire(error | {"id": "", "err-msg": "not json, is not json string"}) == Unknown("not json, is not json string")
    assert wire({"op": "sub", "cid": "6", "topic": name, "ts": TS, "err-code": 2011, "err-msg": "x"}) == Reject(6, "x")


def test_other_depth_channels_are_unknown_and_not_bad() -> None:
    for name in ("market.BTC-USDT.depth.step0", "market.btcusdt.mbp.refresh.20", "market.btcusdt.ticker"):
        assert Wire()({"ch": name, "ts": TS, "tick": {"bids": []}}) == Unknown(name)


# trades


def fill_(number: int, **more: Any) -> dict[str, Any]:
    return {"amount": 4, "ts": TS, "id": number, "price": 87000.5, "direction": "sell"} | more


def test_the_first_message_is_history_and_so_it_is_after_subscribing_anew() -> None:
    wire, name = Wire(), "BTC-USDT.trade.detail"
    assert isinstance(wire(push(name, {"data": [fill_(1)]})), History)
    assert [t.id for t in wire(push(name, {"data": [fill_(2)]}))] == ["2"]
    assert isinstance(wire(push("DOGE-USDT.trade.detail", {"data": [fill_(1)]})), History)
    wire({"id": "4", "status": "ok", "unsubbed": f"market.{name}", "ts": TS})
    assert isinstance(wire(push(name, {"data": [fill_(2)]})), History)


@pytest.mark.parametrize("num", [float, Decimal])
def test_contracts_count_both_sides_and_spot_does_not(num: Any) -> None:
    for market, id, size, number in (("linear", "BTC-USDT", "2", "7"), ("swap", "BTC-USD", "2", "7"), ("spot", "btcusdt", "4", "5")):
        wire = Wire(market, num)
        wire.ctx.mem[f"market.{id}.trade.detail"] = True
        [trade] = wire(push(f"{id}.trade.detail", {"data": [fill_(7, tradeId=5)]}))
        assert (trade.size, trade.side, trade.id) == (num(size), "sell", number)
        bar = {"id": 1767225600, "open": 3, "high": 4, "low": 2, "close": 3.5, "count": 3, "amount": 10, "vol": 20, "trade_turnover": 30}
        volumes = (num(10), num(20)) if market == "spot" else (num(10), num(15))
        for kind, name in ((Ticker, "detail"), (Candle, "kline.1min")):
            tick = wire(push(f"{id}.{name}", bar))
            assert isinstance(tick, kind)
            assert (tick.volume, tick.quote_volume) == volumes


def test_a_spot_message_has_the_newest_first_and_ids_too_long_for_64_bits() -> None:
    wire = Wire("spot", Decimal)
    wire.ctx.mem["market.btcusdt.trade.detail"] = True
    rows = ",".join(f'{{"id":{10**26 + n},"ts":{TS},"tradeId":{n},"amount":0.10,"price":87000.10,"direction":"buy"}}' for n in (3, 2, 1))
    out = wire(f'{{"ch":"market.btcusdt.trade.detail","ts":{TS},"tick":{{"data":[{rows}]}}}}'.encode())
    assert [t.id for t in out] == ["1", "2", "3"]
    assert {(str(t.size), str(t.price)) for t in out} == {("0.10", "87000.10")}


def test_liquidations_are_not_doubled() -> None:
    row = {
        "symbol": "BTC",
        "contract_code": "BTC-USDT",
        "direction": "sell",
        "offset": "close",
        "volume": 479,
        "price": 51441.7,
        "created_at": TS,
    }
    message = {"op": "notify", "topic": "public.BTC-USDT.liquidation_orders", "ts": TS + 9, "data": [row]}
    [tick] = Wire("linear_notice")(message)
    assert (tick.side, tick.size, tick.ts_event) == ("sell", 479.0, TS * 10**6)


# the rest


def test_quotes_of_one_side() -> None:
    quote = Wire()(push("BTC-USDT.bbo", {"mrid": 1, "id": 2, "ask": [87000.5, 7], "ts": TS, "version": 1}))
    assert isinstance(quote, Quote)
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (None, None, 87000.5, 7.0)


def test_candles_say_their_interval_as_ccxt_does() -> None:
    bar = {"id": 1767225600, "open": 3, "high": 4, "low": 2, "close": 3.5, "count": 3, "amount": 10, "vol": 20}
    for theirs, interval in INTERVALS.items():
        tick = Wire("spot")(push(f"btcusdt.kline.{theirs}", bar))
        assert (tick.interval, tick.ts_open, tick.trades, tick.closed) == (interval, 1767225600 * 10**9, 3, None)


def test_mark_and_index_are_candles_of_text() -> None:
    bar = dict.fromkeys(("open", "high", "low"), "1") | {"id": 1767225600, "close": "87000.40", "amount": "0", "vol": "0", "count": "0"}
    for name, kind in (("mark_price", MarkPrice), ("index", IndexPrice)):
        tick = Wire("index", Decimal)(push(f"BTC-USDT.{name}.1min", bar))
        assert isinstance(tick, kind)
        assert str(tick.price) == "87000.40"


# books


def mbp(prev: int, seq: int, bids: list[Any]) -> dict[str, Any]:
    return push("btcusdt.mbp.150", {"seqNum": seq, "prevSeqNum": prev, "bids": bids})


def whole(seq: int, bids: list[Any]) -> dict[str, Any]:
    return {"id": "3", "rep": "market.btcusdt.mbp.150", "status": "ok", "data": {"seqNum": seq, "bids": bids, "asks": [[11, 1]]}}


def test_a_book_on_request_begins_where_its_answer_fits() -> None:
    wire, sync = Wire("spot_book"), sync_of(FEED.book["spot_book"], LISTED.find(SPOT), None)
    for delta in (mbp(90, 95, [[9, 1]]), mbp(95, 100, [[9, 2]]), mbp(100, 105, [[9, 3]])):
        assert sync.delta(wire(delta)) == "held"
    assert sync.snapshot(wire(whole(89, [[9, 9]]))) == ()  # older than what is held
    assert sync.snapshot(wire(whole(97, [[9, 9]]))) == ()  # within a delta, which tells the difference of two other moments
    assert not sync.live
    told = sync.snapshot(wire(whole(100, [[9, 2], [8, 1]])))
    assert [type(t).__name__ for t in told] == ["BookSnapshot", "BookDelta"]
    assert isinstance(told[0], BookSnapshot)
    assert (told[0].ts_event, told[0].seq) == (None, 100)
    assert sync.book.bids.top() == [(9.0, 3.0), (8.0, 1.0)]
    assert sync.delta(wire(mbp(105, 105, []))) == "applied"  # nothing changed
    assert sync.delta(wire(mbp(106, 108, []))) == "stale"


def test_an_answer_may_be_ahead_of_the_stream() -> None:
    wire, sync = Wire("spot_book"), sync_of(FEED.book["spot_book"], LISTED.find(SPOT), None)
    sync.delta(wire(mbp(90, 95, [[9, 1]])))
    assert len(sync.snapshot(wire(whole(105, [[9, 3]])))) == 1
    assert [sync.delta(wire(m)) for m in (mbp(95, 100, [[9, 2]]), mbp(100, 105, [[9, 3]]))] == ["dropped"] * 2
    assert sync.delta(wire(mbp(105, 110, [[9, 4]]))) == "applied"
    assert sync.book.bids.top() == [(9.0, 4.0)]


async def test_lost_updates_are_mended_by_request_on_spot_and_by_subscribing_on_contracts() -> None:
    """Over real sockets, against a venue that loses every fortieth."""
    async with SimServer(["htx"], rate=100, faults={"htx": "skip_delta"}) as sim, Streamer(urls={"htx": sim.url("htx")}, cache=None) as s:
        subs = [s.subscribe(f"htx:{symbol}", kinds=("book",)) for symbol in (SPOT, LINEAR)]
        for sub in subs:
            told: list[Any] = []
            async with asyncio.timeout(10):
                while len(told) < 3:
                    await asyncio.sleep(0.01)
                    told += [t for t in sub.take() if isinstance(t, BookStale | BookSnapshot)]
            assert [type(t) for t in told[:3]] == [BookSnapshot, BookStale, BookSnapshot]
            assert told[1].reason == "gap"
        stats = s.stats()["htx"]
        assert (stats["bad"], stats["reconnects"]) == ({}, 0)


# recordings


def frames(name: str) -> list[dict[str, Any]]:
    """The raw messages, numbers as Decimals."""
    return [
        json.loads(gzip.decompress(b64decode(row["raw"][4:])), parse_float=Decimal) for row in rows(f"htx/{name}") if row["dir"] == "in"
    ]


@pytest.mark.parametrize(("name", "count"), [("cryptofeed-1", 62), ("cryptofeed-3", 13), ("cryptofeed-4", 2)])
def test_every_recorded_trade_after_the_one_of_subscribing(name: str, count: int) -> None:
    lines = recorded(f"htx/{name}")
    ticks, replayer = replayed("htx", lines, numbers="decimal", sizes="venue")
    summary = replayer.summary()
    assert (summary.bad, summary.unknown_ids, summary.stale) == (Counter(), Counter(), Counter())
    assert all(name.endswith(".depth.step0") for name in summary.unknown)
    told = [(id_of(replayer, t), t.price, t.size, t.side, t.id, t.ts_event) for t in ticks if isinstance(t, Trade)]
    seen: set[str] = set()
    wanted = []
    for m in frames(name):
        if not m.get("ch", "").endswith("trade.detail"):
            continue
        id, spot = m["ch"].split(".")[1], "tradeId" in m["tick"]["data"][0]
        rows = sorted(m["tick"]["data"], key=lambda d: d["tradeId"] if spot else d["id"])
        amounts = [d["amount"] if spot else Decimal(d["amount"]) / 2 for d in rows]
        if id in seen:
            wanted += [
                (id, Decimal(d["price"]), amount, d["direction"], str(d["tradeId"] if spot else d["id"]), d["ts"] * 10**6)
                for d, amount in zip(rows, amounts, strict=True)
            ]
        seen.add(id)
    assert told == wanted
    assert len(told) == count
    again, _ = replayed("htx", lines, numbers="decimal", sizes="venue")
    assert [encode(t) for t in ticks] == [encode(t) for t in again]


def id_of(replayer: Replayer, tick: Any) -> str:
    return next(i.id for i in replayer.instruments("htx") if i.symbol == tick.symbol)


def test_a_recorded_book_shows_that_trades_are_of_both_sides() -> None:
    """Whole books just before and after sales that swept SNX-USDT: each bid lost half of what the trade says."""
    capture("htx/cryptofeed-3")
    before: dict[Decimal, int] = {}
    swept: list[dict[str, Any]] = []
    lost = []
    for m in frames("cryptofeed-3"):
        if m.get("ch") == "market.SNX-USDT.trade.detail":
            swept = m["tick"]["data"] if len(m["tick"]["data"]) == 4 else []
        elif m.get("ch") == "market.SNX-USDT.depth.step0":
            bids = dict(m["tick"]["bids"])
            lost += [(d["amount"], before[d["price"]] - bids.get(d["price"], 0)) for d in swept]
            before, swept = bids, []
    assert lost == [(20, 10), (212, 106), (360, 180), (14, 7)]
