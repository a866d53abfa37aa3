"""Where a websocket goes: an endpoint that was checked, the proxy on the way, and the words for what goes wrong there."""

import socket
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from streamer.dial import dial, failure, name_of, plain
from streamer.errors import IoFailure
from streamer.proxies import Proxies, Proxy
from streamer.spec import Endpoint
from streamer.version import USER_AGENT

CLOSE_S: Final = 1.0
"""How long a closing connection waits for the other side."""
MAX_ANSWER: Final = 200
"""Characters of a refusal's body that are shown."""


class Target(Struct, frozen=True):
    """A checked endpoint. `proxy`: how to get there."""

    url: str
    headers: Mapping[str, str]
    subprotocols: Sequence[str]
    proxy: Proxy | None
    deflate: bool = False

    @property
    def name(self) -> str:
        """The address as it may be logged."""
        return name_of(self.url)

    @property
    def secure(self) -> bool:
        """Is it wss?"""
        return self.url.lower().startswith("wss:")

    async def dial(self) -> socket.socket:
        """A connected socket. Raises `IoFailure`."""
        return await dial(self.url, self.proxy)

    def failure(self, error: BaseException) -> IoFailure:
        """The `IoFailure` for an error of the system or of TLS."""
        return failure(self.url, error)

    def answered(self, status: int, body: bytes) -> IoFailure:
        """The server answered the handshake with another status than 101."""
        text = plain(body[: 4 * MAX_ANSWER].decode("utf-8", "replace").strip(), MAX_ANSWER)
        return IoFailure(f"{self.name}: the server answered with HTTP status {status}{': ' if text else ''}{text}", f"http_{status}")

    def broken(self, what: str) -> IoFailure:
        """The other side does not speak the protocol."""
        return IoFailure(f"{self.name}: no websocket handshake: {plain(what)}", "protocol")


def target_of(endpoint: Endpoint, proxies: Proxies) -> Target:
    """The endpoint, checked. It may come from the venue's server (addresses with tokens), so it is not trusted: raises `IoFailure`."""
    url = endpoint.url
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    if scheme.lower() not in ("ws", "wss") or not host or not _printable(url) or "#" in url:
        raise IoFailure(f"{name_of(url)}: not a websocket address", "protocol")
    if "@" in host:
        raise IoFailure(f"{name_of(url)}: credentials in an address are not sent; use the endpoint's headers", "protocol")
    for name, value in endpoint.headers.items():
        if not _printable(name) or not all(c.isprintable() for c in value):
            raise IoFailure(f"{name_of(url)}: header {name!a:.40} holds what no header may hold", "protocol")
    try:
        _ = urlsplit(url).port
        proxy = proxies.of(url)
    except ValueError as e:
        raise IoFailure(f"{name_of(url)}: not a websocket address: {plain(e)}", "protocol") from None
    named = any(name.lower() == "user-agent" for name in endpoint.headers)
    headers = {**({} if named else {"User-Agent": USER_AGENT}), **endpoint.headers}
    return Target(url, headers, endpoint.subprotocols, proxy, endpoint.deflate)


def _printable(text: str) -> bool:
    return bool(text) and text.isprintable() and " " not in text
