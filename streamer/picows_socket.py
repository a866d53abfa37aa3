"""An open websocket of picows, the default transport: its listener is called straight from the read callback."""

import asyncio
import contextlib
import logging
import time
from typing import Final

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, WSUpgradeResponse

from streamer.io import Closed, OnFrame
from streamer.target import CLOSE_S, Target

log = logging.getLogger(__name__)

TEXT: Final = WSMsgType.TEXT
BINARY: Final = WSMsgType.BINARY
MAX_PARTS: Final = 100_000
"""Frames of one message; empty ones cost memory too."""
UNDELIVERABLE: Final = "%s: what takes the frames raised an error; the connection is given up"


class PicowsSocket(WSListener):
    """An open websocket."""

    def __init__(self, on_frame: OnFrame, max_frame: int, target: Target) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_frame = on_frame
        self._deliver: OnFrame = self._hold
        self._holding = True
        self._held: list[tuple[bytes, int]] = []
        self._max_frame = max_frame
        self._target = target
        self._heard = time.monotonic()
        self._spoke = False
        self._parts: list[bytes] = []
        self._size = 0
        self._ending: Closed | None = None
        self._closed: asyncio.Future[Closed] = self._loop.create_future()
        self._gone = asyncio.Event()
        self._local = False
        self._transport: WSTransport | None = None
        self._retrieval: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Did the handshake succeed?"""
        return self._transport is not None

    def start(self) -> None:
        """Deliver frames from the next turn of the loop on, when whoever called `connect` holds this socket: a frame may have come with
        the server's answer to the handshake, and want a reply."""
        self._loop.call_soon(self._release)

    # what picows calls

    def accepted(self, request: WSUpgradeRequest, response: WSUpgradeResponse) -> "PicowsSocket":
        """The server agreed. It may choose only of what we offered, which picows leaves to us to check."""
        chosen = response.headers.get("Sec-WebSocket-Protocol")
        if chosen is not None and chosen not in self._target.subprotocols:
            raise self._target.broken(f"the server chose a subprotocol that was not offered: {chosen}")
        if response.headers.get("Sec-WebSocket-Extensions"):
            raise self._target.broken("the server chose an extension that was not offered")
        return self

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The handshake is done."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Called from the read callback."""
        ts_recv = time.time_ns()
        self._spoke = True
        kind = frame.msg_type
        if frame.rsv1 | frame.rsv2 | frame.rsv3:
            self._fail("protocol", WSCloseCode.PROTOCOL_ERROR)
        elif frame.fin and (kind is TEXT or kind is BINARY) and not self._parts and frame.payload_size <= self._max_frame:
            try:
                self._deliver(frame.get_payload_as_bytes(), ts_recv)
            except Exception:
                log.exception(UNDELIVERABLE, self._target.name)
                self._fail("local", WSCloseCode.INTERNAL_ERROR)
        else:
            self._other(frame, kind, ts_recv)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The TCP connection is gone."""
        handshake = transport.close_handshake
        if handshake is not None and handshake.sent is not None and self._ending is None:
            code = int(handshake.sent.code.value)  # picows gave up
            self._settle("local" if self._local else "oversize" if code == 1009 else "protocol")
        self._settle("reset" if _was_reset(transport) else "abnormal")
        self._retrieval = self._loop.create_task(_retrieve(transport), name="picows end")
        self._gone.set()

    def pause_writing(self) -> None:
        """Nothing to do: what we send is little and paced, and a peer that takes nothing is found by the engine's watch."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    # streamer.io.Socket

    def send(self, frame: str | bytes) -> None:
        """Queue a text or binary frame."""
        if self._transport is not None and self._ending is None:
            self._transport.send(TEXT if isinstance(frame, str) else BINARY, frame)

    def ping(self) -> None:
        """Send a websocket ping."""
        if self._transport is not None and self._ending is None:
            self._transport.send_ping()

    def heard(self) -> float:
        """When anything last came in, as far as one knows who asks now and then: frames are not timed twice, so what came since the last
        time is taken to have come just now."""
        if self._spoke:
            self._spoke = False
            self._heard = time.monotonic()
        return self._heard

    async def wait_closed(self) -> Closed:
        """Wait for the end."""
        return await asyncio.shield(self._closed)

    async def close(self) -> None:
        """Close it, at most a second's wait for the other side."""
        self._deliver = _ignore
        self._local = True
        self._holding = False
        try:
            if self._transport is not None and not self._gone.is_set():
                self._transport.send_close(WSCloseCode.OK)
                await self._leave(CLOSE_S)
        finally:
            self._settle("local")
            if self._transport is not None and not self._gone.is_set():
                self._transport.disconnect(graceful=False)
        await self._leave(CLOSE_S)

    # its own

    async def _leave(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._gone.wait()

    def _message(self, data: bytes, ts_recv: int) -> None:
        if len(data) > self._max_frame:  # picows goes on reading for a moment after it found a frame too long
            self._fail("oversize", WSCloseCode.MESSAGE_TOO_BIG)
            return
        try:
            self._deliver(data, ts_recv)
        except Exception:
            log.exception(UNDELIVERABLE, self._target.name)
            self._fail("local", WSCloseCode.INTERNAL_ERROR)

    def _hold(self, data: bytes, ts_recv: int) -> None:
        self._held.append((data, ts_recv))

    def _release(self) -> None:
        held, self._held, self._holding = self._held, [], False
        if not self._local:
            self._deliver = self._on_frame
        for data, ts_recv in held:
            self._message(data, ts_recv)
        if self._ending is not None:
            self._over(self._ending)

    def _other(self, frame: WSFrame, kind: WSMsgType, ts_recv: int) -> None:
        """Everything but a message in one frame."""
        if kind is WSMsgType.PING:
            if self._transport is not None and self._ending is None:
                self._transport.send_pong(frame.get_payload_as_bytes())
        elif kind is WSMsgType.CLOSE:
            self._said_goodbye(frame.get_payload_as_bytes())
        elif kind is not WSMsgType.PONG:
            self._join(frame, kind, ts_recv)

    def _join(self, frame: WSFrame, kind: WSMsgType, ts_recv: int) -> None:
        """A message in several frames."""
        if (kind is WSMsgType.CONTINUATION) != bool(self._parts):
            self._fail("protocol", WSCloseCode.PROTOCOL_ERROR)
            return
        part = frame.get_payload_as_bytes()
        self._size += len(part)
        if self._size > self._max_frame or len(self._parts) >= MAX_PARTS:
            self._fail("oversize", WSCloseCode.MESSAGE_TOO_BIG)
            return
        self._parts.append(part)
        if frame.fin:
            whole = b"".join(self._parts)
            self._parts, self._size = [], 0
            self._message(whole, ts_recv)

    def _said_goodbye(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
        self._settle("local" if self._local else "closed", code, payload[2:].decode("utf-8", "replace"))
        self._hang_up(WSCloseCode.OK)

    def _fail(self, reason: str, code: WSCloseCode) -> None:
        self._settle(reason)
        self._hang_up(code)

    def _hang_up(self, code: WSCloseCode) -> None:
        """Send a close frame and end the TCP connection, by force where the other side does not take it."""
        transport = self._transport
        if transport is None:
            return
        transport.send_close(code)
        transport.disconnect()
        self._loop.call_later(CLOSE_S, transport.disconnect, False)

    def _settle(self, reason: str, code: int | None = None, text: str = "") -> None:
        """This is how it ended, unless that is known already."""
        self._over(self._ending or Closed(reason, code, text))

    def _over(self, ending: Closed) -> None:
        self._ending = ending
        self._deliver = _ignore
        self._parts, self._size = [], 0
        if not self._holding and not self._closed.done():
            self._closed.set_result(ending)


def _ignore(data: bytes, ts_recv: int) -> None:
    """Takes the frames of a connection that is over."""


def _was_reset(transport: WSTransport) -> bool:
    """picows does not say why a connection was lost; the socket, still open here, does: without a peer it was reset."""
    try:
        transport.underlying_transport.get_extra_info("socket").getpeername()
    except OSError:
        return True
    return False


async def _retrieve(transport: WSTransport) -> None:
    """Take the error that picows keeps for whoever waits, else asyncio complains of it."""
    with contextlib.suppress(Exception):
        await transport.wait_disconnected()
