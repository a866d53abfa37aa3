"""`streamer.realio`: opening a websocket, and every way in which it fails, over both transports, on loopback."""

import asyncio
import socket as sockets
import time
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from streamer import dial
from streamer.errors import UsageError
from streamer.realio import RealIo
from streamer.spec import Endpoint
from tests.loopback import Peer, listening
from tests.sockets import fails, nobody


@pytest.fixture(params=["picows", "websockets"])
def io(request: pytest.FixtureRequest) -> RealIo:
    return RealIo(transport=request.param)


async def test_refused(io: RealIo) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    failure = await fails(io, f"ws://127.0.0.1:{port}/ws?token=S3CR3T")
    assert failure.reason == "refused"
    assert str(failure) == f"ws://127.0.0.1:{port}/ws: connection refused"


async def test_a_name_that_does_not_resolve(io: RealIo) -> None:
    assert (await fails(io, "ws://no.such.host.invalid/", timeout=20)).reason == "dns"
    assert (await fails(io, f"ws://{'a' * 64}.invalid/")).reason == "dns"


async def test_a_slow_resolver_stops_neither_the_loop_nor_the_timeout(io: RealIo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "getaddrinfo", lambda *a, **k: time.sleep(0.7))
    stalls = []

    async def watch() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            stalls.append(time.monotonic() - before)

    task = asyncio.create_task(watch())
    failure = await fails(io, "ws://venue.test/", timeout=0.2)
    task.cancel()
    assert failure.reason == "timeout"
    assert max(stalls) < 0.15


