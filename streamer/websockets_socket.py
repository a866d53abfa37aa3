"""The other transport: `websockets`, for permessage-deflate and as the fallback. One task per connection hands over what came."""

import asyncio
import contextlib
import logging
import time
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus, WebSocketException
from websockets.protocol import State
from websockets.typing import Subprotocol

from streamer.dial import shut, tls
from streamer.errors import IoFailure
from streamer.io import Closed, OnFrame
from streamer.target import CLOSE_S, Target

log = logging.getLogger(__name__)

MAX_QUEUE: Final = 64
"""Frames that may wait for the reader before the socket is read no further."""
MAX_SENDS: Final = 1024
"""Frames that may wait to be sent. More means that the other side takes nothing."""
WRITE_BUFFER: Final = 64 * 1024
GIVE_UP_S: Final = 0.05
"""Enough for the close frame that says why to be sent."""
_NO_CODE: Final = 1005
"""What `websockets` calls the code of a close frame that had none."""

_quiet = logging.getLogger("websockets.streamer")
_quiet.setLevel(logging.CRITICAL)  # how connections end is told by the engine, once, and without the other side's text in it


class _Connection(ClientConnection):
    """Remembers when anything came, and does not wait for a server for ever: not after its goodbye, and hardly after `websockets` gave
    up on it. `leaving`: we are closing it."""

    heard = 0.0
    ts_recv = 0
    leaving = False
    _cut = False

    def data_received(self, data: bytes) -> None:
        self.heard = time.monotonic()
        self.ts_recv = time.time_ns()
        super().data_received(data)
        if self.protocol.state is State.CLOSING and not self._cut:
            self._cut = True
            gave_up = self.protocol.close_rcvd is None and not self.leaving
            self.loop.call_later(GIVE_UP_S if gave_up else CLOSE_S, self.transport.abort)


class _Connect(open_websocket):
    """Follows no redirects."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def connect(target: Target, on_frame: OnFrame, max_frame: int, timeout: float) -> "WebsocketsSocket":
    """Open a websocket. Raises `IoFailure`; the caller sees to it that `timeout` is kept."""
    how: dict[str, Any] = {"ssl": tls(), "ssl_shutdown_timeout": CLOSE_S} if target.secure else {}
    dialed = await target.dial()
    try:
        connection = await _Connect(
            target.url, create_connection=_Connection, additional_headers=target.headers, user_agent_header=None,
            subprotocols=[Subprotocol(p) for p in target.subprotocols] or None, compression="deflate" if target.deflate else None,
            max_size=max_frame, max_queue=MAX_QUEUE, write_limit=WRITE_BUFFER, open_timeout=timeout, close_timeout=CLOSE_S,
            ping_interval=None, ping_timeout=None, logger=_quiet, proxy=None, sock=dialed, **how,
        )  # fmt: skip
    except BaseException as e:
        shut(dialed)
        if isinstance(e, Exception):
            raise _refused(target, e) from e
        raise
    assert isinstance(connection, _Connection)  # noqa: S101  (what create_connection said)
    return WebsocketsSocket(connection, on_frame, target)


def _refused(target: Target, error: Exception) -> IoFailure:
    match error:
        case InvalidStatus():
            return target.answered(error.response.status_code, bytes(error.response.body or b""))
        case InvalidMessage() if isinstance(error.__cause__, EOFError | OSError):
            return IoFailure(f"{target.name}: the other side ended the connection during the handshake", "reset")
        case InvalidHandshake() | WebSocketException():
            return target.broken(str(error))
    return target.failure(error)


class WebsocketsSocket:
    """An open websocket."""

    def __init__(self, connection: _Connection, on_frame: OnFrame, target: Target) -> None:
        self._connection = connection
        self._on_frame = on_frame
        self._target = target
        self._local = False
        self._opened = time.monotonic()
        self._sends: asyncio.Queue[str | bytes | None] = asyncio.Queue(MAX_SENDS)
        loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[Closed] = loop.create_future()
        self._reader = loop.create_task(self._read(), name=f"{target.name} reader")
        self._writer = loop.create_task(self._write(), name=f"{target.name} writer")

    def send(self, frame: str | bytes) -> None:
        """Queue a text or binary frame."""
        self._put(frame)

    def ping(self) -> None:
        """Send a websocket ping."""
        self._put(None)

    def heard(self) -> float:
        """When anything last came in."""
        return self._connection.heard or self._opened

    async def wait_closed(self) -> Closed:
        """Wait for the end."""
        return await asyncio.shield(self._closed)

    async def close(self) -> None:
        """Close it, at most a second's wait for the other side."""
        self._local = self._connection.leaving = True
        closing = asyncio.ensure_future(self._connection.close())
        try:
            await asyncio.wait([closing], timeout=CLOSE_S)
        finally:
            if not closing.done():
                self._connection.transport.abort()
            self._settle(Closed("local"))
        await asyncio.wait([closing, self._reader, self._writer], timeout=CLOSE_S)

    def _put(self, frame: str | bytes | None) -> None:
        if self._closed.done() or self._local:
            return
        try:
            self._sends.put_nowait(frame)
        except asyncio.QueueFull:
            log.warning("%s: the other side takes nothing; the connection is given up", self._target.name)
            self._settle(Closed("abnormal"))
            self._connection.transport.abort()

    async def _read(self) -> None:
        recv, connection, on_frame = self._connection.recv, self._connection, self._on_frame
        try:
            while True:
                data = await recv(decode=False)
                if self._local:
                    continue  # what is still to come may be the other side's goodbye
                on_frame(data, connection.ts_recv)
        except ConnectionClosed as e:
            self._settle(_how(e, self._local))
        except Exception:
            log.exception("%s: what takes the frames raised an error; the connection is given up", self._target.name)
            self._settle(Closed("local"))
            self._local = self._connection.leaving = True
            await self._connection.close(1011)
        finally:
            self._writer.cancel()

    async def _write(self) -> None:
        connection = self._connection
        with contextlib.suppress(ConnectionClosed):  # the reader hears of it too
            while True:
                frame = await self._sends.get()
                if frame is None:
                    await connection.ping()
                else:
                    await connection.send(frame)

    def _settle(self, closed: Closed) -> None:
        if not self._closed.done():
            self._closed.set_result(closed)


def _how(end: ConnectionClosed, local: bool) -> Closed:
    """How the connection ended, in our words."""
    code = None if end.rcvd is None or end.rcvd.code == _NO_CODE else end.rcvd.code
    text = "" if end.rcvd is None else end.rcvd.reason
    if local:
        return Closed("local", code, text)
    if end.sent is not None and not end.rcvd_then_sent:  # `websockets` gave up on the other side
        return Closed("oversize" if end.sent.code == 1009 else "protocol", code, text)
    if end.rcvd is not None:
        return Closed("closed", code, text)
    return Closed("reset" if isinstance(end.__cause__, ConnectionError) else "abnormal")
