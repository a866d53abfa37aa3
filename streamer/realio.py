"""The real world: sockets, REST and the clock, behind the seam `streamer.io.Io`."""

import asyncio
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from streamer.errors import IoFailure, UsageError
from streamer.io import OnFrame, Response, Socket
from streamer.proxies import Proxies
from streamer.spec import Endpoint
from streamer.target import Target, target_of

if TYPE_CHECKING:
    from streamer.http import Http


class RealIo:
    """`transport`: "picows" or "websockets". `proxy`: url of a proxy for all, else the environment's (see `streamer.proxies`).

    Raises `UsageError` for a proxy or transport that there is not.
    """

    def __init__(self, *, transport: str = "picows", proxy: str | None = None) -> None:
        if transport not in ("picows", "websockets"):
            raise UsageError(f"transport={transport!r} is neither 'picows' nor 'websockets'")
        self._transport = transport
        self._proxies = Proxies(proxy, os.environ)
        self._http: Http | None = None

    def now(self) -> int:
        """Wall clock, ns UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""
        return time.monotonic()

    async def connect(self, endpoint: Endpoint, on_frame: OnFrame, *, max_frame: int, timeout: float = 10.0) -> Socket:
        """Open a websocket. `on_frame` is not called before this returned. Raises `IoFailure`."""
        target = target_of(endpoint, self._proxies)
        try:
            async with asyncio.timeout(timeout):
                return await self._open(target, on_frame, max_frame, timeout)
        except TimeoutError as e:
            raise IoFailure(f"{target.name}: no connection within {timeout:g} s", "timeout") from e

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, max_body: int = 64 * 1024 * 1024, timeout: float = 15.0
    ) -> Response:
        """One REST request, redirects not followed. Raises `IoFailure`."""
        if self._http is None:
            from streamer.http import Http  # aiohttp takes 0.3 s to import

            self._http = Http(self._proxies)
        return await self._http.request(method, url, headers or {}, max_body, timeout)

    async def close(self) -> None:
        """Let go of pooled connections."""
        if self._http is not None:
            await self._http.close()

    async def _open(self, target: Target, on_frame: OnFrame, max_frame: int, timeout: float) -> Socket:
        if self._transport == "websockets" or target.deflate:
            from streamer import websockets_socket

            return await websockets_socket.connect(target, on_frame, max_frame, timeout)
        from streamer import picows_connect

        return await picows_connect.connect(target, on_frame, max_frame, timeout)
