"""What does a level of a book cost? An update, the best, the top 10, a snapshot; at 100, 1000 and 5000 levels a side; and its memory.

The updates are those of a market: most near the top, two in three change a size, the others remove a level or add one.
"""

import gc
import random
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from bench.table import Column, Run, paired, spread
from streamer.book import Book
from streamer.types import BookDelta, BookSnapshot, Level

LEVELS = (100, 1000, 5000)
DELTA_LEVELS = 8
STEP = 0.01
MIDDLE = 50_000.0
READS = 2000


def price(side: str, place: int) -> float:
    """The price at this place from the middle."""
    return round(MIDDLE + STEP * (place + 1) * (1 if side == "asks" else -1), 2)


def snapshot(levels: int) -> BookSnapshot[float]:
    """A book with a hole at every second price, so that there is room for new levels."""
    bids, asks = ([(price(side, 2 * i), 1.0 + i % 7) for i in range(levels)] for side in ("bids", "asks"))
    return BookSnapshot("bench", "BTC/USDT", None, 0, bids, asks, 0)


def deltas(levels: int, count: int, seed: int = 1) -> list[BookDelta[float]]:
    """So many deltas of `DELTA_LEVELS` levels a side; the number of levels stays about the same."""
    rng = random.Random(seed)
    there = {side: {2 * i for i in range(levels)} for side in ("bids", "asks")}
    return [
        BookDelta("bench", "BTC/USDT", None, 0, *(_changes(rng, side, there[side], levels) for side in ("bids", "asks")), n, n + 1, n)
        for n in range(count)
    ]


def _changes(rng: random.Random, side: str, there: set[int], levels: int) -> list[Level[float]]:
    changes: dict[int, float] = {}
    while len(changes) < DELTA_LEVELS:
        place = min(int(rng.expovariate(1 / (levels / 5))), 2 * levels - 1)
        if place in there and rng.random() < 1 / 3 and len(there) > levels * 0.9:
            there.discard(place)
            changes[place] = 0.0
        elif place in there or len(there) < levels * 1.1:
            there.add(place)
            changes[place] = round(rng.uniform(0.1, 9.9), 3)
    return [(price(side, place), size) for place, size in changes.items()]


def full(levels: int) -> Book[float]:
    """A book with this many levels a side."""
    book: Book[float] = Book()
    book.replace(snapshot(levels))
    return book


def update(levels: int, changes: list[BookDelta[float]]) -> float:
    """CPU us for each level changed."""
    book = full(levels)
    began = time.process_time_ns()
    for delta in changes:
        book.bids.update(delta.bids)
        book.asks.update(delta.asks)
    took = time.process_time_ns() - began
    assert levels * 0.8 <= len(book.bids.top()) <= levels * 1.2
    assert not book.crossed
    return took / (len(changes) * 2 * DELTA_LEVELS) / 1e3


def reading(times: int, read: Callable[[], object]) -> float:
    """CPU us of one reading."""
    began = time.process_time_ns()
    for _ in range(times):
        read()
    return (time.process_time_ns() - began) / times / 1e3


def replacing(levels: int, times: int) -> float:
    """CPU us for each level of a snapshot that is taken in."""
    book: Book[float] = Book()
    whole = snapshot(levels)
    return reading(times, lambda: book.replace(whole)) / (2 * levels)


def memory(levels: int) -> float:
    """Bytes that a level costs in the book: the numbers themselves, made for it, counted."""
    gc.collect()
    tracemalloc.start()
    book = full(levels)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(book.asks.top()) == levels
    return held / (2 * levels)


def main() -> None:
    run = Run("book", __doc__)
    table = run.section(
        "book: CPU us",
        Column("levels", "levels a side"), Column("update", "a level updated", ".3f"), Column("best", "best bid and ask", ".3f"),
        Column("top", "top 10 of both", ".2f"), Column("snapshot", "whole book read", ".0f"),
        Column("replace", "a level of a snapshot", ".3f"), Column("bytes", "bytes a level", ".0f"),
    )  # fmt: skip
    for levels in LEVELS:
        changes = deltas(levels, 500 if run.quick else 5000)
        book = full(levels)
        few = max(5, READS * 100 // levels // (10 if run.quick else 1))
        sides: dict[str, Callable[[], float]] = {
            "update": lambda n=levels, c=changes: update(n, c),
            "best": lambda b=book: reading(READS * 10, lambda: (b.best_bid, b.best_ask)),
            "top": lambda b=book: reading(READS, lambda: (b.bids.top(10), b.asks.top(10))),
            "snapshot": lambda b=book, f=few: reading(f, lambda: (b.bids.top(), b.asks.top())),
            "replace": lambda n=levels, f=few: replacing(n, f),
        }  # fmt: skip
        found: dict[str, Any] = {name: spread(values) for name, values in paired(run.rounds, sides).items()}
        table.row(levels=levels, bytes=memory(levels), **found)
    run.end()


if __name__ == "__main__":
    main()
