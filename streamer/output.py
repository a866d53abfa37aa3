"""Ticks as text: ndjson (one JSON object a line, `type` first), csv, and pretty lines for people.

CSV has one header line, fixed before the first row: the columns of the one kind asked for, or the union of several in the order of
`KINDS`. A book is one row for each level: `side` is bid or ask, `seq` the venue's number after it, size 0 removes. The rows of one
message share `ts_recv` and `seq`; those of a book_snapshot together replace the book; a message without levels is a row without `side`.
`Gap`, `Status` and `Instrument` have no columns: the caller tells them elsewhere (`aside`).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, TypeAlias

from streamer.checksum import shortest
from streamer.encode import encode, encode_lines
from streamer.types import (
    KIND,
    KINDS,
    BookDelta,
    BookSnapshot,
    BookStale,
    Candle,
    Gap,
    Instrument,
    Kind,
    Liquidation,
    Quote,
    Status,
    Tick,
    Trade,
)

Format: TypeAlias = Literal["ndjson", "csv", "pretty"]
FORMATS: Final[tuple[Format, ...]] = ("ndjson", "csv", "pretty")
COMMON: Final = ("type", "exchange", "symbol", "ts_event", "ts_recv")
BOOK_COLUMNS: Final = ("side", "price", "size", "seq", "first", "prev", "reason")


class Formatter(Protocol):
    """Turns ticks into bytes, each line ended."""

    def head(self) -> bytes:
        """What stands before the first tick."""

    def lines(self, ticks: Sequence[Tick[Any]]) -> bytes:
        """These ticks."""

    def aside(self, tick: Tick[Any]) -> bool:
        """This tick has no place in the format; `lines` leaves it out."""


def formatter(format: Format, kinds: Iterable[Kind] = KINDS, *, color: bool = False) -> Formatter:
    """The formatter of that name. `kinds` decide the columns of csv."""
    return Csv(kinds) if format == "csv" else Pretty(color) if format == "pretty" else Ndjson()


class Ndjson:
    """One JSON object a line. Decimals are written as numbers, with the digits they came with."""

    def head(self) -> bytes:
        return b""

    def aside(self, tick: Tick[Any]) -> bool:
        return False

    def lines(self, ticks: Sequence[Tick[Any]]) -> bytes:
        return encode_lines(ticks)


def columns(kinds: Iterable[Kind]) -> tuple[str, ...]:
    """The columns of csv for these kinds."""
    wanted = set(kinds)
    names = list(COMMON)
    for type_, kind in KIND.items():
        if kind in wanted:
            names += BOOK_COLUMNS if kind == "book" else type_.__struct_fields__[4:]
    return tuple(dict.fromkeys(names))


class Csv:
    """Comma-separated, RFC 4180 quotes where needed, lines ended by a newline. None is an empty field."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self.columns = columns(kinds)
        self._has = set(self.columns)

    def head(self) -> bytes:
        return ",".join(self.columns).encode() + b"\n"

    def aside(self, tick: Tick[Any]) -> bool:
        return tick.__class__ not in KIND

    def lines(self, ticks: Sequence[Tick[Any]]) -> bytes:
        rows = [self._row(values) for tick in ticks if not self.aside(tick) for values in _rows(tick)]
        return "".join(rows).encode()

    def _row(self, values: dict[str, Any]) -> str:
        return ",".join(_cell(values.get(c)) for c in self.columns) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if value.__class__ is str:
        return '"' + value.replace('"', '""') + '"' if any(c in value for c in ',"\r\n') else value
    return encode(value).decode()


def _rows(tick: Tick[Any]) -> list[dict[str, Any]]:
    base = {"type": tag(tick)} | {f: getattr(tick, f) for f in tick.__struct_fields__ if f not in ("bids", "asks")}
    if not isinstance(tick, BookSnapshot | BookDelta):
        return [base]
    base["seq"] = tick.seq if isinstance(tick, BookSnapshot) else tick.last
    base.pop("last", None)
    levels = [("bid", level) for level in tick.bids] + [("ask", level) for level in tick.asks]
    return [base | {"side": side, "price": price, "size": size} for side, (price, size) in levels] or [base]


