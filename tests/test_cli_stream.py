"""`streamer stream` and what it shares with others, against the simulation, over real sockets."""

import csv
import json
import signal
import time
from collections.abc import Iterator

import pytest

from tests.simulation import interrupt, left_alone, run, simulated, started


@pytest.fixture(scope="module")
def two() -> Iterator[list[str]]:
    with simulated("binance", "binanceus") as urls:
        yield urls


STREAMS = ("binance:BTC/USDT", "binanceus:BTC/USDT")


def test_ndjson_of_two_exchanges_up_to_the_limit(two: list[str]) -> None:
    done = run("stream", *STREAMS, "--kinds", "trade,book", "--limit", "60", *two)
    assert (done.returncode, done.stderr) == (0, "")
    ticks = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ticks) == 60
    assert {t["exchange"] for t in ticks} == {"binance", "binanceus"}
    assert {"trade", "book_snapshot", "book_delta"} <= {t["type"] for t in ticks}
    assert all(list(t)[:5] == ["type", "exchange", "symbol", "ts_event", "ts_recv"] for t in ticks)


@pytest.mark.parametrize("transport", ["picows", "websockets"])
def test_both_transports_and_decimal_numbers(two: list[str], transport: str) -> None:
    urls = two[:2]
    done = run("stream", "binance:BTC/USDT", "--kinds", "quote", "--format", "csv", "--numbers", "decimal", "--limit", "5",
               "--transport", transport, *urls)  # fmt: skip
    rows = list(csv.DictReader(done.stdout.splitlines(), strict=True))
    assert len(rows) == 5
    assert {r["type"] for r in rows} == {"quote"}
    assert all(float(r["bid"]) < float(r["ask"]) for r in rows)


def test_duration_ends_it_and_pretty_names_the_exchange(two: list[str]) -> None:
    began = time.monotonic()
    done = run("stream", *STREAMS, "--format", "pretty", "--duration", "1.5", *two)
    assert 1.5 < time.monotonic() - began < 6
    assert (done.returncode, done.stderr) == (0, "")
    assert all(line.split()[1] in ("binance", "binanceus") for line in done.stdout.splitlines())
    assert " @ " in done.stdout
    assert "\x1b" not in done.stdout


def test_an_unknown_symbol_is_refused_with_the_nearest(two: list[str]) -> None:
    done = run("stream", "binance:BTC/USDX", *two[:2])
    assert done.returncode == 2
    assert done.stderr.startswith("streamer: error: binance lists no 'BTC/USDX'; did you mean BTC/USDT")
    assert done.stderr.count("\n") == 1


def test_a_kind_that_the_exchange_has_not_is_refused(two: list[str]) -> None:
    done = run("stream", "binance:BTC/USDT", "--kinds", "funding", *two[:2])
    assert done.returncode == 2
    assert done.stderr.startswith("streamer: error: ")
    assert "funding" in done.stderr


def test_no_answer_from_anywhere_is_69() -> None:
    done = run("stream", "binance:BTC/USDT", "--timeout", "1", "-q", "--url", "binance=http://127.0.0.1:9")
    assert done.returncode == 69
    assert done.stderr.startswith("streamer: error: not live after 1 s: binance:BTC/USDT trade")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals_end_it_quietly_with_whole_lines(two: list[str], sent: signal.Signals, code: int) -> None:
    with started("stream", *STREAMS, "--kinds", "trade,book", *two) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = [process.stdout.readline() for _ in range(10)]
        assert interrupt(process, sent) == code
        rest = process.stdout.read()
        assert process.stderr.read() == ""
    assert all(json.loads(line) for line in first + rest.splitlines())
    assert rest == "" or rest.endswith("\n")


def test_a_reader_who_goes_away_ends_it_silently(two: list[str]) -> None:
    with started("stream", *STREAMS, "--kinds", "trade,book", *two) as process:
        assert left_alone(process) == (0, "")
