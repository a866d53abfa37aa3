"""Two exchanges for the scripted world: Binance as its documents say it behaves, and Toy, a made-up venue with a feed of its own.

Both keep true books, so that a test can compare: ``assert levels(s.book("toy:A/B")) == venue.book("AB")``.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import orjson
from msgspec import Struct
from msgspec.structs import replace

from streamer.checksum import Crc32, shortest
from streamer.decode import after, keyed
from streamer.rules import chained
from streamer.spec import (
    Ack,
    BookMethod,
    Checked,
    Feed,
    FromRequest,
    FromStream,
    History,
    Instruments,
    Limits,
    Ready,
    Reject,
    Reply,
    Restart,
    Unknown,
    on,
)  # fmt: skip
from streamer.symbols import parse
from streamer.types import BookDelta, BookSnapshot, Candle, Instrument, MarkPrice, Ticker, Trade
from tests.world import Exchange, Wire

Side = dict[float, float]


class Market:
    """A true book and its number."""

    def __init__(self) -> None:
        self.bids: Side = {100.0 - i: 1.0 + i for i in range(5)}
        self.asks: Side = {101.0 + i: 1.0 + i for i in range(5)}
        self.seq = 100
        self.trades = 0

    def change(self) -> list[list[list[float]]]:
        """The next change: [bids, asks]."""
        self.seq += 1
        price, size = 100.0 - self.seq % 7, float(self.seq % 5)
        self.bids[price] = size
        if not size:
            del self.bids[price]
        return [[[price, size]], []]

    def levels(self) -> list[list[list[float]]]:
        """Bids and asks, best first."""
        return [sorted(([p, s] for p, s in self.bids.items()), reverse=True), sorted([p, s] for p, s in self.asks.items())]

    def crc(self) -> int:
        """CRC32 of price:size, bids and asks by turns."""
        bids, asks = self.levels()
        n = min(len(bids), len(asks))
        both = [x for pair in zip(bids, asks, strict=False) for level in pair for x in level] + [x for i in bids[n:] + asks[n:] for x in i]
        return zlib.crc32(":".join(f"{x:g}" for x in both).encode())


def levels(book: Any) -> list[list[list[float]]] | None:
    """What a `LiveBook` holds, to compare with `Market.levels`."""
    return None if book is None else [[list(level) for level in side] for side in (book.bids(), book.asks())]


class Listing(Exchange):
    """An exchange with markets by raw id."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.markets = {name: Market() for name in names}
        self.listed = list(names)
        self.mute: set[str] = set()
        """Topics whose commands are not answered."""

    def book(self, name: str) -> list[list[list[float]]]:
        """The true book."""
        return self.markets[name].levels()


class Binance(Listing):
    """Spot. REST snapshots are the book of the moment, or what `old` holds."""

    hosts = ("stream.binance.com", "api.binance.com")

    def __init__(self, *names: str) -> None:
        super().__init__(*(names or ("BTCUSDT", "ETHUSDT", "BNBUSDT")))
        self.old: dict[str, Any] = {}

    def heard(self, wire: Wire, message: Any) -> None:
        topics = set(message["params"])
        if topics & self.mute:
            return
        wire.topics = wire.topics | topics if message["method"] == "SUBSCRIBE" else wire.topics - topics
        wire.push({"result": None, "id": message["id"]})

    def rest(self, path: str) -> Any:
        if path.startswith("/api/v3/depth"):
            name = path.partition("symbol=")[2].partition("&")[0]
            return self.old.get(name) or self.snapshot(name)
        filters = [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}, {"filterType": "LOT_SIZE", "stepSize": "0.1"}]
        return {"symbols": [{"symbol": n, "status": "TRADING", "baseAsset": n[:3], "quoteAsset": n[3:], "filters": filters}
                            for n in self.listed]}  # fmt: skip

    def snapshot(self, name: str) -> Any:
        bids, asks = self.book(name)
        return {"lastUpdateId": self.markets[name].seq, "bids": text(bids), "asks": text(asks)}

    def trade(self, name: str) -> None:
        market, topic = self.markets[name], f"{name.lower()}@trade"
        market.trades += 1
        self.publish(topic, {"stream": topic, "data": {"e": "trade", "E": 1, "s": name, "t": market.trades, "p": "100.5", "q": "0.2",
                                                       "T": 1_700_000_000_000, "m": True}})  # fmt: skip

    def delta(self, name: str, lose: bool = False) -> None:
        """The book changes; `lose`: nobody is told."""
        market, topic = self.markets[name], f"{name.lower()}@depth@100ms"
        bids, asks = market.change()
        data = {"e": "depthUpdate", "E": 1, "s": name, "U": market.seq, "u": market.seq, "b": text(bids), "a": text(asks)}
        if not lose:
            self.publish(topic, {"stream": topic, "data": data})


