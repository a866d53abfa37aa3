"""Pages of the latest trades laid over each other: each trade once, and a hole told where there is one.

What may be hidden: of equal trades (same time, price, size and side), some that came since the last page, if the pages agree without them.
What may not: a trade shown twice, one that is unlike its neighbours left out, a hole untold.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.mailbox import Mailbox
from streamer.pages import Laid, lay, mark
from streamer.policies import mailbox
from streamer.spec import Page
from streamer.streams import TradeSource
from streamer.types import Gap, Trade
from tests.hubs import Desk, market


def laid(before: str, now: str) -> tuple[str, bool, bool]:
    """What is new, as text; do they meet; is it an old page."""
    out = lay(before, now)
    return "".join(now[i] for i in out.new), out.meet, out.late


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ("abc", "abc", ""),
        ("abc", "bcd", "d"),
        ("abc", "cdefg", "defg"),
        ("abc", "abcd", "d"),  # the page has grown
        ("bc", "abcd", "d"),  # and goes further back, too
        ("c", "abcde", "de"),  # after one that was cut short
        ("", "ab", "ab"),  # nothing had ever been traded
        ("aaa", "aaab", "b"),
        ("abab", "abab", ""),  # two more, or none: nobody can tell
        ("aab", "abab", "ab"),
        ("xaa", "aaa", "a"),
        ("abcd", "bxcde", "xe"),  # one was written late, between older ones
        ("abcd", "zabxcde", "xe"),  # what stands before all that is known is older still
    ],
)
def test_what_is_new(before: str, now: str, new: str) -> None:
    assert laid(before, now) == (new, True, False)


@pytest.mark.parametrize(("before", "now"), [("abc", "ab"), ("abc", "zab"), ("abcd", "bc"), ("abc", "")])
def test_a_page_out_of_an_old_cache_is_no_news(before: str, now: str) -> None:
    assert laid(before, now) == ("", True, True)


def test_pages_that_share_nothing_do_not_meet() -> None:
    assert laid("abc", "def") == ("def", False, False)


def test_a_trade_is_known_by_its_id_or_by_all_it_is() -> None:
    named: Trade[float] = Trade("toy", "A/B", 1, 2, 3.0, 4.0, "buy", "5")
    plain: Trade[float] = Trade("toy", "A/B", 1, 2, 3.0, 4.0, None)
    assert (mark(named), mark(plain)) == ("5", (1, 3.0, 4.0, None))


Steps = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.booleans()), max_size=30)
"""How many trades happen between two pages, from how long ago a page is, and whether it is cut short."""


def pages(sequence: Sequence[Any], size: int, steps: Sequence[tuple[int, int, bool]]) -> list[tuple[int, Sequence[Any]]]:
    """Windows over a true sequence, as (where it ends, page)."""
    end, out = size, []
    for happened, lag, short in steps:
        end += happened
        last = max(0, end - lag)
        out.append((last, sequence[max(0, last - (size // 2 if short else size)) : last]))
    return out


def follow(shown: Sequence[Sequence[Any]]) -> tuple[list[Any], int]:
    """What a reader is given of these pages, and how many holes it is told."""
    before, given_, holes = shown[0], [], 0
    for now in shown[1:]:
        out = lay(before, now)
        if out.late:
            assert not list(out.new)
            continue
        given_ += [now[i] for i in out.new]
        holes += not out.meet
        before = now
    return given_, holes


@given(st.lists(st.sampled_from("ab"), min_size=400, max_size=400), st.integers(2, 10), st.lists(st.integers(0, 9), max_size=30))
def test_equal_trades_are_never_shown_too_often(sequence: list[str], size: int, steps: list[int]) -> None:
    shown = pages(sequence, size, [(0, 0, False), *((n % size, 0, False) for n in steps)])
    given_, holes = follow([page for _, page in shown])
    happened = Counter(sequence[size : shown[-1][0]])
    assert not Counter(given_) - happened
    assert holes == 0


# the pages of a stream


def desk() -> tuple[TradeSource, Mailbox]:
    made = Desk(market("A/B"))
    box = mailbox("drop_oldest")
    made.stream("A/B", "trade").attach(box)
    source = made.carriers["line"].sources["toy", "A/B", "trade", ""]
    assert isinstance(source, TradeSource)
    return source, box


def page(*times: int, at: int, **how: Any) -> Page[float]:
    return Page("A/B", [Trade("toy", "A/B", t, at, 100.0, 1.0, None) for t in times], **how)


def told(box: Mailbox) -> list[Any]:
    """Times of trades; (from, to) of gaps."""
    return [
        t.ts_event if isinstance(t, Trade) else (t.cause, t.ts_from, t.ts_to) for t in box.drain() if isinstance(t, Trade | Gap)
    ]  # fmt: skip


def test_the_first_page_is_history() -> None:
    source, box = desk()
    source.page(page(1, 2, 3, at=10))
    source.page(page(2, 3, 4, at=20))
    assert told(box) == [4]


def test_the_first_trade_ever_is_news() -> None:
    source, box = desk()
    source.page(page(at=10))
    source.page(page(1, at=20))
    assert told(box) == [1]


def test_pages_that_do_not_meet_leave_a_gap_from_one_to_the_other() -> None:
    source, box = desk()
    source.page(page(1, 2, at=10))
    source.page(page(2, 3, at=20))
    source.page(page(7, 8, at=30))
    assert told(box) == [3, ("poll", 20, 30), 7, 8]
    assert [e.cause for e in source.stream.ledger.entries()] == ["poll"]


def test_a_complete_page_leaves_none() -> None:
    source, box = desk()
    source.page(page(1, 2, at=10))
    source.page(page(7, 8, at=20, complete=True))
    assert told(box) == [7, 8]


@pytest.mark.parametrize("old", [(), (2, 3), (-9, -8)])
def test_an_empty_or_old_page_between_changes_nothing(old: tuple[int, ...]) -> None:
    source, box = desk()
    source.page(page(2, 3, 4, at=10))
    source.page(page(*old, at=25))
    source.page(page(3, 4, 5, at=30))
    assert told(box) == [5]


def test_trades_with_ids_are_told_apart_by_them() -> None:
    source, box = desk()
    for ids in ("12", "23", "34"):
        source.page(Page("A/B", [Trade("toy", "A/B", 1, 1, 100.0, 1.0, None, i) for i in ids]))
    assert [t.id for t in box.drain() if isinstance(t, Trade)] == ["3", "4"]


def test_what_is_laid_says_what_it_holds() -> None:
    assert lay([], []) == Laid(range(0))


@given(st.integers(1, 10), Steps)
def test_trades_that_differ_come_once_in_order_and_every_hole_is_told(size: int, steps: Sequence[tuple[int, int, bool]]) -> None:
    """Whatever pages come: they move on, by more than they hold even, lag behind, are cut short or empty."""
    source, box = desk()
    shown = [list(times) for _, times in pages(range(1000), size, [(0, 0, False), *steps])]
    for at, times in enumerate(shown):
        source.page(page(*times, at=at))
    given_ = told(box)
    times = [t for t in given_ if isinstance(t, int)]
    assert times == sorted(set(times))
    before = [shown[0][-1], *times]
    missing = {t for page in shown for t in page if t > shown[0][-1]} - set(times)
    holes = [(a, b) for a, b in itertools.pairwise(before) if b - a > 1]  # all told, see below; a late page may show what lies in one
    assert all(any(a < t < b for a, b in holes) for t in missing)
    assert len(given_) - len(times) >= sum(b - a > 1 for a, b in itertools.pairwise(before)), "a hole that was not told"
