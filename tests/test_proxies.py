"""`streamer.proxies`: which proxy for which address; and both transports and REST through real proxies on loopback.

Only a proxy knows the host ``venue.test`` here, and this machine is never reached through a proxy, so what arrives went through it.
"""

import asyncio
import logging
import socket
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve

from streamer import tls_proxy
from streamer.errors import IoFailure, UsageError
from streamer.proxies import Proxies, Proxy, loopback, parse
from streamer.realio import RealIo
from streamer.spec import Endpoint
from tests.loopback import ProxyServer, listening
from tests.sockets import serving, until
from tests.test_realio_rest import answering

# resolution


@pytest.mark.parametrize(("text", "proxy"), [
    ("http://p", Proxy("http", "p", 80)),
    ("https://p", Proxy("https", "p", 443)),
    ("socks5://p", Proxy("socks5", "p", 1080)),
    ("SOCKS5H://P.example:9050/", Proxy("socks5h", "p.example", 9050)),
    ("p.example:3128", Proxy("http", "p.example", 3128)),
    ("socks5://us%40er:p%3Aw@[::1]:99", Proxy("socks5", "::1", 99, "us@er", "p:w")),
])  # fmt: skip
def test_urls_of_proxies(text: str, proxy: Proxy) -> None:
    assert parse(text) == proxy


@pytest.mark.parametrize("text", ["socks4://u:S3CR3T@p", "ftp://p", "http://", "http://u:S3CR3T@", "http://u:S3CR3T@p:x", "http://p:99999",
                                  "http://[::1", "http://a b/", "://", "socks5://u:S3CR3T@ho\nst:1"])  # fmt: skip
def test_a_proxy_that_cannot_be_used_is_named_by_where_it_was_written(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--proxy: ") as caught:
        parse(text, "--proxy")
    assert "S3CR3T" not in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="environment variable HTTPS_PROXY"):
        Proxies(None, {"HTTPS_PROXY": text})
    with pytest.raises(UsageError):
        RealIo(proxy=text)


def test_credentials_of_a_proxy_are_never_shown() -> None:
    proxy = parse("http://user:S3CR3T@p:1")
    assert f"{proxy} {proxy!r} {[proxy]}" == "http://p:1 http://p:1 [http://p:1]"


@pytest.mark.parametrize(("environ", "url", "proxy"), [
    ({}, "wss://h/", None),
    ({"HTTPS_PROXY": "http://s"}, "wss://h/", "s"),
    ({"HTTPS_PROXY": "http://s"}, "https://h/", "s"),
    ({"HTTPS_PROXY": "http://s"}, "ws://h/", None),
    ({"HTTP_PROXY": "http://p"}, "ws://h/", "p"),
    ({"HTTP_PROXY": "http://p"}, "http://h/", "p"),
    ({"HTTP_PROXY": "http://p"}, "wss://h/", None),
    ({"ALL_PROXY": "http://a"}, "wss://h/", "a"),
    ({"all_proxy": "http://a"}, "http://h/", "a"),
    ({"ALL_PROXY": "http://a", "HTTPS_PROXY": "http://s"}, "wss://h/", "s"),
    ({"ALL_PROXY": "http://a", "HTTPS_PROXY": ""}, "wss://h/", "a"),
    ({"https_proxy": "http://lower", "HTTPS_PROXY": "http://upper"}, "wss://h/", "lower"),
    ({"ALL_PROXY": "http://a"}, "ws://localhost:1/", None),
    ({"ALL_PROXY": "http://a"}, "ws://127.0.0.1/", None),
    ({"ALL_PROXY": "http://a"}, "wss://[::1]:443/", None),
])  # fmt: skip
def test_the_environment_decides(environ: dict[str, str], url: str, proxy: str | None) -> None:
    found = Proxies(None, environ).of(url)
    assert (found.host if found is not None else None) == proxy


