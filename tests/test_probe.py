"""`streamer probe`: it passes for every simulated exchange, and says clearly what is wrong with one that misbehaves."""

import asyncio
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from streamer import Streamer, registry
from streamer.doubts import observed, read
from streamer.errors import UnknownSymbol
from streamer.probe import choose, find, most_liquid, probe, reach
from streamer.sim import VENUES, SimServer
from streamer.types import Instrument
from streamer.verdict import QUIET, Book, Doubt, Report, Seen, Skew, judge, of_stream
from tests.simulation import run, simulated, started

LISTEN_S = 4.0
FAULTY_S = 3.0


# against the simulation


async def probed(rate: float, venues: dict[str, str | None], seconds: float) -> dict[str, Report]:
    """Reports of all these venues, each with its fault, at once."""
    faults = {venue: fault for venue, fault in venues.items() if fault is not None}
    async with SimServer(venues, rate=rate, faults=faults) as sim:
        async with Streamer(urls={venue: sim.url(venue) for venue in venues}, cache=None) as s:
            reports = await asyncio.gather(*(probe(s, venue, None, seconds) for venue in venues))
        assert sim.clock.errors == []
    return dict(zip(venues, reports, strict=True))


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    return asyncio.run(probed(25, dict.fromkeys(VENUES), LISTEN_S))


@pytest.mark.parametrize("venue", VENUES)
def test_a_simulated_exchange_passes_with_all_that_it_declares(reports: dict[str, Report], venue: str) -> None:
    report, feed = reports[venue], registry.load(venue)
    assert (report.verdict, report.reasons) == ("pass", [])
    assert {(s.market, s.kind) for s in report.streams} == set(feed.topics)
    assert [(s.kind, s.why) for s in report.streams if s.verdict == "quiet" and s.kind not in QUIET and s.every is None] == []
    assert (report.bad, report.unknown, report.unknown_ids, report.reconnects) == ({}, {}, {}, 0)
    assert {b.market for b in report.books} == set(feed.book)
    assert all(b.checksums > 0 for b in report.books if "checksum" in b.proof)
    assert all(b.live_s is not None and b.snapshots > 0 and not b.stale for b in report.books)
    skews = [s.skew for s in report.streams if s.skew is not None and s.kind in ("trade", "book", "quote")]
    assert all(skew.least <= skew.median <= skew.most and -1 < skew.median < 3 for skew in skews)
    assert len(report.doubts) == len(read(registry.sources(venue)))


FAULTS = [
    ("binance", "skip_delta", r"wrong sequence: the book of BTC/USDT? fell \d+ times \(gap\)"),
    ("okx", "skip_delta", r"wrong sequence: the book of BTC/USDT:USDT fell \d+ times \(gap\)"),
    ("bybit", "skip_delta", r"wrong sequence: the book of BTC/USD:BTC fell \d+ times \(gap\)"),
    ("deribit", "skip_delta", r"wrong sequence: the book of BTC/USD:BTC fell \d+ times \(gap\)"),
    ("bitfinex", "skip_delta", r"the connection was lost and made again \d+ times: "),  # it counts the connection
    ("kraken", "bad_checksum", r"wrong checksum: the book of BTC/USDT? fell \d+ times \(checksum\)"),
    ("okx", "bad_checksum", r"wrong checksum: the book of BTC/USDT? fell \d+ times \(checksum\)"),
    ("binance", "mute:trade", r"missing channel: trade of BTC/USDT?: subscribed for \d s, and nothing came"),
    ("kraken", "mute:book", r"missing channel: book of BTC/USDT?: it was subscribed, and neither an answer nor data came"),
    ("okx", "mute:greeks", r"missing channel: greeks of BTC/USD:BTC-\d{6}-\d+-C: subscribed for \d s, and nothing came"),
]  # fmt: skip


@pytest.fixture(scope="module")
def faulty() -> dict[tuple[str, str], Report]:
    async def all_at_once() -> list[dict[str, Report]]:
        return await asyncio.gather(*(probed(40, {venue: fault}, FAULTY_S) for venue, fault, _ in FAULTS))

    return {(v, f): found[v] for (v, f, _), found in zip(FAULTS, asyncio.run(all_at_once()), strict=True)}


@pytest.mark.parametrize(("venue", "fault", "said"), FAULTS)
def test_what_is_wrong_is_told(faulty: dict[tuple[str, str], Report], venue: str, fault: str, said: str) -> None:
    report = faulty[venue, fault]
    assert report.verdict == "fail"
    assert [r for r in report.reasons if re.match(said, r)], report.reasons
    what = {"mute": "missing channel"}.get(fault.partition(":")[0])
    assert what is None or all(r.startswith(what) for r in report.reasons), "and nothing else is"


# the command


@pytest.fixture(scope="module")
def two() -> Iterator[list[str]]:
    with simulated("binance", "kraken") as urls:
        yield urls


