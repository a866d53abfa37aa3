"""Subscriptions at run time: topics are counted, batched, spread over connections, and what is refused touches nothing else."""

import asyncio

import pytest
from msgspec.structs import replace

from streamer.errors import UnknownSymbol, UnsupportedKind, UsageError
from streamer.types import MarkPrice, Status, Ticker, Trade
from tests.venues import TOY, Toy, levels
from tests.world import most_in, only, streaming, virtual

BOTH = ("trade", "book")
MANY = [f"{x}{y}" for x in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for y in "abcdefghijklmnopqrst"][:500]


def ops(venue):
    return [(m["op"], m["topics"]) for m in venue.commands()]


@virtual
async def test_two_subscribers_of_a_topic_subscribe_once_and_the_last_one_unsubscribes():
    venue = Toy()
    async with streaming(venue) as s:
        keep = s.subscribe("toy:C/B")
        first, second = s.subscribe("toy:A/B", kinds=BOTH), s.subscribe("toy:A/B", kinds=BOTH)
        await s.ready(first)
        await s.ready(second)
        assert ops(venue) == [("sub", ["trade.CB", "trade.AB", "book.AB"])]
        first.close()
        venue.trade("AB")
        assert len(only(second.take(), Trade)) == 1
        await asyncio.sleep(1)
        assert len(venue.commands()) == 1
        second.close()
        await asyncio.sleep(1)
        assert ops(venue)[1:] == [("unsub", ["trade.AB", "book.AB"])]
        assert set(s._running().hub.streams) == {("toy", "C/B", "trade", "")}
        assert keep.dropped == 0


@virtual
async def test_a_topic_that_feeds_two_kinds_stays_as_long_as_one_is_wanted():
    venue = Toy()
    async with streaming(venue) as s:
        keep, ticker, mark = s.subscribe("toy:C/B"), s.subscribe("toy:A/B", kinds=("ticker",)), s.subscribe("toy:A/B", kinds=("mark",))
        await s.ready(ticker)
        await s.ready(mark)
        venue.ticker("AB")
        assert len(only(ticker.take(), Ticker)) == len(only(mark.take(), MarkPrice)) == 1
        ticker.close()
        venue.ticker("AB")
        await asyncio.sleep(1)
        assert len(only(mark.take(), MarkPrice)) == 1
        again = s.subscribe("toy:A/B", kinds=("ticker",))
        await s.ready(again, 0.1)  # it is subscribed already
        mark.close()
        again.close()
        await asyncio.sleep(1)
        assert ops(venue) == [("sub", ["trade.CB", "ticker.AB"]), ("unsub", ["ticker.AB"])]
        assert keep.dropped == 0


@virtual
async def test_the_connection_goes_with_its_last_topic():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=("trade", "candle"))
        await s.ready(sub)
        assert sorted(w.path for w in venue.up) == ["/biz", "/pub"]
        sub.close()
        await asyncio.sleep(1)
        assert not venue.up
        assert s.stats()["toy"]["connections"] == 0
        assert not s._running().venues["toy"].boxes
        await s.ready(s.subscribe("toy:A/B"))


@virtual
async def test_streams_come_and_go_at_run_time():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await s.ready(sub)
        sub.add("toy:C/B", "toy:D/B")
        await s.ready(sub)
        sub.remove("toy:A/B", "toy:D/B")
        await asyncio.sleep(1)
        sub.take()
        for name in ("AB", "CB", "DB"):
            venue.trade(name)
        assert [t.symbol for t in only(sub.take(), Trade)] == ["C/B"]
        assert venue.wire.topics == {"trade.CB", "book.CB"}


@virtual
async def test_what_comes_and_goes_before_its_turn_costs_no_command():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:C/B")
        sub.add("toy:A/B")
        sub.remove("toy:A/B")  # the instruments are not even loaded
        await s.ready(sub)
        for _ in range(10):
            sub.add("toy:D/B")
            await asyncio.sleep(0)
            sub.remove("toy:D/B")
        await asyncio.sleep(5)
        assert ops(venue) == [("sub", ["trade.CB"])]
        sub.remove("toy:C/B")
        sub.add("toy:C/B")
        await asyncio.sleep(5)
        await s.ready(sub)
        venue.trade("CB")
        assert len(only(sub.take(), Trade)) == 1


@virtual
async def test_a_stream_named_twice_is_counted_once():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:A/B", kinds=("trade", "trade"))
        sub.remove("toy:A/B")
        sub.add("toy:A/B")
        await s.ready(sub)
        venue.trade("AB")
        assert len(only(sub.take(), Trade)) == 1
        sub.close()
        await asyncio.sleep(1)
        assert not s._running().venues["toy"].boxes
        assert not venue.up


@virtual
async def test_a_subscriber_who_leaves_while_the_instruments_are_loading_leaves_nothing_behind():
    venue = Toy()
    venue.fault = lambda path: 5.0
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await asyncio.sleep(1)
        sub.close()
        await asyncio.sleep(10)
        assert not venue.attempts
        assert not s._running().hub.streams


@virtual
async def test_subscribing_during_a_reconnect_goes_with_the_rest():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await s.ready(sub)
        venue.refuse = "refused"
        venue.wire.drop()
        await asyncio.sleep(20)
        sub.add("toy:C/B")
        sub.remove("toy:A/B")
        venue.refuse = ""
        await asyncio.sleep(60)
        await s.ready(sub)
        assert ops(venue)[1:] == [("sub", ["trade.CB", "book.CB"])]
        assert levels(s.book("toy:C/B")) == venue.book("CB")


