"""A connected TCP socket to a host, straight or through a proxy; TLS that is always verified; and words for what goes wrong.

All transports are handed sockets made here, so a failure has the same name whichever library speaks on the socket.
"""

import asyncio
import base64
import contextlib
import functools
import os
import re
import socket
import ssl
from collections import deque
from typing import Any, Final
from urllib.parse import urlsplit

from streamer.errors import IoFailure
from streamer.proxies import Proxy, authority
from streamer.tls_proxy import relayed

HEAD_START_S: Final = 0.25
"""How long an address is tried alone before the host's next one is tried beside it (RFC 8305)."""
MAX_ADDRESSES: Final = 16
MAX_PROXY_ANSWER: Final = 16 * 1024
_CONNECTED: Final = re.compile(rb"HTTP/1\.[01] 2\d\d[ \r]")


def tls() -> ssl.SSLContext:
    """The one way TLS is done: certificates verified against the system's authorities (or SSL_CERT_FILE), TLS 1.2 at least."""
    return _tls(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@functools.lru_cache(maxsize=4)
def _tls(file: str | None, folder: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def name_of(url: str) -> str:
    """An address as it may be logged: without credentials and without the query, which may hold a token."""
    scheme, _, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")
    host, slash, path = rest.partition("/")
    return plain(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")


def plain(text: object, most: int = 200) -> str:
    """Text from outside, on one line and harmless to a terminal."""
    return ascii(str(text)[:most])[1:-1]


def failure(url: str, error: BaseException) -> IoFailure:
    """The `IoFailure` for an error of the operating system or of TLS."""
    if isinstance(error, IoFailure):
        return error
    where = name_of(url)
    text = plain(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    match error:
        case socket.gaierror() | UnicodeError():
            return IoFailure(f"{where}: the name cannot be resolved: {text}", "dns")
        case ssl.SSLCertVerificationError():
            remedy = "if you trust it, name its authority's certificate in SSL_CERT_FILE"
            return IoFailure(f"{where}: the certificate is not trusted: {plain(error.verify_message)}; {remedy}", "tls")
        case ssl.SSLError():
            return IoFailure(f"{where}: TLS failed: {text}", "tls")
        case ConnectionRefusedError():
            return IoFailure(f"{where}: connection refused", "refused")
        case ConnectionError() | EOFError():
            return IoFailure(f"{where}: the other side ended the connection: {text}", "reset")
        case TimeoutError():
            return IoFailure(f"{where}: no answer", "timeout")
        case OSError():
            return IoFailure(f"{where}: cannot be reached: {text}", "unreachable")
    return IoFailure(f"{where}: {type(error).__name__}: {text}", "protocol")


async def dial(url: str, proxy: Proxy | None) -> socket.socket:
    """A connected socket to the host of `url`. Raises `IoFailure`."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme in ("wss", "https") else 80)
    if proxy is None:
        try:
            return await _connect(host, port)
        except (OSError, UnicodeError) as e:
            raise failure(url, e) from e
    if proxy.scheme in ("socks5", "socks5h"):
        return await _socks(url, host, port, proxy)
    try:
        return await _tunnel(authority(host, port), proxy)
    except (OSError, UnicodeError) as e:
        raise proxy_failure(url, proxy, e) from e


def proxy_failure(url: str, proxy: Proxy, error: Exception) -> IoFailure:
    """The `IoFailure` for what a proxy did wrong. Never shows its credentials."""
    return IoFailure(f"{name_of(url)}: proxy {proxy}: {plain(str(error) or type(error).__name__)}", "proxy")


async def _socks(url: str, host: str, port: int, proxy: Proxy) -> socket.socket:
    from python_socks import ProxyError, ProxyType
    from python_socks.async_.asyncio import Proxy as Socks

    remote = proxy.scheme == "socks5h"
    socks = Socks(ProxyType.SOCKS5, proxy.host, proxy.port, proxy.username, proxy.password, rdns=remote)
    try:
        connected: socket.socket = await socks.connect(host, port, timeout=None)
    except socket.gaierror as e:
        raise failure(url, e) from e
    except (ProxyError, OSError, ValueError) as e:
        raise proxy_failure(url, proxy, e) from e
    return connected


async def _tunnel(target: str, proxy: Proxy) -> socket.socket:
    """HTTP CONNECT (RFC 9110, 9.3.6)."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username is not None:
        pair = f"{proxy.username}:{proxy.password or ''}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}")
    request = "\r\n".join([*lines, "", ""]).encode()
    sock = await _connect(proxy.host, proxy.port)
    if proxy.scheme == "https":
        return await relayed(sock, proxy.host, tls(), request, _accepted)
    try:
        await _ask(sock, request)
    except BaseException:
        sock.close()
        raise
    return sock


async def _ask(sock: socket.socket, request: bytes) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = await loop.sock_recv(sock, 4096)
        answer += data
        if not data or len(answer) > MAX_PROXY_ANSWER:
            raise OSError("no HTTP answer to CONNECT")
    _accepted(answer)


def _accepted(answer: bytes) -> None:
    """Raise OSError unless the proxy agreed. The other side speaks only after us, so nothing may follow the head of the answer."""
    if _CONNECTED.match(answer) is None or not answer.endswith(b"\r\n\r\n"):
        raise OSError(f"refused CONNECT: {plain(answer.partition(bytes([13, 10]))[0].decode('latin-1'), 100)}")


async def _connect(host: str, port: int) -> socket.socket:
    """The first of the host's addresses that answers; each gets a head start before the next is tried too."""
    loop = asyncio.get_running_loop()
    found = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[:MAX_ADDRESSES]
    waiting = deque(_interleave(found))
    trying: set[asyncio.Task[socket.socket]] = set()
    errors: list[BaseException] = []
    try:
        while waiting or trying:
            if waiting:
                trying.add(loop.create_task(_attempt(*waiting.popleft()), name=f"connect {host}"))
            done, _ = await asyncio.wait(trying, timeout=HEAD_START_S if waiting else None, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                trying.discard(task)
                error = task.exception()
                if error is None:
                    trying |= done - {task}
                    return task.result()
                errors.append(error)
    finally:
        for task in trying:
            task.add_done_callback(_let_go)
            task.cancel()
    raise errors[-1] if errors else OSError("the host has no address")


def _interleave(found: list[Any]) -> list[tuple[int, Any]]:
    """(family, address), the families in turn, beginning with the one that the system puts first."""
    families: dict[int, deque[Any]] = {}
    for family, _, _, _, address in found:
        families.setdefault(family, deque()).append(address)
    turns = max((len(a) for a in families.values()), default=0)
    return [(family, addresses[n]) for n in range(turns) for family, addresses in families.items() if n < len(addresses)]


async def _attempt(family: int, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _let_go(task: asyncio.Task[socket.socket]) -> None:
    """Another address was quicker."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def shut(sock: socket.socket) -> None:
    """End a connection whose transport is out of our hands: it sees the end at once and lets go of the socket itself."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
