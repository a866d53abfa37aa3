"""One session: its beginning (tokens, greetings, readiness) and what ends it."""

import asyncio
from itertools import pairwise

import orjson
import pytest

from streamer.io import Response
from streamer.spec import Endpoint, Ping
from streamer.types import BookStale, Gap, Status
from tests.venues import Toy, levels
from tests.world import EPOCH, Wire, clock, only, streaming, virtual

BOTH = ("trade", "book")


async def token(fetch):
    key = orjson.loads(await fetch("POST", "https://toy.test/token"))
    return Endpoint(f"wss://toy.test/{key}", ping_every=7.0)


class Tokens(Toy):
    """Wants a new token for every connection."""

    given = 0

    def rest(self, path):
        if "token" not in path:
            return super().rest(path)
        self.given += 1
        return f"key{self.given}"


@virtual
async def test_a_token_is_fetched_anew_for_every_connection():
    venue = Tokens(endpoints={"pub": token, "biz": "wss://toy.test/biz"})
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        venue.wire.drop()
        await asyncio.sleep(0.01)
        await s.ready(sub)
        assert [w.path for w in venue.wires] == ["/key1", "/key2"]
        await asyncio.sleep(7.5)
        assert venue.wire.pings == 1  # as often as the endpoint says


@virtual
async def test_a_token_that_is_not_given_is_asked_for_with_backoff():
    venue = Tokens(endpoints={"pub": token, "biz": "wss://toy.test/biz"})
    venue.fault = lambda path: Response(503, {}, b"down") if "token" in path else None
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await asyncio.sleep(600)
        assert [(t.state, t.reason) for t in sub.take()] == [("down", "http_503")]
        assert not venue.attempts
        assert 10 < len(venue.asked("token")) < 60
        venue.fault = lambda path: None
        await s.ready(sub, 61)


@virtual
async def test_a_greeting_goes_first_and_nothing_is_subscribed_before_the_venue_is_ready():
    class Slow(Toy):
        def heard(self, wire, message):
            if message["op"] == "hello":
                asyncio.get_running_loop().call_later(3.0, wire.push, {"ready": 1})
            else:
                super().heard(wire, message)

    venue = Slow(hello=['{"op":"hello"}'], await_ready=True)
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await asyncio.sleep(1)
        sub.add("toy:C/B")
        await s.ready(sub)
        assert clock() > 1003
        assert [m["op"] for m in venue.commands()] == ["hello", "sub"]
        assert venue.commands()[1]["topics"] == ["trade.AB", "trade.CB"]


@virtual
async def test_a_venue_that_never_says_it_is_ready_is_left_and_tried_again():
    venue = Toy(await_ready=True)
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await asyncio.sleep(120)
        assert not venue.commands()
        assert len(venue.attempts) > 3
        assert min(b - a for a, b in pairwise(venue.attempts)) >= 10
        assert [(t.state, t.reason) for t in only(sub.take(), Status)] == [("stale", "never_ready")]


@virtual
async def test_what_comes_before_the_connect_returns_is_not_lost():
    class Eager(Toy):
        def accepted(self, wire: Wire) -> None:
            if len(self.wires) == 1:
                wire.push({"restart": False})
            else:
                wire.push({"say": "pong"})

    venue = Eager()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        assert len(venue.wires) == 2
        assert venue.commands()[0] == "pong"


@virtual
async def test_a_token_is_fetched_below_the_url_that_the_user_gave():
    venue = Tokens(endpoints={"pub": token, "biz": "wss://toy.test/biz"})
    venue.hosts = ("toy.test", "127.0.0.1")
    async with streaming(venue, urls={"toy": "ws://127.0.0.1:9/mine"}) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        assert len(venue.asked("/mine/token")) == 1
        assert venue.wire.path == "/mine/key1"


@virtual
async def test_a_connection_that_cannot_be_trusted_is_not_believed_a_moment_longer():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await s.ready(sub)
        sub.take()
        venue.wire.push({"restart": False})
        assert s.book("toy:A/B") is None
        assert len(only(sub.take(), Gap, BookStale)) == 2
        venue.delta("AB")
        venue.trade("AB")
        assert sub.take() == []
        await s.ready(sub)
        assert levels(s.book("toy:A/B")) == venue.book("AB")
        assert [w.open for w in venue.wires] == [False, True]


@virtual
async def test_ten_bad_frames_in_a_minute_are_borne_and_eleven_are_not():
    venue = Toy()
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await s.ready(sub)
        for _ in range(10):
            venue.wire.push("{")
        await asyncio.sleep(61)
        for _ in range(10):
            venue.wire.push("{")
        assert len(venue.up) == 1
        assert not only(sub.take(), Gap, BookStale)
        venue.wire.push("{")
        assert len(only(sub.take(), Gap, BookStale)) == 2
        await s.ready(sub)
        assert len(venue.wires) == 2
        assert s.stats()["toy"]["bad"] == {"json": 21}


@virtual
async def test_a_half_open_link_is_found_within_the_quiet_time():
    venue = Toy(quiet_s=15.0)
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B", kinds=BOTH)
        await s.ready(sub)
        await asyncio.sleep(100)
        assert len(venue.attempts) == 1  # a quiet market on a link that answers pings
        sub.take()
        at = clock()
        venue.wire.silent = True
        await asyncio.sleep(16.5)
        stale = only(sub.take(), BookStale)
        assert [(t.ts_recv - EPOCH) / 1e9 - at <= 16 for t in stale] == [True]
        assert venue.wires[0].pings > 6
        await s.ready(sub, 3)
        assert len(venue.wires) == 2


@pytest.mark.parametrize("ping", [None, Ping(5.0, "ping", b"pong")])
@virtual
async def test_pings_that_nobody_answers_do_not_keep_a_link_alive(ping):
    venue = Toy(quiet_s=15.0, ping=ping)
    venue.pongs = False
    async with streaming(venue) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        await asyncio.sleep(40)
        assert len(venue.attempts) >= 3
        assert (venue.wires[0].pings if ping is None else venue.commands().count("ping")) >= 2
