"""The facade: what it refuses at once, what `ready` tells, books and quotes, and its end."""

import asyncio

import pytest

from streamer import Streamer
from streamer.errors import BadSymbol, NotReady, UnknownExchange, UsageError
from streamer.spec import Endpoint
from streamer.types import Gap, Quote, Status, Trade
from tests.venues import Binance, Toy, levels
from tests.world import only, streaming, virtual

BOTH = ("trade", "book")


# what is wrong


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"numbers": "int"}, "numbers='int' is neither 'float' nor 'decimal'"),
        ({"sizes": "lots"}, "sizes='lots' is neither 'base' nor 'venue'"),
        ({"transport": "udp"}, "transport='udp' is neither 'picows' nor 'websockets'"),
    ],
)
def test_options_are_checked_at_once(how, text):
    with pytest.raises(UsageError, match=text):
        Streamer(**how)


@pytest.mark.parametrize(
    ("streams", "how", "error", "text"),
    [
        (["binnance:BTC/USDT"], {}, UnknownExchange, "binance"),
        (["binance"], {}, UsageError, "exchange:symbol"),
        (["binance:BTC//USDT"], {}, BadSymbol, "BTC//USDT"),
        (["toy:A/B"], {"kinds": ("trades",)}, UsageError, "no kind 'trades'; did you mean trade"),
        (["toy:A/B"], {"kinds": ()}, UsageError, "no kinds were asked for"),
        (["toy:A/B"], {"policy": "drop"}, UsageError, "policy 'drop' is none of"),
        (["toy:A/B"], {"policy": "block"}, UsageError, "policy 'block' is for replay"),
        (["toy:A/B"], {"policy": "conflate"}, UsageError, "policy 'conflate' would lose trades"),
        (["toy:A/B"], {"depth": 0}, UsageError, "depth=0 is less than one level"),
    ],
)
@virtual
async def test_what_is_known_to_be_wrong_is_said_at_once_and_leaves_nothing_behind(streams, how, error, text):
    async with streaming(Toy()) as s:
        with pytest.raises(error, match=text):
            s.subscribe("toy:A/B", *streams, **how)
        await asyncio.sleep(1)
        engine = s._running()
        assert not engine._wants
        assert not engine.venues["toy"].boxes


@virtual
async def test_outside_of_its_time_it_says_how_to_use_it():
    s = Streamer(cache=None)
    with pytest.raises(UsageError, match=r"use it inside `async with Streamer\(\) as s:`"):
        s.subscribe("toy:A/B")


@virtual
async def test_a_url_for_an_exchange_must_be_a_secure_one():
    async with Streamer(cache=None, urls={"binance": "http://example.com"}) as s:
        with pytest.raises(UsageError, match="is not encrypted"):
            s.subscribe("binance:BTC/USDT")


# ready, book, instruments, stats


@virtual
async def test_ready_names_what_is_not_live_and_in_which_state():
    venue, binance = Toy(), Binance()
    binance.fault = lambda path: 60.0
    venue.snapshots = False
    async with streaming(venue, binance) as s:
        sub = s.subscribe("toy:A/B", "binance:BTC/USDT", kinds=BOTH)
        with pytest.raises(NotReady) as e:
            await s.ready(sub, 3)
        assert str(e.value) == (
            "not live after 3 s: toy:A/B book (connecting), binance:BTC/USDT trade (loading instruments), "
            "binance:BTC/USDT book (loading instruments)"
        )
        many = s.subscribe(*(f"toy:{x}/B" for x in "ACD"), kinds=("book",))
        with pytest.raises(NotReady, match="toy:A/B book"):
            await s.ready(many, 1)


@virtual
async def test_ready_of_a_closed_subscription_is_no_success():
    async with streaming(Toy()) as s:
        sub = s.subscribe("toy:A/B")
        sub.close()
        with pytest.raises(UsageError, match="this subscription is closed"):
            await s.ready(sub)
        with pytest.raises(UsageError, match="this subscription is closed"):
            sub.add("toy:C/B")
        sub.remove("toy:A/B")