RED, GREEN, DIM, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[0m"


class Pretty:
    """``12:34:56.789 exchange symbol type what``, aligned; every line names its exchange."""

    def __init__(self, color: bool = False) -> None:
        self._color = color

    def head(self) -> bytes:
        return b""

    def aside(self, tick: Tick[Any]) -> bool:
        return False

    def lines(self, ticks: Sequence[Tick[Any]]) -> bytes:
        return "".join([self._line(tick) for tick in ticks]).encode()

    def _line(self, tick: Tick[Any]) -> str:
        head = f"{clock(tick.ts_recv)} {tick.exchange:<10} {tick.symbol:<14} {tag(tick):<13} "
        text = _SAY.get(tick.__class__, _fields)(tick)
        if not text.isprintable():  # a venue's words go to somebody's terminal
            text = "".join(c if c.isprintable() else "?" for c in text)
        color = _tone(tick) if self._color else ""
        return f"{head}{color}{text}{PLAIN if color else ''}\n"


def tag(tick: Tick[Any]) -> str:
    """The name of its type, as in JSON."""
    name = tick.__struct_config__.tag
    return name if isinstance(name, str) else tick.__class__.__name__


def clock(ns: int) -> str:
    """HH:MM:SS.mmm, UTC."""
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%H:%M:%S.%f")[:-3]


def number(value: Any) -> str:
    """A number as people write it: all its digits, no exponent; `-` for None."""
    return "-" if value is None else str(value) if isinstance(value, int) else shortest(value)


def _tone(tick: Tick[Any]) -> str:
    if isinstance(tick, BookStale | Gap):
        return RED
    if isinstance(tick, Status):
        return RED if tick.state in ("stale", "down", "rejected") else GREEN
    if isinstance(tick, Trade | Liquidation) and tick.side:
        return GREEN if tick.side == "buy" else RED
    return DIM if isinstance(tick, BookDelta) else ""


def _trade(t: Any) -> str:
    return f"{t.side or '?':<4} {number(t.size)} @ {number(t.price)}"


def _snapshot(t: BookSnapshot[Any]) -> str:
    return f"{len(t.bids)} bids, {len(t.asks)} asks; {_best(t.bids)} / {_best(t.asks)}"


def _best(levels: Sequence[Any]) -> str:
    return f"{number(levels[0][0])} x {number(levels[0][1])}" if levels else "-"


def _delta(t: BookDelta[Any]) -> str:
    sides = (("bid", t.bids), ("ask", t.asks))
    shown = [f"{side} {number(price)} x {number(size)}" for side, levels in sides for price, size in levels[:2]]
    more = max(0, len(t.bids) - 2) + max(0, len(t.asks) - 2)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _quote(t: Quote[Any]) -> str:
    return f"{number(t.bid)} x {number(t.bid_size)} / {number(t.ask)} x {number(t.ask_size)}"


def _candle(t: Candle[Any]) -> str:
    prices = " ".join(f"{name}={number(value)}" for name, value in zip("OHLC", (t.open, t.high, t.low, t.close), strict=True))
    return f"{t.interval} {clock(t.ts_open)} {prices} volume={number(t.volume)}{' closed' if t.closed else ''}"


def _stale(t: BookStale[Any]) -> str:
    return f"STALE: {t.reason}; do not trust this book"


def _status(t: Status[Any]) -> str:
    return f"{t.channel} {t.state}{f': {t.reason}' if t.reason else ''}"


def _fields(t: Any) -> str:
    named = ((name, getattr(t, name)) for name in t.__struct_fields__[4:])
    return " ".join(f"{name}={value if isinstance(value, str | bool) else number(value)}" for name, value in named if value is not None)


def _instrument(t: Instrument) -> str:
    return f"{t.id} {t.kind}{'' if t.active else ' inactive'}"


_SAY: Final[dict[type[Any], Callable[[Any], str]]] = {
    Trade: _trade,
    Liquidation: _trade,
    BookSnapshot: _snapshot,
    BookDelta: _delta,
    BookStale: _stale,
    Quote: _quote,
    Candle: _candle,
    Status: _status,
    Instrument: _instrument,
}
