"""Checksums: the venues' own examples, and how a number is written."""

import zlib
from decimal import Decimal
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.book import Book
from streamer.checksum import Crc32, fixed, javascript, shortest
from streamer.types import BookSnapshot, Instrument

OKX = Crc32(25, "interleaved", shortest, ":", signed=True)
KRAKEN = Crc32(10, "asks_bids", fixed)
INSTRUMENT = Instrument("x", "A/B", None, 0, "AB", "A", "B", price_step=Decimal("0.00001"), size_step=Decimal("0.00000001"))
numbers = pytest.mark.parametrize("number", [float, Decimal])


def book(bids: dict[str, str], asks: dict[str, str], number: Any) -> Book[Any]:
    made: Book[Any] = Book()
    sides = [[(number(p), number(s)) for p, s in side.items()] for side in (bids, asks)]
    made.replace(BookSnapshot("x", "A/B", None, 0, *sides))
    return made


@numbers
@pytest.mark.parametrize(
    ("bids", "asks", "checksum"),
    [
        ({"3366.1": "7", "3366": "6"}, {"3366.8": "9", "3368": "8"}, -1881014294),
        ({"3366.1": "7"}, {"3366.8": "9", "3368": "8", "3372": "8"}, 831078360),
    ],
)
def test_the_examples_of_okx(bids: dict[str, str], asks: dict[str, str], checksum: int, number: Any) -> None:
    """https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel, "Checksum": one side longer than the other."""
    assert OKX(book(bids, asks, number), INSTRUMENT) == checksum


@numbers
def test_kraken_writes_prices_and_sizes_to_their_steps_without_point_and_leading_zeros(number: Any) -> None:
    """ "0.05000" is 5000, "0.00000500" is 500 (https://docs.kraken.com/api/docs/guides/spot-ws-book-v2); asks first, ten of each."""
    asks = {f"{0.05005 + 0.00005 * i:.5f}": "0.00000500" for i in range(12)}
    bids = {f"{0.05 - 0.00005 * i:.5f}": "0.00000500" for i in range(12)}
    text = "".join(f"{5005 + 5 * i}500" for i in range(10)) + "".join(f"{5000 - 5 * i}500" for i in range(10))
    made = book(bids, asks, number)
    assert KRAKEN.text(list(chain(*made.asks.top(10), *made.bids.top(10))), INSTRUMENT) == text.encode()
    assert KRAKEN(made, INSTRUMENT) == zlib.crc32(text.encode())


def test_only_the_depth_counts_and_an_empty_book_has_a_checksum_too() -> None:
    two = {"1": "1", "2": "1"}
    short = Crc32(1, "interleaved", shortest, ":")
    assert short(book(two, {}, float), INSTRUMENT) == short(book({"2": "1"}, {}, float), INSTRUMENT) == zlib.crc32(b"2:1")
    assert OKX(book({}, {}, float), INSTRUMENT) == 0


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1, "0.1"), (3366.0, "3366"), (1e-7, "0.0000001"), (1.5e-9, "0.0000000015"), (1e16, "10000000000000000"),
        (1.2345678901234568e17, "123456789012345680"), (1e22, "10000000000000000000000"), (100.0, "100"), (0.30000000000000004,
        "0.30000000000000004"),
        (Decimal("3366.10"), "3366.10"), (Decimal("1E+3"), "1000"), (Decimal("1E-9"), "0.000000001"), (Decimal("0E-8"), "0.00000000"),
    ],
)  # fmt: skip
def test_shortest(number: Any, text: str) -> None:
    assert shortest(number) == text


@pytest.mark.parametrize(
    ("number", "step", "text"),
    [
        (45283.5, "0.1", "452835"), (0.1, "0.00000001", "10000000"), (1e-8, "0.00000001", "1"), (0.05, "0.00001", "5000"),
        (12.0, "1", "12"), (12.0, None, "12"), (1500.0, "1E+2", "1500"), (Decimal("0.1"), "0.00000001", "10000000"),
        (Decimal("45283.50"), "0.1", "452835"), (67108864.12345678, "0.00000001", "6710886412345678"),
    ],
)  # fmt: skip
def test_fixed(number: Any, step: str | None, text: str) -> None:
    assert fixed(number, None if step is None else Decimal(step)) == text


