"""Proxies to which TLS is spoken: a relay that gives a plain socket, so that no library has to do TLS within TLS.

The libraries differ there in what they can and how they fail. The relay costs a hop on loopback, which beside a proxy is nothing.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

CHUNK: Final = 64 * 1024
SHUTDOWN_S: Final = 1.0

_relays: set[asyncio.Task[None]] = set()


async def relayed(
    sock: socket.socket, server: str, tls: ssl.SSLContext, request: bytes, accepted: Callable[[bytes], None]
) -> socket.socket:
    """Speak TLS on `sock` to the proxy named `server`, send it `request`, and give a socket to what is behind it.

    ``accepted(head)`` raises OSError when the proxy's answer is no. Raises OSError.
    """
    reader, writer = await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=server, ssl_shutdown_timeout=SHUTDOWN_S, limit=CHUNK)
    try:
        writer.write(request)
        try:
            accepted(await reader.readuntil(b"\r\n\r\n"))
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise OSError("no HTTP answer to CONNECT") from None
        ours, theirs = await _pair()
    except BaseException:
        writer.transport.abort()
        raise
    inner_reader, inner_writer = await asyncio.open_connection(sock=theirs, limit=CHUNK)
    for work in (_pump(reader, inner_writer), _pump(inner_reader, writer)):
        task = asyncio.get_running_loop().create_task(work, name=f"relay of proxy {server}")
        _relays.add(task)
        task.add_done_callback(_relays.discard)
    return ours


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until either side ends."""
    try:
        with contextlib.suppress(OSError):  # an end, too: the other side sees one
            while data := await reader.read(CHUNK):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()


async def _pair() -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets. (Not a `socketpair`: picows sets options that only TCP has.)"""
    loop = asyncio.get_running_loop()
    ours = socket.socket()
    try:
        ours.setblocking(False)
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.setblocking(False)
            await loop.sock_connect(ours, server.getsockname())
            theirs, address = await loop.sock_accept(server)
        if address != ours.getsockname():
            theirs.close()
            raise OSError("another program connected to our relay")
    except BaseException:
        ours.close()
        raise
    return ours, theirs
