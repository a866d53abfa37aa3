"""Order book checksums: one CRC32, with the venue's way of writing a level as its parameters.

A checksum is computed over text, so it needs the digits that the venue wrote. `numbers="decimal"` keeps them; from floats they are
written back either with the instrument's fixed number of decimals (`fixed`, kraken), as the shortest form (`shortest`, okx), or as
JavaScript writes them (`javascript`, bitfinex).
"""

import zlib
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from itertools import cycle
from operator import mul, neg
from typing import Any, Final, Literal, TypeAlias

import msgspec
import orjson
from msgspec import Struct

from streamer.book import Book
from streamer.types import Instrument

Write: TypeAlias = Callable[[Any, Decimal | None], str]
"""A number and its step (the instrument's price or size step) to the text that the venue hashes."""


def shortest(number: float | Decimal, step: Decimal | None = None) -> str:
    """The plain decimal form without exponent: a Decimal's own digits, a float's shortest ones without a trailing `.0`."""
    if isinstance(number, Decimal):
        return format(number, "f")
    text = repr(number)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text[:-2] if text.endswith(".0") else text


def fixed(number: float | Decimal, step: Decimal | None) -> str:
    """With exactly the decimals of `step`, the point taken out and leading zeros stripped: Kraken's way."""
    return f"{number:.{_decimals(step)}f}".replace(".", "").lstrip("0")


def _decimals(step: Decimal | None) -> int:
    exponent = step.as_tuple().exponent if step is not None else 0
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def javascript(number: float | Decimal, step: Decimal | None = None) -> str:
    """The shortest digits of the float, plain from 0.000001 up to 1e21, else like `1.7e-7`: what `String(number)` gives. Bitfinex.

    A Decimal off such a wire is some float's shortest form, so it comes to the same.
    """
    text = repr(float(number))
    digits, e, exponent = text.partition("e")
    if not e:
        return text.removesuffix(".0")
    return format(Decimal(text), "f") if -7 < int(exponent) < 21 else f"{digits}e{int(exponent):+d}"


AS_NUMBERS: Final = msgspec.json.Encoder(decimal_format="number").encode
EXACT: Final = 2**51
"""Below it, a float of no more decimals than `step` times 10 to their number is off by less than a half."""


def _plain(write: Write, numbers: list[Any]) -> bytes:
    """`shortest` or `javascript` of them all, between commas. Encoders of JSON write the same digits twenty times faster than Python does,
    but for the `.0` of whole floats and for exponents."""
    if numbers[0].__class__ is not float and write is javascript:
        numbers = list(map(float, numbers))
    if numbers[0].__class__ is float:
        text = orjson.dumps(numbers).replace(b"]", b",").replace(b".0,", b",")[1:-1]
    else:
        text = AS_NUMBERS(numbers)[1:-1].lower()
    if b"e" in text:
        return ",".join([_spelled(write, word) if "e" in word else word for word in text.decode().split(",")]).encode()
    return text


@lru_cache(4096)
def _spelled(write: Write, word: str) -> str:
    return write(Decimal(word), None)


def _integers(numbers: list[Any], steps: tuple[Decimal | None, Decimal | None]) -> bytes | None:
    """`fixed` of them all, between commas: floats as integers. None for what is none, or so large that it might be another."""
    if numbers[0].__class__ is not float:
        return None
    units = list(map(round, map(mul, numbers, cycle([10.0 ** _decimals(step) for step in steps]))))
    return orjson.dumps(units)[1:-1] if min(units) > 0 and max(units) < EXACT else None


class Crc32(Struct, frozen=True):
    """A CRC32 over the top `depth` levels.

    `order`: `asks_bids` hashes all asks, then all bids, each best first; `interleaved` bid, ask, bid, ask ... and goes on with the
    longer side alone. `separator` joins all fields (price, size, price, ...). `signed` reads the result as int32. `negative_asks`: asks are
    hashed with negative sizes.
    """

    depth: int
    order: Literal["asks_bids", "interleaved"]
    write: Write
    separator: str = ""
    signed: bool = False
    negative_asks: bool = False

    def __call__(self, book: Book[Any], instrument: Instrument) -> int:
        """The checksum of `book` now. (To write all levels anew costs less than to find those that changed.)"""
        bids, asks = book.bids.prices(self.depth), book.asks.prices(self.depth)
        bid_sizes, ask_sizes = list(map(book.bids.sizes.__getitem__, bids)), list(map(book.asks.sizes.__getitem__, asks))
        if self.negative_asks:
            ask_sizes = list(map(neg, ask_sizes))
        if self.order == "asks_bids":
            numbers = _rows(asks, ask_sizes) + _rows(bids, bid_sizes)
        elif len(bids) == len(asks):
            numbers = _rows(bids, bid_sizes, asks, ask_sizes)
        else:
            n = min(len(bids), len(asks))
            longer = _rows(bids[n:], bid_sizes[n:]) + _rows(asks[n:], ask_sizes[n:])
            numbers = _rows(bids[:n], bid_sizes[:n], asks[:n], ask_sizes[:n]) + longer
        crc = zlib.crc32(self.text(numbers, instrument))
        return crc - (1 << 32) if self.signed and crc >> 31 else crc

    def text(self, numbers: list[Any], instrument: Instrument) -> bytes:
        """What is hashed: these prices and sizes, in turn."""
        write, steps, separator = self.write, (instrument.price_step, instrument.size_step), self.separator
        if not numbers:
            return b""
        text = _integers(numbers, steps) if write is fixed else _plain(write, numbers)
        if text is not None:
            return text.replace(b",", separator.encode())
        return separator.join([write(number, step) for number, step in zip(numbers, cycle(steps), strict=False)]).encode()


def _rows(*columns: list[Any]) -> list[Any]:
    """A number of each column, again and again. By slices, which C fills."""
    width = len(columns)
    numbers = columns[0] * width
    for i, column in enumerate(columns):
        numbers[i::width] = column
    return numbers
