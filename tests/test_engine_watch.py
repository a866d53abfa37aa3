"""The watch: streams that fall silent on a live link, quiet markets that must not be suspected, and subscriptions never answered."""

import asyncio

import pytest

from streamer.types import BookStale, Gap, Status, Trade
from tests.venues import Binance, Toy, levels
from tests.world import only, streaming, virtual

BOTH = ("trade", "book")


async def speak(venue, seconds, *names, trades=True, books=True):
    """Every second a trade and a change of each book."""
    for _ in range(seconds):
        for name in names:
            if trades:
                venue.trade(name)
            if books:
                venue.delta(name)
        await asyncio.sleep(1)


@virtual
async def test_a_channel_that_falls_silent_on_a_live_link_is_told_and_subscribed_again():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await s.ready(sub)
        await speak(venue, 30, "AB")
        venue.wire.topics.discard("trade.AB")  # the venue forgot it
        sub.take()
        await speak(venue, 65, "AB")
        ticks = sub.take()
        (gap,) = only(ticks, Gap)
        assert (gap.channel, gap.cause) == ("trade", "stall")
        assert [(t.state, t.reason) for t in only(ticks, Status)] == [("stale", "stall"), ("live", None)]
        assert not only(ticks, BookStale)
        assert [m["op"] for m in venue.commands()[1:]] == ["unsub", "sub"]
        assert only(ticks, Trade)
        assert len(venue.wires) == 1
        assert s.stats()["toy"]["stalls"] == 1


@virtual
async def test_a_channel_that_stays_silent_is_looked_for_on_a_new_line_while_the_others_go_on():
    venue = Toy()
    async with streaming(venue) as s:
        sub, other = s.subscribe("toy:A/B"), s.subscribe("toy:C/B", kinds=BOTH)
        await s.ready(sub)
        await s.ready(other)
        await speak(venue, 30, "AB", "CB")
        venue.wire.topics.discard("trade.AB")
        venue.dead.add("trade.AB")
        other.take()
        await speak(venue, 115, "AB", "CB")
        assert len(venue.wires) == 1
        venue.dead.clear()
        await speak(venue, 10, "AB", "CB")
        assert [w.open for w in venue.wires] == [False, True]
        assert len(only(other.take(), Trade)) == 125
        assert not only(other.take(), Gap, BookStale)
        sub.take()
        await speak(venue, 10, "AB")
        assert len(only(sub.take(), Trade)) == 10


@pytest.mark.parametrize("venue", [Toy("AB"), Binance("BTCUSDT")], ids=["stream", "rest"])
@virtual
async def test_a_silent_book_is_stale_until_it_was_subscribed_again(venue):
    name, stream = ("AB", "toy:A/B") if isinstance(venue, Toy) else ("BTCUSDT", "binance:BTC/USDT")
    async with streaming(venue) as s:
        sub = s.subscribe(stream, kinds=BOTH)
        await s.ready(sub)
        await speak(venue, 30, name)
        topic = next(t for t in venue.wire.topics if "trade" not in t)
        venue.wire.topics.discard(topic)
        commands, sub_ticks = len(venue.commands()), sub.take()
        await speak(venue, 55, name)
        assert not only(sub.take(), BookStale)
        await speak(venue, 12, name)
        sub_ticks = sub.take()
        assert [t.reason for t in only(sub_ticks, BookStale)] == ["stall"]
        assert not only(sub_ticks, Gap)
        assert levels(s.book(stream)) == venue.book(name)
        assert len(venue.commands()) == commands + 2
        assert len(venue.wires) == 1


@virtual
async def test_quiet_markets_are_not_suspected():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B", "toy:D/B", kinds=BOTH)
        await s.ready(sub)
        sub.take()
        for hour in range(24):
            for _ in range(3):
                venue.trade("AB")  # trades come in clusters, hours apart
                venue.trade("AB")
                venue.delta("AB")
                await asyncio.sleep(20)
            if hour % 3 == 0:
                venue.trade("CB")
            await asyncio.sleep(3540)
        assert not only(sub.take(), Gap, BookStale, Status)
        assert len(venue.commands()) == len(venue.wires) == 1


