"""`streamer exchanges`."""

import json
from typing import Any

from click.testing import CliRunner

from streamer import registry
from streamer.cli import cli


def as_json(*args: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(cli, ["exchanges", "--json", *args])
    assert result.exit_code == 0
    rows: list[dict[str, Any]] = json.loads(result.stdout)
    return rows


def test_json_lists_the_99_and_says_what_is_built() -> None:
    rows = as_json()
    assert len(rows) == 99
    assert all(r["countries"] and r["iso"] and r["status"] in ("open", "closed", "unknown") for r in rows)
    assert {r["id"] for r in rows if r["kinds"]} == {r["id"] for r in rows if r["built"]} == set(registry.built())
    binance = next(r for r in rows if r["id"] == "binance")
    assert (binance["transport"], binance["proof"]) == ("websocket", {"spot": "sequence"})
    assert binance["kinds"] == ["trade", "book", "quote", "ticker", "candle"]
    assert {r["id"]: r["transport"] for r in rows if r["id"] in ("coinspot", "binanceusdm")} == {
        "coinspot": "poll",
        "binanceusdm": "websocket+poll",
    }


def test_a_country_by_name_and_by_code() -> None:
    assert as_json("--country", "JP") == as_json("--country", "japan")
    assert [r["id"] for r in as_json("--country", "JP")][:2] == ["binance", "binancecoinm"]
    assert [r["id"] for r in as_json("--country", "GB")] == [r["id"] for r in as_json("--country", "UK")]
    assert [r["id"] for r in as_json("--country", "eu")] == ["cex", "coinmate", "paymium"]


def test_text_groups_by_country() -> None:
    result = CliRunner().invoke(cli, ["exchanges"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    assert heads == sorted(heads)
    assert {"Japan (JP)", "Malta (MT)", "US", "EU", "UK (GB)"} <= set(heads)
    assert sum(line.startswith("  binance ") for line in lines) == 2, "binance is of Japan and of Malta"
    assert "websocket: trade book quote ticker candle; gaps proved by: spot sequence" in result.stdout
    assert result.stderr == f"99 exchanges, {len(registry.built())} built\n"


def test_text_of_one_country_shows_only_that_country() -> None:
    result = CliRunner().invoke(cli, ["exchanges", "--country", "Japan", "-q"])
    assert [line for line in result.stdout.splitlines() if not line.startswith(" ")] == ["Japan (JP)"]
    assert result.stderr == ""
