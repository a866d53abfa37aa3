"""`streamer.realio`: REST, against real servers on loopback."""

import asyncio
import gzip
import time
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from streamer.errors import IoFailure
from streamer.io import Response
from streamer.realio import RealIo
from tests.loopback import Peer, Script, listening
from tests.sockets import serving


@pytest.fixture
async def io() -> AsyncIterator[RealIo]:
    io = RealIo()
    yield io
    await io.close()


def answering(body: bytes = b"", status: str = "200 OK", *headers: str) -> Script:
    async def script(peer: Peer) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        await peer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await peer.reader.read(1)

    return script


async def ask(io: RealIo, script: Script, method: str = "GET", path: str = "/", **how: Any) -> Response:
    async with listening(script) as port:
        return await io.request(method, f"http://127.0.0.1:{port}{path}", **how)


async def fails(io: RealIo, script: Script, **how: Any) -> IoFailure:
    with pytest.raises(IoFailure) as caught:
        await ask(io, script, path="/path?token=S3CR3T", **how)
    assert "S3CR3T" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_an_answer_is_given_whatever_its_status(io: RealIo) -> None:
    for status in ("200 OK", "404 Not Found", "429 Too Many Requests", "418 I am a teapot", "503 Busy", "521 Web Server Is Down"):
        response = await ask(io, answering(b"[1]", status, "Retry-After: 5", "X-MBX-Used-Weight: 12"))
        assert (response.status, response.body) == (int(status[:3]), b"[1]")
        assert (response.headers["retry-after"], response.headers["x-mbx-used-weight"]) == ("5", "12")


async def test_what_is_asked_and_who_asks(io: RealIo) -> None:
    requests: list[Peer] = []

    async def script(peer: Peer) -> None:
        requests.append(peer)
        await answering(b"{}")(peer)

    await ask(io, script, path="/api?symbols=%5B%22A%22%5D&limit=5", headers={"X-Key": "k"})
    await ask(io, script, "POST", "/token")
    assert requests[0].request.startswith("GET /api?symbols=%5B%22A%22%5D&limit=5 HTTP/1.1\r\n")
    assert requests[0].header("X-Key") == "k"
    assert (requests[0].header("User-Agent") or "").startswith("market-streamer/")
    assert requests[1].request.startswith("POST /token HTTP/1.1\r\n")
    assert requests[1].header("Content-Length") == "0"


async def test_connections_are_kept_and_cookies_are_not(io: RealIo) -> None:
    peers = 0
    heads: list[str] = []

    async def script(peer: Peer) -> None:
        nonlocal peers
        peers += 1
        heads.append(peer.request)
        while True:
            await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=b\r\n\r\n")
            heads.append((await peer.reader.readuntil(b"\r\n\r\n")).decode())

    async with listening(script) as port:
        for _ in range(3):
            await io.request("GET", f"http://127.0.0.1:{port}/")
        await io.close()
    assert (peers, len(heads)) == (1, 3)
    assert not any("cookie" in head.lower() for head in heads)


async def test_redirects_are_answers(io: RealIo) -> None:
    response = await ask(io, answering(b"", "302 Found", "Location: http://127.0.0.1:1/"))
    assert (response.status, response.headers["location"]) == (302, "http://127.0.0.1:1/")


async def test_no_answer_in_time(io: RealIo) -> None:
    async def silent(peer: Peer) -> None:
        await peer.reader.read()

    before = time.monotonic()
    assert (await fails(io, silent, timeout=0.2)).reason == "timeout"
    assert time.monotonic() - before < 0.6


async def test_a_body_that_trickles_is_not_waited_for(io: RealIo) -> None:
    async def trickle(peer: Peer) -> None:
        await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await peer.write(b"x")
            await asyncio.sleep(0.02)

    before = time.monotonic()
    assert (await fails(io, trickle, timeout=0.3)).reason == "timeout"
    assert time.monotonic() - before < 0.7


