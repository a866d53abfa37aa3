"""Replay: a recording through the same framing, normalizers, sync and hub as live data, on a virtual clock.

The clock is the file's: `ts_recv` is the recorded time of each frame. The same input gives the same ticks, in the same order, every
time. REST answers in the file serve instruments and snapshots, the latter at the later of being asked for and having arrived. A new
`conn` of a line means that the line was disconnected before.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from streamer import registry
from streamer.book_stream import BookSource, BookStream
from streamer.catalog import Catalog, parse_instruments, summary
from streamer.decode import rest
from streamer.errors import BadFrame, UsageError
from streamer.hub import Carrier, Hub, Route
from streamer.line import NUM, Numbers, Tally, proof_of, sync_of
from streamer.line import Line as Way
from streamer.mailbox import Mailbox
from streamer.recording import Line, read
from streamer.spec import Checked, Ctx, Feed, FromRest, FromStream, History, Symbols, fill
from streamer.streams import Need, Source
from streamer.types import KIND, BookSnapshot, BookStale, Candle, Instrument, Tick
from streamer.urls import market_of_url

ROOM = 1 << 30
"""The reader takes everything after each frame, so its buffer never fills."""


class RawIds(Symbols):
    """Where no instruments are known: every id is its own symbol, sizes stay as they came."""

    def __init__(self, exchange: str) -> None:
        super().__init__()
        self._exchange = exchange

    def __missing__(self, raw: str) -> Instrument:
        made = self[raw] = Instrument(self._exchange, raw, None, 0, raw, "", "")
        return made


class Summary(Struct):
    """What a replay came to."""

    frames: int
    ticks: Counter[str]
    unknown: Counter[str]
    unknown_ids: Counter[str]
    bad: Counter[str]
    stale: Counter[str]
    live_books: int
    books: int
    notes: list[str]

    def lines(self) -> list[str]:
        """For a person, on stderr."""
        rows = [
            f"frames: {self.frames}",
            f"ticks: {summary(self.ticks) or 'none'}",
            f"books: {self.live_books} of {self.books} live at the end",
            f"stale books: {summary(self.stale) or 'none'}",
            f"unknown messages: {summary(self.unknown) or 'none'}",
            f"unknown ids: {summary(self.unknown_ids) or 'none'}",
            f"bad frames: {summary(self.bad) or 'none'}",
        ]
        return rows + [f"note: {n}" for n in self.notes]


class _Venue:
    """One exchange of the recording: its catalog, lines, and the snapshots asked for and not there yet (or the other way round)."""

    def __init__(self, feed: Feed, hub: Hub, box: Mailbox, numbers: Numbers, instruments: Sequence[Instrument]) -> None:
        self.feed = feed
        self.hub = hub
        self.box = box
        self.numbers = numbers
        self.tally = Tally()
        self.catalog = Catalog(feed)
        self.catalog.update(instruments)
        if not instruments:
            self.catalog.tables = {market: RawIds(feed.name) for market in feed.endpoints}
        self.lines: dict[str, tuple[str, Way]] = {}
        self.wanted: dict[tuple[str, str], BookSource] = {}
        self.arrived: dict[tuple[str, str], tuple[bytes, int]] = {}

    # frames

    def frame(self, conn: str, url: str | None, data: bytes, ts: int) -> None:
        name = conn.partition("#")[0]
        known = self.lines.get(name)
        if known is not None and known[0] != conn:
            self.hub.lose(known[1].carrier, "disconnect", ts)
            known = None
        if known is None:
            known = self.lines[name] = (conn, self._line(conn, url))
        line = known[1]
        for item in line.on_frame(data, ts) or ():
            if item.__class__ is Need:
                self._need(line, item.symbol, ts)

    def _line(self, conn: str, url: str | None) -> Way:
        market = market_of_url(self.feed, url)
        carrier = Carrier(conn)
        carrier.on_unrouted = lambda answer: self._route(carrier, market, answer)
        return Way(self.feed, market, self.catalog.tables[market], self.numbers, carrier, self.tally)

    def _route(self, carrier: Carrier, market: str, answer: Any) -> Route | None:
        """Everything that the file holds is wanted: the first tick of a stream opens it."""
        cls = answer.__class__
        symbol = answer.trades[0].symbol if cls is History else answer.symbol
        kind = "book" if cls is Checked else "trade" if cls is History else KIND.get(cls)
        instrument = self._instrument(market, symbol)
        if kind is None or instrument is None:
            return None
        self._open(carrier, market, instrument, kind, answer)
        return carrier.routes.get((cls, symbol))

    def _instrument(self, market: str, symbol: str) -> Instrument | None:
        table = self.catalog.tables[market]
        return table[symbol] if isinstance(table, RawIds) else self.catalog.by_symbol.get(symbol)

    def _open(self, carrier: Carrier, market: str, instrument: Instrument, kind: str, answer: Any) -> Source | None:
        stream = self.hub.stream(instrument, kind, answer.interval if isinstance(answer, Candle) else "")
        sync = None
        if isinstance(stream, BookStream):
            method = self.feed.book.get(market)
            if method is None:
                return None
            depth = None
            if isinstance(method, FromStream) and method.truncate:
                snapshot = answer.tick if isinstance(answer, Checked) else answer
                if not isinstance(snapshot, BookSnapshot):
                    return None  # a delta before any snapshot: nothing to apply it to
                # DOUBT: the depth subscribed is not in the frames; the least on offer that holds the snapshot is taken
                most = max(len(snapshot.bids), len(snapshot.asks))
                depth = next((d for d in method.depths if d >= most), None)
            stream.proof = proof_of(method)
            sync = sync_of(method, instrument, depth)
        stream.attach(self.box)
        return self.hub.carry(carrier, stream, sync)

    # REST answers

    def _need(self, line: Way, symbol: str, ts: int) -> None:
        source = line.carrier.sources.get((self.feed.name, symbol, "book", ""))
        if not isinstance(source, BookSource) or not isinstance(self.feed.book.get(line.market), FromRest):
            return
        key = (line.market, source.stream.instrument.id)
        self.wanted[key] = source
        if key in self.arrived:
            body, arrived = self.arrived.pop(key)
            self._serve(key, body, max(ts, arrived))

    def answer(self, url: str, body: bytes, ts: int) -> None:
        """A REST answer arrived: if it is a snapshot of one of our books, it serves whoever waits for it, or will."""
        for market, method in self.feed.book.items():
            if not isinstance(method, FromRest) or (raw := _id_in(method.url, url)) is None:
                continue
            key = (market, raw)
            if key in self.wanted:
                self._serve(key, body, ts)
            elif not self._quiet(key, body, ts):
                self.arrived[key] = (body, ts)

    def _serve(self, key: tuple[str, str], body: bytes, ts: int) -> None:
        market, raw = key
        source = self.wanted.pop(key)
        tick = self._parse(market, raw, body, ts)
        if tick is None or source.sync.live:
            return
        if source.snapshot(tick) is not None or not source.sync.live:
            self.wanted[key] = source

    def _quiet(self, key: tuple[str, str], body: bytes, ts: int) -> bool:
        """A book of which no delta came yet gets its snapshot all the same. True when it was used."""
        market, raw = key
        line = next((x for _, x in self.lines.values() if x.market == market), None)
        table = self.catalog.tables[market]
        instrument = table.get(raw) if not isinstance(table, RawIds) else table[raw]
        if line is None or instrument is None or (self.feed.name, instrument.symbol, "book", "") in line.carrier.sources:
            return False
        tick = self._parse(market, raw, body, ts)
        source = self._open(line.carrier, market, instrument, "book", tick) if tick is not None else None
        if isinstance(source, BookSource) and tick is not None:
            source.snapshot(tick)
        return source is not None

    def _parse(self, market: str, raw: str, body: bytes, ts: int) -> BookSnapshot[Any] | None:
        method = self.feed.book[market]
        table = self.catalog.tables[market]
        if not isinstance(method, FromRest) or (not isinstance(table, RawIds) and raw not in table):
            return None
        ctx: Ctx[Any] = Ctx(self.feed.name, market, table, NUM[self.numbers])
        ctx.ts_recv = ts
        try:
            tick: BookSnapshot[Any] = rest(method.parse, NUM[self.numbers])(body, ctx, table[raw])
        except BadFrame:
            self.tally.bad_frame("rest", body)
            return None
        return tick


_MARK = "\x00"
_VERSION = re.compile(r"/v\d+(?=/|$)")


def _id_in(template: str, url: str) -> str | None:
    """The venue's id that a url made from this template is about; None when it was made from another one.

    Hosts do not count (they change, and a simulator has its own), nor do versions in the path.
    """
    marked = fill(template, Instrument("", "", None, 0, _MARK, _MARK, _MARK), "", None)
    want, have = urlsplit(marked), urlsplit(url)
    want, have = want._replace(path=_VERSION.sub("/v", want.path)), have._replace(path=_VERSION.sub("/v", have.path))
    query = dict(parse_qsl(have.query))
    named = [k for k, v in parse_qsl(want.query) if v == _MARK]
    if named:
        return query.get(named[0]) if have.path.endswith(want.path) else None
    head, _, tail = want.path.partition(_MARK)
    inside = have.path[have.path.find(head) + len(head) :] if head in have.path else ""
    return inside.removesuffix(tail) if inside and inside.endswith(tail) and "/" not in inside.removesuffix(tail) else None


def _instruments(feed: Feed, lines: Iterable[Line]) -> list[Instrument]:
    """Every instrument in the REST answers among these lines."""
    paths = tuple({urlsplit(u).path for u in feed.instruments.urls})
    found: list[Instrument] = []
    for line in lines:
        if line.dir == "http" and line.url and urlsplit(line.url).path.endswith(paths):
            try:
                found += parse_instruments(feed, line.payload(), 0)
            except BadFrame:
                continue  # an answer of another form below the same path, such as an error; the summary tells what is missing
    return found


class Replayer:
    """Takes a recording line by line and gives the ticks that each brought. `sources` are read once more for their instruments.

    `live(symbol)` and `hub` let one look at the books between lines.
    """

    def __init__(
        self, sources: Callable[[], Iterable[Line]], *, exchange: str | None = None, numbers: Numbers = "float", sizes: str = "base"
    ) -> None:
        self.hub = Hub(sizes)
        self.now = 0
        self._sources = sources
        self._exchange = exchange
        self._numbers: Numbers = numbers
        self._box = Mailbox("block", ROOM, ROOM * 512)
        self._venues: dict[str, _Venue] = {}
        self._ticks: Counter[str] = Counter()
        self._stale: Counter[str] = Counter()
        self._notes: list[str] = []

    def instruments(self, exchange: str) -> list[Instrument]:
        """The instruments that the recording brings of an exchange."""
        return list(self._venues[exchange].catalog.by_symbol.values()) if exchange in self._venues else []

    def feed(self, line: Line) -> list[Tick[Any]]:
        """Take the next line of the recording."""
        return self.feed_raw(line, line.payload())

    def feed_raw(self, line: Line, payload: bytes) -> list[Tick[Any]]:
        """Take a line with other bytes than it has."""
        venue = self._venue(line)
        self.now = line.time_ns() or self.now
        if line.dir == "in":
            venue.frame(line.conn or "", line.url, payload, self.now)
        elif line.dir == "http" and line.url:
            venue.answer(line.url, payload, self.now)
        ticks = self._box.drain()
        for tick in ticks:
            self._ticks[str(tick.__struct_config__.tag)] += 1
            if isinstance(tick, BookStale):
                self._stale[tick.reason] += 1
        return ticks

    def summary(self) -> Summary:
        """What it came to so far."""
        books = [s for s in self.hub.streams.values() if isinstance(s, BookStream)]
        result = Summary(0, self._ticks, Counter(), Counter(), Counter(), self._stale, sum(b.live for b in books), len(books), self._notes)
        for venue in self._venues.values():
            result.frames += venue.tally.frames
            result.unknown += venue.tally.unknown
            result.unknown_ids += venue.tally.unknown_ids
            result.bad += venue.tally.bad
        return result

    def _venue(self, line: Line) -> _Venue:
        name = line.exchange or self._exchange
        if name is None:
            raise UsageError("the recording does not say of which exchange it is: give --exchange ID")
        if name not in self._venues:
            feed = registry.load(name)
            known = _instruments(feed, (x for x in self._sources() if x.exchange in (None, name)))
            if not known:
                self._notes.append(f"no instruments of {name} in the file and none given: symbols are the venue's ids, sizes as they came")
            self._venues[name] = _Venue(feed, self.hub, self._box, self._numbers, known)
        return self._venues[name]


def read_all(files: Sequence[Path | str]) -> Iterator[Line]:
    """The lines of several recordings, one after the other; a connection does not go on from one file into the next."""
    for number, file in enumerate(files):
        for line in read(Path(file)):
            yield replace(line, conn=f"{line.conn or ''}#{number}") if number else line


def replay(
    files: Sequence[Path | str],
    *,
    exchange: str | None = None,
    instruments: Path | str | None = None,
    numbers: Numbers = "float",
    sizes: str = "base",
    speed: float = 0.0,
    write: Callable[[list[Tick[Any]]], None],
    sleep: Callable[[float], None] = time.sleep,
) -> Summary:
    """Push recordings through the streamer and hand all ticks to `write`, those of one frame at a time.

    `exchange`: whose the lines are that do not say so themselves. `instruments`: another recording to take the instruments from.
    `speed`: 0 as fast as can be, 1 as it was, 10 ten times as fast. Raises `BadRecording`, and `UsageError` when the exchange is
    nowhere told.
    """
    more = [instruments] if instruments is not None else []
    replayer = Replayer(lambda: read_all([*files, *more]), exchange=exchange, numbers=numbers, sizes=sizes)
    for line in read_all(files):
        ts = line.time_ns()
        if speed and ts is not None and replayer.now and ts > replayer.now:
            sleep((ts - replayer.now) / 1e9 / speed)
        ticks = replayer.feed(line)
        if ticks:
            write(ticks)
    return replayer.summary()
