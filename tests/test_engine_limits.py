"""The venue's limits hold whatever happens: gates for connects, REST and commands, and the silence that it orders."""

import asyncio

import pytest
from msgspec.structs import replace

from streamer.io import Response
from streamer.types import Status, Trade
from tests.venues import TOY, Binance, Toy, levels
from tests.world import clock, most_in, only, streaming, virtual

BOTH = ("trade", "book")


@pytest.mark.parametrize(
    ("answer", "silence"),
    [
        (Response(429, {"retry-after": "7200"}, b""), 7200),
        (Response(418, {}, b""), 120),
        (Response(429, {"retry-after": "nan"}, b""), 10),
        (Response(429, {"retry-after": "-5"}, b""), 1),
        (Response(418, {"retry-after": "inf"}, b""), 120),
    ],
)
@virtual
async def test_no_request_goes_to_a_venue_before_the_silence_it_ordered_is_over(answer, silence):
    venue, other = Binance(), Toy()
    async with streaming(venue, other) as s:
        await s.instruments("binance")
        venue.fault = lambda path: answer
        sub = s.subscribe("binance:BTC/USDT", kinds=BOTH)
        await asyncio.sleep(1.2)
        banned = venue.requests[-1][0]
        more = s.subscribe("binance:ETH/USDT", "binance:BNB/USDT", kinds=("book",))  # each wants a snapshot
        venue.wire.drop()  # and a new connection is wanted
        connects = len(venue.attempts)
        venue.fault = lambda path: None
        toy = s.subscribe("toy:A/B")
        await s.ready(toy, 1)
        await asyncio.sleep(banned + silence - clock() - 0.01)
        assert venue.requests[-1][0] == banned
        assert len(venue.attempts) == connects
        await s.ready(sub, 62)
        await s.ready(more, 5)
        assert levels(s.book("binance:BTC/USDT")) == venue.book("BTCUSDT")


@virtual
async def test_silence_is_told_as_the_reason_why_nothing_comes():
    venue = Binance()
    async with streaming(venue) as s:
        await s.instruments("binance")
        venue.fault = lambda path: Response(418, {"retry-after": "600"}, b"")
        sub = s.subscribe("binance:BTC/USDT", kinds=BOTH)
        await asyncio.sleep(2)
        venue.trade("BTCUSDT")
        assert only(sub.take(), Trade)  # the socket that is there goes on
        venue.wire.drop()
        await asyncio.sleep(5)
        assert [(t.channel, t.state, t.reason) for t in only(sub.take(), Status)] == [
            ("trade", "stale", "reset"), ("book", "stale", "reset"), ("trade", "down", "rate_limited"), ("book", "down", "rate_limited"),
        ]  # fmt: skip


@virtual
async def test_connects_of_all_connections_together_stay_within_the_limit():
    venue = Toy(limits=replace(TOY.limits, topics_per_line=1, connects=(3, 10.0)))
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B", "toy:D/B", kinds=("trade", "book", "candle", "ticker"))
        await s.ready(sub, 45)
        assert len(venue.attempts) == 12
        for _ in range(5):
            for wire in venue.up:
                wire.drop()
            await asyncio.sleep(30)
        assert most_in(venue.attempts, 10) <= 3
        await s.ready(sub, 120)


@virtual
async def test_the_weight_of_rest_snapshots_stays_within_the_limit():
    names = [f"{x}{y}{z}USDT" for x in "ABCD" for y in "ABCDEFGHIJ" for z in "ABCDE"]
    venue = Binance(*names)
    async with streaming(venue) as s:
        sub = s.subscribe(*(f"binance:{n[:3]}/USDT" for n in names), kinds=("book",))
        await s.ready(sub, 150)
        assert len(venue.asked("depth")) == 200
        assert most_in(venue.asked("depth"), 60) <= 6000 // 50


@virtual
async def test_a_storm_of_gaps_does_not_become_a_storm_of_commands():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B", kinds=BOTH)
        await s.ready(sub)
        for _ in range(3000):
            venue.delta("AB", lose=True)
            venue.delta("AB")
            venue.trade("AB")
            await asyncio.sleep(0.1)
        sent = [at for w in venue.wires for at, m in w.sent if m["topics"] == ["book.AB"]]
        assert most_in(sent, 60) <= 16
        assert len(venue.wires) == 1
        assert len(only(sub.take(), Trade)) == 3000
        await s.ready(sub, 31)
        assert levels(s.book("toy:A/B")) == venue.book("AB")