def text(levels: Sequence[Sequence[float]]) -> list[list[str]]:
    """Numbers as Binance sends them."""
    return [[f"{x:.4f}" for x in level] for level in levels]


class TradeMsg(Struct):
    s: str
    i: list[int]
    history: bool = False


class BookMsg(Struct):
    s: str
    snap: bool
    prev: int
    seq: int
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]
    crc: int | None = None


class TickerMsg(Struct):
    s: str
    last: float
    mark: float


class CandleMsg(Struct):
    s: str
    i: str
    c: float


def trade(m: TradeMsg, ctx: Any) -> Any:
    ticks = [Trade(ctx.exchange, ctx.sym[m.s].symbol, i, ctx.ts_recv, 1.0, 1.0, "buy", str(i)) for i in m.i]
    return History(ticks) if m.history else ticks


def book(m: BookMsg, ctx: Any) -> Any:
    at = ctx.exchange, ctx.sym[m.s].symbol, None, ctx.ts_recv, m.b, m.a
    tick = BookSnapshot(*at, m.seq) if m.snap else BookDelta(*at, None, m.seq, m.prev)
    return tick if m.crc is None else Checked(tick.symbol, m.crc, tick)


def ticker(m: TickerMsg, ctx: Any) -> Any:
    at = ctx.exchange, ctx.sym[m.s].symbol, None, ctx.ts_recv
    return [Ticker(*at, m.last), MarkPrice(*at, m.mark)]


def candle(m: CandleMsg, ctx: Any) -> Any:
    return Candle(ctx.exchange, ctx.sym[m.s].symbol, None, ctx.ts_recv, m.i, 0, m.c, m.c, m.c, m.c)


def other(m: Any, ctx: Any) -> Any:
    match m:
        case {"ack": key}:
            return Ack(key)
        case {"no": key, "fatal": fatal}:
            return Reject(key, "no such thing", fatal, m.get("each", False))
        case {"ready": _}:
            return Ready()
        case {"say": word}:
            return Reply(word)
        case {"restart": planned}:
            return Restart("told to", planned)
    return Unknown("message")


def instruments(m: list[str], ctx: Any) -> list[Instrument]:
    names = [(f"{n[0]}/{n[1]}", n) for n in m]
    return [Instrument(ctx.exchange, s, None, ctx.ts_recv, n, parse(s).base, parse(s).quote) for s, n in names]


def command(op: str, topics: Sequence[str], n: int) -> list[str]:
    return [orjson.dumps({"op": op, "topics": list(topics), "n": n}).decode()]


