"""A probe of an exchange: subscribe one liquid instrument of each sort to all that is declared, listen, and say what came.

It sees what any subscriber sees: ticks, their health in-band, and `Streamer.stats`.
"""

import asyncio
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from streamer import doubts, registry
from streamer.declaration import prove
from streamer.errors import UnknownSymbol, nearest
from streamer.spec import Feed, FromStream, Poll
from streamer.types import KIND, BookDelta, BookSnapshot, BookStale, Gap, Instrument, Kind, Quote, Status
from streamer.verdict import Book, Report, Seen, Skew, judge, of_stream

if TYPE_CHECKING:
    from streamer.streamer import Streamer

BASES = ("BTC", "ETH")
QUOTES = ("USDT", "USD", "USDC", "EUR", "JPY", "KRW", "AUD", "GBP", "TRY", "BRL", "INR", "CAD", "SGD", "IDR", "THB", "MXN", "ZAR")
"""The most traded first. The one in which an exchange lists most goes before them: it is what its customers pay with."""
PATIENCE_S = 20.0
"""An exchange of which nothing at all came for so long is not reachable."""
MOST_SKEWS = 100_000
SAMPLE_CHARS = 200
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
CLOSING_NS = 5_000_000_000
"""So long after its end a candle may come."""


# what is probed


def reach(feed: Feed, instrument: Instrument) -> tuple[tuple[str, Kind], ...]:
    """The (market, kind) that are declared and that this instrument has."""
    plans = ((feed.market_of(instrument, kind), kind) for kind in feed.kinds())
    return tuple(plan for plan in plans if plan in feed.topics)


def choose(feed: Feed, instruments: Iterable[Instrument]) -> list[Instrument]:
    """One liquid active instrument of each sort: kind, linear or inverse, and what is declared for it."""
    sorts: dict[object, list[Instrument]] = {}
    for instrument in instruments:
        has = reach(feed, instrument)
        if instrument.active and has:
            sorts.setdefault((instrument.kind, instrument.settle == instrument.base, has), []).append(instrument)
    return [most_liquid(alike) for alike in sorts.values()]


