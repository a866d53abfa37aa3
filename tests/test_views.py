"""Sizes in base units, and the live book."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from streamer.errors import BookNotLive
from streamer.policies import mailbox
from streamer.types import BookDelta, Candle, Instrument, Liquidation, MarkPrice, OpenInterest, Quote, Ticker, Trade
from streamer.views import LiveBook, scale_of, scale_tick
from tests.hubs import START, Desk, market

HEAD: tuple[str, str, None, int] = ("toy", "A/B", None, 1)
LINEAR: Instrument[Any] = replace(
    market("A/B").instrument, kind="swap", size_step=Decimal("0.1"), contract_size=Decimal("0.01"), size_unit="base"
)


# sizes


@pytest.mark.parametrize(
    ("change", "size", "base"),
    [
        ({}, 0.3, 0.003),  # a float product would be 0.0030000000000000005 or the like
        ({}, 123456.7, 1234.567),
        ({"size_step": Decimal(1), "contract_size": Decimal(1000)}, 7.0, 7000.0),
        ({"size_step": Decimal(1), "contract_size": Decimal("0.0001")}, 3.0, 0.0003),
        ({"size_step": None}, 0.123, 0.00123),
        ({"size_step": None}, 1.1, 0.011),
        ({}, Decimal("0.30"), Decimal("0.0030")),
        ({}, None, None),
    ],
)
def test_linear_contracts_become_base_units(change: dict[str, Any], size: Any, base: Any) -> None:
    scale = scale_of(replace(LINEAR, **change))
    assert scale is not None
    assert repr(scale(size)) == repr(base)


@pytest.mark.parametrize("change", [{"contract_size": None}, {"contract_size": Decimal(1)}, {"size_unit": "contracts"}])
def test_what_is_base_already_or_cannot_be_is_left(change: dict[str, Any]) -> None:
    assert scale_of(replace(LINEAR, **change)) is None


@pytest.mark.parametrize(
    ("tick", "scaled"),
    [
        (Trade(*HEAD, 5.0, 3.0), {"size": 0.03}),
        (Quote(*HEAD, 5.0, 3.0, 6.0, None), {"bid_size": 0.03}),
        (Ticker(*HEAD, last=5.0, volume=3.0, quote_volume=3.0, bid_size=3.0), {"volume": 0.03, "bid_size": 0.03}),
        (Candle(*HEAD, "1m", 0, 1.0, 1.0, 1.0, 1.0, 3.0, 3.0), {"volume": 0.03}),
        (OpenInterest(*HEAD, 3.0, 3.0), {"amount": 0.03}),
        (Liquidation(*HEAD, "sell", 5.0, 3.0), {"size": 0.03}),
        (BookDelta(*HEAD, [(5.0, 3.0), (4.0, 0.0)], [], 1, 2, 3), {"bids": [(5.0, 0.03), (4.0, 0.0)]}),
        (MarkPrice(*HEAD, 3.0), {}),
    ],
)
def test_only_the_sizes_of_a_tick_are_scaled(tick: Any, scaled: dict[str, Any]) -> None:
    scale = scale_of(LINEAR)
    assert scale is not None
    assert scale_tick(tick, scale) == replace(tick, **scaled)


# the live book


def live(contract: str | None = None) -> tuple[Desk, LiveBook[float]]:
    """A live book and a window on it; `now` is two seconds after the last change."""
    desk = Desk(market("A/B", contract))
    desk.snapshot("A/B")
    return desk, LiveBook(desk.book("A/B"), lambda: desk.now + 2_000_000_000)


def test_what_can_be_read() -> None:
    desk, book = live()
    desk.delta("A/B", [(99.5, 7.0)], [(101.0, 0.0)])
    assert (book.live, book.best_bid, book.best_ask, book.seq, book.age) == (True, (100.0, 1.0), (102.0, 2.0), 1, 2.0)
    assert book.top(2) == ([(100.0, 1.0), (99.5, 7.0)], [(102.0, 2.0), (103.0, 3.0)])
    assert (book.top(0), len(book.bids()), len(book.asks())) == (([], []), 5, 3)
    assert [book.size_at(p) for p in (99.5, 102.0, 101.0, 100, 42.0)] == [7.0, 2.0, None, 1.0, None]
    assert repr(book) == "<LiveBook toy:A/B (100.0, 1.0) / (102.0, 2.0)>"


def test_what_is_read_is_in_base_units() -> None:
    _, book = live("0.01")
    assert (book.best_bid, book.best_ask, book.size_at(99.0)) == ((100.0, 0.01), (101.0, 0.01), 0.02)
    assert book.top(2) == ([(100.0, 0.01), (99.0, 0.02)], [(101.0, 0.01), (102.0, 0.02)])


def test_an_empty_side_has_no_best() -> None:
    desk, book = live()
    desk.snapshot("A/B", ([], START[1]))
    assert (book.best_bid, book.bids()) == (None, [])
    assert book.live


def test_age_is_never_negative() -> None:
    desk, _ = live()
    assert LiveBook(desk.book("A/B"), lambda: 0).age == 0.0


def test_while_stale_nothing_can_be_read_and_then_again() -> None:
    desk, book = live()
    desk.book("A/B").attach(mailbox("drop_oldest"))  # whom the hub keeps the book for
    desk.lose()
    assert not book.live
    assert repr(book) == "<LiveBook toy:A/B stale>"
    for read in (
        lambda: book.best_bid,
        lambda: book.best_ask,
        lambda: book.top(1),
        book.bids,
        book.asks,
        lambda: book.size_at(1.0),
        lambda: book.seq,
        lambda: book.age,
    ):
        with pytest.raises(BookNotLive, match="toy:A/B is not known to be right now; wait for its next BookSnapshot"):
            read()
    desk.connect("line")
    desk.snapshot("A/B")
    assert book.best_bid == (100.0, 1.0)


def test_a_reader_cannot_change_the_book() -> None:
    desk, book = live()
    book.bids().clear()
    book.top(3)[0].append((1.0, 1.0))
    assert len(book.bids()) == 4
    assert desk.book("A/B").live
