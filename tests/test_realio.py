"""`streamer.realio`: frames of an open websocket, over both transports, against real servers on loopback."""

import asyncio
import struct
import subprocess
import sys
import time

import pytest
import uvloop
from websockets.asyncio.server import ServerConnection, serve

from streamer.io import Closed, Socket
from streamer.realio import RealIo
from tests.loopback import BINARY, CLOSE, PING, PONG, TEXT, Peer, frame, listening
from tests.sockets import Taker, connected, ended, saying, until
from tests.test_realio_ends import (
    test_a_server_that_says_goodbye_and_stays_is_left_within_a_second as staying,
)
from tests.test_realio_ends import test_close_says_goodbye_and_no_frame_comes_after as flooded
from tests.test_realio_ends import test_close_waits_a_second_for_a_dead_peer as dead
from tests.test_realio_ends import test_fin_without_a_close_frame as fin
from tests.test_realio_ends import test_rst as rst
from tests.test_realio_ends import test_sending_on_a_closed_socket_does_nothing as sending


@pytest.fixture(params=["picows", "websockets"])
def io(request: pytest.FixtureRequest) -> RealIo:
    return RealIo(transport=request.param)


async def test_frames_come_in_order_with_the_time_of_their_arrival(io: RealIo) -> None:
    async def talk(ws: ServerConnection) -> None:
        for n in range(2000):
            await ws.send(f"text {n}" if n % 2 else b"bytes %d" % n)
        await ws.wait_closed()

    take = Taker()
    async with serve(talk, "127.0.0.1", 0) as server:
        before = time.time_ns()
        socket = await connected(io, server.sockets[0].getsockname()[1], take)
        await until(lambda: len(take.frames) == 2000)
        after = time.time_ns()
        await socket.close()
    assert take.frames == [b"text %d" % n if n % 2 else b"bytes %d" % n for n in range(2000)]
    assert before <= take.times[0]
    assert take.times == sorted(take.times)
    assert take.times[-1] <= after


async def test_text_and_bytes_are_sent_as_such_and_in_order(io: RealIo) -> None:
    got: list[str | bytes] = []

    async def listen(ws: ServerConnection) -> None:
        got.extend([message async for message in ws])

    async with serve(listen, "127.0.0.1", 0) as server:
        socket = await connected(io, server.sockets[0].getsockname()[1], Taker())
        sent = ["{}", b"\x00\xff", "é", "x" * 70_000]
        for message in sent:
            socket.send(message)
        await socket.close()
        await until(lambda: got)
    assert got == sent


async def test_nothing_is_delivered_before_connect_has_returned(io: RealIo) -> None:
    """A greeting in the same packet as the answer to the handshake may want a reply, on the socket."""
    replied: list[tuple[int, bytes]] = []
    holder: list[Socket] = []

    async def greet(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"welcome") + frame(TEXT, b"again"))
        replied.append(await peer.frame())
        replied.append(await peer.frame())

    def take(data: bytes, ts_recv: int) -> None:
        holder[0].send(data.decode() + " back")

    async with listening(greet) as port:
        holder.append(await connected(io, port, take))
        await until(lambda: len(replied) == 2)
        await holder[0].close()
    assert replied == [(TEXT, b"welcome back"), (TEXT, b"again back")]


async def test_fragments_are_joined_and_control_frames_may_come_between(io: RealIo) -> None:
    whole = b"".join([frame(TEXT, b"a", fin=False), frame(PING, b"p"), frame(0, b"", fin=False), frame(0, b"b"), frame(BINARY, b"c")])
    sliced = [whole[n : n + 1] for n in range(len(whole))]
    closed, frames = await ended(io, saying(*sliced, frame(CLOSE, struct.pack("!H", 1000))))
    assert frames == [b"ab", b"c"]
    assert closed == Closed("closed", 1000)


async def test_a_ping_is_answered_with_its_own_payload(io: RealIo) -> None:
    got: list[tuple[int, bytes]] = []

    async def pinging(peer: Peer) -> None:
        got.append(await peer.frame())

    async with listening(saying(frame(PING, b"are you there"), then=pinging)) as port:
        socket = await connected(io, port, Taker())
        await until(lambda: got)
        await socket.close()
    assert got == [(PONG, b"are you there")]


@pytest.mark.parametrize("answer", [frame(PONG, b""), frame(PONG, b"echo"), frame(PING, b"x"), frame(TEXT, b"x")])
async def test_whatever_comes_counts_as_heard(io: RealIo, answer: bytes) -> None:
    """Pongs of a payload that was never sent, too: some venues answer so."""

    async def answering(peer: Peer) -> None:
        opcode, _ = await peer.frame()
        assert opcode == PING
        await peer.write(answer)
        while (await peer.frame())[0] != CLOSE:
            """A pong."""

    async with listening(saying(then=answering)) as port:
        socket = await connected(io, port, Taker())
        await asyncio.sleep(0.02)
        quiet = socket.heard()
        assert quiet < io.monotonic() - 0.01
        socket.ping()
        await until(lambda: socket.heard() > quiet + 0.01)
        assert abs(io.monotonic() - socket.heard()) < 1
        await socket.close()


def test_what_takes_long_to_import_is_imported_when_it_is_needed() -> None:
    code = "import sys, streamer.realio as r; r.RealIo(); print({'aiohttp', 'picows', 'websockets', 'python_socks'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("transport", ["picows", "websockets"])
def test_on_uvloop(transport: str) -> None:
    async def drill() -> None:
        io = RealIo(transport=transport)
        await test_frames_come_in_order_with_the_time_of_their_arrival(io)
        for test in (rst, fin, dead, flooded, staying, sending):
            await test(io)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(drill())
