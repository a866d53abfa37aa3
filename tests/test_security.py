"""What no source file may do, whoever writes it: TLS without verification, and reading without a limit."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("streamer", "feeds", "normalizers")
SERVERS = {("streamer", "sim"), ("streamer", "daemon")}
"""Folders of servers. There `request.read()` is bounded by aiohttp's `client_max_size`."""
TLS_SWITCHES = {"verify_mode", "check_hostname", "CERT_NONE", "CERT_OPTIONAL", "_create_unverified_context", "PROTOCOL_TLS_CLIENT"}
LIMITS = {"max_size", "max_msg_size", "max_frame_size", "max_queue", "client_max_size"}
WHOLE_BODY = {"read", "json", "text"}


def offences(tree: ast.AST, server: bool = False) -> Iterator[str]:
    """What is forbidden in this source, each with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="ssl" | "verify_ssl" | "verify", value=ast.Constant(value=False)):
                yield f"line {node.value.lineno}: {node.arg}=False"
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.keyword(arg=str(name)) if name in TLS_SWITCHES:
                yield f"line {node.lineno}: {name}"
            case ast.Call(args=[_, ast.Constant(value=str(name)), *_]) if name in TLS_SWITCHES:
                yield f"line {node.lineno}: {name}"
            case ast.keyword(arg=str(name), value=ast.Constant(value=None | 0)) if name in LIMITS:
                yield f"line {node.value.lineno}: {name} without a limit"
            case ast.Await(value=ast.Call(func=ast.Attribute(attr=name, value=of), args=[])) if name in WHOLE_BODY:
                if not (server and isinstance(of, ast.Name) and of.id == "request"):
                    yield f"line {node.lineno}: .{name}() takes a body of any size"


def sources() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_source(path: Path) -> None:
    server = path.relative_to(ROOT).parts[:2] in SERVERS
    assert list(offences(ast.parse(path.read_text()), server)) == []


def test_there_are_sources() -> None:
    assert len(sources()) > 40


@pytest.mark.parametrize("source", [
    "connect(ssl=False)",
    "TCPConnector(verify_ssl=False)",
    "context.verify_mode = ssl.CERT_NONE",
    "context.check_hostname = False",
    "setattr(context, 'check_hostname', False)",
    "ssl._create_unverified_context()",
    "ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)",
    "connect(max_size=None)",
    "ws_connect(max_msg_size=0)",
    "async def f(): return await response.read()",
    "async def f(): return await response.json(content_type=None)",
    "async def f(): return await (await session.get(url)).text()",
])  # fmt: skip
def test_what_is_forbidden_is_found(source: str) -> None:
    assert len(list(offences(ast.parse(source)))) >= 1


@pytest.mark.parametrize("source", [
    "connect(ssl=context, max_size=1)",
    "f.read()",
    "async def f(): return await reader.read(1000)",
    "verify = False",
])  # fmt: skip
def test_what_is_allowed_is_not(source: str) -> None:
    assert list(offences(ast.parse(source))) == []


def test_a_server_may_read_requests() -> None:
    source = ast.parse("async def f(request): return await request.read()")
    assert list(offences(source, server=True)) == []
    assert len(list(offences(source))) == 1
