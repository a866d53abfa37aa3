"""A venue's instruments: loaded on first use, cached on disk, refreshed hourly and after an unknown id."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from streamer.decode import HANDLER_ERRORS, plain, rest
from streamer.disk import put
from streamer.errors import BadFrame, IoFailure, UnknownSymbol, nearest
from streamer.gates import Gates
from streamer.io import Io
from streamer.spec import Ctx, Feed, Symbols
from streamer.types import Instrument

log = logging.getLogger(__name__)

FRESH_NS = 3600 * 1_000_000_000
MOST_PAGES = 100
_ENCODE = msgspec.json.Encoder(decimal_format="string").encode


def parse_instruments(feed: Feed, body: bytes, ts_recv: int) -> list[Instrument]:
    """The instruments in one REST answer of this feed. Raises `BadFrame`."""
    ctx: Ctx[Any] = Ctx(feed.name, "", Symbols(), Decimal)
    ctx.ts_recv = ts_recv
    return list(rest(feed.instruments.parse, Decimal)(body, ctx))


class Catalog:
    """`by_symbol` holds every instrument; `gone` those of them that the venue lists no more; `tables` the venue's raw ids, one table a
    market because an id may mean two things."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.by_symbol: dict[str, Instrument] = {}
        self.gone: frozenset[str] = frozenset()
        self.tables: dict[str, Symbols] = {market: Symbols() for market in feed.endpoints}

    def update(self, instruments: Iterable[Instrument], whole: bool = True) -> list[Instrument]:
        """Take a list. What is new or changed is given back; what is not listed any more comes back once, inactive (if it is `whole`)."""
        new = {i.symbol: i for i in instruments}
        self.gone = frozenset(self.by_symbol if whole else self.gone).difference(new)
        changed = [i for s, i in new.items() if (old := self.by_symbol.get(s)) is None or _facts(old) != _facts(i)]
        for symbol, old in self.by_symbol.items():
            if whole and symbol not in new and old.active:
                gone = msgspec.structs.replace(old, active=False)
                new[symbol] = gone
                changed.append(gone)
        self.by_symbol.update(new)
        for instrument in changed:
            self._table(instrument)
        return changed

    def _table(self, instrument: Instrument) -> None:
        for market in {self.feed.market_of(instrument, kind) for _, kind in self.feed.topics} - {""}:
            if instrument.active or instrument.id not in self.tables[market]:
                self.tables[market][instrument.id] = instrument

    def find(self, symbol: str) -> Instrument:
        """The instrument, or `UnknownSymbol` with the nearest names."""
        found = self.by_symbol.get(symbol)
        if found is None:
            raise UnknownSymbol(f"{self.feed.name} lists no {symbol!r}{nearest(symbol, self.by_symbol)}")
        return found


def _facts(instrument: Instrument) -> Instrument:
    return msgspec.structs.replace(instrument, ts_event=None, ts_recv=0)


async def fetch_instruments(feed: Feed, gates: Gates, io: Io) -> tuple[list[Instrument], bool]:
    """The instruments of a venue, and whether these are all: one list of several failing costs its own. All failing raises the last
    `IoFailure`."""
    found: list[Instrument] = []
    failures: list[IoFailure | BadFrame] = []
    for first in feed.instruments.urls:
        try:
            async for body in _pages(feed, gates, first):
                found += await asyncio.to_thread(parse_instruments, feed, body, io.now())
        except (IoFailure, BadFrame) as e:
            failures.append(e)
    if not found and failures:
        last = failures[-1]
        raise last if isinstance(last, IoFailure) else IoFailure(str(last), "bad_answer")
    for failure in failures:
        log.warning("%s: one list of instruments of several: %s", feed.name, failure)
    return found, not failures and bool(found)  # an empty list would take every instrument away


async def _pages(feed: Feed, gates: Gates, url: str | None) -> AsyncIterator[bytes]:
    """The answers of one list, page by page. Raises `BadFrame` when an answer does not say where the next is."""
    for _ in range(MOST_PAGES):
        if url is None:
            return
        body = await gates.fetch("GET", url)
        yield body
        url = None if feed.instruments.more is None else await asyncio.to_thread(_next, feed, body, url)
    if url is None:
        return
    log.warning("%s: its list of instruments goes on after %d pages; the rest is left out", feed.name, MOST_PAGES)


def _next(feed: Feed, body: bytes, url: str) -> str | None:
    try:
        return feed.instruments.more(plain(body), url) if feed.instruments.more is not None else None
    except HANDLER_ERRORS as e:
        raise BadFrame(f"{url}: no next page found: {type(e).__name__}: {e}", "shape") from None


class Cache:
    """Instrument lists on disk, one file a venue. `folder` None: no cache."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def read(self, exchange: str, not_before: int) -> list[Instrument]:
        """The list written at `not_before` (ns) or later, else nothing. A file that cannot be read counts as none."""
        if self.folder is None:
            return []
        try:
            found = msgspec.json.decode((self.folder / f"{exchange}.json").read_bytes(), type=list[Instrument])
        except (OSError, ValueError, RecursionError):  # msgspec's errors and those of decoding text are ValueErrors
            return []
        return found if found and found[0].ts_recv >= not_before else []

    def write(self, exchange: str, instruments: list[Instrument]) -> None:
        """Keep the list; a disk that refuses is only noted."""
        if self.folder is None or not instruments:
            return
        path = self.folder / f"{exchange}.json"
        try:
            put(path, _ENCODE(instruments))
        except OSError as e:
            log.warning("instrument cache %s cannot be written: %s", path, e)


def summary(counts: Mapping[str, int]) -> str:
    """`a 3, b 1`: counts as text, most first."""
    return ", ".join(f"{k} {v}" for k, v in sorted(counts.items(), key=lambda kv: (-kv[1], kv[0])))
