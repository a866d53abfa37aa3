"""What subscribers see over reconnects, refusals and changes of the venue's list: no trade twice, nothing counted wrongly."""

import asyncio
from decimal import Decimal

from msgspec.structs import replace

from streamer.spec import FromRest, Instruments, on
from streamer.types import BookDelta, BookSnapshot, BookStale, Candle, Gap, Instrument, Status, Trade
from tests.venues import ON_REQUEST, TOY, Binance, Toy, instruments, levels
from tests.world import clock, only, streaming, virtual, virtual_logging


def trades(venue, ids, history=False):
    venue.publish("trade.AB", {"t": "trade", "s": "AB", "i": list(ids), "history": history})


@virtual
async def test_trades_that_a_venue_repeats_after_a_reconnect_come_once():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        trades(venue, range(1, 1001))
        venue.wire.drop()
        await asyncio.sleep(1)
        await s.ready(sub)
        trades(venue, range(901, 1003))
        trades(venue, range(990, 1005), history=True)  # 1003 and 1004 happened while we were away
        trades(venue, [1005])
        ticks = sub.take()
        assert [int(t.id) for t in only(ticks, Trade)] == list(range(1, 1006))
        assert len(only(ticks, Gap)) == 1


@virtual
async def test_history_sent_at_the_first_subscription_is_no_news():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        trades(venue, range(1, 50), history=True)
        trades(venue, [50])
        assert [t.id for t in only(sub.take(), Trade)] == ["50"]


@virtual
async def test_candles_of_two_intervals_are_two_streams():
    venue = Toy()
    async with streaming(venue) as s:
        minute, hour = (s.subscribe("toy:A/B", kinds=("candle",), interval=i) for i in ("1m", "1h"))
        await s.ready(minute)
        await s.ready(hour)
        assert venue.wire.topics == {"candle.60.AB", "candle.3600.AB"}
        for topic, interval in (("candle.60.AB", "1m"), ("candle.3600.AB", "1h")):
            venue.publish(topic, {"t": "candle", "s": "AB", "i": interval, "c": 1.0})
        minute.take()
        assert [c.interval for c in only(hour.take(), Candle)] == ["1h"]
        hour.close()
        await asyncio.sleep(1)
        venue.publish("candle.60.AB", {"t": "candle", "s": "AB", "i": "1m", "c": 2.0})
        assert [c.close for c in only(minute.take(), Candle)] == [2.0]
        assert venue.wire.topics == {"candle.60.AB"}


@virtual
async def test_a_refusal_of_what_is_sent_all_the_same_is_taken_back():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        sub.take()
        venue.wire.push({"no": "trade.AB", "fatal": False})  # "already subscribed"
        assert [type(t) for t in sub.take()] == [Gap, Status, Status]
        trades(venue, [1])
        await asyncio.sleep(1000)
        assert len(venue.commands()) == 1
        trades(venue, [2])
        assert len(only(sub.take(), Trade)) == 2
        await s.ready(sub, 0.1)
        sub.close()
        await asyncio.sleep(1)
        assert not venue.up


@virtual
async def test_what_was_refused_by_name_is_not_accepted_with_the_rest_of_its_command():
    class Mixed(Toy):
        def heard(self, wire, message):
            wire.push({"no": "trade.AB", "fatal": True})
            wire.push({"ack": message["n"]})

    async with streaming(Mixed()) as s:
        bad, good = s.subscribe("toy:A/B"), s.subscribe("toy:C/B")
        await s.ready(good)
        assert [t.state for t in bad.take()] == ["rejected"]


@virtual
async def test_a_topic_refused_on_the_new_line_stays_on_the_old_one():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B")
        await s.ready(sub)
        await asyncio.sleep(61)
        sub.take()
        venue.refused["trade.AB"] = False
        venue.wire.push({"restart": True})
        await asyncio.sleep(200)
        venue.trade("AB")
        venue.trade("CB")
        assert [type(t) for t in sub.take()] == [Trade, Trade]
        venue.refused.clear()
        await asyncio.sleep(400)
        assert [w.open for w in venue.wires] == [False, True]
        assert not sub.take()


