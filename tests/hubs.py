"""A hub with small markets pushed into it through real carriers, and a reader that finds out when it is misled.

    desk = Desk(market("A/B"), market("C/D", contract="0.01", keep=4))      the books of C/D are truncated to 4 levels by the venue
    desk.trade("A/B"); desk.snapshot("A/B"); desk.delta("A/B", bids=[(99.0, 2.0)])
    reader = Reader(desk, mailbox("drop_oldest", 3)); reader.read()

Trades, tickers and candles carry running numbers, so that a reader knows what it missed.
"""

from collections import Counter
from decimal import Decimal
from typing import Any

from msgspec import Struct

from streamer.book import Book
from streamer.book_stream import BookSource, BookStream
from streamer.conflate import Conflate
from streamer.hub import Carrier, Hub
from streamer.mailbox import BOOK, CONTROL, LEVEL_BYTES, Mailbox, key_of
from streamer.rules import chained
from streamer.streams import Need
from streamer.sync import Sync
from streamer.types import BookDelta, BookSnapshot, BookStale, Candle, Gap, Instrument, Status, Ticker, Trade

Levels = list[tuple[Any, Any]]
START: tuple[Levels, Levels] = ([(100.0 - i, 1.0 + i) for i in range(4)], [(101.0 + i, 1.0 + i) for i in range(4)])


class Listed(Struct):
    """An instrument, and how deep its venue keeps a book (None: all of it)."""

    instrument: Instrument[Any]
    keep: int | None = None


def market(symbol: str, contract: str | None = None, keep: int | None = None, exchange: str = "toy") -> Listed:
    """A listed instrument; with `contract` a linear one of that contract size."""
    base, _, quote = symbol.partition("/")
    size = None if contract is None else Decimal(contract)
    made: Instrument[Any] = Instrument(exchange, symbol, None, 0, base + quote, base, quote, size_step=Decimal(1), contract_size=size)
    return Listed(made, keep)


class Desk:
    """A hub and its carriers by name; `now` is the time (ns) of what is pushed next."""

    def __init__(self, *listed: Listed, sizes: str = "base") -> None:
        self.hub = Hub(sizes)
        self.listed = {x.instrument.symbol: x for x in listed}
        self.carriers: dict[str, Carrier] = {}
        self.seq: Counter[str] = Counter()
        self.number: Counter[Any] = Counter()
        self.now = 0
        self.connect("line")

    def stream(self, symbol: str, kind: str) -> Any:
        """A stream of the hub."""
        return self.hub.stream(self.listed[symbol].instrument, kind, "1m" if kind == "candle" else "")

    def connect(self, name: str, kinds: tuple[str, ...] = ("book", "trade", "ticker", "candle")) -> None:
        """A connection that carries everything."""
        carrier = self.carriers[name] = Carrier(name)
        for symbol, listed in self.listed.items():
            for kind in kinds:
                sync: Any = Sync(listed.instrument, chained, depth=listed.keep) if kind == "book" else None
                self.hub.carry(carrier, self.stream(symbol, kind), sync)

    def lose(self, name: str = "line", reason: str = "reset") -> None:
        """That connection is gone."""
        self.now += 1
        self.hub.lose(self.carriers.pop(name), reason, self.now)

    def push(self, answer: Any, line: str = "line") -> list[Any]:
        """What a handler answered."""
        return self.carriers[line].push((answer,)) or []

    def head(self, symbol: str) -> tuple[str, str, None, int]:
        """The first fields of the next tick."""
        self.now += 1
        return self.listed[symbol].instrument.exchange, symbol, None, self.now

    def trade(self, symbol: str, line: str = "line") -> None:
        """The next trade."""
        self.number[symbol, "trade"] += 1
        self.push(Trade(*self.head(symbol), 100.0, 1.0, "buy", str(self.number[symbol, "trade"])), line)

    def ticker(self, symbol: str) -> None:
        """The next ticker."""
        self.number[symbol, "ticker"] += 1
        self.push(Ticker(*self.head(symbol), last=float(self.number[symbol, "ticker"])))

    def candle(self, symbol: str) -> None:
        """The next candle."""
        self.number[symbol, "candle"] += 1
        self.push(Candle(*self.head(symbol), "1m", self.number[symbol, "candle"], 1.0, 1.0, 1.0, 1.0))

    def snapshot(self, symbol: str, levels: tuple[Levels, Levels] = START, line: str = "line") -> list[Any]:
        """The venue's snapshot; what the hub wants of the engine comes back."""
        return self.push(BookSnapshot(*self.head(symbol), *levels, self.seq[symbol]), line)

    def delta(self, symbol: str, bids: Levels = [], asks: Levels = [], lost: int = 0, line: str = "line") -> list[Any]:  # noqa: B006
        """The venue's next delta, after as many that were `lost` on the way."""
        prev = self.seq[symbol] + lost
        self.seq[symbol] = prev + 1
        return self.push(BookDelta(*self.head(symbol), bids, asks, None, prev + 1, prev), line)

    def book(self, symbol: str) -> BookStream:
        """The hub's stream of a book."""
        found = self.stream(symbol, "book")
        assert isinstance(found, BookStream)
        return found

    def source(self, symbol: str, line: str = "line") -> BookSource:
        """A connection's end of a book."""
        found = self.book(symbol).sources[self.carriers[line]]
        assert isinstance(found, BookSource)
        return found


