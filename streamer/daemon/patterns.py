"""Which streams a pattern means: ``binance:*/USDT``, ``*:BTC/USD*``, ``kraken:BTC/USD``. Pure.

Both parts are globs as a shell has them, split at the first colon, and upper and lower case differ. ``*`` of a symbol stands for any
characters, ``/`` and ``:`` too: ``binance:*/USDT`` is spot only, since swaps end in ``:USDT``.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from msgspec import Struct

from streamer.errors import BadSymbol, StreamerError, UnknownExchange, nearest
from streamer.symbols import parse, split
from streamer.types import Instrument


class Listed(Protocol):
    """The instruments of an exchange by symbol."""

    @property
    def by_symbol(self) -> Mapping[str, Instrument]: ...


class Pattern(Struct, frozen=True):
    """One pattern, taken apart."""

    exchange: str
    symbol: str

    @property
    def text(self) -> str:
        """As it is written."""
        return f"{self.exchange}:{self.symbol}"

    @property
    def literal(self) -> bool:
        """Does it name one stream, known without any list?"""
        return not _glob(self.exchange) and not _glob(self.symbol)

    def exchanges(self, known: Iterable[str]) -> list[str]:
        """The exchanges that it may be about."""
        return [e for e in known if fnmatchcase(e, self.exchange)] if _glob(self.exchange) else [self.exchange]

    def matches(self, exchange: str, symbol: str) -> bool:
        """Does it mean this stream?"""
        return fnmatchcase(exchange, self.exchange) and fnmatchcase(symbol, self.symbol)


def pattern(text: str, known: Sequence[str]) -> Pattern:
    """Take a pattern apart. Raises `BadSymbol` or `UnknownExchange` with the remedy."""
    found = Pattern(*split(text))
    if not _glob(found.symbol):
        parse(found.symbol)
    elif not text.isprintable() or any(c.isspace() for c in text):
        raise BadSymbol(f"{text!r} is not like binance:*/USDT")
    if not found.exchanges(known) or (not _glob(found.exchange) and found.exchange not in known):
        hint = nearest(found.exchange, known) or "; `streamer exchanges` lists them"
        raise UnknownExchange(f"there is no exchange {found.exchange!r}{hint}")
    return found


def problem(text: str, known: Sequence[str]) -> str | None:
    """What is wrong with a pattern, if anything is."""
    try:
        pattern(text, known)
    except StreamerError as e:
        return str(e)
    return None


def choose(match: Sequence[Pattern], exclude: Sequence[Pattern], exchange: str, listed: Listed) -> list[str]:
    """The symbols of an exchange that are meant. What is listed but not active is left out, however it is named; what is named in full
    and not listed is kept, so that it is told."""
    here = [p for p in match if fnmatchcase(exchange, p.exchange)]
    globs = [p.symbol for p in here if _glob(p.symbol)]
    by_symbol = listed.by_symbol
    found = dict.fromkeys(p.symbol for p in here if not _glob(p.symbol) and (p.literal or p.symbol in by_symbol))
    if globs:
        found |= dict.fromkeys(s for s in sorted(by_symbol) if any(fnmatchcase(s, g) for g in globs))
    active = [s for s in found if s not in by_symbol or by_symbol[s].active]
    return [s for s in active if not any(p.matches(exchange, s) for p in exclude)]


def _glob(text: str) -> bool:
    return any(c in text for c in "*?[")
