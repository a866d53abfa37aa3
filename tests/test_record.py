"""`streamer.record`: what a live run writes down, in the scripted world, and that a replay can read it."""

import asyncio
from pathlib import Path

import pytest

from streamer.errors import IoFailure
from streamer.io import Response
from streamer.record import RecordingIo
from streamer.recording import Writer, read
from streamer.spec import Endpoint
from tests.venues import Toy
from tests.world import EPOCH, Exchange, ScriptedIo, Wire, clock, streaming, virtual


def conns(path: Path, direction: str = "in") -> list[str]:
    """The connections in the order in which they first spoke."""
    return list(dict.fromkeys(line.conn or "" for line in read(path) if line.dir == direction))


@virtual
async def test_all_that_came_and_went_is_written(tmp_path: Path) -> None:
    path, venue = tmp_path / "x.jsonl", Toy()
    writer = Writer(path)
    async with streaming(venue, recorder=writer) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        venue.trade("AB")
        at = EPOCH + int(clock() * 1e9)
    writer.close()
    lines = list(read(path))
    assert {line.exchange for line in lines} == {"toy"}
    [listing] = [line for line in lines if line.dir == "http"]
    assert (listing.url, listing.conn, listing.status) == ("https://toy.test/instruments", "http.1", 200)
    assert listing.payload() == b'["AB","CB","DB"]'
    [command] = [line for line in lines if line.dir == "out"]
    assert (command.conn, command.url, command.raw) == ("ws.1#1", "wss://toy.test/pub", '{"op":"sub","topics":["trade.AB"],"n":1}')
    ack, trade = [line for line in lines if line.dir == "in"]
    assert ack.raw == '{"ack":"trade.AB"}'
    assert (trade.conn, trade.ns) == ("ws.1#1", at)
    assert [line.dir for line in lines] == ["http", "out", "in", "in"]


@virtual
async def test_a_line_goes_on_after_it_was_lost_and_failed_attempts_do_not_count(tmp_path: Path) -> None:
    path, venue = tmp_path / "x.jsonl", Toy()
    writer = Writer(path)
    async with streaming(venue, recorder=writer) as s:
        sub = s.subscribe("toy:A/B", kinds=("book",))
        await s.ready(sub)
        for reason in ("reset", "abnormal", "closed"):
            venue.refuse = "refused"
            venue.wire.drop(reason)
            await asyncio.sleep(20)
            venue.refuse = ""
            await asyncio.sleep(90)
            assert s.book("toy:A/B") is not None
    writer.close()
    assert len(venue.attempts) > 6
    assert conns(path) == ["ws.1#1", "ws.1#2", "ws.1#3", "ws.1#4"]
    assert conns(path, "out") == conns(path)


@virtual
async def test_each_market_is_a_line_of_its_own(tmp_path: Path) -> None:
    path, venue = tmp_path / "x.jsonl", Toy()
    writer = Writer(path)
    async with streaming(venue, recorder=writer) as s:
        trades = s.subscribe("toy:A/B", kinds=("trade",))
        await s.ready(trades)
        candles = s.subscribe("toy:A/B", kinds=("candle",))
        await s.ready(candles)
        for wire in list(venue.wires):
            wire.drop()
        await asyncio.sleep(30)
    writer.close()
    urls: dict[str, set[str | None]] = {}
    for line in read(path):
        urls.setdefault((line.conn or "").partition("#")[0], set()).add(line.url)
    assert urls == {"http.1": {"https://toy.test/instruments"}, "ws.1": {"wss://toy.test/pub"}, "ws.2": {"wss://toy.test/biz"}}
    assert sorted(conns(path)) == ["ws.1#1", "ws.1#2", "ws.2#1", "ws.2#2"]


@virtual
async def test_a_hand_over_is_another_line_and_what_is_lost_after_it_goes_on_as_itself(tmp_path: Path) -> None:
    path, venue = tmp_path / "x.jsonl", Toy()
    writer = Writer(path)
    async with streaming(venue, recorder=writer) as s:
        sub = s.subscribe("toy:A/B", kinds=("book", "trade"))
        await s.ready(sub)
        await asyncio.sleep(61)
        venue.wire.push({"restart": True})
        await asyncio.sleep(5)
        assert [w.open for w in venue.wires] == [False, True]
        venue.wire.drop()
        await asyncio.sleep(30)
        assert len(venue.up) == 1
    writer.close()
    assert conns(path) == ["ws.1#1", "ws.2#1", "ws.2#2"]


class _Rest(Exchange):
    hosts = ("toy.test",)


def _io(path: Path, exchange: Exchange) -> tuple[RecordingIo, Writer]:
    writer = Writer(path)
    return RecordingIo(ScriptedIo(exchange), writer, "toy"), writer


