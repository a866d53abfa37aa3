"""Order book checksums: one CRC32, with the venue's way of writing a level as its parameters.

A checksum is computed over text, so it needs the digits that the venue wrote. `numbers="decimal"` keeps them; from floats they are
written back either with the instrument's fixed number of decimals (`fixed`, kraken), as the shortest form (`shortest`, okx), or as
JavaScript writes them (`javascript`, bitfinex).
"""

import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from streamer.book import Book
from streamer.types import Instrument, Level

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
    exponent = step.as_tuple().exponent if step is not None else 0
    decimals = -exponent if isinstance(exponent, int) and exponent < 0 else 0
    return f"{number:.{decimals}f}".replace(".", "").lstrip("0")


def javascript(number: float | Decimal, step: Decimal | None = None) -> str:
    """The shortest digits of the float, plain from 0.000001 up to 1e21, else like `1.7e-7`: what `String(number)` gives. Bitfinex.

    A Decimal off such a wire is some float's shortest form, so it comes to the same.
    """
    text = repr(float(number))
    digits, e, exponent = text.partition("e")
    if not e:
        return text.removesuffix(".0")
    return format(Decimal(text), "f") if -7 < int(exponent) < 21 else f"{digits}e{int(exponent):+d}"


MAX_KNOWN = 2_000
"""Texts of levels that are remembered for a book."""


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

    def __call__(self, book: Book[Any], instrument: Instrument, known: dict[Level[Any], str] | None = None) -> int:
        """The checksum of `book` now. `known`: the texts of levels that were hashed before, of this book and with these steps; most of a
        book is as it was."""
        bids, asks = book.bids.top(self.depth), book.asks.top(self.depth)
        if self.negative_asks:
            asks = [(price, -size) for price, size in asks]
        levels = asks + bids if self.order == "asks_bids" else list(_interleave(bids, asks))
        crc = zlib.crc32(self.text(levels, instrument, known).encode())
        return crc - (1 << 32) if self.signed and crc >> 31 else crc

    def text(self, levels: Sequence[Level[Any]], instrument: Instrument, known: dict[Level[Any], str] | None = None) -> str:
        """What is hashed."""
        write, price_step, size_step, separator = self.write, instrument.price_step, instrument.size_step, self.separator
        if known is None or not levels or levels[0][0].__class__ is not float:  # equal Decimals may be of different digits
            known = {}
        elif len(known) > MAX_KNOWN:
            known.clear()
        for level in levels:
            if level not in known:
                known[level] = f"{write(level[0], price_step)}{separator}{write(level[1], size_step)}"
        return separator.join([known[level] for level in levels])


def _interleave(bids: list[Level[Any]], asks: list[Level[Any]]) -> list[Level[Any]]:
    both = [level for pair in zip(bids, asks, strict=False) for level in pair]
    n = min(len(bids), len(asks))
    return both + bids[n:] + asks[n:]