@virtual
async def test_a_gap_tells_from_where_to_where_and_the_ledger_when_it_ended():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        venue.trade("AB")
        last = only(sub.take(), Trade)[0].ts_recv
        await asyncio.sleep(5)
        venue.refuse = "refused"
        venue.wire.drop()
        await asyncio.sleep(30)
        venue.refuse = ""
        (gap,) = only(sub.take(), Gap)
        assert (gap.ts_from, gap.ts_to, gap.recovered) == (last, None, None)
        await s.ready(sub, 61)
        (live,) = only(sub.take(), Status)
        (entry,) = s.ledger.entries()
        assert (entry.cause, entry.ts_from, entry.ts_to) == ("disconnect", last, live.ts_recv)


@virtual
async def test_a_changed_contract_size_counts_from_the_refresh_on():
    size = [Decimal(10)]

    def parse(m, ctx):
        return [replace(i, contract_size=size[0], size_step=Decimal(1)) for i in instruments(m, ctx)]

    venue = Toy(instruments=Instruments(TOY.instruments.urls, on(list[str], parse)))
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=("trade", "book"))
        await s.ready(sub)
        venue.trade("AB")
        assert only(sub.take(), Trade)[0].size == 10.0
        size[0] = Decimal(100)
        await asyncio.sleep(3610)
        told, _, _, snapshot = only(sub.take(), Instrument, BookSnapshot, BookStale)
        assert (told.contract_size, snapshot.bids[0]) == (Decimal(100), (100.0, 100.0))
        venue.delta("AB")
        venue.trade("AB")
        delta, trade = only(sub.take(), BookDelta, Trade)
        assert trade.size == 100.0
        assert delta.bids[0][1] == 100 * venue.markets["AB"].bids[delta.bids[0][0]]


@virtual_logging("binance: snapshot of BTC/USDT")
async def test_a_fault_of_our_own_in_a_snapshot_is_logged_and_tried_again():
    venue = Binance()
    async with streaming(venue) as s:
        await s.instruments("binance")
        faulty = [True]
        real = s._running().venues["binance"]
        method = real.feed.book["spot"]
        assert isinstance(method, FromRest)

        def parse(m, ctx, instrument):
            if faulty[0]:
                raise RuntimeError("no")
            return method.parse.handle(m, ctx, instrument)

        real.feed = replace(real.feed, book={"spot": replace(method, parse=on(method.parse.wire, parse))})
        sub = s.subscribe("binance:BTC/USDT", kinds=("trade", "book"))
        await asyncio.sleep(60)
        assert s.book("binance:BTC/USDT") is None
        assert len(venue.attempts) == 1
        faulty[0] = False
        await s.ready(sub, 61)
        assert levels(s.book("binance:BTC/USDT")) == venue.book("BTCUSDT")


@virtual_logging("toy: snapshot of ")
async def test_a_fault_of_our_own_in_a_request_is_logged_and_tried_again():
    faulty = [True]

    def request(topic, n):
        if faulty[0]:
            raise LookupError(topic)
        return ON_REQUEST.request(topic, n)

    venue = Toy(book=replace(ON_REQUEST, request=request))
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B", kinds=("trade", "book"))
        await asyncio.sleep(30)
        faulty[0] = False
        at = clock()
        await s.ready(sub, 70)
        assert clock() > at
        assert len(venue.attempts) == 1


@virtual_logging("toy: book of A/B could not be subscribed")
async def test_a_fault_of_our_own_in_subscribing_costs_that_stream_only():
    def market(instrument, kind):
        if kind == "book" and instrument.id == "AB":
            raise LookupError("no market")
        return "biz" if kind == "candle" else "pub"

    venue = Toy(market=lambda i, k: market(i, k) if armed else "pub")
    armed: list[int] = []
    async with streaming(venue) as s:
        await s.instruments("toy")
        armed.append(1)
        sub = s.subscribe("toy:A/B", "toy:C/B", kinds=("trade", "book"))
        await asyncio.sleep(1)
        assert {(t.symbol, t.channel, t.state) for t in only(sub.take(), Status)} == {
            ("A/B", "book", "rejected"), ("A/B", "trade", "live"), ("C/B", "trade", "live"), ("C/B", "book", "live"),
        }  # fmt: skip