def most_liquid(instruments: Sequence[Instrument]) -> Instrument:
    """The one that is likely to be traded most: by its currencies, then the next to expire, of its options a call in the middle of the
    strikes, which is where the price is."""
    often = Counter(i.quote for i in instruments)
    ranks = {i.symbol: _rank(i, often[i.quote]) for i in instruments}
    first = min(instruments, key=lambda i: ranks[i.symbol])
    if first.strike is None:
        return first
    calls = [i for i in instruments if ranks[i.symbol] == ranks[first.symbol] and i.option_type == "call"] or [first]
    return sorted(calls, key=lambda i: (i.strike or 0, i.symbol))[len(calls) // 2]


def _rank(i: Instrument, often: int) -> tuple[Any, ...]:
    base, quote, settle = (
        names.index(name) if name in names else len(names) for names, name in ((BASES, i.base), (QUOTES, i.quote), (QUOTES, i.settle))
    )
    return base, -often, quote, settle, i.expiry or 0, "" if i.strike is not None else i.symbol


def find(exchange: str, instruments: Sequence[Instrument], symbol: str) -> Instrument:
    """The instrument, by its symbol or by the exchange's own id. Raises `UnknownSymbol` with the nearest names."""
    found = next((i for i in instruments if i.symbol == symbol), None) or next((i for i in instruments if i.id == symbol), None)
    if found is None:
        raise UnknownSymbol(f"{exchange} lists no {symbol!r}{nearest(symbol, [i.symbol for i in instruments])}")
    return found


# what came


class Heard:
    """What came of one stream."""

    def __init__(self, instrument: Instrument, kind: Kind) -> None:
        self.instrument = instrument
        self.kind = kind
        self.state, self.reason = "connecting", None
        self.count = self.snapshots = self.numbered = self.one_sided = 0
        self.first: float | None = None
        self.live: float | None = None
        self.ts_live = self.ts_last = 0
        self.lost, self.gaps, self.stale = Counter[str](), Counter[str](), Counter[str]()
        self.skews: list[int] = []

    def take(self, tick: Any, at: float) -> None:
        """A tick of this stream that came `at` so many seconds from the beginning."""
        if isinstance(tick, Status):
            self._status(tick, at)
        elif isinstance(tick, Gap):
            self.gaps[tick.cause] += 1
        elif isinstance(tick, BookStale):
            self.stale[tick.reason] += 1
        else:
            self._data(tick, at)

    def _status(self, tick: Any, at: float) -> None:
        self.state, self.reason = tick.state, tick.reason
        if tick.state == "live":
            self._begins(tick, at)
        elif self.live is not None:
            self.lost[tick.reason or tick.state] += 1

    def _begins(self, tick: Any, at: float) -> None:
        if self.live is None:
            self.live, self.ts_live = at, tick.ts_recv

    def _data(self, tick: Any, at: float) -> None:
        self._begins(tick, at)
        if self.first is None:
            self.first = at
        self.count += 1
        self.ts_last = tick.ts_recv
        if tick.ts_event is not None and len(self.skews) < MOST_SKEWS:
            self.skews.append(tick.ts_recv - tick.ts_event)
        if isinstance(tick, BookSnapshot):
            self.snapshots += 1
        elif isinstance(tick, BookDelta):
            self.numbered += tick.last is not None
        elif isinstance(tick, Quote):
            self.one_sided += tick.bid is None or tick.ask is None


class Probe:
    """One probe of a feed with a running `Streamer` that has no other subscribers. `begun` is told what it subscribes to."""

    def __init__(self, s: "Streamer", feed: Feed, begun: Callable[[Sequence[Instrument]], None]) -> None:
        self._s = s
        self._feed = feed
        self._begun = begun
        self._interval = "1m" if "1m" in feed.intervals else next(iter(feed.intervals), "1m")
        self._heard: dict[tuple[str, str], Heard] = {}
        self._now = asyncio.get_running_loop().time
        self._began = 0.0

    async def run(self, symbol: str | None, duration: float) -> Report:
        """Listen for `duration` seconds. Raises `UnknownSymbol`, or `IoFailure` when not even the list of instruments can be had."""
        feed = self._feed
        instruments = await self._s.instruments(feed.name)
        chosen = choose(feed, instruments) if symbol is None else [find(feed.name, instruments, symbol)]
        self._begun(chosen)
        self._began = self._now()
        for instrument in chosen:
            kinds = tuple(kind for _, kind in reach(feed, instrument))
            self._heard |= {(instrument.symbol, kind): Heard(instrument, kind) for kind in kinds}
            if kinds:
                self._s.subscribe(f"{feed.name}:{instrument.symbol}", kinds=kinds, interval=self._interval, callback=self._take)
        await self._listen(duration)
        reached = {plan for instrument in chosen for plan in reach(feed, instrument)}
        report = self._report(Counter(i.kind for i in instruments if i.active))
        report.unreached = [] if symbol is not None else [plan for plan in feed.topics if plan not in reached]
        judge(report)
        report.doubts = doubts.observed(doubts.read(registry.sources(feed.name)), report)
        return report

    def _take(self, tick: Any) -> None:
        kind = KIND[type(tick)] if type(tick) in KIND else getattr(tick, "channel", "")
        heard = self._heard.get((tick.symbol, kind))
        if heard is not None:
            heard.take(tick, self._now() - self._began)

    async def _listen(self, duration: float) -> None:
        until = self._began + duration
        while (left := until - self._now()) > 0:
            await asyncio.sleep(min(0.2, left))
            if self._now() - self._began > PATIENCE_S and not self._s.stats()[self._feed.name]["frames"]:
                return

    # what that amounts to

    def _report(self, listed: Counter[str]) -> Report:
        feed, stats, end = self._feed, self._s.stats()[self._feed.name], self._now() - self._began
        same = {name: stats[name] for name in ("connections", "reconnects", "stalls", "frames", "bad", "unknown", "unknown_ids")}
        report = Report(exchange=feed.name, seconds=end, listed=dict(listed), **same)
        report.samples = {reason: _escaped(data) for reason, data in stats["samples"].items()}
        report.streams = [self._stream(heard, end) for heard in self._heard.values()]
        report.books = [self._book(heard, stats["books"]) for heard in self._heard.values() if heard.kind == "book"]
        return report

    def _stream(self, heard: Heard, end: float) -> Seen:
        instrument, kind = heard.instrument, heard.kind
        market = self._feed.market_of(instrument, kind)
        topic = self._feed.topics[market, kind]
        listened = end - heard.live if heard.live is not None else 0.0
        traded = self._heard.get((instrument.symbol, "trade"))
        seen = Seen(
            symbol=instrument.symbol, kind=kind, instrument=instrument.kind, market=market, state=heard.state, reason=heard.reason,
            count=heard.count, first=heard.first, listened=listened, rate=heard.count / listened if listened > 0 else 0.0,
            skew=_skew(heard.skews), lost=heard.lost, gaps=heard.gaps, one_sided=heard.one_sided,
            every=topic.every if isinstance(topic, Poll) else None, bar_closed=kind == "candle" and self._bar_closed(heard),
        )  # fmt: skip
        verdict, why = of_stream(seen, traded is None or traded.count > 0)
        return replace(seen, verdict=verdict, why=why)

    def _bar_closed(self, heard: Heard) -> bool:
        """Did an interval end while candles were subscribed? By the clock that stamps the ticks."""
        step = int(self._interval[:-1]) * UNITS.get(self._interval[-1], 86400) * 1_000_000_000
        last = max(h.ts_last for h in self._heard.values()) - CLOSING_NS
        return bool(heard.ts_live) and last // step > heard.ts_live // step

    def _book(self, heard: Heard, counts: dict[str, dict[str, int]]) -> Book:
        instrument = heard.instrument
        market = self._feed.market_of(instrument, "book")
        method = self._feed.book[market]
        counted = counts.get(instrument.symbol, {})
        return Book(
            symbol=instrument.symbol, market=market, proof=prove(method),
            numbers_lines=isinstance(method, FromStream) and method.line_counted, live_s=heard.live,
            snapshots=heard.snapshots, deltas=heard.count - heard.snapshots, numbered=heard.numbered, stale=heard.stale,
            applied=counted.get("applied", 0), dropped=counted.get("dropped", 0), checksums=counted.get("checksums", 0),
        )  # fmt: skip


async def probe(
    s: "Streamer", exchange: str, symbol: str | None, duration: float, begun: Callable[[Sequence[Instrument]], None] = lambda chosen: None
) -> Report:
    """Probe an exchange for `duration` seconds: an instrument of each sort, or one `symbol`. Raises `UnknownExchange`, `UnknownSymbol` or
    `IoFailure`."""
    return await Probe(s, registry.load(exchange), begun).run(symbol, duration)


def _skew(skews: Sequence[int]) -> Skew | None:
    return Skew(*(ns / 1e9 for ns in (statistics.median(skews), min(skews), max(skews)))) if skews else None


def _escaped(data: bytes) -> str:
    """Printable, one line, cut: it came from outside and may go to a terminal."""
    text = ascii(data.decode("utf-8", "backslashreplace"))[1:-1]
    return text if len(text) <= SAMPLE_CHARS else f"{text[:SAMPLE_CHARS]}..."
