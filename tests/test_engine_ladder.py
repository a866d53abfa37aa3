"""How the watch mends what it finds, step by step: subscribe again, a new line, and then leave that one topic alone."""

import asyncio

from msgspec.structs import replace

from streamer.types import BookSnapshot, BookStale, Gap, Status, Trade
from tests.test_engine_watch import speak
from tests.venues import TOY, Toy, levels
from tests.world import only, streaming, virtual

BOTH = ("trade", "book")


@virtual
async def test_a_book_that_gives_snapshots_but_no_changes_is_looked_for_on_a_new_line():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await s.ready(sub)
        await speak(venue, 30, "AB")
        venue.wire.topics.discard("book.AB")
        venue.dead.add("book.AB")
        await speak(venue, 115, "AB")
        assert len(venue.wires) == 1
        venue.dead.clear()
        await speak(venue, 15, "AB")
        assert [w.open for w in venue.wires] == [False, True]
        assert levels(s.book("toy:A/B")) == venue.book("AB")
        assert [t.reason for t in only(sub.take(), BookStale)] == ["stall", "stall"]


@virtual
async def test_what_was_silent_on_the_old_line_comes_from_the_new_one_before_all_of_it_is_whole():
    venue = Toy()
    async with streaming(venue) as s:
        sub, other = s.subscribe("toy:A/B", kinds=("ticker",)), s.subscribe("toy:C/B", kinds=("book",))
        await s.ready(sub)
        await s.ready(other)
        for _ in range(30):
            venue.ticker("AB")
            await asyncio.sleep(1)
        venue.wire.topics.discard("ticker.AB")
        venue.dead.add("ticker.AB")
        await asyncio.sleep(115)
        venue.snapshots = False
        venue.dead.clear()
        await asyncio.sleep(15)
        assert len(venue.up) == 2  # the book of the new one is not there yet
        sub.take()
        venue.ticker("AB")
        assert len(sub.take()) == 1
        venue.up[1].push(venue.snapshot("CB"))
        await asyncio.sleep(1)
        assert len(venue.up) == 1
        assert not only(other.take(), BookStale)


@virtual
async def test_nothing_is_given_up_on_a_line_that_is_being_replaced():
    venue = Toy()
    venue.mute.add("trade.AB")
    async with streaming(venue) as s:
        sub, other = s.subscribe("toy:A/B"), s.subscribe("toy:C/B")
        await s.ready(other)
        await asyncio.sleep(15)
        venue.refuse = "refused"
        await asyncio.sleep(60)
        assert [t.state for t in sub.take()] == ["down"]
        assert len(venue.up) == 1
        venue.refuse = ""
        venue.mute.clear()
        await s.ready(sub, 61)
        assert not only(other.take(), Gap)


@virtual
async def test_the_ladder_begins_anew_once_all_was_well():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await s.ready(sub)
        for lines in (2, 3):
            venue.mute.add("book.AB")
            venue.delta("AB", lose=True)
            venue.delta("AB")
            await asyncio.sleep(30)
            assert len(venue.wires) == lines
            venue.mute.clear()
            await s.ready(sub, 12)
            await asyncio.sleep(5)
        assert not [t for t in only(sub.take(), Status) if t.state == "rejected"]


@virtual
async def test_a_book_that_joins_a_topic_subscribed_for_something_else_gets_its_snapshot():
    topics = {**TOY.topics, ("pub", "quote"): "book.{id}"}
    venue = Toy()
    venue.feed = replace(venue.feed, topics=topics)
    async with streaming(venue) as s:
        quotes = s.subscribe("toy:A/B", kinds=("quote",))
        await s.ready(quotes)
        await asyncio.sleep(100)
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await s.ready(sub, 1)
        assert len(only(sub.take(), BookSnapshot)) == 1
        assert [m["op"] for m in venue.commands() if "book.AB" in m["topics"]] == ["sub", "unsub", "sub"]
        venue.trade("AB")
        assert len(only(sub.take(), Trade)) == 1
