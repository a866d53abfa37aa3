"""Symbols: what is taken apart is put together again, and the safe form is one symbol's alone."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer import symbols
from streamer.errors import BadNumber, BadSymbol

word = st.text(st.characters(blacklist_categories=("C", "Z"), blacklist_characters="/:"), min_size=1, max_size=8)
plain_word = word.filter(lambda w: "-" not in w)
expiry = st.from_regex(r"[0-9]{6}", fullmatch=True).filter(str.isascii)
tails = st.one_of(
    st.just(()),
    st.tuples(plain_word),
    st.tuples(plain_word, expiry),
    st.tuples(plain_word, expiry, plain_word, st.sampled_from("CP")),
)


@given(word, word, tails)
def test_there_and_back(base: str, quote: str, tail: tuple[str, ...]) -> None:
    settle, expires, strike, option = (*tail, None, None, None, None)[:4]
    symbol = symbols.format(base, quote, settle, expires, strike, option)  # type: ignore[arg-type]
    parts = symbols.parse(symbol)
    assert (parts.base, parts.quote, parts.settle, parts.expiry, parts.strike, parts.option_type) == (
        base, quote, settle, expires, strike, option,
    )  # fmt: skip
    assert parts.kind == ("spot", "swap", "future", "", "option")[len(tail)]
    safe = symbols.safe(symbol)
    assert all(c.isascii() and (c.isalnum() or c in "-._") for c in safe)
    assert symbols.from_safe(safe) == symbol


@given(st.text(max_size=20) | st.text("ABab01-_./:2EF", max_size=12))
def test_no_text_is_the_safe_form_of_anything_but_its_symbol(text: str) -> None:
    try:
        symbol = symbols.from_safe(text)
    except BadSymbol:
        return
    assert symbols.safe(symbol) == text


@pytest.mark.parametrize(
    ("symbol", "safe"),
    [
        ("BTC/USDT", "BTC-USDT"),
        ("BTC/USD:BTC-240628", "BTC-USD_BTC-240628"),
        ("BTC/USD:BTC-240628-50000-C", "BTC-USD_BTC-240628-50000-C"),
        ("A-B/C_D", "A.2DB-C.5FD"),
        ("币/USDT", ".E5.B8.81-USDT"),
        ("BTC/USD:BTC-240628-0.5-P", "BTC-USD_BTC-240628-0.2E5-P"),
    ],
)
def test_the_documented_safe_form(symbol: str, safe: str) -> None:
    assert symbols.safe(symbol) == safe


@pytest.mark.parametrize(
    "symbol",
    ["", "BTC", "BTC/", "/USDT", "BTC/USDT:", "BTC USDT/X", "BTC/USDT\n", "BTC/USDT:USDT-2406", "BTC/USD:BTC-240628-50000",
     "BTC/USD:BTC-240628-50000-X", "BTC/USD:BTC-٢٤٠٦٢٨", "BTC\x1b[2J/USDT", "BTC\u202e/USDT", "\ud800/USDT", "BTC\x00/USDT"],
)  # fmt: skip
def test_what_is_no_symbol_is_refused(symbol: str) -> None:
    with pytest.raises(BadSymbol, match="is not like BTC/USDT"):
        symbols.parse(symbol)
    with pytest.raises(BadSymbol):
        symbols.safe(symbol)


@pytest.mark.parametrize("text", ["", "BTC", "BTC-USDT_", "btc.2dx-USDT", "BTC.41-USDT", ".FF-USDT", "BTC-USDT_A-1-2-C-X", "../x-y"])
def test_what_is_no_safe_form_is_refused(text: str) -> None:
    with pytest.raises(BadSymbol, match="is not the safe form"):
        symbols.from_safe(text)


def test_put_together_from_the_venues_facts() -> None:
    ns = 1719561600 * 10**9
    assert symbols.format("BTC", "USD", "BTC", ns) == "BTC/USD:BTC-240628"
    assert symbols.format("BTC", "USD", "BTC", ns, Decimal("5E+4"), "call") == "BTC/USD:BTC-240628-50000-C"
    assert symbols.format("BTC", "USD", "BTC", ns, Decimal("0.50"), "put") == "BTC/USD:BTC-240628-0.5-P"


@pytest.mark.parametrize("strike", ["1E+999999999", "1E-999999999", "nan", "Infinity", "1E+31"])
def test_a_strike_out_of_all_reason_is_refused_before_it_is_written_out(strike: str) -> None:
    with pytest.raises(BadNumber, match="is no strike"):
        symbols.plain(Decimal(strike))


@pytest.mark.parametrize("seconds", [10**12, 10**18, 10**20, 10**40])
def test_a_date_out_of_all_reason_is_an_error_that_handlers_may_raise(seconds: int) -> None:
    with pytest.raises((ValueError, OverflowError)):
        symbols.yymmdd(seconds * 10**9)


def test_streams_split_at_the_first_colon() -> None:
    assert symbols.split("okx:BTC/USDT:USDT") == ("okx", "BTC/USDT:USDT")
    for bad in ("okx", ":BTC/USDT", "okx:", ""):
        with pytest.raises(BadSymbol, match="is not exchange:symbol"):
            symbols.split(bad)