@virtual
async def test_a_book_is_served_only_while_it_is_right():
    venue = Toy()
    async with streaming(venue) as s:
        assert s.book("toy:A/B") is None
        sub = s.subscribe("toy:A/B", kinds=("book",), depth=2)
        await s.ready(sub)
        book = s.book("toy:A/B")
        assert levels(book) == venue.book("AB")
        venue.delta("AB", lose=True)
        venue.delta("AB")
        assert s.book("toy:A/B") is None
        await s.ready(sub)
        assert levels(book) == levels(s.book("toy:A/B")) == venue.book("AB")


@virtual
async def test_quotes_are_cut_from_the_book_where_the_venue_has_none():
    venue = Toy()
    async with streaming(venue) as s:
        book = s.subscribe("toy:A/B", kinds=("book",))
        await s.ready(book)
        sub = s.subscribe("toy:A/B", kinds=("quote",))
        await s.ready(sub, 0.1)  # of a book that is there and does not move
        assert [(q.bid, q.ask, q.source) for q in only(sub.take(), Quote)] == [(100.0, 101.0, "book")]
        venue.delta("AB", lose=True)
        venue.delta("AB")
        assert [type(t) for t in sub.take()] == [Gap, Status]
        await s.ready(sub)
        assert [(q.bid, q.ask) for q in only(sub.take(), Quote)] == [(100.0, 101.0)]
        book.close()
        await asyncio.sleep(1)
        assert venue.wire.topics == {"book.AB"}  # the quotes need it
        sub.close()
        await asyncio.sleep(1)
        assert not venue.up
        assert not s._running().hub.streams


@virtual
async def test_stats_count_by_exchange():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        venue.wire.push({"what": 1})
        venue.wire.push("{")
        venue.wire.drop()
        await asyncio.sleep(1)
        await s.ready(sub)
        assert s.stats()["toy"] == {
            "connections": 1, "reconnects": 1, "stalls": 0, "frames": 4, "bad": {"json": 1}, "unknown": {"message": 1}, "unknown_ids": {},
            "samples": {"json": b"{"}, "books": {},
        }  # fmt: skip


# the end


@virtual
async def test_at_the_end_what_is_queued_can_still_be_read_and_then_it_ends():
    venue = Toy()
    async with streaming(venue) as s:
        sub, reader = s.subscribe("toy:A/B"), s.subscribe("toy:A/B")
        await s.ready(sub)
        sub.take()
        reading = asyncio.create_task(collect(reader))
        venue.trade("AB")
        venue.trade("AB")
        await asyncio.sleep(1)
    assert [t.id for t in await collect(sub)] == ["1", "2"]
    assert [t.id for t in only(await reading, Trade)] == ["1", "2"]
    assert not venue.up
    sub.close()
    with pytest.raises(UsageError):
        sub.add("toy:C/B")


async def collect(sub):
    return [tick async for tick in sub]


async def never(fetch):
    await asyncio.sleep(1e6)
    return Endpoint("wss://toy.test/pub")


@pytest.mark.parametrize("after", [0, 0.005, 0.015, 0.025, 0.035, 1.5, 3.0, 100.0])
@pytest.mark.parametrize("trouble", ["none", "hang", "refused", "rest", "token", "hand_over", "half_open"])
@virtual
async def test_it_ends_at_any_moment_without_leaving_anything_running(after, trouble):
    facts = {"endpoints": {"pub": never, "biz": "wss://toy.test/biz"}} if trouble == "token" else {"quiet_s": 20.0}
    venue, binance = Toy(**facts), Binance()
    venue.refuse = trouble if trouble in ("hang", "refused") else ""
    if trouble == "rest":
        venue.fault = binance.fault = lambda path: 14.0
    async with streaming(venue, binance) as s:
        sub = s.subscribe("toy:A/B", "binance:BTC/USDT", kinds=BOTH)
        waiting = asyncio.create_task(s.ready(sub, 1000))
        if trouble in ("hand_over", "half_open"):
            await s.ready(sub)
            await asyncio.sleep(61)
            venue.refuse = "refused" if after < 1 else ""
            venue.wire.silent = trouble == "half_open"
            if trouble == "hand_over":
                venue.wire.push({"restart": True})
        await asyncio.sleep(after)
    assert not venue.up
    assert not binance.up
    if not waiting.done() or waiting.exception() is not None:
        with pytest.raises(UsageError, match="closed"):
            await waiting