def test_the_report_is_text_and_the_exit_code_is_0(two: list[str]) -> None:
    done = run("probe", "kraken", "BTC/USD", "--duration", "2", *two[2:])
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "probing kraken for 2 s: BTC/USD\n"), done.stdout
    assert lines[-1] == "PASS"
    book = next(line for line in lines if line.startswith("BTC/USD  checksum "))
    assert int(book.split()[-2]) > 10
    assert [line.split()[1:3] for line in lines if line.startswith("BTC/USD ")][:2] == [["trade", "spot"], ["book", "spot"]]
    assert "not understood: none" in lines
    assert [line for line in lines if line.startswith("  feeds/kraken.py:")]
    assert [line for line in lines if "checksums compared, 0 wrong" in line]


def test_json_is_one_object(two: list[str]) -> None:
    done = run("probe", "binance", "--json", "--duration", "2", "--transport", "websockets", "-q", *two[:2])
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr, report["verdict"], report["reasons"]) == (0, "", "pass", [])
    assert report["where"] == two[1].partition("=")[2]
    assert {s["kind"] for s in report["streams"]} == set(registry.load("binance").kinds())
    assert report["books"][0]["applied"] >= report["books"][0]["deltas"] > 0


def test_what_fails_ends_with_1_and_the_reasons() -> None:
    with started("sim", "--until-stdin-closes", "binance", "--fault", "binance=mute:quote") as sim:
        assert sim.stdout is not None
        done = run("probe", "binance", "--duration", "1.5", "--url", "=".join(sim.stdout.readline().split()))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == ["FAIL", "  missing channel: quote of BTC/USDT: subscribed for 1 s, and nothing came"]


def test_an_exchange_that_is_not_reachable_is_69() -> None:
    done = run("probe", "binance", "--url", "binance=http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.splitlines()[-1].startswith("streamer: error: ")
    done = run("probe", "binance", "--json", "--url", "binance=http://127.0.0.1:9")
    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"]) == (69, "unreachable")
    assert "127.0.0.1:9" in report["reasons"][0]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["BTC/USDX"], "streamer: error: binance lists no 'BTC/USDX'; did you mean BTC/USDT"),
        (["--duration", "0"], "streamer: error: Invalid value for '--duration'"),
    ],
)
def test_what_is_not_there_is_2(two: list[str], args: list[str], said: str) -> None:
    done = run("probe", "binance", *args, *two[:2])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(said)


# what is probed


def inst(symbol: str, **facts: Any) -> Instrument:
    base, _, rest = symbol.partition("/")
    quote, _, tail = rest.partition(":")
    return Instrument("x", symbol, None, 0, symbol, base, quote, settle=tail.partition("-")[0] or None, **facts)


def test_the_most_traded_currencies_are_taken() -> None:
    assert most_liquid([inst(s) for s in ("AAVE/USDT", "ETH/USDT", "BTC/AUD", "BTC/EUR", "XRP/JPY")]).symbol == "BTC/EUR"
    assert most_liquid([inst("DOGE/IDR"), inst("ADA/IDR")]).symbol == "ADA/IDR"
    assert most_liquid([inst(s) for s in ("BTC/USDT", "BTC/AUD", "ETH/AUD", "ETH/BTC")]).symbol == "BTC/AUD", "what most is listed in"
    futures = [inst(f"BTC/USD:BTC-26{m}25", kind="future", expiry=int(m)) for m in ("12", "06", "09")]
    assert most_liquid(futures).symbol == "BTC/USD:BTC-260625"


def test_of_options_a_call_in_the_middle_of_the_next_to_expire() -> None:
    options = [
        inst(f"BTC/USD:BTC-26{m}25-{k}-{c[0].upper()}", kind="option", expiry=int(m), strike=Decimal(k), option_type=c)
        for m in ("12", "06") for k in (9000, 100000, 60000, 50000, 70000) for c in ("put", "call")
    ]  # fmt: skip
    assert most_liquid(options).symbol == "BTC/USD:BTC-260625-60000-C"


def test_one_of_each_sort_reaches_all_that_is_declared() -> None:
    feed = registry.load("bybit")
    kinds: dict[str, Any] = {"BTC/USDT": "spot", "ETH/USDT": "spot", "BTC/USDT:USDT": "swap", "BTC/USD:BTC": "swap"}
    listed = [inst(s, kind=kind, size_unit="contracts" if s.endswith(":BTC") else "base") for s, kind in kinds.items()]
    listed.append(inst("BTC/USDT:USDT-261225-60000-C", kind="option", expiry=1, strike=Decimal(60000), option_type="call"))
    chosen = choose(feed, [*listed, replace(listed[0], symbol="BTC/AAA", quote="USDT", active=False)])
    assert [i.symbol for i in chosen] == [i.symbol for i in listed if i.symbol != "ETH/USDT"]
    assert {plan for i in chosen for plan in reach(feed, i)} == set(feed.topics)


def test_a_symbol_may_be_the_exchanges_own_id() -> None:
    listed = [replace(inst("BTC/USDT"), id="BTCUSDT")]
    assert find("x", listed, "BTCUSDT") is find("x", listed, "BTC/USDT")
    with pytest.raises(UnknownSymbol, match="x lists no 'BTC/USDD'; did you mean BTC/USDT"):
        find("x", listed, "BTC/USDD")