async def test_a_body_just_small_enough_and_one_too_long(io: RealIo) -> None:
    assert len((await ask(io, answering(b"x" * 10_000), max_body=10_000)).body) == 10_000
    failure = await fails(io, answering(b"x" * 10_001), max_body=10_000)
    assert failure.reason == "oversize"
    assert "10000 bytes" in str(failure)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compressed_answers_are_inflated(io: RealIo, encoding: str) -> None:
    body = b'{"a":[1,2,3]}' * 20_000
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    assert (await ask(io, answering(packed, "200 OK", f"Content-Encoding: {encoding}"))).body == body


async def test_a_bomb_is_not_swallowed(io: RealIo) -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(squeeze.compress(b"\0" * 1_000_000) for _ in range(100)) + squeeze.flush()
    assert len(bomb) < 200_000
    tracemalloc.start()
    try:
        failure = await fails(io, answering(bomb, "200 OK", "Content-Encoding: gzip"), max_body=1_000_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert failure.reason == "oversize"
    assert peak < 8_000_000


async def test_an_endless_body_is_not_swallowed(io: RealIo) -> None:
    async def endless(peer: Peer) -> None:
        await peer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await peer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    assert (await fails(io, endless, max_body=1_000_000)).reason == "oversize"


@pytest.mark.parametrize(("answer", "reason"), [
    (b"", "reset"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "reset"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort", "reset"),
    (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nnot gzi", "protocol"),
    (b"\x16\x03\x01\x1b[31m what is this\r\n\r\n", "protocol"),
    (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", "protocol"),
    (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "protocol"),
])  # fmt: skip
async def test_an_answer_that_is_none(io: RealIo, answer: bytes, reason: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.write(answer)

    failure = await fails(io, script)
    assert failure.reason == reason
    assert "\x1b" not in str(failure)
    assert len(str(failure)) < 400


async def test_reset(io: RealIo) -> None:
    async def script(peer: Peer) -> None:
        peer.reset()

    assert (await fails(io, script)).reason == "reset"


async def test_refused_and_unknown_hosts_and_no_address(io: RealIo) -> None:
    async with listening(answering()) as port:
        """Only for a port that is free afterwards."""
    for url, reason in (
        (f"http://127.0.0.1:{port}/", "refused"),
        ("http://no.such.host.invalid/", "dns"),
        ("ftp://127.0.0.1/", "protocol"),
        ("nonsense", "protocol"),
        ("http://127.0.0.1:99999/", "protocol"),
        ("", "protocol"),
    ):
        with pytest.raises(IoFailure) as caught:
            await io.request("GET", url)
        assert caught.value.reason == reason, url


async def test_tls(io: RealIo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    async with listening(answering(b"secret"), ssl=serving(authority)) as port:
        url = f"https://127.0.0.1:{port}/"
        with pytest.raises(IoFailure) as caught:
            await io.request("GET", url)
        assert caught.value.reason == "tls"
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert (await io.request("GET", url)).body == b"secret"
    async with listening(answering(b"secret"), ssl=serving(authority, "other.test")) as port:
        with pytest.raises(IoFailure) as caught:
            await io.request("GET", f"https://127.0.0.1:{port}/")
        assert caught.value.reason == "tls"


async def test_cancelling_a_request(io: RealIo) -> None:
    gone, came = asyncio.Event(), asyncio.Event()

    async def silent(peer: Peer) -> None:
        came.set()
        await peer.reader.read()
        gone.set()

    async with listening(silent) as port:
        task = asyncio.create_task(io.request("GET", f"http://127.0.0.1:{port}/"))
        await came.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 1)


async def test_closing_twice_and_asking_again_after(io: RealIo) -> None:
    assert (await ask(io, answering(b"1"))).body == b"1"
    await io.close()
    await io.close()
    assert (await ask(io, answering(b"2"))).body == b"2"
