"""The gap ledger: what opens an interval, what closes it, and its bounds."""

from typing import Any

from streamer.ledger import Entry, Ledger
from streamer.types import BookStale, Gap


def stale(ts: int, reason: str = "gap", symbol: str = "A/B") -> BookStale[Any]:
    return BookStale("x", symbol, None, ts, reason)


def gap(channel: str, ts_from: int | None, ts_to: int | None, count: int | None = None) -> Gap[Any]:
    return Gap("x", "A/B", None, 99, channel, "disconnect", ts_from, ts_to, count, None, "none")


def test_a_fall_and_its_end() -> None:
    ledger = Ledger()
    ledger.stale(stale(10, "gap"), "sequence")
    ledger.stale(stale(11, "disconnect"), "none")
    assert ledger.open() == [Entry("x", "A/B", "book", "gap", 10, proof="sequence")]
    assert ledger.total == 1
    closed = ledger.whole("x", "A/B", "book", 15, "snapshot")
    assert closed == Entry("x", "A/B", "book", "gap", 10, 15, None, "snapshot", "sequence")
    assert ledger.whole("x", "A/B", "book", 16, "snapshot") is None
    assert (ledger.open(), ledger.entries()) == ([], [closed])


def test_gaps_with_and_without_an_end() -> None:
    ledger = Ledger()
    ledger.gap(gap("trade", 1, None))
    ledger.gap(gap("trade", 2, None))
    ledger.gap(gap("quote", 3, 4, 7))
    assert [(e.channel, e.ts_from, e.ts_to, e.count) for e in ledger.entries()] == [("quote", 3, 4, 7), ("trade", 1, None, None)]
    assert ledger.total == len(ledger.entries()) == 2
    assert ledger.whole("x", "A/B", "trade", 9, None) is not None
    assert [e.channel for e in ledger.entries()] == ["quote", "trade"]


def test_streams_do_not_mix() -> None:
    ledger = Ledger()
    ledger.stale(stale(1, symbol="A/B"), "none")
    ledger.stale(stale(2, symbol="C/D"), "none")
    ledger.whole("x", "A/B", "book", 3, "snapshot")
    ledger.whole("y", "C/D", "book", 3, "snapshot")
    assert [e.symbol for e in ledger.open()] == ["C/D"]


def test_it_is_bounded_and_says_what_it_forgot() -> None:
    ledger = Ledger(size=3)
    for i in range(10):
        ledger.stale(stale(2 * i), "none")
        ledger.whole("x", "A/B", "book", 2 * i + 1, "snapshot")
    assert [e.ts_from for e in ledger.entries()] == [14, 16, 18]
    assert (ledger.total, ledger.forgotten) == (10, 7)
