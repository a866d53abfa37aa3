"""Planned reconnects: the new line is whole before the old one is closed."""

import asyncio

from msgspec.structs import replace

from streamer.types import BookStale, Gap, Status, Trade
from tests.venues import TOY, Toy, levels
from tests.world import only, streaming, virtual

BOTH = ("trade", "book")


@virtual
async def test_a_planned_reconnect_opens_the_new_line_before_it_closes_the_old():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=("trade", "book", "ticker"))
        await s.ready(sub)
        await asyncio.sleep(61)
        sub.take()
        venue.wire.push({"restart": True})
        for _ in range(200):
            venue.trade("AB")  # on both lines while they overlap
            venue.delta("AB")
            assert levels(s.book("toy:A/B")) == venue.book("AB")
            await asyncio.sleep(0.005)
        assert [w.open for w in venue.wires] == [False, True]
        ticks = sub.take()
        assert not only(ticks, BookStale, Gap, Status)
        assert [t.id for t in only(ticks, Trade)] == [str(i + 1) for i in range(200)]
        assert sorted(venue.wire.topics) == ["book.AB", "ticker.AB", "trade.AB"]
        assert s.stats()["toy"]["reconnects"] == 0
        assert s.ledger.entries() == []


@virtual
async def test_the_first_trades_ever_are_not_doubled_when_they_come_during_a_hand_over():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        await asyncio.sleep(61)
        venue.wire.push({"restart": True})
        while len(venue.up) < 2 or not venue.up[1].topics:
            await asyncio.sleep(0.001)
        venue.trade("AB")
        venue.trade("AB")
        assert [t.id for t in only(sub.take(), Trade)] == ["1", "2"]


@virtual
async def test_the_old_line_stays_while_the_new_one_cannot_connect():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await s.ready(sub)
        await asyncio.sleep(61)
        venue.refuse = "refused"
        sub.take()
        venue.wire.push({"restart": True})
        for _ in range(300):
            await asyncio.sleep(1)
            venue.trade("AB")
            venue.delta("AB")
        ticks = sub.take()
        assert len(only(ticks, Trade)) == 300
        assert not only(ticks, BookStale, Gap, Status)
        venue.wire.drop()  # the venue does as it said
        assert s.book("toy:A/B") is not None
        await asyncio.sleep(0.01)
        assert s.book("toy:A/B") is None
        assert len(only(sub.take(), BookStale, Gap)) == 2
        venue.refuse = ""
        await s.ready(sub, 61)
        assert len(venue.up) == 1
        assert s.stats()["toy"]["connections"] == 1


@virtual
async def test_the_old_line_stays_until_every_book_of_the_new_one_is_whole():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B", kinds=("book",))
        await s.ready(sub)
        await asyncio.sleep(61)
        sub.take()
        venue.snapshots = False
        venue.wire.push({"restart": True})
        await asyncio.sleep(15)
        assert [w.open for w in venue.wires] == [True, True]
        venue.up[1].push(venue.snapshot("AB"))
        await asyncio.sleep(1)
        assert [w.open for w in venue.wires] == [True, True]
        venue.up[1].push(venue.snapshot("CB"))
        await asyncio.sleep(1)
        assert [w.open for w in venue.wires] == [False, True]
        assert not only(sub.take(), BookStale, Status)


@virtual
async def test_when_the_old_line_breaks_before_the_new_one_is_subscribed_that_is_told_at_once():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await s.ready(sub)
        await asyncio.sleep(61)
        sub.take()
        venue.mute |= {"trade.AB", "book.AB"}
        venue.wire.push({"restart": True})
        await asyncio.sleep(1)
        venue.wires[0].drop()
        await asyncio.sleep(0.01)
        assert [type(t) for t in sub.take()] == [Gap, Status, BookStale]


@virtual
async def test_a_venue_that_asks_every_new_connection_to_leave_is_not_obeyed_for_ever():
    class Restless(Toy):
        def heard(self, wire, message):
            super().heard(wire, message)
            wire.push({"restart": True})

    venue = Restless()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        await asyncio.sleep(3600)
        assert len(venue.attempts) == 1


@virtual
async def test_connections_are_renewed_before_the_venue_cuts_them_and_not_all_at_once():
    venue = Toy(limits=replace(TOY.limits, life_s=14_400.0, topics_per_line=1), quiet_s=600.0)
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B", "toy:D/B", kinds=BOTH)
        await s.ready(sub)
        sub.take()
        await asyncio.sleep(14_400)
        assert not only(sub.take(), Gap, BookStale, Status)
        renewed = venue.attempts[6:]
        assert len(renewed) == 6
        assert 0.92 * 14_400 < min(renewed) - 1000 < max(renewed) - 1000 < 0.98 * 14_400
        assert max(renewed) - min(renewed) > 60
        assert len(venue.up) == 6


@virtual
async def test_what_is_subscribed_and_left_during_a_hand_over_goes_to_the_new_line():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B", kinds=BOTH)
        await s.ready(sub)
        await asyncio.sleep(61)
        venue.wire.push({"restart": True})
        sub.remove("toy:C/B")
        sub.add("toy:D/B")
        await s.ready(sub)
        await asyncio.sleep(1)
        assert [w.open for w in venue.wires] == [False, True]
        assert sorted(venue.wire.topics) == ["book.AB", "book.DB", "trade.AB", "trade.DB"]
        assert {k[1] for k in s._running().hub.streams} == {"A/B", "D/B"}