@pytest.mark.parametrize(("names", "url", "direct"), [
    ("*", "wss://h/", True),
    ("h", "wss://h/", True),
    ("H.example", "wss://h.EXAMPLE/", True),
    ("example.com", "wss://ws.example.com/", True),
    (".example.com", "wss://ws.example.com/", True),
    (".example.com", "wss://example.com/", True),
    ("*.example.com", "wss://ws.example.com/", True),
    ("example.com", "wss://badexample.com/", False),
    ("ws.example.com", "wss://example.com/", False),
    ("example.com", "wss://example.com./", True),
    ("other, example.com ,", "wss://example.com/", True),
    ("other example.com", "wss://example.com/", True),
    ("h:443", "wss://h/", True),
    ("h:443", "wss://h:8443/", False),
    ("h:80", "ws://h/", True),
    ("h:8443", "wss://h:8443/", True),
    ("10.1.2.3", "wss://10.1.2.3/", True),
    ("10.1.2.3", "wss://10.1.2.30/", False),
    ("10.0.0.0/8", "wss://10.1.2.3:9/", True),
    ("10.0.0.0/8", "wss://11.1.2.3/", False),
    ("2.3", "wss://10.1.2.3/", False),
    ("fd00::1", "wss://[fd00:0::1]/", True),
    ("[fd00::1]:8443", "wss://[fd00::1]:8443/", True),
    ("[fd00::1]:8443", "wss://[fd00::1]/", False),
    (",", "wss://h/", False),
    (".", "wss://h/", False),
])  # fmt: skip
def test_no_proxy(names: str, url: str, direct: bool) -> None:
    for variable in ("NO_PROXY", "no_proxy"):
        assert (Proxies(None, {"ALL_PROXY": "http://a", variable: names}).of(url) is None) is direct


def test_an_explicit_proxy_wins_for_all_but_this_machine() -> None:
    proxies = Proxies("socks5h://x", {"HTTPS_PROXY": "http://s", "NO_PROXY": "*"})
    assert proxies.of("wss://h/") == proxies.of("http://10.0.0.1/") == Proxy("socks5h", "x", 1080)
    assert proxies.of("wss://localhost/") is None


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.255.0.3", "::1", "::ffff:127.0.0.1"])
def test_this_machine(host: str) -> None:
    assert loopback(host)


@pytest.mark.parametrize("host", ["localhost.example.com", "128.0.0.1", "::2", "notlocalhost", "", "10.0.0.1"])
def test_other_machines(host: str) -> None:
    assert not loopback(host)


# through real proxies

LOGIN = "us@er:S3CR3T:"
CREDENTIALS = "us%40er:S3CR3T%3A@"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def echoed(io: RealIo, url: str) -> list[bytes]:
    got: list[bytes] = []
    came = asyncio.Event()

    def take(data: bytes, ts_recv: int) -> None:
        got.append(data)
        came.set()

    socket = await io.connect(Endpoint(url), take, max_frame=1000, timeout=3)
    socket.send("hello")
    await asyncio.wait_for(came.wait(), 2)
    await socket.close()
    return got


async def through(io: RealIo, transport: str, secure: bool, authority: trustme.CA) -> int:
    """Talk to a server that only a proxy finds, over ws(s) or http(s). Gives the server's port."""
    context = serving(authority, "venue.test") if secure else None
    if transport == "rest":
        async with listening(answering(b"hello"), ssl=context) as port:
            assert (await io.request("GET", f"http{'s' * secure}://venue.test:{port}/")).body == b"hello"
            await io.close()
    else:
        async with serve(echo, "127.0.0.1", 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            assert await echoed(io, f"ws{'s' * secure}://venue.test:{port}/") == [b"hello"]
    return port


def real(transport: str, **how: Any) -> RealIo:
    return RealIo(transport="picows" if transport == "rest" else transport, **how)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("transport", ["picows", "websockets", "rest"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h", "socks5"])
async def test_through_a_proxy(transport: str, scheme: str, secure: bool, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """With socks5h the proxy is told the name, with socks5 the address that we resolved."""
    if scheme == "socks5":
        there = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))]
        found = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: there if host == "venue.test" else found(host, *a, **k))
    proxy = ProxyServer(LOGIN)
    socks = scheme.startswith("socks")
    tls = serving(authority) if scheme == "https" else None
    async with listening(proxy.socks if socks else proxy.http, head=not socks, ssl=tls) as port:
        io = real(transport, proxy=f"{scheme}://{CREDENTIALS}127.0.0.1:{port}")
        there_port = await through(io, transport, secure, authority)
        await until(lambda: not tls_proxy._relays)
    host = "192.0.2.7" if scheme == "socks5" else "venue.test"
    assert proxy.asked == [f"{host}:{there_port}"]
    assert proxy.seen == [LOGIN]


