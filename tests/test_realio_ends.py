"""`streamer.realio`: how a websocket ends, whoever ends it, over both transports, on loopback."""

import asyncio
import logging
import struct
import time

import pytest

from streamer.io import Closed
from streamer.realio import RealIo
from tests.loopback import BINARY, CLOSE, PING, TEXT, Peer, Script, frame, listening
from tests.sockets import Taker, connected, ended, saying, until


@pytest.fixture(params=["picows", "websockets"])
def io(request: pytest.FixtureRequest) -> RealIo:
    return RealIo(transport=request.param)


@pytest.mark.parametrize(("payload", "code", "text"), [
    (struct.pack("!H", 1000), 1000, ""),
    (struct.pack("!H", 1001) + b"bye \x1b[31m", 1001, "bye \x1b[31m"),
    (struct.pack("!H", 1013) + "später".encode(), 1013, "später"),
    (struct.pack("!H", 4029) + b"too many", 4029, "too many"),
    (b"", None, ""),
])  # fmt: skip
async def test_a_close_frame_gives_code_and_text_and_is_answered(io: RealIo, payload: bytes, code: int | None, text: str) -> None:
    answers: list[int] = []

    async def closing(peer: Peer) -> None:
        answers.append((await peer.frame())[0])

    closed, frames = await ended(io, saying(frame(TEXT, b"last"), frame(CLOSE, payload), then=closing))
    assert closed == Closed("closed", code, text)
    assert frames == [b"last"]
    assert answers == [CLOSE]


async def test_a_server_that_says_goodbye_and_stays_is_left_within_a_second(io: RealIo) -> None:
    async def staying(peer: Peer) -> None:
        while await peer.reader.read(100):
            """Ignores that the client answered."""
        await asyncio.sleep(60)

    before = time.monotonic()
    closed, _ = await ended(io, saying(frame(CLOSE, struct.pack("!H", 1012)), then=staying))
    assert closed == Closed("closed", 1012)
    assert time.monotonic() - before < 1.5


async def _reset(peer: Peer) -> None:
    peer.reset()


async def _nothing(peer: Peer) -> None:
    """FIN follows."""


async def test_rst(io: RealIo) -> None:
    assert await ended(io, saying(frame(TEXT, b"x"), then=_pause_and(_reset))) == (Closed("reset"), [b"x"])


def _pause_and(then: Script) -> Script:
    async def script(peer: Peer) -> None:
        await asyncio.sleep(0.03)
        await then(peer)

    return script


async def test_fin_without_a_close_frame(io: RealIo) -> None:
    assert await ended(io, saying(frame(TEXT, b"x"), then=_pause_and(_nothing))) == (Closed("abnormal"), [b"x"])


async def test_fin_in_the_middle_of_a_frame(io: RealIo) -> None:
    assert await ended(io, saying(frame(TEXT, b"x" * 1000)[:500], then=_pause_and(_nothing))) == (Closed("abnormal"), [])


@pytest.mark.parametrize("frames", [
    [frame(TEXT, b"x" * 1001)],
    [frame(TEXT, b"x" * 1001), frame(TEXT, b"after")],
    [frame(BINARY, b"x" * 1_000_000)],
    [frame(TEXT, b"x" * 1001)[:4], frame(TEXT, b"x" * 1001)[4:]],
    [frame(TEXT, b"x" * 600, fin=False), frame(0, b"x" * 401)],
])  # fmt: skip
async def test_a_message_that_is_too_long_ends_the_connection(io: RealIo, frames: list[bytes]) -> None:
    async def reading(peer: Peer) -> None:
        await peer.reader.read()

    closed, taken = await ended(io, saying(frame(TEXT, b"y" * 1000), *frames, then=reading), max_frame=1000)
    assert closed.reason == "oversize"
    assert taken == [b"y" * 1000]


async def test_endless_fragments_without_a_byte_end_the_connection(io: RealIo) -> None:
    closed, taken = await ended(io, saying(frame(TEXT, b"", fin=False) + frame(0, b"", fin=False) * 200_000))
    assert (closed.reason, taken) == ("oversize", [])


@pytest.mark.parametrize("bad", [
    frame(TEXT, b"x", rsv=4),  # compressed, though that was not agreed
    frame(3, b"x"),
    frame(0, b"continues nothing"),
    frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
    frame(PING, b"x" * 126),
    b"\x81\x81\x00\x00\x00\x00x",  # masked
    frame(CLOSE, struct.pack("!H", 1005)),
], ids=str)  # fmt: skip
async def test_what_is_no_websocket_ends_the_connection(io: RealIo, bad: bytes) -> None:
    closed, taken = await ended(io, saying(frame(TEXT, b"good"), bad))
    assert (closed.reason, taken) == ("protocol", [b"good"])


