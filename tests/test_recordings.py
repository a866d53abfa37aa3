"""What Binance, Binance.US and OKX really sent, replayed. The recordings lie beside the project; without them these tests are skipped."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from streamer.book_stream import BookSource, BookStream
from streamer.encode import encode_lines
from streamer.recording import Line
from streamer.replay import Replayer, Summary
from streamer.types import BookDelta, BookSnapshot, BookStale, Tick, Trade
from tests.captures import recorded

SHORT = ["binance/cryptofeed-1", "binanceus/cryptofeed-1", "okx/cryptofeed-1"]
ALL = [*SHORT, "binance/cryptofeed-2", "binanceus/cryptofeed-2", "okx/cryptofeed-2", "okx/cryptofeed-3"]
BOOKS = {
    "binance/cryptofeed-1": 4, "binance/cryptofeed-2": 4, "binanceus/cryptofeed-1": 4, "binanceus/cryptofeed-2": 4,
    "okx/cryptofeed-1": 3, "okx/cryptofeed-2": 10, "okx/cryptofeed-3": 10,
}  # fmt: skip
"""Symbols with a snapshot, by the README of the recordings."""


@cache
def lines(name: str) -> tuple[Line, ...]:
    return tuple(recorded(name))


def replayed(name: str, **how: Any) -> Iterator[tuple[list[Tick[Any]], Replayer]]:
    """The ticks of each line, and the replayer as it then is."""
    replayer = Replayer(lambda: lines(name), exchange=name.partition("/")[0], **how)
    for line in lines(name):
        yield replayer.feed(line), replayer


def output(name: str, **how: Any) -> tuple[bytes, Summary]:
    out, replayer = [], None
    for ticks, replayer in replayed(name, **how):  # noqa: B007
        out.append(encode_lines(ticks))
    assert replayer is not None
    return b"".join(out), replayer.summary()


def frames(name: str) -> Iterator[Any]:
    for line in lines(name):
        if line.dir == "in":
            yield orjson.loads(line.payload())


def trades_in(name: str) -> Counter[tuple[str, str, str, str]]:
    """(id, price, size, side) of every trade, read off the raw frames without our wire types."""
    found: Counter[tuple[str, str, str, str]] = Counter()
    for m in frames(name):
        if name.startswith("binance"):
            d = m.get("data", {})
            if d.get("e") in ("trade", "aggTrade"):
                found[str(d.get("t", d.get("a"))), d["p"], d["q"], "sell" if d["m"] else "buy"] += 1
        elif m.get("arg", {}).get("channel") == "trades":
            for d in m.get("data", ()):
                found[d["tradeId"], d["px"], d["sz"], d["side"]] += 1
    return found


@pytest.mark.parametrize("name", ALL)
def test_every_trade_arrives_with_its_digits(name: str) -> None:
    expected = trades_in(name)
    assert expected
    got: Counter[tuple[str, str, str, str]] = Counter()
    for ticks, _ in replayed(name, numbers="decimal", sizes="venue"):
        for t in ticks:
            if isinstance(t, Trade):
                assert isinstance(t.price, Decimal)
                got[t.id or "", format(t.price, "f"), format(t.size, "f"), t.side or ""] += 1
    assert got == dict.fromkeys(expected, 1), "each once: okx/cryptofeed-3 has every trade on three connections"


@pytest.mark.parametrize("name", ALL)
def test_the_books_are_live_and_right_throughout(name: str) -> None:
    """No bad frame, nothing unknown but what the feed does not subscribe to, no stale book, never crossed, a book for each snapshot."""
    seen: set[str] = set()
    for ticks, replayer in replayed(name):
        for t in ticks:
            assert not isinstance(t, BookStale), f"{t.symbol} fell: {t.reason}"
            if isinstance(t, BookSnapshot | BookDelta):
                seen.add(t.symbol)
                stream = replayer.hub.book(t.exchange, t.symbol)
                assert stream is not None
                assert stream.book is not None
                assert not stream.book.crossed
    summary = replayer.summary()
    assert not summary.bad
    assert not summary.unknown_ids
    assert not summary.unknown
    assert not summary.notes
    assert len(seen) == summary.books == summary.live_books == BOOKS[name]
    streams = [s for s in replayer.hub.streams.values() if isinstance(s, BookStream)]
    assert all(isinstance(s.leader, BookSource) and s.leader.sync.applied for s in streams)


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("numbers", ["float", "decimal"])
def test_the_same_bytes_twice(name: str, numbers: str) -> None:
    first, second = output(name, numbers=numbers), output(name, numbers=numbers)
    assert first[0] == second[0]
    assert first[1] == second[1]


@pytest.mark.parametrize("name", SHORT)
def test_levels_keep_their_digits(name: str) -> None:
    """The text of every level of every delta, from the raw frames and from our ticks."""
    raw: Counter[tuple[str, str]] = Counter()
    for m in frames(name):
        if name.startswith("binance"):
            d = m.get("data", {})
            raw.update((p, s) for side in ("b", "a") if d.get("e") == "depthUpdate" for p, s in d[side])
        elif m.get("action") == "update":
            raw.update((level[0], level[1]) for d in m["data"] for side in ("bids", "asks") for level in d[side])
    ours: Counter[tuple[str, str]] = Counter()
    for ticks, _ in replayed(name, numbers="decimal", sizes="venue"):
        for t in ticks:
            if isinstance(t, BookDelta):
                ours.update((format(p, "f"), format(s, "f")) for p, s in (*t.bids, *t.asks))
    assert ours
    assert not ours - raw, "levels that are in no frame"
    if name.startswith("okx"):
        assert ours == raw


@pytest.mark.parametrize("name", ["binance/cryptofeed-1", "okx/cryptofeed-1"])
def test_the_end_is_the_same_in_floats_and_decimals(name: str) -> None:
    ends: list[dict[str, Any]] = []
    for numbers in ("float", "decimal"):
        for _, replayer in replayed(name, numbers=numbers):  # noqa: B007
            pass
        books = [s for s in replayer.hub.streams.values() if isinstance(s, BookStream) and s.book is not None]
        ends.append(
            {s.instrument.symbol: [(float(p), float(x)) for p, x in s.book.bids.top() + s.book.asks.top()] for s in books if s.book}
        )
    assert ends[0] == ends[1]
    assert ends[0]


def test_a_capture_cut_in_two_connections() -> None:
    """A new connection in the middle: every live book falls once, the trades go on, and only a new snapshot would bring a book back."""
    name = "okx/cryptofeed-1"
    whole = lines(name)
    middle = len(whole) // 2
    cut = [replace(x, conn="ws.1#2") if i >= middle and x.dir == "in" else x for i, x in enumerate(whole)]
    replayer = Replayer(lambda: cut, exchange="okx")
    ticks = [t for line in cut for t in replayer.feed(line)]
    assert Counter(t.symbol for t in ticks if isinstance(t, BookStale)) == dict.fromkeys(
        {t.symbol for t in ticks if isinstance(t, BookSnapshot)}, 1
    )
    assert replayer.summary().live_books == 0
    assert sum(isinstance(t, Trade) for t in ticks) == trades_in(name).total()
