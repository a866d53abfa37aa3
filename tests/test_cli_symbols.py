"""`streamer symbols`, against the simulation."""

import json
from collections.abc import Iterator

import pytest

from tests.simulation import run, simulated


@pytest.fixture(scope="module")
def binance() -> Iterator[list[str]]:
    with simulated("binance") as urls:
        yield urls


def test_a_table_of_symbol_id_kind_and_steps(binance: list[str]) -> None:
    done = run("symbols", "binance", *binance)
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("BTC/USDT ")).split()
    assert row[1:3] == ["BTCUSDT", "spot"]
    assert float(row[3]) > 0
    assert float(row[4]) > 0
    assert done.stderr.endswith(" symbols of binance\n")


@pytest.mark.parametrize("glob", ["BTC/*", "btc/usdt", "BTCUSDT", "btcusd?"])
def test_a_glob_matches_the_symbol_or_the_venues_id(binance: list[str], glob: str) -> None:
    done = run("symbols", "binance", glob, "--json", *binance)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert "BTC/USDT" in [i["symbol"] for i in found]
    assert {i["base"] for i in found} == {"BTC"}
    assert list(found[0])[:5] == ["type", "exchange", "symbol", "ts_event", "ts_recv"]


def test_no_match_names_the_nearest(binance: list[str]) -> None:
    done = run("symbols", "binance", "BTC/USDX", *binance)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("streamer: error: no symbol of binance is like 'BTC/USDX'; did you mean BTC/USDT")


def test_an_exchange_that_is_not_reachable_is_69() -> None:
    done = run("symbols", "binance", "--url", "binance=http://127.0.0.1:9")
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.splitlines()[-1].startswith("streamer: error: ")