async def test_close_says_goodbye_and_no_frame_comes_after(io: RealIo) -> None:
    got: list[tuple[int, bytes]] = []

    async def flooding(peer: Peer) -> None:
        async def flood() -> None:
            while True:
                await peer.write(frame(TEXT, b"x" * 100) * 100)

        task = asyncio.create_task(flood())
        got.append(await peer.frame())
        await peer.write(frame(CLOSE, struct.pack("!H", 1000)))
        task.cancel()
        await asyncio.wait([task])

    take = Taker()
    async with listening(saying(then=flooding)) as port:
        socket = await connected(io, port, take)
        await until(lambda: len(take.frames) > 1000)
        before = time.monotonic()
        await socket.close()
        assert time.monotonic() - before < 0.9
        taken = len(take.frames)
        await asyncio.sleep(0.05)
        assert len(take.frames) == taken
        assert (await socket.wait_closed()).reason == "local"
    assert got == [(CLOSE, struct.pack("!H", 1000))]


async def test_close_waits_a_second_for_a_dead_peer(io: RealIo) -> None:
    async def dead(peer: Peer) -> None:
        await asyncio.sleep(60)

    async with listening(saying(then=dead)) as port:
        socket = await connected(io, port, Taker())
        waiting = [asyncio.create_task(socket.wait_closed()) for _ in range(3)]
        before = time.monotonic()
        await socket.close()
        assert 0.5 < time.monotonic() - before < 1.5
        assert {(await w).reason for w in waiting} == {"local"}
        before = time.monotonic()
        await socket.close()
        assert time.monotonic() - before < 0.1


async def test_wait_closed_may_be_cancelled(io: RealIo) -> None:
    async with listening(saying()) as port:
        socket = await connected(io, port, Taker())
        waiting = asyncio.create_task(socket.wait_closed())
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await socket.close()
        assert (await socket.wait_closed()).reason == "local"


async def test_close_may_be_cancelled(io: RealIo) -> None:
    async def dead(peer: Peer) -> None:
        await asyncio.sleep(60)

    async with listening(saying(then=dead)) as port:
        socket = await connected(io, port, Taker())
        closing = asyncio.create_task(socket.close())
        await asyncio.sleep(0.05)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert (await asyncio.wait_for(socket.wait_closed(), 0.2)).reason == "local"
        await socket.close()


async def test_sending_on_a_closed_socket_does_nothing(io: RealIo) -> None:
    async with listening(saying()) as port:
        socket = await connected(io, port, Taker())
        await socket.close()
        socket.send("x")
        socket.send(b"x")
        socket.ping()
    async with listening(saying(then=_pause_and(_reset))) as port:
        socket = await connected(io, port, Taker())
        assert (await socket.wait_closed()).reason == "reset"
        socket.send("x")
        socket.ping()
        await socket.close()


async def test_an_error_of_the_taker_ends_that_connection_alone(io: RealIo, caplog: pytest.LogCaptureFixture) -> None:
    take = Taker(raises=b"2")
    codes: list[bytes] = []

    async def script(peer: Peer) -> None:
        codes.append((await peer.frame())[1])

    async with listening(saying(b"".join(frame(TEXT, b"%d" % n) for n in range(1, 6)), then=script)) as port:
        socket = await connected(io, port, take)
        assert (await asyncio.wait_for(socket.wait_closed(), 2)).reason == "local"
        await socket.close()
        await until(lambda: codes)
    assert take.frames == [b"1", b"2"]
    errors = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert errors[0].exc_info is not None
    assert f"127.0.0.1:{port}" in errors[0].getMessage()
    assert codes == [struct.pack("!H", 1011)]


async def test_how_a_connection_ends_is_logged_by_nobody_here(io: RealIo, caplog: pytest.LogCaptureFixture) -> None:
    """The engine tells it once, escaped."""
    with caplog.at_level(logging.INFO):
        await ended(io, saying(frame(CLOSE, struct.pack("!H", 1001) + b"\x1b[31mevil")))
        await ended(io, saying(frame(TEXT, b"x" * 2000)), max_frame=1000)
        await ended(io, saying(frame(3, b"x")))
    assert [r.getMessage() for r in caplog.records if r.name.partition(".")[0] in ("picows", "websockets", "streamer")] == []
