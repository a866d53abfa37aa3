"""Ticks as ndjson, csv and lines for people."""

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest

from streamer.codecs.schemas import TYPES
from streamer.output import Csv, Ndjson, Pretty, columns, formatter, number
from streamer.types import KINDS, BookSnapshot, BookStale, Gap, Instrument, Status, Tick, Trade
from tests.ticks import AT, DELTA, EVERY, SNAPSHOT, TRADE


def test_every_type_of_tick_is_tried_here() -> None:
    assert sorted(t.__name__ for t in TYPES) == sorted(type(t).__name__ for t in EVERY)


def test_ndjson_has_the_type_first_then_what_every_tick_has() -> None:
    lines = Ndjson().lines(EVERY).decode().splitlines()
    assert len(lines) == len(EVERY)
    for line in lines:
        assert list(json.loads(line))[:5] == ["type", "exchange", "symbol", "ts_event", "ts_recv"]
    assert lines[0] == (
        '{"type":"trade","exchange":"kraken","symbol":"BTC/USD","ts_event":1700000000000000000,"ts_recv":1700000000001000000,'
        '"price":60000.5,"size":0.25,"side":"buy","id":"17"}'
    )


def test_decimals_are_numbers_with_their_own_digits() -> None:
    tick: Trade[Decimal] = Trade(*AT, Decimal("60000.50"), Decimal("0.250"))
    assert b'"price":60000.50,"size":0.250' in Ndjson().lines([tick])
    assert ",60000.50,0.250,," in Csv(["trade"]).lines([tick]).decode()


def read(kinds: Any, ticks: list[Tick[Any]]) -> list[dict[str, str]]:
    fmt = Csv(kinds)
    return list(csv.DictReader(io.StringIO((fmt.head() + fmt.lines(ticks)).decode()), strict=True))


def test_csv_of_one_kind_has_its_columns() -> None:
    assert columns(["trade"]) == ("type", "exchange", "symbol", "ts_event", "ts_recv", "price", "size", "side", "id")
    [row] = read(["trade"], [TRADE])
    assert row == {
        "type": "trade", "exchange": "kraken", "symbol": "BTC/USD", "ts_event": str(AT[2]), "ts_recv": str(AT[3]),
        "price": "60000.5", "size": "0.25", "side": "buy", "id": "17",
    }  # fmt: skip


def test_csv_of_a_book_is_a_row_a_level() -> None:
    rows = read(["book"], [SNAPSHOT, DELTA, BookStale(*AT, "gap"), BookSnapshot(*AT, [], [], 10)])
    assert [(r["type"], r["side"], r["price"], r["size"], r["seq"], r["reason"]) for r in rows] == [
        ("book_snapshot", "bid", "60000.0", "1.0", "7", ""),
        ("book_snapshot", "bid", "59999.5", "2.0", "7", ""),
        ("book_snapshot", "ask", "60001.0", "0.5", "7", ""),
        ("book_delta", "bid", "60000.0", "0.0", "9", ""),
        ("book_stale", "", "", "", "", "gap"),
        ("book_snapshot", "", "", "", "10", ""),
    ]
    assert (rows[3]["first"], rows[3]["prev"]) == ("8", "7")


def test_csv_of_several_kinds_is_the_union_of_their_columns() -> None:
    both = columns(["book", "trade"])
    assert both == ("type", "exchange", "symbol", "ts_event", "ts_recv", "price", "size", "side", "id", "seq", "first", "prev", "reason")
    assert len(both) == len(set(both))
    rows = read(KINDS, [t for t in EVERY if not isinstance(t, Gap | Status | Instrument)])
    assert len(rows) == 3 + 12
    assert next(r for r in rows if r["type"] == "candle")["closed"] == ""


def test_csv_leaves_out_what_has_no_columns_and_says_so() -> None:
    fmt = formatter("csv", ["trade"])
    aside = [t for t in EVERY if fmt.aside(t)]
    assert [type(t) for t in aside] == [Gap, Status, Instrument]
    assert fmt.lines(aside) == b""


def test_csv_quotes_what_needs_quotes() -> None:
    tick: Trade[Any] = Trade(*AT, 1.0, 2.0, None, 'a,"b"\nc')
    assert read(["trade"], [tick])[0]["id"] == 'a,"b"\nc'


@pytest.mark.parametrize("tick", EVERY, ids=lambda t: type(t).__name__)
def test_pretty_is_one_line_that_names_the_exchange(tick: Tick[Any]) -> None:
    line = Pretty().lines([tick]).decode()
    assert line.startswith("22:13:20.001 kraken     BTC/USD        ")
    assert line.count("\n") == 1
    assert line.endswith("\n")


def test_pretty_says_what_counts() -> None:
    said = [Pretty().lines([t]).decode().split(maxsplit=4)[4].strip() for t in EVERY[:5]]
    assert said == [
        "buy  0.25 @ 60000.5",
        "2 bids, 1 asks; 60000 x 1 / 60001 x 0.5",
        "bid 60000 x 0",
        "STALE: gap; do not trust this book",
        "1 x 2 / 3 x 4",
    ]


def test_pretty_lets_no_terminal_codes_of_a_venue_through() -> None:
    line = Pretty().lines([Status(*AT, "trade", "rejected", "no \x1b[2J such\nthing")]).decode()
    assert "\x1b" not in line
    assert line.count("\n") == 1


def test_color_is_put_and_taken_back() -> None:
    line = Pretty(color=True).lines([TRADE]).decode()
    assert "\x1b[32mbuy" in line
    assert line.endswith("\x1b[0m\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00001234, "0.00001234"), (60000.0, "60000"), (0.0, "0"), (None, "-"), (Decimal("1E-8"), "0.00000001"), (Decimal("1.50"), "1.50"),
     (1e-9, "0.000000001"), (-0.25, "-0.25"), (3, "3")],
)  # fmt: skip
def test_numbers_as_people_write_them(value: Any, text: str) -> None:
    assert number(value) == text
