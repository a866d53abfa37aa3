"""REST through aiohttp: no redirects, no cookies, the proxy that we chose, and never more of a body than was allowed."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import ContentEncodingError

from streamer.dial import dial, failure, name_of, plain, shut, tls
from streamer.errors import IoFailure
from streamer.io import Response
from streamer.proxies import Proxies
from streamer.version import USER_AGENT

CHUNK: Final = 64 * 1024
IDLE_S: Final = 15.0
"""How long an idle connection is kept."""
MAX_CONNECTIONS: Final = 16


class _Dialer(aiohttp.BaseConnector):
    """Connections on sockets of our own making. `_create_connection` is what aiohttp's own connectors implement."""

    def __init__(self, proxies: Proxies) -> None:
        super().__init__(limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_S)
        self._proxies = proxies

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        url = str(req.url)
        secure: dict[str, Any] = {"ssl": tls(), "server_hostname": req.url.raw_host} if req.url.scheme == "https" else {}
        dialed = await dial(url, self._proxies.of(url))
        try:
            _, protocol = await self._loop.create_connection(self._factory, sock=dialed, **secure)
        except BaseException as e:
            shut(dialed)
            if isinstance(e, OSError):
                raise failure(url, e) from e
            raise
        return protocol


class Http:
    """Makes requests over pooled connections."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies
        self._session: aiohttp.ClientSession | None = None

    async def request(self, method: str, url: str, headers: Mapping[str, str], max_body: int, timeout: float) -> Response:
        """See `streamer.io.Io.request`."""
        try:
            async with asyncio.timeout(timeout), self._open().request(method, url, headers=headers, allow_redirects=False) as response:
                names = {k.lower(): v for k, v in response.headers.items()}
                return Response(response.status, names, await _body(response, url, max_body))
        except TimeoutError as e:
            raise IoFailure(f"{name_of(url)}: no whole answer within {timeout:g} s", "timeout") from e
        except (aiohttp.ClientError, OSError, ValueError) as e:
            raise _failure(url, e) from e

    async def close(self) -> None:
        """Let go of the pooled connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Dialer(self._proxies),
                headers={"User-Agent": USER_AGENT},
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),  # ours holds for the whole
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=True,
                read_bufsize=CHUNK,
            )
        return self._session


async def _body(response: aiohttp.ClientResponse, url: str, most: int) -> bytes:
    """The body, inflated as it comes, so that a little that swells to a lot is noticed on the way."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(CHUNK):
        size += len(chunk)
        if size > most:
            response.close()
            raise IoFailure(f"{name_of(url)}: the answer is longer than {most} bytes", "oversize")
        chunks.append(chunk)
    return b"".join(chunks)


def _failure(url: str, error: Exception) -> IoFailure:
    where = name_of(url)
    match error:
        case aiohttp.ClientPayloadError() if isinstance(error.__cause__, ContentEncodingError):
            return IoFailure(f"{where}: the answer cannot be inflated", "protocol")
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError():
            return IoFailure(f"{where}: the other side ended the connection", "reset")
        case aiohttp.ClientResponseError():
            return IoFailure(f"{where}: not an HTTP answer: {plain(error.message)}", "protocol")
        case OSError():
            return failure(url, error)
    return IoFailure(f"{where}: not an address to make a request to: {plain(error)}", "protocol")
