"""The default transport: a websocket opened with picows."""

import logging
import re
from typing import Any, Final

import picows

from streamer.dial import shut, tls
from streamer.errors import IoFailure
from streamer.io import OnFrame
from streamer.picows_socket import PicowsSocket
from streamer.target import CLOSE_S, Target

_STATUS: Final = re.compile(rb"HTTP/\d\.\d (\d{3})\b")

_quiet = logging.getLogger("picows.streamer")
_quiet.setLevel(logging.CRITICAL)  # how connections end is told by the engine, once, and without the other side's text in it


async def connect(target: Target, on_frame: OnFrame, max_frame: int, timeout: float) -> PicowsSocket:
    """Open a websocket. Raises `IoFailure`; the caller sees to it that `timeout` is kept."""
    socket = PicowsSocket(on_frame, max_frame, target)
    secure: dict[str, Any] = {"ssl_context": tls(), "ssl_shutdown_timeout": CLOSE_S} if target.secure else {}
    headers = dict(target.headers)
    if target.subprotocols:
        headers["Sec-WebSocket-Protocol"] = ", ".join(target.subprotocols)
    dialed = await target.dial()
    try:
        await picows.ws_connect(
            socket.accepted, target.url, socket_factory=lambda _: dialed, extra_headers=headers, max_frame_size=max_frame, max_redirects=0,
            websocket_handshake_timeout=timeout, enable_auto_ping=False, enable_auto_pong=False, logger_name=_quiet, **secure,
        )  # fmt: skip
        if not socket.connected:  # picows takes a connection that was lost for one that was made
            raise IoFailure(f"{target.name}: the other side ended the connection during the handshake", "reset")
    except picows.WSHandshakeError as e:
        raise _refused(target, e) from e
    except BaseException as e:
        shut(dialed)
        if isinstance(e, Exception):
            raise target.failure(e) from e
        raise
    socket.start()
    return socket


def _refused(target: Target, error: picows.WSHandshakeError) -> IoFailure:
    status = _STATUS.match(error.raw_header or b"")  # picows' own is missing where http.HTTPStatus does not know the number
    if status is not None and status[1] != b"101":
        return target.answered(int(status[1]), error.raw_body or b"")
    return target.broken(str(error))
