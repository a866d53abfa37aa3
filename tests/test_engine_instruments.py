"""Instruments: loaded once, cached, refreshed; and what a refresh changes reaches those who stream that venue."""

import asyncio

import pytest
from msgspec.structs import replace

from streamer.errors import IoFailure, UnknownSymbol
from streamer.io import Response
from streamer.spec import Instruments, on
from streamer.types import Instrument, Status, Trade
from tests.venues import TOY, Toy, instruments
from tests.world import most_in, only, streaming, virtual, virtual_logging

DOWN = Response(503, {}, b"maintenance")


@virtual
async def test_they_are_loaded_once_however_many_wait():
    venue = Toy()
    async with streaming(venue) as s:
        subs = [s.subscribe("toy:A/B") for _ in range(50)]
        listed = await s.instruments("toy")
        assert [i.symbol for i in listed] == ["A/B", "C/B", "D/B"]
        for sub in subs:
            await s.ready(sub)
        assert len(venue.requests) == 1


@virtual
async def test_while_they_cannot_be_loaded_the_venue_is_asked_with_backoff_and_everybody_is_told_once():
    venue = Toy()
    venue.fault = lambda path: DOWN
    async with streaming(venue) as s:
        subs = [s.subscribe("toy:A/B", kinds=("trade", "book")) for _ in range(20)]
        with pytest.raises(IoFailure, match="answered 503"):
            await s.instruments("toy")
        await asyncio.sleep(1800)
        assert 30 < len(venue.requests) < 100
        for sub in subs:
            assert [(t.channel, t.state, t.reason) for t in sub.take()] == [("trade", "down", "http_503"), ("book", "down", "http_503")]
        subs[0].close()
        venue.fault = lambda path: None
        await s.ready(subs[1], 61)
        assert sorted(venue.wire.topics) == ["book.AB", "trade.AB"]


@virtual
async def test_nobody_asks_any_more_when_nobody_waits_any_more():
    venue = Toy()
    venue.fault = lambda path: DOWN
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await asyncio.sleep(10)
        sub.close()
        await asyncio.sleep(120)
        before = len(venue.requests)
        await asyncio.sleep(3600)
        assert len(venue.requests) == before


@virtual
async def test_they_are_cached_on_disk_for_an_hour(tmp_path):
    for wait, requests in ((0, 1), (1800, 1), (1860, 2)):
        venue = venue if wait else Toy()  # noqa: F821  (the first time round)
        await asyncio.sleep(wait)
        async with streaming(venue, cache=tmp_path) as s:
            await s.ready(s.subscribe("toy:A/B"))
            assert len(venue.requests) == requests


@virtual
async def test_a_cached_list_is_refreshed_when_it_is_an_hour_old_not_an_hour_later(tmp_path):
    venue = Toy()
    async with streaming(venue, cache=tmp_path) as s:
        await s.instruments("toy")
    await asyncio.sleep(3000)
    async with streaming(venue, cache=tmp_path) as s:
        await s.instruments("toy")
        await asyncio.sleep(550)
        assert len(venue.requests) == 1
        await asyncio.sleep(100)
        assert len(venue.requests) == 2


@virtual
async def test_an_old_list_serves_while_the_venue_is_down_and_is_renewed_soon(tmp_path):
    venue = Toy()
    async with streaming(venue, cache=tmp_path) as s:
        await s.instruments("toy")
    await asyncio.sleep(5 * 86400)
    venue.fault = lambda path: DOWN
    venue.listed.append("NO")
    async with streaming(venue, cache=tmp_path) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        venue.fault = lambda path: None
        await asyncio.sleep(310)
        assert [i.symbol for i in only(sub.take(), Instrument)] == ["N/O"]


@virtual
async def test_a_broken_cache_is_no_cache(tmp_path):
    (tmp_path / "toy.json").write_text("[{")
    venue = Toy()
    async with streaming(venue, cache=tmp_path) as s:
        await s.ready(s.subscribe("toy:A/B"))
    assert len(venue.requests) == 1