# the verdict


def seen(kind: Any, **facts: Any) -> Seen:
    return Seen(**{"symbol": "A/B", "kind": kind, "instrument": "spot", "market": "m", "state": "live", "listened": 60.0} | facts)


@pytest.mark.parametrize(
    ("stream", "traded", "verdict"),
    [
        (seen("trade", count=1), True, "came"),
        (seen("trade"), False, "missing"),
        (seen("trade", instrument="option"), False, "quiet"),
        (seen("trade", every=30.0), False, "quiet"),  # its second page has hardly come
        (seen("trade", every=10.0), False, "missing"),
        (seen("liquidation", instrument="swap"), True, "quiet"),
        (seen("funding", instrument="swap"), True, "quiet"),
        (seen("mark", instrument="swap"), True, "missing"),
        (seen("candle"), False, "quiet"),
        (seen("candle"), True, "quiet"),
        (seen("candle", bar_closed=True), True, "missing"),
        (seen("ticker", state="rejected", reason="no such channel", listened=0.0), True, "refused"),
        (seen("ticker", state="down", reason="http_451", listened=0.0), True, "down"),
        (seen("book", state="connecting", listened=0.0), True, "missing"),
    ],
)
def test_what_silence_means(stream: Seen, traded: bool, verdict: str) -> None:
    assert of_stream(stream, traded)[0] == verdict


def judged(**facts: Any) -> Report:
    report = Report(**{"exchange": "x", "frames": 9, "streams": [seen("trade", count=1, verdict="came")]} | facts)
    judge(report)
    return report


def book(**facts: Any) -> Book:
    return Book(**{"symbol": "A/B", "market": "m", "proof": "sequence+checksum", "live_s": 0.1, "snapshots": 1, "deltas": 5} | facts)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"books": [book(numbered=5)]}, "the book of A/B is to be proved by checksums, and none came"),
        ({"books": [book(checksums=5)]}, "the book of A/B is to be proved by its sequence, and no update was numbered"),
        ({"books": [book(numbered=5, checksums=5, stale={"crossed": 1})]}, "crossed book: the book of A/B fell 1 times (crossed)"),
        ({"bad": {"shape": 2}, "samples": {"shape": "{}"}}, "2 frames were not understood (shape), such as {}"),
        ({"reconnects": 1}, "the connection was lost and made again 1 times: before anything was live"),
        ({"unreached": [("m", "greeks")]}, "greeks is declared for 'm', and no active instrument has it"),
        ({"streams": []}, "there is nothing to subscribe to: no active instrument has any of the declared kinds"),
        ({"streams": [seen("trade", verdict="refused", why="too many")]}, "trade of A/B was refused: too many"),
        ({"streams": [seen("trade", verdict="down", why="down: http_403")]}, "trade of A/B never came live: down: http_403"),
        ({"streams": [seen("trade", count=1, verdict="came", gaps={"sequence": 2})]}, "wrong sequence: trade of A/B had 2 gaps"),
    ],
)
def test_each_fault_is_a_reason(facts: dict[str, Any], reason: str) -> None:
    assert (judged(**facts).verdict, judged(**facts).reasons) == ("fail", [reason])


def test_what_is_strange_is_told_and_fails_nobody() -> None:
    early = [seen("trade", count=1, verdict="came", skew=Skew(-0.3, -0.4, -0.1))]
    report = judged(streams=early, unknown={"promo\x1b[2J": 3}, unknown_ids={"NEW": 1}, stalls=1,
                    books=[book(proof="none", deltas=0)])  # fmt: skip
    assert (report.verdict, len(report.remarks)) == ("pass", 5)
    assert "\x1b" not in "".join(report.remarks)


def test_nothing_at_all_is_not_reachable() -> None:
    down = [seen("trade", verdict="down", why="down: refused")]
    assert judged(frames=0, streams=down).verdict == "unreachable"
    assert judged(frames=0, streams=[seen("trade", verdict="refused", why="no")]).verdict == "fail"


# doubts


def test_doubts_are_read_with_the_lines_that_go_on_and_get_what_bears_on_them(tmp_path: Any) -> None:
    path = tmp_path / "x.py"
    path.write_text("a = 1  # code\n# DOUBT: the checksum is of ten\n# levels (a page)\nb = 2\n# DOUBT: nobody knows (settled by asking)\n")
    doubts = read([path])
    assert [(d.where.rpartition("/")[2], d.text) for d in doubts] == [
        ("x.py:2", "the checksum is of ten levels (a page)"), ("x.py:5", "nobody knows (settled by asking)"),
    ]  # fmt: skip
    report = judged(books=[book(checksums=7, stale={"checksum": 2})])
    first, second = observed(doubts, report)
    assert "books: A/B 7 checksums compared, 2 wrong" in first.seen
    assert second == Doubt(second.where, second.text, ())


def test_a_siblings_doubts_are_its_own_too() -> None:
    assert [p.name for p in registry.sources("binanceus")] == ["binance.py", "binanceus.py", "binance.py"]
    assert registry.sources("no-such-exchange") == []
