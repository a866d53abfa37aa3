"""The book against a plain dict."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamer import book as module
from streamer.book import BadLevel, Book, BookSide
from streamer.types import BookSnapshot

ticks = st.integers(1, 40)
sizes = st.integers(0, 5)
levels = st.lists(st.tuples(ticks, sizes), max_size=12)


class AgainstADict(RuleBasedStateMachine):
    """Both sides of one book, in floats or Decimals."""

    @initialize(exact=st.booleans())
    def start(self, exact: bool) -> None:
        self.number: Any = (lambda n: Decimal(n) / 10) if exact else (lambda n: n / 10)
        self.book: Book[Any] = Book()
        self.model: tuple[dict[Any, Any], dict[Any, Any]] = ({}, {})

    def numbers(self, pairs: list[tuple[int, int]]) -> list[tuple[Any, Any]]:
        return [(self.number(p), self.number(s)) for p, s in pairs]

    @rule(pairs=levels, side=st.integers(0, 1))
    def update(self, pairs: list[tuple[int, int]], side: int) -> None:
        changes = self.numbers(pairs)
        (self.book.bids, self.book.asks)[side].update(changes)
        for price, size in changes:
            self.model[side][price] = size
            if not size:
                del self.model[side][price]

    @rule(bids=levels, asks=levels, seq=st.integers(0, 9) | st.none())
    def replace(self, bids: list[tuple[int, int]], asks: list[tuple[int, int]], seq: int | None) -> None:
        new = self.numbers(bids), self.numbers(asks)
        self.book.replace(BookSnapshot("x", "A/B", None, 0, *new, seq))
        bid_sizes, ask_sizes = dict(new[0]), dict(new[1])  # a price that comes twice counts as it comes last, as in updates
        self.model = ({p: s for p, s in bid_sizes.items() if s}, {p: s for p, s in ask_sizes.items() if s})
        assert self.book.seq == seq

    @rule(depth=st.integers(1, 10))
    def truncate(self, depth: int) -> None:
        self.book.truncate(depth)
        best = sorted(self.model[0], reverse=True)[:depth], sorted(self.model[1])[:depth]
        self.model = ({p: self.model[0][p] for p in best[0]}, {p: self.model[1][p] for p in best[1]})

    @invariant()
    def the_same(self) -> None:
        book, (bids, asks) = self.book, self.model
        best_first = sorted(bids.items(), reverse=True), sorted(asks.items())
        for side, expected in zip((book.bids, book.asks), best_first, strict=True):
            assert side.prices() == sorted(side.sizes, reverse=not side.ascending)
            assert side.worst == (side.prices()[-1] if side.sizes else None)
            for depth in (None, 0, 1, 3, 100):
                assert side.top(depth) == expected[:depth]
        assert book.best_bid == (best_first[0][0] if bids else None)
        assert book.best_ask == (best_first[1][0] if asks else None)
        assert book.crossed == bool(bids and asks and max(bids) > min(asks))


TestAgainstADict = AgainstADict.TestCase


def test_locked_is_not_crossed() -> None:
    book: Book[float] = Book()
    book.replace(BookSnapshot("x", "A/B", None, 0, [(5.0, 1.0)], [(5.0, 1.0)]))
    assert not book.crossed
    book.bids.update([(5.5, 1.0)])
    assert book.crossed


@pytest.mark.parametrize("number", [float, Decimal])
@pytest.mark.parametrize("level", [("5", "-1"), ("0", "1"), ("-2", "1")])
@pytest.mark.parametrize("change", [BookSide.update, BookSide.replace])
def test_a_negative_size_and_a_price_that_is_none_are_refused(number: Any, level: tuple[str, str], change: Any) -> None:
    side: BookSide[Any] = BookSide(ascending=True)
    side.update([(number("3"), number("1"))])
    with pytest.raises(BadLevel):
        change(side, [(number("4"), number("1")), (number(level[0]), number(level[1]))])


def test_the_negative_of_zero_removes() -> None:
    side: BookSide[float] = BookSide(ascending=True)
    side.update([(3.0, 1.0), (3.0, -0.0)])
    assert side.top() == []


@given(st.lists(st.integers(1, 30), min_size=11, max_size=30, unique=True))
def test_no_book_grows_without_bound(prices: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_LEVELS", 10)
        side: BookSide[float] = BookSide(ascending=False)
        full = [(float(p), 1.0) for p in prices]
        side.update(full[:10])
        assert len(side.prices()) == 10
        for change in (side.update, side.replace):
            with pytest.raises(BadLevel, match=r"levels"):
                change(full)