@virtual
async def test_they_are_refreshed_hourly_and_differences_are_told_to_those_who_stream_the_venue():
    venue = Toy()
    async with streaming(venue) as s:
        sub, gone = s.subscribe("toy:A/B"), s.subscribe("toy:A/B")
        await s.ready(sub)
        gone.close()
        venue.listed = ["AB", "DB", "NO"]
        await asyncio.sleep(3700)
        assert len(venue.requests) == 2
        assert [(i.symbol, i.active) for i in only(sub.take(), Instrument)] == [("N/O", True), ("C/B", False)]
        assert gone.published == 0 or not only(gone.take(), Instrument)
        venue.listed = ["AB", "CB", "DB", "NO"]
        await asyncio.sleep(3700)
        assert [(i.symbol, i.active) for i in only(sub.take(), Instrument)] == [("C/B", True)]
        sub.remove("toy:A/B")
        venue.listed = ["AB"]
        await asyncio.sleep(3700)
        assert not sub.take()


@virtual
async def test_an_unknown_id_has_them_read_again_at_most_every_five_minutes():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        await asyncio.sleep(1000)
        for _ in range(3000):
            venue.publish("trade.AB", {"t": "trade", "s": "ZZ", "i": [1]})
            venue.trade("AB")
            await asyncio.sleep(1)
        assert most_in([at for at, _ in venue.requests[1:]], 300) == 1
        assert 9 <= len(venue.requests) <= 12
        assert s.stats()["toy"]["unknown_ids"] == {"ZZ": 3000}
        assert len(only(sub.take(), Trade)) == 3000


@virtual
async def test_a_symbol_that_appears_later_can_be_subscribed_then():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", "toy:N/O")
        with pytest.raises(UnknownSymbol):
            await s.ready(sub)
        venue.listed.append("NO")
        await asyncio.sleep(310)  # asking for it had the list read again
        sub.add("toy:N/O")
        await s.ready(sub)
        assert [(t.symbol, t.state) for t in only(sub.take(), Status)] == [("N/O", "rejected"), ("A/B", "live"), ("N/O", "live")]
        venue.publish("trade.NO", {"t": "trade", "s": "NO", "i": [1]})
        assert [t.symbol for t in only(sub.take(), Trade)] == ["N/O"]


@virtual
async def test_an_empty_list_and_a_failing_one_take_nothing_away(tmp_path):
    two = Instruments(["https://toy.test/instruments", "https://toy.test/more"], TOY.instruments.parse)
    venue = Toy("AB", "CB", instruments=two)
    names = {"instruments": ["AB"], "more": ["CB"]}
    venue.rest = lambda path: names[path.strip("/")]
    async with streaming(venue, cache=tmp_path) as s:
        sub = s.subscribe("toy:A/B", "toy:C/B")
        await s.ready(sub)
        venue.fault = lambda path: DOWN if "more" in path else None
        await asyncio.sleep(3700)
        venue.fault = lambda path: None
        names |= {"instruments": [], "more": []}
        await asyncio.sleep(3700)
        assert not only(sub.take(), Instrument)
    venue.fault = lambda path: DOWN if "more" in path else None
    names |= {"instruments": ["AB"]}
    await asyncio.sleep(86400)
    async with streaming(venue, cache=tmp_path) as s:  # what is not listed now comes from the old list
        sub = s.subscribe("toy:A/B", "toy:C/B")
        await s.ready(sub)


@virtual_logging("toy instruments ended unexpectedly")
async def test_a_fault_of_our_own_while_loading_is_logged_and_tried_again():
    faulty = [True]

    def parse(m, ctx):
        if faulty[0]:
            raise RuntimeError("no")
        return instruments(m, ctx)

    venue = Toy(instruments=Instruments(TOY.instruments.urls, on(list[str], parse)))
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await asyncio.sleep(100)
        assert 3 < len(venue.requests) < 15
        assert [(t.state, t.reason) for t in sub.take()] == [("down", "internal_error")]
        faulty[0] = False
        await s.ready(sub, 61)


@virtual_logging("toy: instruments not refreshed")
async def test_a_fault_of_our_own_while_refreshing_is_logged_and_tried_again():
    faulty = [False]

    def parse(m, ctx):
        if faulty[0]:
            raise RuntimeError("no")
        return [replace(i, contract_size=None) for i in instruments(m, ctx)]

    venue = Toy(instruments=Instruments(TOY.instruments.urls, on(list[str], parse)))
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        faulty[0] = True
        await asyncio.sleep(3610)
        faulty[0] = False
        venue.listed.append("NO")
        await asyncio.sleep(310)
        assert [i.symbol for i in only(sub.take(), Instrument)] == ["N/O"]