def needs(answers: list[Any]) -> list[Need]:
    """The snapshots that the hub asks for."""
    return [a for a in answers if isinstance(a, Need)]


def law(box: Any) -> bool:
    """The accounting identity; also of a `Subscription`."""
    return bool(box.published == box.delivered + box.queued + box.dropped + box.conflated)


def levels(book: Any) -> tuple[Levels, Levels] | None:
    """Bids and asks of a `Book` or a snapshot, best first."""
    if book is None:
        return None
    return (list(book.bids), list(book.asks)) if isinstance(book, BookSnapshot) else (book.bids.top(), book.asks.top())


def serial(tick: Any) -> int | None:
    """The running number that a `Desk` gave to a tick."""
    if isinstance(tick, Trade):
        return int(tick.id or 0)
    return int(tick.last or 0) if isinstance(tick, Ticker) else tick.ts_open if isinstance(tick, Candle) else None


class Reader:
    """A subscriber to all of a desk (or to `kinds`) that believes what it is told, and asserts that it may."""

    def __init__(self, desk: Desk, box: Mailbox, depth: int | None = None,
                 kinds: tuple[str, ...] = ("book", "trade", "ticker", "candle")) -> None:  # fmt: skip
        self.desk = desk
        self.box = box
        self.depth = depth
        self.kinds = kinds
        self.books: dict[str, Book[Any] | None] = {}
        self.last = {(s, k): desk.number[s, k] for s in desk.listed for k in kinds}
        self.told: Counter[Any] = Counter()  # ticks told as lost since the last one of a stream
        self.runs: set[Any] = set()  # streams with a Gap since the last tick in what is read just now
        self.lost = 0
        self.controls: dict[Any, Any] = {}  # the newest Status of each stream
        box.repair = lambda key: desk.book(key[1]).own_snapshot(depth)
        for stream in self.streams():
            stream.attach(box, depth if stream.kind == "book" else None)

    def streams(self) -> list[Any]:
        """The hub's streams that it has."""
        return [self.desk.stream(s, k) for s in self.desk.listed for k in self.kinds]

    def leave(self) -> None:
        """Read no more."""
        self.box.close()
        self.desk.hub.detach(self.box)

    def read(self, most: int | None = None) -> list[Any]:
        """Take what is there (the first `most`), and be convinced by it."""
        ticks = self.box.drain(most)
        self.runs.clear()
        for tick in ticks:
            self.take(tick)
        if not len(self.box) and not self.box.closed:
            self.check()
        return ticks

    def take(self, tick: Any) -> None:
        """Believe one tick."""
        key = tick.symbol, tick.channel if isinstance(tick, (Gap, Status)) else key_of(tick)[2]
        number = serial(tick)
        if isinstance(tick, Gap) and tick.cause == "overflow":
            assert key not in self.runs, "one Gap tells a run"
            self.runs.add(key)
            assert tick.count
            assert (tick.ts_from or 0) <= (tick.ts_to or 0)
            self.told[key] += tick.count
            self.lost += tick.count
        elif isinstance(tick, Status):
            self.controls[key] = tick
        elif number is not None:
            missing = number - self.last[key] - 1
            assert missing >= 0, "in order, and none twice"
            assert self.box.policy == "conflate" or missing == self.told.pop(key, 0)
            self.last[key] = number
            self.runs.discard(key)
        elif key[1] == "book":
            self.told.pop(key, None)
            self.runs.discard(key)
            self.book(tick)

    def book(self, tick: Any) -> None:
        """Apply a book tick."""
        if isinstance(tick, BookStale):
            self.books[tick.symbol] = None
        elif isinstance(tick, BookSnapshot):
            fresh = self.books[tick.symbol] = Book()
            fresh.replace(tick)
        elif isinstance(tick, BookDelta):
            book = self.books.get(tick.symbol)
            assert book is not None, "a delta of a book that was not to be trusted"
            if self.depth is None:
                assert tick.prev == book.seq, "a chain without a hole"
            book.bids.update(tick.bids)
            book.asks.update(tick.asks)
            book.seq = tick.last

    def check(self) -> None:
        """All was read: the reader knows all that the hub knows."""
        for symbol in self.desk.listed:
            if "book" in self.kinds:
                assert levels(self.books.get(symbol)) == levels(self.desk.book(symbol).own_snapshot(self.depth))
            for kind in self.kinds:
                if kind != "book":
                    assert self.last[symbol, kind] + self.told[symbol, kind] == self.desk.number[symbol, kind]
                    self.told += Counter()  # without the zeros
        if self.box.policy in ("drop_oldest", "drop_newest"):
            assert self.box.dropped == self.lost
        for stream in self.streams():
            key = stream.instrument.symbol, stream.kind
            if key in self.controls and stream.kind != "book":
                assert self.controls[key].state == stream.state

    def bounded(self) -> None:
        """The buffer is no larger than was promised."""
        box = self.box
        assert law(box)
        assert (len(box) == 0) <= (box.queued == 0)
        if box.policy != "block":
            assert box.held_bytes <= box.max_bytes
            assert len(box._buf) <= box.max_items
            if not isinstance(box, Conflate):
                assert box._heavy == sum(LEVEL_BYTES * (len(t.bids) + len(t.asks)) for t in box._buf if t.__class__ in BOOK)
            assert len(box._controls) <= 3 * len(self.streams())


def controls(ticks: list[Any]) -> list[Any]:
    """Only the control events among ticks."""
    return [t for t in ticks if t.__class__ in CONTROL]
