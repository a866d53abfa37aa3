"""Books whose snapshots come in the stream, or on request over the socket."""

import asyncio
from itertools import pairwise

import pytest

from streamer.spec import FromStream
from streamer.types import BookDelta, BookSnapshot, BookStale, Gap, Status, Trade
from tests.venues import CHECKED, ON_REQUEST, Toy, levels
from tests.world import clock, only, streaming, virtual

BOTH = ("trade", "book")


def kinds_of(ticks):
    return [type(t).__name__ for t in only(ticks, BookSnapshot, BookDelta, BookStale)]


@pytest.mark.parametrize("method", [None, CHECKED], ids=["sequence", "checksum"])
@virtual
async def test_a_lost_delta_is_mended_by_subscribing_that_topic_again(method):
    venue = Toy(book=method)
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B", kinds=BOTH)
        await s.ready(sub)
        venue.delta("AB")
        venue.delta("AB", lose=True)
        sub.take()
        venue.delta("AB")
        assert kinds_of(sub.take()) == ["BookStale"]
        assert s.book("toy:A/B") is None
        venue.delta("CB")
        venue.trade("AB")
        assert len(only(sub.take(), Trade, BookDelta)) == 2
        await s.ready(sub)
        assert levels(s.book("toy:A/B")) == venue.book("AB")
        assert [(m["op"], m["topics"]) for m in venue.commands()[1:]] == [("unsub", ["book.AB"]), ("sub", ["book.AB"])]
        assert not only(sub.take(), Gap)


@virtual
async def test_a_snapshot_that_does_not_come_is_asked_for_again_then_on_a_new_line_and_then_seldom():
    venue = Toy()
    venue.snapshots = False
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        trades = 0
        for _ in range(1000):
            await asyncio.sleep(1)
            venue.trade("AB")
        trades = [t.id for t in only(sub.take(), Trade)]
        assert trades[-990:] == [str(i) for i in range(11, 1001)]  # the trades of the line were never in danger
        asked = [at - 1000 for w in venue.wires for at, m in w.sent if m["op"] == "sub" and "book.AB" in m["topics"]]
        assert len(venue.wires) == 2
        assert [round(b - a, -1) for a, b in pairwise(asked)][:3] == [20, 20, 20]
        assert len(asked) <= 4 + 2 * 3
        venue.snapshots = True
        await asyncio.sleep(330)
        assert levels(s.book("toy:A/B")) == venue.book("AB")
        assert [t.state for t in only(sub.take(), Status)][-1] == "live"


# on request


@virtual
async def test_a_snapshot_on_request_follows_the_deltas_that_were_held_for_it():
    venue = Toy(book=ON_REQUEST)
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=("book",))
        await s.ready(sub)
        venue.delta("AB", lose=True)
        venue.delta("AB")
        assert s.book("toy:A/B") is None
        venue.snapshots = False
        await asyncio.sleep(4)
        venue.snapshots = True  # the first request was not answered
        await s.ready(sub)
        assert levels(s.book("toy:A/B")) == venue.book("AB")
        assert [m["op"] for m in venue.commands()] == ["sub", "snap", "snap", "snap"]
        assert len({m["n"] for m in venue.commands()}) == 4


class Behind(Toy):
    """Its answers to requests are `old` changes old, so the deltas held do not follow them."""

    old = 10_000

    def snapshot(self, name):
        message = super().snapshot(name)
        return message | {"seq": message["seq"] - self.old}


@virtual
async def test_snapshots_on_request_that_are_too_old_are_asked_for_again_and_never_in_a_storm():
    venue = Behind(book=ON_REQUEST)
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=("book",))
        for _ in range(600):
            venue.delta("AB")
            await asyncio.sleep(1)
        asked = [at for w in venue.wires for at, m in w.sent if m["op"] == "snap"]
        assert 10 < len(asked) < 60
        assert max(sum(at <= t < at + 10 for t in asked) for at in asked) <= 9
        assert s.book("toy:A/B") is None
        assert len(venue.attempts) == 1
        venue.old = 0
        await s.ready(sub, 65)
        assert levels(s.book("toy:A/B")) == venue.book("AB")


@virtual
async def test_a_book_on_request_that_falls_right_after_its_snapshot_is_asked_for_once_more():
    venue = Toy(book=ON_REQUEST)
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=("book",))
        await s.ready(sub)
        for _ in range(3):
            venue.delta("AB", lose=True)
            venue.delta("AB")
            assert s.book("toy:A/B") is None
            at = clock()
            await s.ready(sub)
            assert clock() - at < 5
            assert levels(s.book("toy:A/B")) == venue.book("AB")
        await asyncio.sleep(120)
        assert [m["op"] for m in venue.commands()] == ["sub", "snap", "snap", "snap", "snap"]


@virtual
async def test_a_deeper_book_takes_the_place_of_the_shallow_one_and_says_so():
    venue = Toy(book=FromStream(CHECKED.rule, depths=(10, 50, 200)))
    async with streaming(venue) as s:
        shallow = s.subscribe("toy:A/B", kinds=("book",), depth=5)
        await s.ready(shallow)
        assert venue.wire.topics == {"book10.AB"}
        shallow.take()
        deep = s.subscribe("toy:A/B", kinds=("book",))
        at = clock()
        await s.ready(deep)
        assert clock() - at < 1
        assert [m["topics"] for m in venue.commands()] == [["book10.AB"], ["book10.AB"], ["book200.AB"]]
        assert venue.wire.topics == {"book200.AB"}
        assert len(venue.wires) == 1
        assert kinds_of(shallow.take()) == ["BookStale", "BookSnapshot"]
        again = s.subscribe("toy:A/B", kinds=("book",), depth=20)
        await s.ready(again)
        assert len(venue.commands()) == 3
