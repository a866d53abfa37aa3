"""What is peculiar to Deribit: amounts in dollars or coin, answers that list what was accepted, heartbeats, forced trades."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from feeds.deribit import FEED
from normalizers.deribit import TEST, fraction
from streamer import Streamer
from streamer.book_stream import BookStream
from streamer.catalog import Catalog, parse_instruments
from streamer.decode import check_decimals
from streamer.encode import encode
from streamer.errors import BadFrame
from streamer.line import sync_of
from streamer.replay import Replayer
from streamer.sim import SimServer
from streamer.sim.connection import Connection
from streamer.spec import Ack, Reject, Reply, Unknown
from streamer.types import KINDS, Candle, Funding, Greeks, IndexPrice, Liquidation, MarkPrice, OpenInterest, Quote, Status, Ticker, Trade
from tests import sessions, wires
from tests.captures import recorded, replayed, rows
from tests.test_e2e import until

HERE = Path(__file__).parent
SESSION = HERE / "exchanges/deribit/session.jsonl"
LIST = next(row["raw"] for row in map(json.loads, SESSION.read_text().splitlines()) if row["dir"] == "http")
LISTED = Catalog(FEED)
LISTED.update(parse_instruments(FEED, LIST.encode(), 0))
INVERSE, LINEAR, FUTURE, SPOT = "BTC/USD:BTC", "BTC/USDC:USDC", "BTC/USD:BTC-260327", "BTC/USDC"
CALL, PUT = "BTC/USD:BTC-260327-100000-C", "XRP/USDC:USDC-260327-2.25-P"
TS = 1767225600000


class Wire(wires.Wire):
    def __init__(self, num: type[float] | type[Decimal] = float) -> None:
        super().__init__(LISTED, "public", num)

    def push(self, channel: str, data: str) -> Any:
        """A notification, of JSON text; a row that does not name its instrument is of the channel's."""
        if data.startswith("{") and "instrument_name" not in data:
            data = f'{{"instrument_name":"{channel.split(".")[1]}",{data[1:]}'
        return self(f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":{data}}}}}'.encode())


def book(type_: str, change_id: int, prev: int | None, *bids: tuple[str, float, float], name: str = "BTC-PERPETUAL") -> str:
    more = {} if prev is None else {"prev_change_id": prev}
    data = {"type": type_, "timestamp": TS, "instrument_name": name, "change_id": change_id, "bids": bids, "asks": []}
    return json.dumps(data | more)


# instruments


def test_one_of_what_sizes_count_is_a_dollar_or_a_coin() -> None:
    """Deribit's own contract sizes are 10 dollars, 0.0001 BTC, 1000 XRP; multiplied by them, sizes would be wrong."""
    facts = {s: (i.id, i.kind, i.settle, i.size_unit, i.contract_size, i.size_step) for s, i in LISTED.by_symbol.items()}
    assert facts == {
        INVERSE: ("BTC-PERPETUAL", "swap", "BTC", "contracts", 1, 10),
        FUTURE: ("BTC-27MAR26", "future", "BTC", "contracts", 1, 10),
        LINEAR: ("BTC_USDC-PERPETUAL", "swap", "USDC", "base", 1, Decimal("0.0001")),
        CALL: ("BTC-27MAR26-100000-C", "option", "BTC", "base", 1, Decimal("0.1")),
        PUT: ("XRP_USDC-27MAR26-2d25-P", "option", "USDC", "base", 1, 1000),
        SPOT: ("BTC_USDC", "spot", None, "base", None, Decimal("0.0001")),
    }
    of_session = {how: [encode(t) for t in sessions.run(SESSION, numbers="decimal", sizes=how)[0]] for how in ("base", "venue")}
    assert of_session["base"] == of_session["venue"]


def test_dates_strikes_and_steps() -> None:
    put = LISTED.find(PUT)
    assert (put.strike, put.option_type, put.expiry, put.active) == (Decimal("2.25"), "put", 1774598400 * 10**9, False)
    assert (LISTED.find(CALL).strike, LISTED.find(CALL).quote, LISTED.find(CALL).active) == (100000, "USD", True)
    assert (LISTED.find(INVERSE).expiry, str(LISTED.find(CALL).price_step), str(LISTED.find(FUTURE).price_step)) == (None, "0.0001", "2.5")


def test_combos_are_left_out() -> None:
    kinds = Counter(row["kind"] for row in json.loads(LIST)["result"])
    assert (kinds["future_combo"], kinds["option_combo"]) == (1, 1)
    assert len(LISTED.by_symbol) == sum(kinds.values()) - 2


def test_a_list_that_is_an_error_is_no_list() -> None:
    with pytest.raises(BadFrame):
        parse_instruments(FEED, b'{"jsonrpc":"2.0","error":{"message":"too_many_requests","code":10028}}', 0)


def test_what_each_kind_of_instrument_offers() -> None:
    def offered(symbol: str) -> set[str]:
        return {kind for kind in KINDS if (FEED.market_of(LISTED.find(symbol), kind), kind) in FEED.topics}

    spot = {"trade", "book", "quote", "ticker", "candle"}
    contract = spot | {"mark", "index", "open_interest", "liquidation"}
    assert (offered(SPOT), offered(FUTURE), offered(CALL)) == (spot, contract, contract | {"greeks"})
    assert offered(INVERSE) == offered(LINEAR) == contract | {"funding"}


# answers


def test_a_channel_that_the_answer_does_not_list_was_refused() -> None:
    refused = Reject(4, "not among the channels subscribed", fatal=True, each=True)
    answer = {"jsonrpc": "2.0", "id": 4, "result": ["quote.B", "quote.A"], "usIn": 1, "usOut": 2, "usDiff": 1, "testnet": False}
    assert Wire()(answer) == [Ack("quote.B"), Ack("quote.A"), refused]
    assert Wire()(answer | {"result": []}) == [refused]


def test_an_answer_to_unsubscribing_acknowledges_nothing() -> None:
    [frame] = FEED.unsubscribe(["quote.A"], 5)
    assert json.loads(frame)["id"] == -5
    assert Wire()({"jsonrpc": "2.0", "id": -5, "result": ["quote.A"]}) == ()


@pytest.mark.parametrize(
    ("code", "message", "fatal"),
    [(13778, "raw_subscriptions_not_available_for_unauthorized", True), (10028, "too_many_requests", False)],
)
def test_an_error_refuses_its_command(code: int, message: str, fatal: bool) -> None:
    error = {"jsonrpc": "2.0", "error": {"code": code, "message": message}}
    assert Wire()(error | {"id": 6}) == Reject(6, message, fatal)
    assert Wire()(error) == Unknown(message)  # it could not read what it answers to


def test_heartbeats_are_asked_for_and_tests_answered() -> None:
    [hello] = map(json.loads, FEED.hello)
    assert (hello["method"], hello["params"]["interval"]) == ("public/set_heartbeat", 10)
    assert FEED.quiet_s > 3 * hello["params"]["interval"]
    beat = '{"params":{"type":"%s"},"method":"heartbeat","jsonrpc":"2.0"}'
    assert Wire()((beat % "test_request").encode()) == Reply(TEST)
    assert Wire()((beat % "heartbeat").encode()) == ()
    assert json.loads(TEST)["method"] == "public/test"
    for result in ("ok", {"version": "1.2.26"}):
        assert Wire()({"jsonrpc": "2.0", "id": 0, "result": result}) == ()


# ticks


@pytest.mark.parametrize(("flag", "sides"), [(None, []), ("T", ["sell"]), ("M", ["buy"]), ("MT", ["sell", "buy"])])
def test_a_forced_trade_is_a_liquidation_on_the_side_of_who_was_forced(flag: str | None, sides: list[str]) -> None:
    row = {"instrument_name": "BTC-PERPETUAL", "timestamp": TS, "price": 88000.5, "amount": 170.0, "contracts": 17.0}
    row |= {"direction": "sell", "trade_id": "9", "trade_seq": 1} | ({"liquidation": flag} if flag else {})
    trade, *forced = Wire().push("trades.BTC-PERPETUAL.100ms", json.dumps([row]))
    assert (type(trade), trade.size, trade.side, trade.id) == (Trade, 170.0, "sell", "9")
    assert [(type(t), t.side, t.price, t.size, t.id) for t in forced] == [(Liquidation, side, 88000.5, 170.0, "9") for side in sides]


@pytest.mark.parametrize("empty", ["null", "0", "0.0"])
def test_a_side_without_orders(empty: str) -> None:
    quote = Wire().push(
        "quote.BTC-PERPETUAL",
        f'{{"timestamp":{TS},"best_bid_price":{empty},"best_bid_amount":0.0,"best_ask_price":5,"best_ask_amount":2.2e3}}',
    )
    assert isinstance(quote, Quote)
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (None, None, 5.0, 2200.0)


STATS = '"stats":{"volume":469.0,"volume_usd":41234560.0,"volume_notional":41234561.0,"price_change":null,"low":null,"high":88450.50}'
PRICES = f'"timestamp":{TS},"mark_price":88003.110,"index_price":88012.4,"open_interest":4.59e2,"interest_value":2.7'


@pytest.mark.parametrize(
    ("symbol", "volumes", "kinds"),
    [
        (INVERSE, (41234560, 41234560), [Ticker, MarkPrice, IndexPrice, OpenInterest, Funding]),
        (FUTURE, (41234560, 41234560), [Ticker, MarkPrice, IndexPrice, OpenInterest]),
        (LINEAR, (469, 41234561), [Ticker, MarkPrice, IndexPrice, OpenInterest, Funding]),
        (SPOT, (469, 41234561), [Ticker]),
    ],
)
def test_volumes_count_as_sizes_do_and_every_kind_says_what_it_has(symbol: str, volumes: tuple[int, int], kinds: list[type]) -> None:
    ticks = Wire(Decimal).push(f"ticker.{LISTED.find(symbol).id}.100ms", f'{{{PRICES},{STATS},"current_funding":1.423e-4,"funding_8h":0}}')
    assert [type(t) for t in ticks] == kinds
    day = ticks[0]
    assert (day.volume, day.quote_volume, str(day.high), day.low, day.last) == (*volumes, "88450.50", None, None)
    if symbol == LINEAR:
        _, mark, _, interest, funding = ticks
        assert (str(mark.price), interest.amount, interest.value) == ("88003.110", 459, None)
        assert (funding.rate, funding.ts_next, funding.interval_s) == (Decimal("0.0001423"), None, 28800)


def test_what_nobody_wants_is_not_made() -> None:
    wire = Wire()
    wire.ctx.wanted = {MarkPrice: {}}
    ticks = wire.push(f"ticker.{LISTED.find(LINEAR).id}.100ms", f'{{{PRICES},{STATS},"current_funding":1.423e-4}}')
    assert [type(t) for t in ticks] == [MarkPrice]
    wire.ctx.wanted = {}
    assert wire.push(f"ticker.{LISTED.find(SPOT).id}.100ms", f"{{{PRICES},{STATS}}}") == []


@pytest.mark.parametrize("num", [float, Decimal])
def test_percents_become_fractions_exactly(num: type[float] | type[Decimal]) -> None:
    figures = '"greeks":{"vega":168.2,"theta":-41.3,"rho":0.0,"gamma":2e-5,"delta":0.36}'
    ivs = '"mark_iv":120.74,"bid_iv":0.0,"ask_iv":1.1562e2,"underlying_price":89108.75'
    greeks = Wire(num).push("ticker.BTC-27MAR26-100000-C.100ms", f"{{{PRICES},{STATS},{figures},{ivs}}}")[-1]
    assert isinstance(greeks, Greeks)
    assert (greeks.mark_iv, greeks.bid_iv, greeks.ask_iv) == (num("1.2074"), None, num("1.1562"))
    assert (greeks.rho, greeks.theta, greeks.underlying_price) == (0, num("-41.3"), 89108.75)


def test_every_percent_of_two_digits_is_its_text_moved_by_two() -> None:
    """A division alone would not do."""
    assert float("0.011") != 1.1 / 100
    for n in range(100_000):
        assert fraction(n / 100) == float(f"{n}e-4")
    for text in ("0.07", "120.7400", "1" * 40 + ".5"):
        assert str(fraction(Decimal(text))) == str(Decimal(f"{text}e-2"))
    assert fraction(None) is None


def test_a_volatility_without_end_costs_nothing() -> None:
    """Writing out Decimal("1e999999999") would take for ever, and all memory."""
    for num in ("1e999999999", "1e-999999999", '"nan"', '"sNaN"'):
        raw = f'{{{PRICES},{STATS},"mark_iv":{num},"instrument_name":"BTC-27MAR26-100000-C"}}'
        with pytest.raises((BadFrame, ArithmeticError)):
            check_decimals(Wire(Decimal).push("ticker.BTC-27MAR26-100000-C.100ms", raw))


@pytest.mark.parametrize("bad", ["true", '"x"', "{}", "[1]", "1e999"])
@pytest.mark.parametrize("num", [float, Decimal])
def test_what_is_no_number_costs_one_message(bad: str, num: type[float] | type[Decimal]) -> None:
    replayer = Replayer(lambda: sessions.lines(SESSION), exchange="deribit", numbers="decimal" if num is Decimal else "float")
    [*before, last] = sessions.lines(SESSION)[:3]
    for line in before:
        replayer.feed(line)
    quote = f'{{"timestamp":{TS},"best_bid_price":{bad},"best_bid_amount":1,"best_ask_price":5,"best_ask_amount":1}}'
    raw = f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"quote.BTC-PERPETUAL","data":{quote}}}}}'
    assert not [t for t in replayer.feed_raw(last, raw.encode()) if isinstance(t, Quote)]
    assert sum(replayer.summary().bad.values()) == 1