@virtual
async def test_five_hundred_symbols_are_batched_paced_and_spread():
    limits = replace(TOY.limits, topics_per_line=150, topics_per_command=20, sends=(2, 1.0))
    venue = Toy(*MANY, limits=limits)
    async with streaming(venue) as s:
        sub = s.subscribe(*(f"toy:{n[0]}/{n[1]}" for n in MANY), kinds=BOTH)
        await s.ready(sub, 30)
        assert sorted(len(w.topics) for w in venue.wires) == [100] + [150] * 6
        assert all(len(m["topics"]) <= 20 for m in venue.commands())
        assert len(venue.commands()) == 6 * 8 + 5
        assert all(most_in([at for at, _ in w.sent], 1.0) <= 2 for w in venue.wires)
        sub.close()
        await asyncio.sleep(30)
        assert not venue.up


@virtual
async def test_a_command_that_waits_long_for_its_turn_is_not_taken_for_unanswered():
    venue = Toy(*MANY[:200], limits=replace(TOY.limits, topics_per_line=500, topics_per_command=1, sends=(1, 1.0)))
    async with streaming(venue) as s:
        sub = s.subscribe(*(f"toy:{n[0]}/{n[1]}" for n in MANY[:200]))
        await s.ready(sub, 210)
        assert len(venue.commands()) == 200
        assert len(venue.wires) == 1


# refusals


@pytest.mark.parametrize("numbered", [False, True])
@virtual
async def test_a_refused_topic_costs_that_symbol_only_and_is_tried_again_slowly(numbered):
    venue = Toy(*MANY[:60])
    venue.numbered = numbered
    venue.refused["trade.Bc"] = False
    async with streaming(venue) as s:
        good = s.subscribe(*(f"toy:{n[0]}/{n[1]}" for n in MANY[:60] if n != "Bc"))
        bad = s.subscribe("toy:B/c")
        await s.ready(good)
        with pytest.raises(UsageError, match="toy refused trade of B/c"):
            await s.ready(bad)
        assert [(t.state, t.reason) for t in bad.take()] == [("rejected", "no such thing")]
        assert len(venue.commands()) < 16
        await asyncio.sleep(290)
        before = len(venue.commands())
        await asyncio.sleep(600)
        assert len(venue.commands()) == before + 2
        assert len(venue.wires) == 1
        venue.refused.clear()
        await asyncio.sleep(300)
        await s.ready(bad)
        assert only(bad.take(), Status)[-1].state == "live"


@virtual
async def test_what_an_answer_does_not_list_is_refused_at_once_if_the_venue_says_so_of_each():
    class Lists(Toy):
        def heard(self, wire, message):
            for topic in {"trade.AB", "trade.CB"} & set(message["topics"]):
                wire.push({"ack": topic})
            wire.push({"no": message["n"], "fatal": True, "each": True})

    venue = Lists(*MANY[:60])
    async with streaming(venue) as s:
        sub = s.subscribe(*(f"toy:{n[0]}/{n[1]}" for n in MANY[:60]), "toy:A/B", kinds=("trade",))
        await asyncio.sleep(5)
        told = [t.state for t in only(sub.take(), Status)]
        assert told.count("rejected") == len(told) - told.count("live") >= 58
        assert len(venue.commands()) == len({tuple(topics) for _, topics in ops(venue)}) <= 4


@virtual
async def test_a_topic_refused_for_good_is_not_tried_again():
    venue = Toy()
    venue.refused["trade.AB"] = True
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B")
        await asyncio.sleep(3600)
        assert len(venue.commands()) == 1
        assert len(sub.take()) == 2


@virtual
async def test_what_is_not_there_is_told_by_ready_and_in_band_with_the_nearest_names():
    venue = Toy()
    async with streaming(venue) as s:
        symbol, kind, interval = s.subscribe("toy:A/C"), s.subscribe("toy:A/B", kinds=("funding",)), s.subscribe(
            "toy:A/B", kinds=("candle",), interval="7m")  # fmt: skip
        with pytest.raises(UnknownSymbol, match=r"toy lists no 'A/C'; did you mean A/B"):
            await s.ready(symbol)
        with pytest.raises(UnsupportedKind, match="toy has no funding for A/B; it has trade, book, ticker, mark, candle"):
            await s.ready(kind)
        with pytest.raises(UsageError, match="toy has no candles of '7m'; it has 1m, 1h"):
            await s.ready(interval)
        assert [(t.state, t.channel) for t in symbol.take() + kind.take()] == [("rejected", "trade"), ("rejected", "funding")]
        assert not venue.attempts
        assert not s._running().hub.streams


@virtual
async def test_what_may_not_share_a_command_gets_one_each():
    """A venue whose commands name one channel, and whose answers name the command."""
    venue = Toy(together=lambda topic: topic.partition(".")[0])
    venue.numbered = True
    venue.refused = {"trade.CB": True}
    async with streaming(venue) as s:
        good, bad = s.subscribe("toy:A/B", "toy:D/B", kinds=BOTH), s.subscribe("toy:C/B")
        await s.ready(good)
        first = [set(topics) for _, topics in ops(venue)[:2]]
        assert first == [{"trade.AB", "trade.DB", "trade.CB"}, {"book.AB", "book.DB"}]
        assert all(len({t.partition(".")[0] for t in topics}) == 1 for _, topics in ops(venue))
        await asyncio.sleep(5)
        assert [t.state for t in only(bad.take(), Status)] == ["rejected"]
        venue.trade("AB")
        assert len(only(good.take(), Trade)) == 1
