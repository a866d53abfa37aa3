"""Ticks as JSON."""

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streamer.encode import encode, encode_lines
from streamer.types import BookDelta, Trade


def test_type_first_and_digits_as_they_came() -> None:
    trade = Trade("binance", "BTC/USDT", None, 1, Decimal("67000.10"), Decimal("0E-8"), "buy", 'a"1E-8,')
    assert encode(trade) == (
        b'{"type":"trade","exchange":"binance","symbol":"BTC/USDT","ts_event":null,"ts_recv":1,'
        b'"price":67000.10,"size":0.00000000,"side":"buy","id":"a\\"1E-8,"}'
    )


def test_lines_of_levels() -> None:
    delta = BookDelta("x", "A/B", 5, 6, [(Decimal("1E-10"), Decimal("0.00"))], [(Decimal("1E+2"), Decimal(7))], 1, 2)
    assert encode_lines([delta]).endswith(b'"bids":[[0.0000000001,0.00]],"asks":[[100,7]],"first":1,"last":2,"prev":null}\n')


@given(st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(lambda d: abs(d.adjusted()) < 300), st.text())
def test_any_number_is_read_back_with_its_digits(number: Decimal, text: str) -> None:
    line = encode(Trade("x", "A/B", None, 1, number, Decimal(1), None, text))
    back = msgspec.json.decode(line, type=Trade[Decimal])
    assert back.price == number
    assert back.id == text
    if number.as_tuple().exponent <= 0:  # type: ignore[operator]
        assert back.price.as_tuple() == number.as_tuple()
