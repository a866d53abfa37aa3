"""Every exchange that is simulated, end to end: its feed, a real `Streamer` and real sockets."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from importlib import import_module
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from streamer import Streamer, registry
from streamer.sim import VENUES, SimServer
from streamer.types import KIND, BookStale, Gap, Instrument, Kind, Status, Tick
from streamer.views import LiveBook

RATE = 50.0
"""Steps a second: a liquidation comes every 50."""
WITHIN_S = 6.0
LEAST_BOOK = 20
"""Snapshots and updates of a book before it is compared."""
TRANSPORTS: list[tuple[str, Literal["float", "decimal"]]] = [("picows", "decimal"), ("websockets", "float")]
SIMULATED: Callable[[str], Any] = lambda venue: import_module(f"streamer.sim.venues.{venue}").VENUE  # noqa: E731
each_venue = pytest.mark.parametrize("venue", VENUES)


@asynccontextmanager
async def world(venue: str, **how: Any) -> AsyncIterator[tuple[SimServer, Streamer]]:
    """A simulated venue and a streamer of it, in this process."""
    async with SimServer([venue], rate=RATE, keep=1000) as sim:
        try:
            async with Streamer(urls={venue: sim.url(venue)}, cache=None, sizes="venue", **how) as s:
                yield sim, s
        finally:
            assert not sim.clock.errors


def kinds_of(venue: str, instrument: Instrument) -> list[Kind]:
    """All that the feed declares for this instrument."""
    feed = registry.load(venue)
    return [kind for kind in feed.kinds() if (feed.market_of(instrument, kind), kind) in feed.topics]


def one_of_each(instruments: list[Instrument]) -> list[Instrument]:
    """An instrument of each kind, and an inverse one if there is any."""
    return list({(i.kind, i.settle == i.base): i for i in reversed(instruments)}.values())


async def until(true: Callable[[], object], what: Callable[[], object]) -> None:
    """Wait until it is so."""
    end = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < end, f"not within {WITHIN_S:g} s: {what()}"
        await asyncio.sleep(0.02)


@each_venue
@pytest.mark.parametrize(("transport", "numbers"), TRANSPORTS)
async def test_every_kind_comes_and_books_are_true(venue: str, transport: str, numbers: Literal["float", "decimal"]) -> None:
    """Over one transport with the deepest books on offer, over the other with the shallowest."""
    async with world(venue, transport=transport, numbers=numbers) as (sim, s):
        chosen = one_of_each(await s.instruments(venue))
        depth = None if numbers == "decimal" else 10
        polled = not SIMULATED(venue).sockets
        subs = [s.subscribe(f"{venue}:{i.symbol}", kinds=kinds_of(venue, i), depth=depth) for i in chosen]
        wanted = {(i.symbol, kind) for i in chosen for kind in kinds_of(venue, i)}
        ticks: list[Tick[Any]] = []

        def missing() -> set[tuple[str, str]]:
            for sub in subs:
                ticks.extend(sub.take())
            told = Counter((t.symbol, KIND[type(t)]) for t in ticks if type(t) in KIND)
            return {(symbol, kind) for symbol, kind in wanted if told[symbol, kind] < (LEAST_BOOK if kind == "book" and not polled else 1)}

        for sub in subs:
            await s.ready(sub)
        await until(lambda: not missing(), missing)
        assert [t for t in ticks if isinstance(t, BookStale | Gap) or (isinstance(t, Status) and t.state != "live")] == []
        assert all(isinstance(getattr(t, "price", Decimal(0)), Decimal) for t in ticks) is (numbers == "decimal")
        stats = s.stats()[venue]
        assert (stats["bad"], stats["unknown"], stats["unknown_ids"], stats["reconnects"]) == ({}, {}, {}, 0)
        await true_books(sim, s, venue, [i for i in chosen if "book" in kinds_of(venue, i)])
        for sub, i in zip(subs, chosen, strict=True):
            sub.remove(f"{venue}:{i.symbol}")
        await until(lambda: not sim.topics(venue), partial(sim.topics, venue))


async def true_books(sim: SimServer, s: Streamer, venue: str, instruments: list[Instrument]) -> None:
    """Each live book is the simulated market's: at its sequence while all goes on, and as a whole when the market stands still."""
    pairs = [(live(s, venue, i), sim.market(venue, i.symbol)) for i in instruments]
    for book, market in pairs:
        if book.seq is not None and abs(market.seq - book.seq) < 1000:  # else the venue numbers in another way
            assert same(book, market.book(book.seq)), f"{market.instrument.symbol} at {book.seq}"
    sim.clock.paused = True
    await asyncio.sleep(0.05)
    for book, market in pairs:
        await until(partial(lambda book, market: same(book, market.book()), book, market), partial(repr, book))
    sim.clock.paused = False


def live(s: Streamer, venue: str, instrument: Instrument) -> LiveBook[Any]:
    """The book, which must be live."""
    book = s.book(f"{venue}:{instrument.symbol}")
    assert book is not None, f"{instrument.symbol} is stale"
    return book


def same(book: LiveBook[Any], true: tuple[Sequence[Any], Sequence[Any]]) -> bool:
    """The same levels, as far as the shallower one goes, which is ten levels or more."""
    sides = [(ours, theirs, min(len(ours), len(theirs))) for ours, theirs in zip((book.bids(), book.asks()), true, strict=True)]
    return all(n >= 10 and ours[:n] == [tuple(map(type(ours[0][0]), level)) for level in theirs[:n]] for ours, theirs, n in sides)


@each_venue
async def test_an_unknown_symbol_is_refused_in_the_venues_way_and_disturbs_nobody(venue: str) -> None:
    async with world(venue) as (_, s):
        known = (await s.instruments(venue))[0]
        made_up = replace(known, symbol="NOSUCH/THING", id=known.id.replace(known.base, "NOSUCH") if known.base in known.id else "NOSUCH")
        engine = s._engine
        assert engine is not None
        catalog = engine.venues[venue].catalog
        catalog.update([*catalog.by_symbol.values(), made_up])  # as if it had been delisted since
        bad, good = (s.subscribe(f"{venue}:{i.symbol}", kinds=("trade",)) for i in (made_up, known))
        await s.ready(good)
        if SIMULATED(venue).silent:
            await asyncio.sleep(0.3)
            assert not [t for t in bad.take() if not isinstance(t, Status)]
        else:
            await until(lambda: [t for t in bad.take() if isinstance(t, Status) and t.state == "rejected"], lambda: "not refused")
        await until(lambda: [t for t in good.take() if not isinstance(t, Status)], lambda: "no tick")
        assert s.stats()[venue]["bad"] == {}
