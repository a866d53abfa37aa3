"""What leaves the venue's list: its streams end once they are silent, everybody who had them is told, and they come back with it."""

import asyncio

import pytest
from msgspec.structs import replace

from streamer.errors import UnknownSymbol
from streamer.spec import Instruments, on
from streamer.types import BookSnapshot, BookStale, Gap, Instrument, Status, Trade
from tests.venues import TOY, Toy, instruments, levels
from tests.world import only, streaming, virtual

BOTH = ("trade", "book")
HOUR = 3600


@virtual
async def test_its_streams_end_in_band_and_at_the_venue_and_nobody_elses_do():
    venue = Toy()
    async with streaming(venue) as s:
        sub, cut = s.subscribe("toy:A/B", "toy:C/B", kinds=BOTH), s.subscribe("toy:C/B", kinds=("book",), depth=1)
        await s.ready(sub)
        sub.take(), cut.take()
        venue.listed.remove("CB")
        await asyncio.sleep(HOUR + 10)
        told = [t for t in sub.take() if not isinstance(t, BookSnapshot)]
        assert [(type(t), t.symbol) for t in told] == [
            (Instrument, "C/B"), (Status, "C/B"), (BookStale, "C/B"), (Status, "C/B"),
        ]  # fmt: skip
        assert not told[0].active
        assert told[2].reason == "delisted"
        assert [(t.channel, t.state, t.reason) for t in only(told, Status)] == [(c, "rejected", "delisted") for c in BOTH]
        assert [t.reason for t in cut.take() if isinstance(t, BookStale | Status)] == ["delisted", "delisted"]
        assert s.book("toy:C/B") is None
        assert venue.wire.topics == {"trade.AB", "book.AB"}
        venue.trade("AB")
        venue.delta("AB")
        assert [t.symbol for t in sub.take()] == ["A/B", "A/B"]
        assert levels(s.book("toy:A/B")) == venue.book("AB")
        with pytest.raises(UnknownSymbol, match="toy lists 'C/B' no more"):
            await s.ready(sub)


@virtual
async def test_it_comes_back_when_it_is_listed_again_to_those_who_still_want_it():
    venue = Toy()
    async with streaming(venue) as s:
        sub, other = s.subscribe("toy:A/B", "toy:C/B", kinds=BOTH), s.subscribe("toy:C/B")
        await s.ready(sub)
        venue.listed.remove("CB")
        await asyncio.sleep(HOUR + 10)
        sub.take(), other.take()
        other.remove("toy:C/B")
        venue.listed.append("CB")
        await asyncio.sleep(HOUR + 10)
        await s.ready(sub)
        told = sub.take()
        assert [i.active for i in only(told, Instrument)] == [True]
        assert [(t.channel, t.state) for t in only(told, Status)] == [("trade", "live"), ("book", "live")]
        assert levels(s.book("toy:C/B")) == venue.book("CB")
        venue.trade("CB")
        assert len(only(sub.take(), Trade)) == 1
        assert not other.take()


@virtual
async def test_what_still_speaks_is_not_ended_by_a_list_that_lacks_it():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:C/B")
        await s.ready(sub)
        venue.listed.remove("CB")
        for _ in range(3 * HOUR // 50):
            venue.trade("CB")
            await asyncio.sleep(50)
        told = sub.take()
        assert len(only(told, Trade)) == 3 * HOUR // 50
        assert [t.state for t in only(told, Status)] == ["live"]
        await asyncio.sleep(20)
        assert [(t.state, t.reason) for t in only(sub.take(), Status)] == [("rejected", "delisted")]
        assert not venue.up, "the connection carried nothing else"


@virtual
async def test_a_list_that_lacked_it_only_once_ends_nothing():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B")
        await s.ready(sub)
        await asyncio.sleep(HOUR - 30)
        venue.trade("CB")
        venue.listed.remove("CB")
        await asyncio.sleep(40)
        venue.listed.append("CB")
        engine = s._running()
        await engine.venues["toy"].listing.refresh()
        await asyncio.sleep(HOUR)
        told = sub.take()
        assert [i.active for i in only(told, Instrument)] == [False, True]
        assert {t.state for t in only(told, Status)} == {"live"}
        assert len(venue.commands()) == 1


@virtual
async def test_who_wants_it_anew_is_told_that_it_is_listed_no_more():
    venue = Toy()
    async with streaming(venue) as s:
        await s.ready(s.subscribe("toy:A/B"))
        venue.listed.remove("CB")
        await asyncio.sleep(HOUR + 10)
        with pytest.raises(UnknownSymbol, match="toy lists 'C/B' no more"):
            await s.ready(s.subscribe("toy:C/B"))


@virtual
async def test_quotes_that_are_cut_from_its_book_end_with_it():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B", kinds=("quote",))
        await s.ready(sub)
        venue.listed.remove("CB")
        sub.take()
        await asyncio.sleep(HOUR + 10)
        assert [(t.symbol, t.channel, t.state, t.reason) for t in only(sub.take(), Status)] == [("C/B", "quote", "rejected", "delisted")]
        assert venue.wire.topics == {"book.AB"}


@virtual
async def test_a_stream_that_falls_silent_has_the_list_read_again():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B")
        await s.ready(sub)
        for _ in range(400):
            venue.trade("CB")
            await asyncio.sleep(1)
        venue.listed.remove("CB")
        await asyncio.sleep(80)
        told = only(sub.take(), Gap, Instrument, Status)[2:]
        assert [type(t) for t in told] == [Gap, Status, Status, Instrument, Status], "silent, subscribed again, gone from the list, ended"
        assert (told[-1].state, told[-1].reason) == ("rejected", "delisted")


class Halting(Toy):
    """Lists what is `halted` as inactive."""

    def __init__(self) -> None:
        self.halted: set[str] = set()
        super().__init__(instruments=Instruments(TOY.instruments.urls, on(list[str], self.parse)))

    def parse(self, m, ctx):
        return [replace(i, active=i.id not in self.halted) for i in instruments(m, ctx)]


@virtual
async def test_what_is_halted_stays_subscribed_and_is_not_suspected():
    venue = Halting()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:C/B", kinds=BOTH)
        await s.ready(sub)
        venue.halted.add("CB")
        for _ in range(HOUR + 10):
            venue.trade("CB")
            venue.delta("CB")
            await asyncio.sleep(1)
        sub.take()
        await asyncio.sleep(6 * HOUR)
        assert not sub.take(), "silence is all that is to be expected"
        assert levels(s.book("toy:C/B")) == venue.book("CB")
        assert (len(venue.wires), len(venue.commands())) == (1, 1)
        venue.halted.clear()
        await asyncio.sleep(HOUR)
        for _ in range(30):
            venue.trade("CB")
            venue.delta("CB")
            await asyncio.sleep(1)
        told = sub.take()
        assert [i.active for i in only(told, Instrument)] == [True]
        assert len(only(told, Trade)) == 30


@virtual
async def test_what_was_halted_first_and_then_taken_off_the_list_ends_too():
    venue = Halting()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B")
        await s.ready(sub)
        venue.halted.add("CB")
        await asyncio.sleep(HOUR + 10)
        sub.take()
        venue.listed.remove("CB")
        await asyncio.sleep(HOUR)
        assert [(t.symbol, t.state, t.reason) for t in sub.take()] == [("C/B", "rejected", "delisted")]
