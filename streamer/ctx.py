"""What a handler is given beside its message: a `Ctx`, with the instruments by the venue's ids and the number type in use."""

from collections.abc import Callable, Container
from decimal import Decimal
from typing import Any, Final, Generic

from streamer.errors import BadNumber
from streamer.types import KIND, Instrument, N

BOUND: Final = 1e30
"""No price, size or volume is larger."""
WHOLE: Final = 1 << 62
EVERYTHING: Final = frozenset[type](KIND)
"""All types of ticks."""


class UnknownId(KeyError):
    """The venue named an instrument that its list does not hold. Costs the frame, is counted, and makes the list be read again."""


class Symbols(dict[str, Instrument]):
    """The venue's raw id to the `Instrument`."""

    def __missing__(self, raw: str) -> Instrument:
        raise UnknownId(raw)


def bounded(text: Any) -> float:
    """`float`, without nan, inf and what is out of all reason, and without what only Python calls a number (1_000, full-width digits)."""
    number = float(text)
    if not -BOUND <= number <= BOUND or (text.__class__ is str and ("_" in text or not text.isascii())):
        raise BadNumber(f"{text!s:.40} is not a number within reason")
    return number


def exact(text: Any) -> Decimal:
    """`Decimal`, without what only Python calls a number. (Whether it is within reason is checked behind the handler, all at once.)"""
    if text.__class__ is str and ("_" in text or not text.isascii()):
        raise BadNumber(f"{text!s:.40} is not a number")
    return Decimal(text)


def whole(number: Any) -> int:
    """An integer (a time, an id), as text or among numbers of the chosen type. Checked first: making one of Decimal("1e999999999") takes
    for ever."""
    if number.__class__ is str:
        number = int(number)  # which takes no more than 4300 digits
    if not -WHOLE <= number <= WHOLE:
        raise BadNumber(f"{number!s:.40} is no integer within reason")
    return int(number)


class Ctx(Generic[N]):
    """All that a handler may see besides the message.

    `exchange`; `market` of the connection; `ts_recv` (ns) of the frame; `sym` from the venue's raw id to the `Instrument` (an id
    that is not there raises `UnknownId`); `num`, which makes a number of the chosen type out of text; `mem`, free for the handlers of this
    connection and thrown away with it; `wanted`, the types of ticks that somebody takes from this connection. A handler that makes several
    of one message need not make the others (if it does, the hub leaves them).
    """

    __slots__ = ("exchange", "market", "mem", "num", "sym", "ts_recv", "wanted")

    def __init__(self, exchange: str, market: str, sym: Symbols, num: Callable[[Any], N]) -> None:
        self.exchange = exchange
        self.market = market
        self.sym = sym
        strict: Any = bounded if num is float else exact if num is Decimal else num
        self.num: Callable[[Any], N] = strict
        self.mem: dict[Any, Any] = {}
        self.ts_recv = 0
        self.wanted: Container[type] = EVERYTHING