@pytest.mark.parametrize("transport", ["picows", "websockets", "rest"])
async def test_through_the_proxy_of_the_environment(transport: str, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = ProxyServer()
    async with listening(proxy.http) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "other.test")
        there = await through(real(transport), transport, False, authority)
    assert proxy.asked == [f"venue.test:{there}"]


@pytest.mark.parametrize("transport", ["picows", "websockets"])
async def test_this_machine_is_reached_without_a_proxy(transport: str) -> None:
    async with serve(echo, "127.0.0.1", 0) as server:
        io = RealIo(transport=transport, proxy="http://127.0.0.1:1")
        assert await echoed(io, f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/") == [b"hello"]


async def _refusal(transport: str, proxy: str, url: str = "venue.test/") -> IoFailure:
    """How it fails to get to `url` (without its scheme, over TLS if it is ``s://``)."""
    io = real(transport, proxy=proxy)
    secure, _, rest = url.rpartition("://")
    if transport == "rest":
        attempt: Any = io.request("GET", f"http{secure}://{rest}", timeout=2)
    else:
        attempt = io.connect(Endpoint(f"ws{secure}://{rest}"), lambda data, ts: None, max_frame=1000, timeout=2)
    with pytest.raises(IoFailure) as caught:
        await attempt
    await io.close()
    return caught.value


@pytest.mark.parametrize("transport", ["picows", "websockets", "rest"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
async def test_a_proxy_that_refuses_or_is_not_there(
    transport: str, scheme: str, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy = ProxyServer(LOGIN, refuse=True)
    socks = scheme.startswith("socks")
    tls = serving(authority) if scheme == "https" else None
    async with listening(proxy.socks if socks else proxy.http, head=not socks, ssl=tls) as port:
        failures = [await _refusal(transport, f"{scheme}://{CREDENTIALS}127.0.0.1:{port}", "s://venue.test/")]
        if socks:
            failures.append(await _refusal(transport, f"{scheme}://u:S3CR3T-wrong@127.0.0.1:{port}"))
    failures.append(await _refusal(transport, f"{scheme}://{CREDENTIALS}127.0.0.1:{port}", "s://venue.test/"))
    for failure in failures:
        assert failure.reason == "proxy"
        assert str(failure).partition(": proxy ")[2].startswith(f"{scheme}://127.0.0.1:{port}: ")
        assert "\x1b" not in str(failure)
    assert "S3CR3T" not in "".join(map(str, failures)) + caplog.text


@pytest.mark.parametrize("transport", ["picows", "websockets", "rest"])
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_a_proxy_that_says_nonsense(transport: str, scheme: str) -> None:
    async def nonsense(peer: Any) -> None:
        await peer.write(b"\x1b[31m nonsense\r\n\r\n" * 5000)
        await peer.reader.read()

    async with listening(nonsense, head=False) as port:
        failure = await _refusal(transport, f"{scheme}://127.0.0.1:{port}")
    assert failure.reason == "proxy"
    assert "\x1b" not in str(failure)


@pytest.mark.parametrize("transport", ["picows", "websockets"])
async def test_a_proxy_that_hangs(transport: str) -> None:
    async def hang(peer: Any) -> None:
        await peer.reader.read()

    async with listening(hang, head=False) as port:
        for scheme in ("http", "socks5h"):
            io = RealIo(transport=transport, proxy=f"{scheme}://127.0.0.1:{port}")
            with pytest.raises(IoFailure) as caught:
                await io.connect(Endpoint("ws://venue.test/"), lambda data, ts: None, max_frame=1000, timeout=0.1)
            assert caught.value.reason == "timeout"


@pytest.mark.parametrize("transport", ["picows", "websockets", "rest"])
async def test_a_name_that_socks5_cannot_resolve_here(transport: str) -> None:
    proxy = ProxyServer()
    async with listening(proxy.socks, head=False) as port:
        failure = await _refusal(transport, f"socks5://127.0.0.1:{port}", "no.such.host.invalid/")
    assert failure.reason == "dns"
    assert proxy.asked == []