@given(st.integers(1, 10**15), st.integers(0, 8))
def test_floats_are_written_as_the_digits_they_came_from(units: int, decimals: int) -> None:
    """Up to 15 digits a float keeps what was written."""
    exact = Decimal(units).scaleb(-decimals)
    step = Decimal(1).scaleb(-decimals)
    assert fixed(float(exact), step) == fixed(exact, step) == str(units)
    trimmed = format(exact.normalize(), "f")
    assert shortest(float(exact)) == trimmed


@pytest.mark.parametrize(
    ("number", "text"),
    [(1.7e-7, "1.7e-7"), (1e-7, "1e-7"), (1e-6, "0.000001"), (123.0, "123"), (1e21, "1e+21"), (123456789012345680000.0,
     "123456789012345680000"),
     (-0.5, "-0.5"), (Decimal("1.70E-7"), "1.7e-7"), (Decimal("100.00"), "100")],
)  # fmt: skip
def test_as_javascript_writes_numbers(number: Any, text: str) -> None:
    assert javascript(number) == text


def test_asks_hashed_with_negative_sizes() -> None:
    crc = Crc32(25, "interleaved", javascript, ":", signed=True, negative_asks=True)
    value = zlib.crc32(b"100:2:101:-3")
    assert crc(book({"100": "2"}, {"101": "3"}, float), INSTRUMENT) == value - (1 << 32 if value >> 31 else 0)


@given(st.lists(st.floats(min_value=1e-12, max_value=1e25), min_size=1), st.sampled_from([shortest, javascript]))
def test_numbers_written_at_once_are_as_one_by_one(values: list[float], write: Any) -> None:
    crc = Crc32(25, "interleaved", write, ":")
    assert crc.text(values, INSTRUMENT) == ":".join(map(write, values)).encode()
    exact = [Decimal(repr(value)) for value in values]
    assert crc.text(exact, INSTRUMENT) == ":".join(map(write, exact)).encode()


def test_decimals_keep_their_noughts_and_exponents_are_spelled_out() -> None:
    numbers = list(map(Decimal, ("2.0", "1.50", "1E-9", "0E-8", "1E+3")))
    assert OKX.text(numbers, INSTRUMENT) == b"2.0:1.50:0.000000001:0.00000000:1000"
    assert OKX.text([2.0, 1.5, 1e-9, 10.05, 1e16, 10.0], INSTRUMENT) == b"2:1.5:0.000000001:10.05:10000000000000000:10"


@given(st.lists(st.tuples(st.integers(0, 10**17), st.integers(0, 10**17)), min_size=1))
def test_fixed_numbers_written_at_once_are_as_one_by_one(units: list[tuple[int, int]]) -> None:
    """Those that come to nothing and those of too many digits included."""
    for number in (float, Decimal):
        levels: Any = [(number(Decimal(p).scaleb(-5)), number(Decimal(s).scaleb(-8))) for p, s in units]
        text = "".join(fixed(p, INSTRUMENT.price_step) + fixed(s, INSTRUMENT.size_step) for p, s in levels)
        assert KRAKEN.text(list(chain(*levels)), INSTRUMENT) == text.encode()


@numbers
@pytest.mark.parametrize(("more", "text"), [(0, "9:1:11:1"), (2, "9:1:11:1:12:1:13:1"), (-2, "9:1:11:1:8:1:7:1")])
def test_the_longer_side_goes_on_alone(more: int, text: str, number: Any) -> None:
    bids = {str(9 - i): "1" for i in range(1 + max(0, -more))}
    asks = {str(11 + i): "1" for i in range(1 + max(0, more))}
    assert Crc32(3, "interleaved", shortest, ":")(book(bids, asks, number), INSTRUMENT) == zlib.crc32(text.encode())
