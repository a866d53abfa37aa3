"""A made-up venue for the socket benchmark: its frames, of a size that is asked for, and the feed that reads them.

Trades fill up with fields that nobody reads, as venues' do; deltas of a book with levels. Frames go round: behind the last comes the first
again, and the sequence of the deltas closes with it, so that the gap check passes for ever and is made for each.
"""

import itertools
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Generic

import orjson
from msgspec import Struct

from streamer.decode import after, keyed
from streamer.rules import chained
from streamer.spec import Ack, Ctx, Feed, FromStream, Instruments, Limits, Out, Unknown, on
from streamer.types import BookDelta, BookSnapshot, Instrument, Kind, N, Side, Trade
from streamer.wire import MS

NAME = "bench"
ROUND = 1000
"""Different frames of a symbol and kind; fewer where they are large."""
LARGE = 1000
DEPTH = 500
TS = 1_700_000_000_000


class TradeMsg(Struct, Generic[N], gc=False):
    s: str
    i: int
    p: N
    q: N
    side: Side
    ts: int


class WireLevel(Struct, Generic[N], array_like=True, gc=False):
    price: N
    size: N


class BookMsg(Struct, Generic[N], gc=False):
    s: str
    seq: int
    b: list[WireLevel[N]]
    a: list[WireLevel[N]]
    ts: int
    prev: int | None = None


def trade(m: TradeMsg[N], ctx: Ctx[N]) -> Out[N]:
    return Trade(ctx.exchange, ctx.sym[m.s].symbol, m.ts * MS, ctx.ts_recv, m.p, m.q, m.side, str(m.i))


def book(m: BookMsg[N], ctx: Ctx[N]) -> Out[N]:
    head = ctx.exchange, ctx.sym[m.s].symbol, m.ts * MS, ctx.ts_recv, [(x.price, x.size) for x in m.b], [(x.price, x.size) for x in m.a]
    return BookSnapshot(*head, m.seq) if m.prev is None else BookDelta(*head, None, m.seq, m.prev)


def other(m: Any, ctx: Ctx[N]) -> Out[N]:
    return Ack(m["ack"]) if "ack" in m else Unknown("message")


NORMALIZE = keyed(after(b'{"ch":"', steady=True), {b"trade": on(TradeMsg, trade), b"book": on(BookMsg, book)}, other=other)


def raw(number: int) -> str:
    """The venue's id of a symbol."""
    return f"S{number:02d}USDT"


def instruments(count: int, ts: int) -> list[Instrument]:
    """What it lists; the engine takes them from its cache, so that no REST is needed."""
    steps = {"price_step": Decimal("0.01"), "size_step": Decimal("0.001")}
    return [Instrument(NAME, f"S{n:02d}/USDT", None, ts, raw(n), f"S{n:02d}", "USDT", **steps) for n in range(count)]


def feed(url: str) -> Feed:
    """One topic a connection, so that the number of symbols is that of the connections."""
    return Feed(
        name=NAME,
        endpoints={"spot": url},
        instruments=Instruments(["https://127.0.0.1:1/none"], on(list[dict[str, Any]], lambda m, ctx: [])),
        topics={("spot", "trade"): "trade.{id}", ("spot", "book"): "book.{id}"},
        subscribe=lambda topics, n: [orjson.dumps({"op": "subscribe", "topics": topics, "n": n}).decode()],
        unsubscribe=lambda topics, n: [orjson.dumps({"op": "unsubscribe", "topics": topics, "n": n}).decode()],
        normalize=NORMALIZE,
        book={"spot": FromStream(chained)},
        limits=Limits(connects=(1000, 1.0), sends=(1000, 1.0), topics_per_line=1),
    )


# what the server sends


def first(kind: Kind, symbol: str) -> bytes | None:
    """The message that comes right after the answer to a subscription, if there is one."""
    if kind != "book":
        return None
    bids, asks = ([[_price(side, i), "1.000"] for i in range(DEPTH)] for side in (-1, 1))
    return orjson.dumps({"ch": "book", "s": symbol, "seq": 0, "b": bids, "a": asks, "ts": TS})


def messages(kind: Kind, symbol: str, size: int) -> list[bytes]:
    """One round of messages of this size (to within a level)."""
    rng = random.Random(symbol)
    count = ROUND if size <= LARGE else ROUND * LARGE // size
    return [_trade(symbol, n, size, rng) if kind == "trade" else _delta(symbol, n, count, size, rng) for n in range(count)]


def _trade(symbol: str, n: int, size: int, rng: random.Random) -> bytes:
    price, amount = f"{rng.uniform(50_000, 50_100):.2f}", f"{rng.uniform(0.001, 2):.3f}"
    message = {"ch": "trade", "s": symbol, "i": 10**9 + n, "p": price, "q": amount, "side": rng.choice(("buy", "sell")), "ts": TS + n}
    return _filled(message, size)


def _delta(symbol: str, n: int, count: int, size: int, rng: random.Random) -> bytes:
    message: dict[str, Any] = {"ch": "book", "s": symbol, "seq": (n + 1) % count, "prev": n, "ts": TS + n, "b": [], "a": []}
    used: set[tuple[str, int]] = set()
    for side, sign in itertools.cycle((("b", -1), ("a", 1))):
        if len(orjson.dumps(message)) + 25 > size - 12:
            return _filled(message, size)
        place = min(int(rng.expovariate(1 / 50)), DEPTH - 1)
        while (side, place) in used:
            place = rng.randrange(DEPTH)
        used.add((side, place))
        message[side].append([_price(sign, place), "0" if rng.random() < 0.2 else f"{rng.uniform(0.1, 9.9):.3f}"])
    raise AssertionError("the sides go round for ever")


def _filled(message: dict[str, Any], size: int) -> bytes:
    return orjson.dumps(message | {"x": "." * max(0, size - len(orjson.dumps(message)) - len(',"x":""'))})


def _price(sign: int, place: int) -> str:
    return f"{50_000 + sign * (place + 1) * 0.01:.2f}"


def frame(payload: bytes) -> bytes:
    """A server's text frame (RFC 6455: not masked)."""
    n = len(payload)
    if n < 126:
        return bytes((0x81, n)) + payload
    return (b"\x81\x7e" + n.to_bytes(2, "big") if n < 1 << 16 else b"\x81\x7f" + n.to_bytes(8, "big")) + payload


def rounds(kinds: Sequence[Kind], sizes: Sequence[int], symbols: int) -> dict[tuple[str, str, int], list[bytes]]:
    """Frames by (kind, symbol, size)."""
    wanted = itertools.product(zip(kinds, sizes, strict=True), range(symbols))
    return {(kind, raw(n), size): [frame(m) for m in messages(kind, raw(n), size)] for (kind, size), n in wanted}
