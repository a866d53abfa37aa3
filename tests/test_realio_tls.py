"""`streamer.realio`: TLS and permessage-deflate, over both transports, on loopback."""

import asyncio
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve

from streamer import dial
from streamer.io import Socket
from streamer.realio import RealIo
from streamer.spec import Endpoint
from tests.loopback import TEXT, Peer, frame, listening
from tests.sockets import fails, serving


@pytest.fixture(params=["picows", "websockets"])
def io(request: pytest.FixtureRequest) -> RealIo:
    return RealIo(transport=request.param)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


async def test_tls_that_is_trusted(io: RealIo, authority: trustme.CA, trusted: None) -> None:
    got: list[bytes] = []
    async with serve(_hello, "127.0.0.1", 0, ssl=serving(authority)) as server:
        port = server.sockets[0].getsockname()[1]
        socket = await io.connect(Endpoint(f"wss://127.0.0.1:{port}/"), lambda data, ts: got.append(data), max_frame=1000)
        assert (await asyncio.wait_for(socket.wait_closed(), 2)).code == 1000
        await socket.close()
    assert got == [b"hello"]


async def _hello(ws: ServerConnection) -> None:
    await ws.send("hello")


async def test_reset_and_a_dead_peer_over_tls(io: RealIo, authority: trustme.CA, trusted: None) -> None:
    async def resetting(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"x"))
        await asyncio.sleep(0.05)
        peer.reset()

    async def dead(peer: Peer) -> None:
        await peer.accept()
        await asyncio.sleep(60)

    async def opened(port: int) -> Socket:
        return await io.connect(Endpoint(f"wss://127.0.0.1:{port}/"), lambda data, ts: None, max_frame=1000, timeout=2)

    async with listening(resetting, ssl=serving(authority)) as port:
        socket = await opened(port)
        assert (await asyncio.wait_for(socket.wait_closed(), 2)).reason == "reset"
        await socket.close()
    async with listening(dead, ssl=serving(authority)) as port:
        socket = await opened(port)
        before = time.monotonic()
        await socket.close()
        assert time.monotonic() - before < 2


async def test_an_authority_that_is_not_trusted(io: RealIo, authority: trustme.CA) -> None:
    async with serve(_hello, "127.0.0.1", 0, ssl=serving(authority)) as server:
        failure = await fails(io, f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert failure.reason == "tls"
    assert "SSL_CERT_FILE" in str(failure)


async def test_a_certificate_of_another_host(io: RealIo, authority: trustme.CA, trusted: None) -> None:
    async with serve(_hello, "127.0.0.1", 0, ssl=serving(authority, "other.test")) as server:
        failure = await fails(io, f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert failure.reason == "tls"


async def test_no_tls_and_a_server_that_refuses_ours(io: RealIo) -> None:
    async def alert(peer: Peer) -> None:
        await peer.reader.read(1000)
        await peer.write(b"\x15\x03\x01\x00\x02\x02\x46")  # fatal: protocol version
        await peer.reader.read(1000)

    async def http(peer: Peer) -> None:
        await peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.reader.read(1000)

    for script in (alert, http):
        async with listening(script, head=False) as port:
            assert (await fails(io, f"wss://127.0.0.1:{port}/")).reason == "tls"


def test_tls_is_verified_and_not_old() -> None:
    context = dial.tls()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


# permessage-deflate


async def test_deflate_is_spoken_where_the_endpoint_wants_it(io: RealIo) -> None:
    got: list[bytes] = []
    agreed: list[Any] = []

    async def talk(ws: ServerConnection) -> None:
        agreed.append(ws.response.headers.get("Sec-WebSocket-Extensions") if ws.response else None)
        await ws.send("x" * 900)
        await ws.send("x" * 1_000_000)
        await ws.wait_closed()

    async with serve(talk, "127.0.0.1", 0, compression="deflate") as server:
        endpoint = Endpoint(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", deflate=True)
        socket = await io.connect(endpoint, lambda data, ts: got.append(data), max_frame=1000)
        assert (await asyncio.wait_for(socket.wait_closed(), 2)).reason == "oversize"  # inflated size counts
        await socket.close()
    assert got == [b"x" * 900]
    assert str(agreed[0]).startswith("permessage-deflate")
