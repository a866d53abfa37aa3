"""Servers on loopback that behave exactly as badly as a test wants: raw websockets, HTTP, and two kinds of proxy."""

import asyncio
import base64
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The server's end of a connection. `request`: the head of the request that it came with."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.request = ""

    def header(self, name: str) -> str | None:
        """A header of the request."""
        for line in self.request.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None

    async def accept(self, *headers: str, then: bytes = b"") -> None:
        """Agree to be a websocket, and send `then` in the same packet."""
        key = (self.header("Sec-WebSocket-Key") or "").encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key).digest()).decode()  # noqa: S324  (RFC 6455)
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}"]
        await self.write("\r\n".join([*lines, *headers, "", ""]).encode() + then)

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def frame(self) -> tuple[int, bytes]:
        """The next frame of the client: opcode and payload, unmasked."""
        first, second = await self.reader.readexactly(2)
        size = second & 127
        if size >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        mask = await self.reader.readexactly(4)
        data = await self.reader.readexactly(size)
        return first & 15, bytes(c ^ mask[n % 4] for n, c in enumerate(data))

    def reset(self) -> None:
        """RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """A server's frame."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    wide = len(payload) > 65535
    return bytes([first, 127 if wide else 126]) + len(payload).to_bytes(8 if wide else 2, "big") + payload


@asynccontextmanager
async def listening(script: Script, *, ssl: Any = None, head: bool = True) -> AsyncIterator[int]:
    """A TCP server that runs `script` on each connection, after the head of a request was read. Gives its port."""
    tasks: set[asyncio.Task[None]] = set()
    failed: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        try:
            if head:
                peer.request = (await reader.readuntil(b"\r\n\r\n")).decode()
            await script(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            """The client went away, as it may."""
        except AssertionError as e:
            failed.append(e)
        finally:
            writer.close()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=ssl)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert not failed, failed


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until the end."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        """The end, too."""
    finally:
        writer.close()


class ProxyServer:
    """A proxy whose only knowledge is that every host is 127.0.0.1. `asked`: where its clients wanted to go; `seen`: their credentials."""

    def __init__(self, login: str | None = None, refuse: bool = False) -> None:
        self.login = login
        self.refuse = refuse
        self.asked: list[str] = []
        self.seen: list[str] = []

    async def relay(self, peer: Peer, port: int, answer: bytes) -> None:
        """Connect to our own `port` and pass bytes both ways."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await peer.write(answer)
        await asyncio.gather(pump(reader, peer.writer), pump(peer.reader, writer))

    async def http(self, peer: Peer) -> None:
        """HTTP CONNECT; the answer comes in two packets."""
        target = peer.request.split()[1]
        self.asked.append(target)
        given = (peer.header("Proxy-Authorization") or "").removeprefix("Basic ")
        self.seen.append(base64.b64decode(given).decode())
        if self.refuse or (self.login is not None and self.seen[-1] != self.login):
            await peer.write(b"HTTP/1.1 407 Proxy \x1b[31mAuthentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        await peer.write(b"HTTP/1.1 200 Connection ")
        await asyncio.sleep(0.01)
        await self.relay(peer, int(target.rpartition(":")[2]), b"established\r\nVia: test\r\n\r\n")

    async def socks(self, peer: Peer) -> None:
        """SOCKS 5 (RFC 1928), with user and password (RFC 1929) where there is a `login`."""
        read = peer.reader.readexactly
        _, count = await read(2)
        methods = await read(count)
        method = 2 if self.login is not None else 0
        assert method in methods
        await peer.write(bytes([5, method]))
        if method == 2:
            _, size = await read(2)
            user = (await read(size)).decode()
            password = (await read((await read(1))[0])).decode()
            self.seen.append(f"{user}:{password}")
            await peer.write(bytes([1, self.seen[-1] != self.login]))
        _, _, _, kind = await read(4)
        host = socket.inet_ntoa(await read(4)) if kind == 1 else (await read((await read(1))[0])).decode()
        port = int.from_bytes(await read(2), "big")
        self.asked.append(f"{host}:{port}")
        if self.refuse:
            await peer.write(bytes([5, 2, 0, 1, 0, 0, 0, 0, 0, 0]))
            return
        await self.relay(peer, port, bytes([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]))