@virtual
async def test_a_market_that_goes_quiet_for_the_night_costs_nobody_a_tick():
    venue = Toy()
    async with streaming(venue) as s:
        busy, sleepy = s.subscribe("toy:A/B", kinds=BOTH), s.subscribe("toy:C/B", kinds=BOTH)
        await s.ready(busy)
        await s.ready(sleepy)
        await speak(venue, 120, "AB", "CB")
        busy.take()
        await speak(venue, 3600, "AB")
        ticks = busy.take()
        assert len(only(ticks, Trade)) == 3600
        assert not only(ticks, Gap, BookStale, Status)
        assert len(venue.wires) <= 2


@virtual
async def test_silences_of_the_kind_that_a_stream_had_before_are_its_habit():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        for pause in (50, 140, 400, 1100):
            await speak(venue, 20, "AB", books=False)
            await asyncio.sleep(pause)
        assert not only(sub.take(), Gap)


@virtual
async def test_heartbeats_are_no_data():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        await speak(venue, 30, "AB", books=False)
        sub.take()
        for _ in range(65):
            venue.wire.push({"heartbeat": 1})
            await asyncio.sleep(1)
        assert [g.cause for g in only(sub.take(), Gap)] == ["stall"]


# answers


@virtual
async def test_a_subscription_never_answered_is_sent_again_then_tried_on_a_new_line_and_then_seldom():
    venue = Toy()
    venue.mute.add("trade.AB")
    async with streaming(venue) as s:
        sub, other = s.subscribe("toy:A/B"), s.subscribe("toy:C/B", kinds=BOTH)
        await s.ready(other)
        other.take()
        await speak(venue, 1000, "CB")
        ticks = other.take()
        assert len(only(ticks, Trade)) == 1000
        assert not only(ticks, Gap, BookStale, Status)
        asked = [round(at - 1000) for w in venue.wires for at, m in w.sent if "trade.AB" in m["topics"]]
        assert asked[:4] == [0, 11, 22, 33]
        assert len(venue.wires) == 2
        assert len(asked) <= 4 + 2 * 3
        assert {(t.state, t.reason) for t in sub.take()} == {("rejected", "no_ack")}
        venue.mute.clear()
        await asyncio.sleep(330)
        venue.trade("AB")
        assert len(only(sub.take(), Trade)) == 1


@virtual
async def test_when_nothing_is_answered_the_connection_is_made_anew_with_backoff():
    venue = Toy()
    venue.mute |= {"trade.AB", "book.AB"}
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await asyncio.sleep(1200)
        assert [w.open for w in venue.wires].count(True) <= 1
        assert 15 < len(venue.wires) < 60
        assert {(t.channel, t.state, t.reason) for t in sub.take()} == {("trade", "stale", "no_ack"), ("book", "stale", "no_ack")}
        venue.mute.clear()
        await s.ready(sub, 85)


@virtual
async def test_data_without_an_answer_counts_as_the_answer():
    venue = Toy()
    venue.mute.add("trade.AB")
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await asyncio.sleep(1)
        venue.wire.topics.add("trade.AB")
        await speak(venue, 60, "AB", books=False)
        assert len(only(sub.take(), Trade)) == 60
        assert len(venue.commands()) == 1


@pytest.mark.parametrize("numbered", [False, True])
@virtual
async def test_an_answer_to_a_second_subscription_is_wanted_too(numbered):
    venue = Toy()
    venue.numbered = numbered
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await s.ready(sub)
        venue.delta("AB")
        venue.mute.add("book.AB")
        venue.delta("AB", lose=True)
        venue.delta("AB")
        await asyncio.sleep(15)
        book = [(m["op"], m["topics"]) for m in venue.commands() if m["topics"] == ["book.AB"]]
        assert [op for op, _ in book] == ["unsub", "sub", "sub"]
        venue.mute.clear()
        await s.ready(sub, 20)
        assert levels(s.book("toy:A/B")) == venue.book("AB")