TOY = Feed(
    name="toy",
    endpoints={"pub": "wss://toy.test/pub", "biz": "wss://toy.test/biz"},
    market=lambda instrument, kind: "biz" if kind == "candle" else "pub",
    instruments=Instruments(["https://toy.test/instruments"], on(list[str], instruments)),
    topics={
        ("pub", "trade"): "trade.{id}",
        ("pub", "book"): "book.{id}",
        ("pub", "ticker"): "ticker.{id}",
        ("pub", "mark"): "ticker.{id}",
        ("biz", "candle"): "candle.{interval}.{id}",
    },
    intervals={"1m": "60", "1h": "3600"},
    subscribe=lambda topics, n: command("sub", topics, n),
    unsubscribe=lambda topics, n: command("unsub", topics, n),
    normalize=keyed(
        after(b'{"t":"'),
        {b"trade": on(TradeMsg, trade), b"book": on(BookMsg, book), b"ticker": on(TickerMsg, ticker), b"candle": on(CandleMsg, candle)},
        other=other,
    ),
    book={"pub": FromStream(chained)},
    limits=Limits(connects=(30, 60.0), sends=(50, 1.0), rest=(30, 60.0)),
)
ON_REQUEST = FromRequest(lambda topic, n: command("snap", [topic], n)[0], chained)
CHECKED = FromStream(checksum=Crc32(10, "interleaved", shortest, ":"))


class Toy(Listing):
    """Acknowledges by topic, or by number (`numbered`); a book topic brings a snapshot at subscribing.

    `refused`: topics that it rejects, with whether for ever. `dead`: topics that it accepts and then does not send. `depths` go with the
    topic `book{depth}.{id}`.
    """

    hosts = ("toy.test",)

    def __init__(self, *names: str, book: BookMethod | None = None, **facts: Any) -> None:
        super().__init__(*(names or ("AB", "CB", "DB")))
        method = book or FromStream(chained)
        topics = {**TOY.topics, **({("pub", "book"): "book{depth}.{id}"} if method.depths else {})}
        self.feed = replace(TOY, **{"book": {"pub": method}, "topics": topics, **facts})
        self.method = method
        self.numbered = False
        self.snapshots = True
        self.dead: set[str] = set()
        self.refused: dict[str, bool] = {}

    def heard(self, wire: Wire, message: Any) -> None:
        if isinstance(message, str):
            return
        topics, n = message["topics"], message["n"]
        if message["op"] == "snap":
            if self.snapshots:
                wire.push(self.snapshot(topics[0].partition(".")[2]))
            return
        if message["op"] == "unsub":
            wire.topics -= set(topics)
            return
        refused = [t for t in topics if t in self.refused]
        if refused and self.numbered:
            wire.push({"no": n, "fatal": self.refused[refused[0]]})
            return
        for topic in topics:
            if topic in self.refused:
                wire.push({"no": topic, "fatal": self.refused[topic]})
            elif topic not in self.mute:
                if topic not in self.dead:
                    wire.topics.add(topic)
                if not self.numbered:
                    wire.push({"ack": topic})
                if topic.startswith("book") and self.snapshots and not isinstance(self.method, FromRequest):
                    wire.push(self.snapshot(topic.partition(".")[2]))
        if self.numbered and not set(topics) & self.mute:
            wire.push({"ack": n})

    def rest(self, path: str) -> Any:
        return self.listed

    def snapshot(self, name: str) -> Any:
        """The whole book as a message."""
        market = self.markets[name]
        bids, asks = market.levels()
        return self._checked(name, {"t": "book", "s": name, "snap": True, "prev": 0, "seq": market.seq, "b": bids, "a": asks})

    def delta(self, name: str, lose: bool = False) -> None:
        """The book changes; `lose`: nobody is told."""
        market = self.markets[name]
        bids, asks = market.change()
        message = {"t": "book", "s": name, "snap": False, "prev": market.seq - 1, "seq": market.seq, "b": bids, "a": asks}
        if not lose:
            for topic in {t for w in self.up for t in w.topics if t.startswith("book") and t.endswith(f".{name}")}:
                self.publish(topic, self._checked(name, message))

    def _checked(self, name: str, message: Any) -> Any:
        return message | {"crc": self.markets[name].crc()} if isinstance(self.method, FromStream) and self.method.checksum else message

    def trade(self, name: str) -> None:
        self.markets[name].trades += 1
        self.publish(f"trade.{name}", {"t": "trade", "s": name, "i": [self.markets[name].trades]})

    def ticker(self, name: str, last: float = 1.0) -> None:
        self.publish(f"ticker.{name}", {"t": "ticker", "s": name, "last": last, "mark": last + 1})
