"""What normalizers share: numbers of plain rows, sparse rows, steps and symbols of listed instruments."""

from decimal import Decimal
from typing import Any

import pytest

from streamer.ctx import WHOLE
from streamer.errors import BadNumber
from streamer.spec import Ctx, Symbols
from streamer.types import Instrument
from streamer.wire import MOST_MS, MS, best, digits, listed, merge, ms, number, numbers, sides, step


def ctx(num: Any = Decimal) -> Ctx[Any]:
    made: Ctx[Any] = Ctx("x", "spot", Symbols(), num)
    made.ts_recv = 7
    return made


@pytest.mark.parametrize(("value", "want"), [("1.50", "1.50"), (2, "2"), (Decimal("0.10"), "0.10"), ("", None), (None, None)])
def test_a_number_keeps_its_digits_and_what_is_not_there_is_none(value: Any, want: str | None) -> None:
    assert number(value, ctx()) == (None if want is None else Decimal(want))
    if want is not None:
        assert str(number(value, ctx())) == want
    assert number(value, ctx(float)) == (None if want is None else float(want))


@pytest.mark.parametrize("bad", ["x", "1_0", True, [1], {}, "nan"])
def test_what_is_no_number_raises(bad: Any) -> None:
    with pytest.raises((BadNumber, ValueError, TypeError, ArithmeticError)):
        number(bad, ctx(float))


def test_numbers_in_the_order_of_their_names() -> None:
    row = {"a": "1", "b": "0", "c": "", "d": 0}
    assert numbers(row, ctx(float), "b", "a", "", "c", "missing") == [0.0, 1.0, None, None, None]
    assert numbers(row, ctx(float), "a", "b", "d", nought=("b", "d")) == [1.0, None, None]


def test_a_side_without_a_price_is_empty() -> None:
    row = {"b": "0", "B": "5", "a": "2", "A": "3"}
    assert sides(row, ctx(float), "b", "B", "a", "A") == [None, None, 2.0, 3.0]
    assert sides({"b": "1", "B": "0"}, ctx(float), "b", "B", "a", "A") == [1.0, 0.0, None, None]
    assert best([(1.0, 2.0), (0.5, 1.0)]) == (1.0, 2.0)
    assert best([]) == (None, None)


def test_times_in_ms_are_checked_before_they_are_made_integers() -> None:
    assert ms("1767225600123") == ms(1767225600123) == 1767225600123 * 10**6
    for bad in (Decimal("1e999999999"), 10**40, "1" * 30):
        with pytest.raises(BadNumber):
            ms(bad)
    with pytest.raises(ValueError):
        ms("1e3")


def test_a_sparse_row_tells_what_is_news_and_once_a_minute_everything() -> None:
    row, new = merge(None, {"a": 1, "b": 2}, 10)
    assert {"a", "b"} <= new
    row, new = merge(row, {"b": 3}, 10)
    assert new == {"b"}
    assert (row["a"], row["b"]) == (1, 3)
    row, new = merge(row, {"b": 4}, 11)
    assert {"a", "b"} <= new
    assert numbers(row, ctx(float), "") == [None], "the minute is no field"


def test_steps_and_symbols() -> None:
    assert [step("0.10"), step(0.001), step(""), step(None), digits(2), digits(0)] == [
        Decimal("0.10"), Decimal("0.001"), None, None, Decimal("0.01"), Decimal(1),
    ]  # fmt: skip
    made = listed(ctx(), "B-27", "BTC", "USD", "BTC", "option", Decimal(1), Decimal(2), "contracts", Decimal(3), 1782460800 * 10**9,
                  Decimal(50000), "call", False)  # fmt: skip
    assert made == Instrument("x", "BTC/USD:BTC-260626-50000-C", None, 7, "B-27", "BTC", "USD", "BTC", "option", Decimal(1), Decimal(2),
                              "contracts", Decimal(3), 1782460800 * 10**9, Decimal(50000), "call", False)  # fmt: skip
    assert listed(ctx(), "btc", "BTC", "JPY").symbol == "BTC/JPY"


def test_a_time_in_ms_fits_as_ns_too() -> None:
    assert MOST_MS == WHOLE // MS
    assert ms(str(MOST_MS)) < 1 << 63
    for bad in (MOST_MS + 1, -1):
        with pytest.raises(BadNumber):
            ms(bad)
