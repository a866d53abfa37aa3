"""Symbols in ccxt's grammar, and a stream's name ``exchange:symbol``.

    BTC/USDT                     spot
    BTC/USDT:USDT                perpetual, settled in USDT (linear)
    BTC/USD:BTC                  perpetual, settled in BTC (inverse)
    BTC/USD:BTC-240628           future, expiring 2024-06-28
    BTC/USD:BTC-240628-50000-C   option, strike 50000, call

The safe form is for file, topic and metric names: letters, digits, `-`, `.` and `_` only. `/` becomes `-`, `:` becomes `_`, and in the
parts any other character, `-`, `_` and `.` included, is written `.XX` (hexadecimal of its UTF-8 bytes). `-` inside the tail after the
settle currency is a separator and stays. It is a bijection: `from_safe(safe(s)) == s`.
"""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from streamer.errors import BadNumber, BadSymbol
from streamer.times import EPOCH

_GRAMMAR = re.compile(
    r"(?P<base>[^\s/:]+)/(?P<quote>[^\s/:]+)(?::(?P<settle>[^\s/:-]+)(?:-(?P<expiry>[0-9]{6})(?:-(?P<strike>[^\s/:-]+)-(?P<type>[CP]))?)?)?"
)
MOST_DIGITS = 30
"""Before or behind the point of a strike."""


class Parts(Struct, frozen=True):
    """A symbol taken apart. `expiry` is ccxt's YYMMDD."""

    base: str
    quote: str
    settle: str | None = None
    expiry: str | None = None
    strike: str | None = None
    option_type: Literal["C", "P"] | None = None

    @property
    def kind(self) -> Literal["spot", "swap", "future", "option"]:
        """What the grammar says it is."""
        if self.settle is None:
            return "spot"
        return "swap" if self.expiry is None else "future" if self.strike is None else "option"


def parse(symbol: str) -> Parts:
    """Take a symbol apart. Raises `BadSymbol` naming the symbol and the grammar."""
    m = _GRAMMAR.fullmatch(symbol)
    if m is None or not symbol.isprintable():  # no control or bidi characters, which could forge a log line; no lone surrogates
        raise BadSymbol(f"symbol {symbol!r} is not like BTC/USDT, BTC/USDT:USDT, BTC/USD:BTC-240628 or BTC/USD:BTC-240628-50000-C")
    option_type: Literal["C", "P"] | None = "C" if m["type"] == "C" else "P" if m["type"] == "P" else None
    return Parts(m["base"], m["quote"], m["settle"], m["expiry"], m["strike"], option_type)


def format(
    base: str,
    quote: str,
    settle: str | None = None,
    expiry: int | str | None = None,
    strike: Decimal | str | None = None,
    option_type: Literal["call", "put", "C", "P"] | None = None,
) -> str:
    """Put a symbol together. `expiry` in ns, or YYMMDD; `strike` as a number or its text."""
    symbol = f"{base}/{quote}"
    if settle is None:
        return symbol
    symbol += f":{settle}"
    if expiry is not None:
        symbol += f"-{expiry if isinstance(expiry, str) else yymmdd(expiry)}"
    if strike is not None and option_type is not None:
        symbol += f"-{strike if isinstance(strike, str) else plain(strike)}-{option_type[0].upper()}"
    return symbol


def plain(number: Decimal) -> str:
    """A strike as ccxt writes it: no exponent, no trailing zeros. Raises `BadNumber`: 1E+999999999 written out is a gigabyte."""
    if not number.is_finite() or not -MOST_DIGITS <= number.adjusted() <= MOST_DIGITS:
        raise BadNumber(f"{number!s:.40} is no strike")
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def yymmdd(ns: int) -> str:
    """The UTC date of a time in ns. Raises `ValueError` or `OverflowError` beyond the year 9999."""
    return (EPOCH + timedelta(seconds=ns // 1_000_000_000)).strftime("%y%m%d")


def split(stream: str) -> tuple[str, str]:
    """`exchange:symbol` at its first colon. Raises `BadSymbol` when there is none."""
    exchange, colon, symbol = stream.partition(":")
    if not colon or not exchange or not symbol:
        raise BadSymbol(f"stream {stream!r} is not exchange:symbol, like binance:BTC/USDT")
    return exchange, symbol


def _escape(part: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "".join(f".{b:02X}" for b in c.encode()) for c in part)


def _unescape(part: str) -> str:
    raw = re.sub(rb"\.([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), part.encode())
    return raw.decode()


def safe(symbol: str) -> str:
    """The symbol's file- and topic-safe form: `BTC/USD:BTC-240628` is `BTC-USD_BTC-240628`."""
    p = parse(symbol)
    head = f"{_escape(p.base)}-{_escape(p.quote)}"
    tail = [_escape(t) for t in (p.settle, p.expiry, p.strike, p.option_type) if t is not None]
    return f"{head}_{'-'.join(tail)}" if tail else head


def from_safe(text: str) -> str:
    """Back from `safe`. Raises `BadSymbol`."""
    try:
        head, _, tail = text.partition("_")
        base, quote = head.split("-")
        parts = [_unescape(t) for t in tail.split("-")] if tail else []
        settle, expiry, strike, option_type = (parts + [None] * 4)[:4]
        symbol = format(_unescape(base), _unescape(quote), settle, expiry, strike, option_type)  # type: ignore[arg-type]
        parse(symbol)
    except (ValueError, BadSymbol):
        symbol = ""
    if not symbol or safe(symbol) != text:
        raise BadSymbol(f"{text!r} is not the safe form of a symbol")
    return symbol