def test_candles_of_inverse_contracts_count_dollars() -> None:
    row = f'{{"volume":0.05219351,"tick":{TS},"open":8869.79,"low":8788.25,"high":8870.31,"cost":460,"close":8791.25}}'
    volumes = {LISTED.find(s).id: v for s, v in ((INVERSE, (460, 460)), (LINEAR, (0.05219351, 460)), (CALL, (0.05219351, None)))}
    for id_, (volume, cost) in volumes.items():
        for interval, resolution in FEED.intervals.items():
            candle = Wire().push(f"chart.trades.{id_}.{resolution}", row)
            assert isinstance(candle, Candle)
            assert (candle.interval, candle.ts_open, candle.closed) == (interval, TS * 10**6, None)
            assert (candle.open, candle.high, candle.low, candle.close) == (8869.79, 8870.31, 8788.25, 8791.25)
            assert (candle.volume, candle.quote_volume) == (volume, cost)
    assert (FEED.intervals["3h"], FEED.intervals["12h"], FEED.intervals["1d"], "4h" in FEED.intervals) == ("180", "720", "1D", False)


# books


def test_the_chain_and_nothing_else_proves_a_book() -> None:
    """`change_id` runs over many books. A change that names no predecessor follows nothing."""
    wire, sync = Wire(), sync_of(FEED.book["public"], LISTED.find(INVERSE), None)
    push: Callable[[str], Any] = partial(wire.push, "book.BTC-PERPETUAL.100ms")
    sync.snapshot(push(book("snapshot", 0, None)))  # an option that never had an order begins at 0
    assert sync.delta(push(book("change", 5100, 0, ("new", 88000.0, 10.0), ("new", 87999.5, 20.0)))) == "applied"
    assert sync.delta(push(book("change", 5108, 5100, ("change", 88000.0, 30.0), ("delete", 87999.5, 0.0)))) == "applied"
    assert sync.book.bids.top() == [(88000.0, 30.0)]
    assert sync.delta(push(book("change", 5108, 5100, ("change", 88000.0, 30.0)))) == "dropped"
    assert sync.delta(push(book("change", 5109, None))) == "stale"
    assert sync.stale_reason == "gap"


