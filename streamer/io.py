"""The one seam to the world: sockets, REST and the clock. Nothing else in the streaming path touches them.

The socket is *push*: a frame goes to a synchronous function straight from the read callback, with the moment of its arrival. Two
transports pass the same tests: picows (default) and `websockets` (for permessage-deflate, and as the fallback).
"""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from msgspec import Struct

from streamer.spec import Endpoint

OnFrame: TypeAlias = Callable[[bytes, int], None]
"""``on_frame(payload, ts_recv)``; text and binary frames alike, `ts_recv` in ns UTC. It must not raise."""


class Closed(Struct, frozen=True):
    """How a connection ended. `reason`: one of closed, reset, abnormal, oversize, protocol, local. `code`: the close code, if any came."""

    reason: str
    code: int | None = None
    text: str = ""


class Response(Struct, frozen=True):
    """A REST answer. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Socket(Protocol):
    """An open websocket."""

    def send(self, frame: str | bytes) -> None:
        """Queue a text (str) or binary (bytes) frame. Sending on a closed socket does nothing."""

    def ping(self) -> None:
        """Send a websocket ping."""

    def heard(self) -> float:
        """When anything last came in, pongs included; on the clock of `Io.monotonic`."""

    async def wait_closed(self) -> Closed:
        """Wait for the end of the connection, whoever ends it. May be called many times."""

    async def close(self) -> None:
        """Close it, at most a second's wait for the other side. After this returns `on_frame` is not called any more."""


class Io(Protocol):
    """The world as the engine sees it. Failures are `errors.IoFailure` with a reason out of a closed set of words."""

    def now(self) -> int:
        """Wall clock, ns UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    async def connect(self, endpoint: Endpoint, on_frame: OnFrame, *, max_frame: int, timeout: float = 10.0) -> Socket:
        """Open a websocket. Raises `IoFailure`, also when `timeout` seconds do not suffice."""

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, max_body: int = 64 * 1024 * 1024, timeout: float = 15.0
    ) -> Response:
        """One REST request, redirects not followed. Any status is a `Response`; raises `IoFailure` when there is none, when the body
        is longer than `max_body` (reason `oversize`, inflated size counts) or when it takes longer than `timeout`."""

    async def close(self) -> None:
        """Let go of pooled connections."""
