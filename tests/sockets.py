"""What the tests of both websocket transports share: frames taken, scripts of servers, and how a connection ended."""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from streamer.errors import IoFailure
from streamer.io import Closed, Socket
from streamer.realio import RealIo
from streamer.spec import Endpoint
from tests.loopback import Peer, Script, listening


class Taker:
    """Takes frames. `raises`: at which payload."""

    def __init__(self, raises: bytes | None = None) -> None:
        self.frames: list[bytes] = []
        self.times: list[int] = []
        self.raises = raises

    def __call__(self, data: bytes, ts_recv: int) -> None:
        self.frames.append(data)
        self.times.append(ts_recv)
        if data == self.raises:
            raise RuntimeError("a bug in what takes the frames")


async def until(true: Callable[[], object], seconds: float = 3.0) -> None:
    """Wait for something that another task does."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


async def connected(io: RealIo, port: int, take: Any, *, max_frame: int = 100_000, **how: Any) -> Socket:
    return await io.connect(Endpoint(f"ws://127.0.0.1:{port}/ws", **how), take, max_frame=max_frame, timeout=2)


def saying(*frames: bytes, then: Script | None = None) -> Script:
    """A server that accepts, sends these bytes one packet each, and then does `then` (or waits for the client to go)."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        for data in frames:
            await peer.write(data)
            await asyncio.sleep(0)
        if then is not None:
            await then(peer)
        else:
            await peer.frame()

    return script


async def ended(io: RealIo, script: Script, *, max_frame: int = 100_000) -> tuple[Closed, list[bytes]]:
    """How a connection to this server ends, and the frames that came before."""
    take = Taker()
    async with listening(script) as port:
        socket = await connected(io, port, take, max_frame=max_frame)
        async with asyncio.timeout(3):
            closed = await socket.wait_closed()
        await socket.close()
        assert await socket.wait_closed() == closed
    return closed, take.frames


def serving(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def nobody(data: bytes, ts_recv: int) -> None:
    raise AssertionError("no frame was to come")


async def fails(io: RealIo, url: str, timeout: float = 2.0, **how: Any) -> IoFailure:
    before = time.monotonic()
    with pytest.raises(IoFailure) as caught:
        await io.connect(Endpoint(url, **how), nobody, max_frame=1000, timeout=timeout)
    assert time.monotonic() - before < timeout + 0.5
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    return caught.value