async def test_a_lost_update_is_noticed_and_mended() -> None:
    """Unsubscribed and subscribed again on the same connection."""
    async with (
        SimServer(["deribit"], rate=100, faults={"deribit": "skip_delta"}) as sim,
        Streamer(urls={"deribit": sim.url("deribit")}, cache=None) as s,
    ):
        sub = s.subscribe(f"deribit:{INVERSE}", f"deribit:{LINEAR}", kinds=("book",))
        await s.ready(sub)
        seen: Counter[str] = Counter()

        def mended() -> bool:
            seen.update(f"{type(t).__name__} {t.symbol}" for t in sub.take())
            return all(seen[f"BookStale {x}"] and seen[f"BookSnapshot {x}"] > 1 for x in (INVERSE, LINEAR))

        await until(mended, lambda: seen)
        stats = s.stats()["deribit"]
        assert (stats["bad"], stats["unknown"], stats["reconnects"]) == ({}, {}, 0)


@pytest.mark.parametrize("answered", [True, False])
async def test_who_answers_tests_stays_and_who_does_not_is_cut_off(answered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds of the simulation are a tenth of one here."""
    every, reply = Connection.every, Reply(TEST if answered else '{"jsonrpc":"2.0","id":0,"method":"public/status","params":{}}')
    monkeypatch.setattr(Connection, "every", lambda c, seconds, do: every(c, seconds / 100, do))
    monkeypatch.setattr("normalizers.deribit.TEST", reply.frame)
    async with SimServer(["deribit"]) as sim, Streamer(urls={"deribit": sim.url("deribit")}, cache=None) as s:
        sub = s.subscribe(f"deribit:{INVERSE}", kinds=("quote",))
        await s.ready(sub)
        count: Counter[str] = Counter()

        def enough() -> bool:
            count.update("lost" if isinstance(t, Status) and t.state != "live" else type(t).__name__ for t in sub.take())
            return count["Quote"] > 12 if answered else bool(count["lost"])

        await until(enough, lambda: count)
        assert bool(count["lost"]) is not answered


# recordings


def frames(name: str, channel: str) -> list[dict[str, Any]]:
    """The raw data of a channel; numbers are text."""
    inward = [json.loads(row["raw"], parse_float=str, parse_int=str) for row in rows(f"deribit/{name}") if row["dir"] == "in"]
    return [m["params"]["data"] for m in inward if m.get("params", {}).get("channel", "").startswith(channel)]


def option(id_: str) -> str:
    """ETH-7MAY21-2100-C in ccxt's grammar."""
    base, day, strike, right = id_.split("-")
    return f"{base}/USD:{base}-{datetime.strptime(day, '%d%b%y').replace(tzinfo=UTC):%y%m%d}-{strike}-{right}"


@pytest.mark.parametrize(("name", "tickers", "changes"), [("cryptofeed-1", 89, 36), ("cryptofeed-2", 92, 46)])
def test_captures_are_understood_whole(name: str, tickers: int, changes: int) -> None:
    """Options only, raw channels, and no trade in the half minute of either."""
    lines = recorded(f"deribit/{name}")
    ticks, replayer = replayed("deribit", lines)
    summary = replayer.summary()
    assert (summary.bad, summary.unknown, summary.unknown_ids, summary.stale) == (Counter(), Counter(), Counter(), Counter())
    assert (summary.live_books, summary.books) == (10, 10)
    count = Counter(type(tick).__name__ for tick in ticks)
    assert {count[kind] for kind in ("Ticker", "MarkPrice", "IndexPrice", "OpenInterest", "Greeks")} == {tickers}
    assert (count["BookSnapshot"], count["BookDelta"], count["Trade"]) == (10, changes, 0)
    assert frames(name, "trades.") == []
    assert [encode(tick) for tick in ticks] == [encode(tick) for tick in replayed("deribit", lines)[0]]


@pytest.mark.parametrize("name", ["cryptofeed-1", "cryptofeed-2"])
def test_recorded_books_are_those_of_the_wire_to_the_digit(name: str) -> None:
    """Kept a second time from the raw text, by the word of each level."""
    _, replayer = replayed("deribit", recorded(f"deribit/{name}"), numbers="decimal")
    books: dict[str, dict[str, dict[str, str]]] = {}
    last: dict[str, str] = {}
    for d in frames(name, "book."):
        symbol = option(d["instrument_name"])
        assert d["type"] == "snapshot" or d["prev_change_id"] == last[symbol]
        last[symbol] = d["change_id"]
        for side in ("bids", "asks"):
            kept = books.setdefault(symbol, {}).setdefault(side, {})
            for action, price, amount in d[side]:
                assert (price in kept) is (action != "new")
                kept.pop(price, None)
                if action != "delete":
                    kept[price] = amount
    ours = {s.instrument.symbol: s.book for s in replayer.hub.streams.values() if isinstance(s, BookStream) and s.book is not None}
    assert len(ours) == len(books) == 10
    for symbol, sides in books.items():
        for levels, kept in ((ours[symbol].bids.top(), sides["bids"]), (ours[symbol].asks.top(), sides["asks"])):
            assert {str(price): str(size) for price, size in levels} == kept


@pytest.mark.parametrize("name", ["cryptofeed-1", "cryptofeed-2"])
def test_recorded_tickers_are_those_of_the_wire_to_the_digit(name: str) -> None:
    ticks, _ = replayed("deribit", recorded(f"deribit/{name}"), numbers="decimal")

    def present(price: str | None, *rest: str) -> list[str | None]:
        return [price, *rest] if price is not None and float(price) else [None] * (1 + len(rest))

    wanted, told = [], [t for t in ticks if isinstance(t, Ticker | Greeks)]
    for d in frames(name, "ticker."):
        bid, ask = (present(d[f"best_{x}_price"], d[f"best_{x}_amount"]) for x in ("bid", "ask"))
        stats = d["stats"]
        wanted.append([option(d["instrument_name"]), d["last_price"], None, stats["high"], stats["low"], stats["volume"], None, *bid, *ask])
        ivs = [None if x == "0.0" else str(Decimal(x).scaleb(-2)) for x in (d["mark_iv"], d["bid_iv"], d["ask_iv"])]
        wanted.append([option(d["instrument_name"]), *ivs, *(d["greeks"][x] for x in ("delta", "gamma", "vega", "theta", "rho"))])
        wanted[-1].append(d["underlying_price"])
    got = [[t.symbol, *(getattr(t, x) for x in t.__struct_fields__[4:])] for t in told]
    assert [[x if x is None else f"{x}" for x in row] for row in got] == wanted