async def test_the_next_address_is_tried_when_the_first_does_not_answer(io: RealIo, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tried = dial._attempt, []

    async def attempt(family: int, address: Any) -> Any:
        tried.append(address[0])
        if address[0] == "192.0.2.1":
            await asyncio.sleep(60)
        if address[0] == "192.0.2.2":
            raise OSError(101, "Network is unreachable")
        return await real(family, address)

    def resolve(host: str, port: int, *args: Any, **how: Any) -> list[Any]:
        return [(sockets.AF_INET, sockets.SOCK_STREAM, 6, "", (a, port)) for a in ("192.0.2.1", "192.0.2.2", "127.0.0.1")]

    monkeypatch.setattr(sockets, "getaddrinfo", resolve)
    monkeypatch.setattr(dial, "_attempt", attempt)
    async with serve(_quiet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        socket = await io.connect(Endpoint(f"ws://venue.test:{port}/"), nobody, max_frame=1000, timeout=2)
        await socket.close()
    assert tried == ["192.0.2.1", "192.0.2.2", "127.0.0.1"]


async def _quiet(ws: ServerConnection) -> None:
    await ws.wait_closed()


async def test_a_network_that_cannot_be_reached(io: RealIo, monkeypatch: pytest.MonkeyPatch) -> None:
    async def attempt(family: int, address: Any) -> Any:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(dial, "_attempt", attempt)
    failure = await fails(io, "ws://127.0.0.1:1/")
    assert (failure.reason, str(failure)) == ("unreachable", "ws://127.0.0.1:1/: cannot be reached: Network is unreachable")


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_handshake_that_hangs(io: RealIo, scheme: str) -> None:
    gone = asyncio.Event()

    async def hang(peer: Peer) -> None:
        while await peer.reader.read(1000):
            """Says nothing."""
        gone.set()

    async with listening(hang, head=False) as port:
        failure = await fails(io, f"{scheme}://127.0.0.1:{port}/ws?token=S3CR3T", timeout=0.2)
        assert failure.reason == "timeout"
        assert str(failure) == f"{scheme}://127.0.0.1:{port}/ws: no connection within 0.2 s"
        await asyncio.wait_for(gone.wait(), 1)  # and no connection is left behind


async def test_cancelling_connect_leaves_no_connection_behind(io: RealIo) -> None:
    gone, came = asyncio.Event(), asyncio.Event()

    async def late(peer: Peer) -> None:
        came.set()
        assert await peer.reader.read(1000) == b""
        gone.set()

    async with listening(late) as port:
        task = asyncio.create_task(io.connect(Endpoint(f"ws://127.0.0.1:{port}/"), nobody, max_frame=1000))
        await came.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 1)


async def test_a_server_that_hangs_up_in_the_handshake(io: RealIo) -> None:
    async def fin(peer: Peer) -> None:
        """Goes at once."""

    async def rst(peer: Peer) -> None:
        peer.reset()

    for script in (fin, rst):
        async with listening(script) as port:
            assert (await fails(io, f"ws://127.0.0.1:{port}/")).reason == "reset"


@pytest.mark.parametrize("status", ["403 Forbidden", "451 Unavailable For Legal Reasons", "503 Service Unavailable",
                                    "521 Web Server Is Down", "429 Too Many Requests", "200 OK", "404 "])  # fmt: skip
async def test_another_status_is_told_with_the_beginning_of_its_body(io: RealIo, status: str) -> None:
    body = b"<html>\x1b[31mnot\r\nhere \xff" + b"x" * 5000

    async def answer(peer: Peer) -> None:
        await peer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nContent-Type: text/html\r\n\r\n".encode() + body)

    async with listening(answer) as port:
        failure = await fails(io, f"ws://127.0.0.1:{port}/")
    assert failure.reason == f"http_{status[:3]}"
    assert "<html>\\x1b[31mnot\\r\\nhere \\ufffdxxx" in str(failure)
    assert len(str(failure)) < 350


async def test_redirects_are_not_followed(io: RealIo) -> None:
    asked = []

    async def redirect(peer: Peer) -> None:
        asked.append(peer.request.split()[1])
        await peer.write(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")

    async with listening(redirect) as port:
        assert (await fails(io, f"ws://127.0.0.1:{port}/ws")).reason == "http_302"
    assert asked == ["/ws"]


@pytest.mark.parametrize("answer", [
    b"\x16\x03\x01 this is TLS\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: y\r\n" * 100_000,
])  # fmt: skip
async def test_what_is_no_websocket_handshake(io: RealIo, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.write(answer)
        await peer.reader.read()

    async with listening(script) as port:
        assert (await fails(io, f"ws://127.0.0.1:{port}/")).reason == "protocol"


@pytest.mark.parametrize("header", ["Sec-WebSocket-Protocol: not-offered", "Sec-WebSocket-Extensions: permessage-deflate"])
async def test_a_server_may_choose_only_what_was_offered(io: RealIo, header: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(header)
        await peer.reader.read()

    async with listening(script) as port:
        failure = await fails(io, f"ws://127.0.0.1:{port}/", subprotocols=["json"])
    assert failure.reason == "protocol"


async def test_headers_subprotocols_and_who_we_are_are_sent(io: RealIo) -> None:
    seen: list[Peer] = []

    async def script(peer: Peer) -> None:
        seen.append(peer)
        await peer.accept("Sec-WebSocket-Protocol: v2")
        await peer.frame()

    async with listening(script) as port:
        for headers in ({"X-Key": "k"}, {"user-agent": "other"}):
            endpoint = Endpoint(f"ws://127.0.0.1:{port}/a%20b?q=[1]&r=%22", headers=headers, subprotocols=["v1", "v2"])
            socket = await io.connect(endpoint, nobody, max_frame=1000)
            await socket.close()
    assert seen[0].request.startswith("GET /a%20b?q=[1]&r=%22 HTTP/1.1\r\n")
    assert (seen[0].header("X-Key"), seen[0].header("Host")) == ("k", f"127.0.0.1:{port}")
    assert [p.strip() for p in (seen[0].header("Sec-WebSocket-Protocol") or "").split(",")] == ["v1", "v2"]
    assert (seen[0].header("User-Agent") or "").startswith("market-streamer/")
    assert seen[1].request.lower().count("user-agent:") == 1
    assert seen[1].header("User-Agent") == "other"
    assert seen[0].header("Sec-WebSocket-Extensions") is None


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "ws://", "ws:///path", "nonsense", "ws://127.0.0.1/a b", "ws://127.0.0.1/\r\nX: y",
                                 "ws://127.0.0.1:99999/", "ws://u:S3CR3T@127.0.0.1/", "ws://127.0.0.1/#x", "ws://[::1/", ""])  # fmt: skip
async def test_an_address_that_is_none(io: RealIo, url: str) -> None:
    failure = await fails(io, url)
    assert failure.reason == "protocol"
    assert "S3CR3T" not in str(failure)


async def test_a_header_that_smuggles_another(io: RealIo) -> None:
    assert (await fails(io, "ws://127.0.0.1:1/", headers={"X": "1\r\nY: 2"})).reason == "protocol"


def test_a_transport_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="neither 'picows' nor 'websockets'"):
        RealIo(transport="pigeon")