def _nobody(data: bytes, ts_recv: int) -> None:
    """Takes what comes."""


async def _open(io: RecordingIo, exchange: Exchange, url: str = "wss://toy.test/pub") -> Wire:
    await io.connect(Endpoint(url), _nobody, max_frame=1000)
    return exchange.wire


@virtual
async def test_rest_answers_are_written_whatever_they_are_and_failures_are_not(tmp_path: Path) -> None:
    path, exchange = tmp_path / "x.jsonl", _Rest()
    io, writer = _io(path, exchange)
    answers: list[Response | IoFailure] = [
        Response(429, {"retry-after": "5"}, b"slow down"), IoFailure("gone", "reset"), Response(200, {}, b"\xff"),
    ]  # fmt: skip
    exchange.fault = lambda _: answers.pop(0)
    response = await io.request("GET", "https://toy.test/a?b=c", headers={"X": "y"})
    assert (response.status, response.headers) == (429, {"retry-after": "5"})
    with pytest.raises(IoFailure):
        await io.request("GET", "https://toy.test/a")
    await io.request("POST", "https://toy.test/b")
    await io.close()
    writer.close()
    first, second = read(path)
    assert (first.url, first.status, first.raw, first.ns) == ("https://toy.test/a?b=c", 429, "slow down", EPOCH + int(1000.01 * 1e9))
    assert (second.url, second.status, second.payload()) == ("https://toy.test/b", 200, b"\xff")


@virtual
async def test_bytes_both_ways_are_written_as_such(tmp_path: Path) -> None:
    path, exchange = tmp_path / "x.jsonl", _Rest()
    io, writer = _io(path, exchange)
    got: list[tuple[bytes, int]] = []
    socket = await io.connect(Endpoint("wss://toy.test/pub"), lambda data, ts: got.append((data, ts)), max_frame=1000)
    exchange.wire.push(b"\x00\xff")
    socket.send(b"\xfe")
    socket.ping()
    assert exchange.wire.pings == 1
    assert socket.heard() == exchange.wire.heard()
    exchange.wire.drop("closed", 1001)
    assert (await socket.wait_closed()).code == 1001
    await socket.close()
    writer.close()
    came, sent = read(path)
    assert (came.dir, came.payload(), sent.dir, sent.payload()) == ("in", b"\x00\xff", "out", b"\xfe")
    assert got == [(b"\x00\xff", came.ns)]


@virtual
async def test_a_token_in_the_address_does_not_make_another_line(tmp_path: Path) -> None:
    path, exchange = tmp_path / "x.jsonl", _Rest()
    io, writer = _io(path, exchange)
    for token in ("1", "2", "3"):
        socket = await io.connect(Endpoint(f"wss://toy.test/pub?token={token}"), _nobody, max_frame=1000)
        exchange.wire.push(token)
        await socket.close()
    writer.close()
    assert [(line.conn, line.url) for line in read(path)] == [(f"ws.1#{n}", f"wss://toy.test/pub?token={n}") for n in (1, 2, 3)]


@virtual
async def test_closing_twice_frees_the_line_once(tmp_path: Path) -> None:
    """A socket that is slow to close must not end the line that went on meanwhile."""
    path, exchange = tmp_path / "x.jsonl", _Rest()
    io, writer = _io(path, exchange)
    first = await io.connect(Endpoint("wss://toy.test/pub"), _nobody, max_frame=1000)
    await first.close()
    await _open(io, exchange)
    await first.close()
    (await _open(io, exchange)).push("x")
    exchange.wires[1].push("y")
    writer.close()
    assert [(line.conn, line.raw) for line in read(path)] == [("ws.2#1", "x"), ("ws.1#2", "y")]


@virtual
async def test_a_close_that_was_cancelled_frees_the_line_too(tmp_path: Path) -> None:
    path, exchange = tmp_path / "x.jsonl", _Rest()
    io, writer = _io(path, exchange)
    socket = await io.connect(Endpoint("wss://toy.test/pub"), _nobody, max_frame=1000)
    exchange.wire.silent = True
    closing = asyncio.create_task(socket.close())
    await asyncio.sleep(0.1)
    closing.cancel()
    await asyncio.wait([closing])
    (await _open(io, exchange)).push("x")
    writer.close()
    assert [line.conn for line in read(path)] == ["ws.1#2"]


@virtual
async def test_a_disk_that_is_full_does_not_stop_the_stream(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    venue = Toy()
    writer = Writer(full)
    async with streaming(venue, recorder=writer) as s:
        sub = s.subscribe("toy:A/B")
        await s.ready(sub)
        with pytest.raises(OSError, match="No space left"):
            writer.close()
        venue.trade("AB")
        assert len(sub.take()) > 0
        assert writer.lost > 0
