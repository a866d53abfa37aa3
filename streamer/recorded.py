"""One exchange of a recording: its lines, its REST answers, and the snapshots asked for and not there yet (or the other way round)."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from streamer.book_stream import BookSource, BookStream
from streamer.catalog import Catalog, parse_instruments
from streamer.decode import rest
from streamer.errors import BadFrame
from streamer.hub import Carrier, Hub, Route
from streamer.line import NUM, Line, Numbers, Tally, proof_of, sync_of
from streamer.mailbox import Mailbox, StreamKey
from streamer.recorded_polls import VERSION, RecordedPolls
from streamer.recording import Line as Recorded
from streamer.spec import Checked, Ctx, Feed, FromRest, FromStream, History, Page, Restart, Symbols, fill
from streamer.streams import Need, Source
from streamer.sync import Sync
from streamer.types import KIND, BookSnapshot, Candle, Instrument
from streamer.urls import market_of_url

HAND_OVER_NS = 30 * 1_000_000_000
"""A line that is replaced is closed sooner."""


class RawIds(Symbols):
    """Where no instruments are known: every id is its own symbol, sizes stay as they came."""

    def __init__(self, exchange: str) -> None:
        super().__init__()
        self._exchange = exchange

    def __missing__(self, raw: str) -> Instrument:
        made = self[raw] = Instrument(self._exchange, raw, None, 0, raw, "", "")
        return made


class RecordedVenue:
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
        self.lines: dict[str, tuple[str, Line]] = {}
        self.wanted: dict[tuple[str, str], BookSource] = {}
        self.arrived: dict[tuple[str, str], tuple[bytes, int]] = {}
        self.heard: dict[str, int] = {}
        self.quiet: dict[StreamKey, Carrier] = {}
        self.polls = RecordedPolls(feed, self.catalog, numbers, self.tally, self._carrier)

    # frames

    def frame(self, conn: str, url: str | None, data: bytes, ts: int) -> None:
        name = conn.partition("#")[0]
        known = self.lines.get(name)
        if known is not None and known[0] != conn:
            self._lose(name, "disconnect", ts)
            known = None
        if known is None:
            known = self.lines[name] = (conn, self._line(conn, url))
        self.heard[name] = ts
        if len(self.lines) > 1:
            self._retire(ts)
        line = known[1]
        for item in line.on_frame(data, ts) or ():
            if item.__class__ is Need:
                self._need(line, item.symbol, ts)
            elif item.__class__ is Restart and not item.planned:
                self._lose(name, item.reason, ts)
                return

    def _retire(self, ts: int) -> None:
        """Recordings do not say when a line was closed. One that fell silent and whose streams all come on another was handed over."""
        for name, (_, line) in list(self.lines.items()):
            if ts - self.heard[name] > HAND_OVER_NS and all(len(self.hub.streams[key].sources) > 1 for key in line.carrier.sources):
                self._lose(name, "retired", ts)

    def _lose(self, name: str, reason: str, ts: int) -> None:
        """The line is gone; what was asked for on it is wanted no more, and snapshots from before are old."""
        line = self.lines.pop(name)[1]
        self.hub.lose(line.carrier, reason, ts)
        self.arrived = {key: answer for key, answer in self.arrived.items() if key[0] != line.market}
        self.wanted = {key: source for key, source in self.wanted.items() if source in source.stream.sources.values()}

    def _line(self, conn: str, url: str | None) -> Line:
        market = market_of_url(self.feed, url)
        return Line(self.feed, market, self.catalog.tables[market], self.numbers, self._carrier(market, conn), self.tally)

    def _carrier(self, market: str, name: str = "polls") -> Carrier:
        carrier = Carrier(name)
        carrier.on_unrouted = lambda answer: self._route(carrier, market, answer)
        return carrier

    def _route(self, carrier: Carrier, market: str, answer: Any) -> Route | None:
        """Everything that the file holds is wanted: the first tick of a stream opens it."""
        cls = answer.__class__
        symbol = answer.symbol
        kind = "book" if cls is Checked else "trade" if cls in (History, Page) else KIND.get(cls)
        instrument = self._instrument(market, symbol)
        if kind is None or instrument is None:
            return None
        self._open(carrier, market, instrument, kind, answer)
        return carrier.routes.get(cls, {}).get(symbol)

    def _instrument(self, market: str, symbol: str) -> Instrument | None:
        table = self.catalog.tables[market]
        return table[symbol] if isinstance(table, RawIds) else self.catalog.by_symbol.get(symbol)

    def _open(self, carrier: Carrier, market: str, instrument: Instrument, kind: str, answer: Any) -> Source[Any] | None:
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
                # DOUBT: the least depth on offer that holds the snapshot was subscribed (an inference; settled by the `out` lines, if any)
                most = max(len(snapshot.bids), len(snapshot.asks))
                depth = next((d for d in method.depths if d >= most), None)
            stream.proof = proof_of(method)
            sync = self._unquiet(stream) or sync_of(method, instrument, depth)
        stream.attach(self.box)
        return self.hub.carry(carrier, stream, sync)

    def _unquiet(self, stream: BookStream) -> Sync[Any] | None:
        """The deltas of a book may come on another line than the one that its early snapshot was put on: they go on from there."""
        carrier = self.quiet.pop(stream.key, None)
        source = carrier.sources.get(stream.key) if carrier is not None else None
        if carrier is None or not isinstance(source, BookSource) or source.count > 1:
            return None
        self.hub.uncarry(carrier, stream)
        return source.sync

    # REST answers

    def _need(self, line: Line, symbol: str, ts: int) -> None:
        source = line.carrier.sources.get((self.feed.name, symbol, "book", ""))
        if not isinstance(source, BookSource) or not isinstance(self.feed.book.get(line.market), FromRest):
            return
        key = (line.market, source.stream.instrument.id)
        self.wanted[key] = source
        if key in self.arrived:
            body, arrived = self.arrived.pop(key)
            self._serve(key, body, max(ts, arrived))

    def answer(self, url: str, body: bytes, ts: int) -> None:
        """A REST answer arrived. If it is a snapshot of one of our books, it serves whoever waits for it, or will."""
        self.polls.answer(url, body, ts)
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
        if source.sync.live and not source.sync.renewing:
            return
        tick = self._parse(market, raw, body, ts)
        if tick is None or source.snapshot(tick) is not None or not source.sync.live or source.sync.renewing:
            self.wanted[key] = source

    def _quiet(self, key: tuple[str, str], body: bytes, ts: int) -> bool:
        """A book of which no delta came yet gets its snapshot all the same. True when it was used."""
        market, raw = key
        line = next((x for _, x in self.lines.values() if x.market == market), None)
        table = self.catalog.tables[market]
        instrument = table.get(raw) if not isinstance(table, RawIds) else table[raw]
        if line is None or instrument is None:
            return False
        stream = self.hub.book(self.feed.name, instrument.symbol)
        if stream is not None and stream.sources:
            return False
        tick = self._parse(market, raw, body, ts)
        source = self._open(line.carrier, market, instrument, "book", tick) if tick is not None else None
        if isinstance(source, BookSource) and tick is not None:
            source.snapshot(tick)
            self.quiet[source.stream.key] = line.carrier
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


def _id_in(template: str, url: str) -> str | None:
    """The venue's id that a url made from this template is about; None when it was made from another one.

    Hosts do not count (they change, and a simulator has its own), nor do versions in the path, nor a depth at its end (`level2_100`).
    """
    marked = fill(template, Instrument("", "", None, 0, _MARK, _MARK, _MARK), "", None)
    want, have = urlsplit(marked), urlsplit(url)
    want, have = want._replace(path=VERSION.sub("", want.path)), have._replace(path=VERSION.sub("", have.path))
    query = dict(parse_qsl(have.query))
    named = [k for k, v in parse_qsl(want.query) if v == _MARK]
    if named:
        return query.get(named[0]) if have.path.endswith(want.path) else None
    head, _, tail = want.path.partition(_MARK)
    inside = have.path[have.path.find(head) + len(head) :] if head in have.path else ""
    return inside.removesuffix(tail) if inside and inside.endswith(tail) and "/" not in inside.removesuffix(tail) else None


def instruments_in(feed: Feed, lines: Iterable[Recorded]) -> list[Instrument]:
    """Every instrument in the REST answers among these lines."""
    paths = tuple({VERSION.sub("", urlsplit(u).path) for u in feed.instruments.urls})
    found: list[Instrument] = []
    for line in lines:
        if line.dir == "http" and line.status == 200 and line.url and VERSION.sub("", urlsplit(line.url).path).endswith(paths):
            try:
                found += parse_instruments(feed, line.payload(), 0)
            except BadFrame:
                continue  # an answer of another form below the same path, such as an error; the summary tells what is missing
    return found
