"""The sinks by name: ours and other people's, with errors that name what is wrong; nothing is imported before it is asked for."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamer.errors import UsageError
from streamer.sinks import registry
from streamer.sinks.files import FileSink, Options
from streamer.sinks.stdout import StdoutSink
from tests.packages import Packages

ROOT = Path(__file__).parent.parent


def test_ours() -> None:
    assert set(registry.names()) >= {"files", "kafka", "stdout"}
    assert isinstance(registry.make("stdout"), StdoutSink)
    sink = registry.make("files", {"path": "/data/t.ndjson"}, called="disk")
    assert isinstance(sink, FileSink)
    assert sink.name == "disk"
    assert registry.make("files", Options(path="/data/t.ndjson")).name == "files"
    assert registry.options_of("files") is Options


def test_listing_imports_no_sink() -> None:
    code = "import sys; from streamer.sinks import registry; registry.names(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout.split()  # noqa: S603
    assert "streamer.sinks.files" not in loaded
    assert "confluent_kafka" not in loaded


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("file", {}, "unknown sink 'file'; did you mean files\\?; there are "),
        ("zzz", {}, "unknown sink 'zzz'; there are files, kafka, stdout"),
        ("stdout", {"path": 1}, "sink 'stdout' has no option 'path'; it has none"),
        ("files", {"pth": "x"}, "sink 'files' has no option 'pth'; did you mean path\\?"),
        ("files", {"path": 7}, r"sink 'files': Expected `str`, got `int` - at `\$.path`"),
    ],
)
def test_what_is_wrong(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        registry.make(name, options)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    return Packages(registry.GROUP, tmp_path, monkeypatch)


SINK = """
class Sink:
    def __init__(self, options): self.options = options
    async def open(self): ...
    async def write(self, ticks): return ()
    async def close(self, timeout): ...
"""
PLAIN = SINK + "def make(options): return Sink(options)\n"
TYPED = "from msgspec import Struct\nclass O(Struct): a: int\n" + SINK + "def make(options: O) -> Sink: return Sink(options)\n"


def test_one_of_an_entry_point(packages: Packages) -> None:
    packages.install("plain_sink", "plain = plain_sink:make", PLAIN)
    packages.install("typed_sink", "typed = typed_sink:make", TYPED)
    assert {"plain", "typed"} <= set(registry.names())
    assert "plain_sink" not in sys.modules
    plain: Any = registry.make("plain", {"any": "thing"})
    assert (plain.options, plain.name, registry.options_of("plain")) == ({"any": "thing"}, "plain", None)
    typed: Any = registry.make("typed", {"a": 3}, called="mine")
    assert (typed.options.a, typed.name) == (3, "mine")
    with pytest.raises(UsageError, match="sink 'typed' has no option 'b'"):
        registry.make("typed", {"b": 3})


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", r"entry point 'bad' = 'bad_sink:make' of bad_sink cannot be loaded: ZeroDivisionError"),
        ("make = 5", r"of bad_sink is no function that makes a sink"),
        ("def make(options): raise KeyError('x')", r"sink 'bad' could not be made: KeyError\('x'\)"),
        ("def make(options): return 5", r"sink 'bad' is none: open, write, close must be coroutine functions"),
        ("def make(options: 'Nowhere'): return 5", r"sink 'bad': the type of its options cannot be told: NameError"),
    ],
)
def test_one_that_cannot_be_used(packages: Packages, code: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bad_sink", raising=False)
    packages.install("bad_sink", "bad = bad_sink:make", code)
    with pytest.raises(UsageError, match=message):
        registry.make("bad")
    monkeypatch.delitem(sys.modules, "bad_sink", raising=False)


def test_a_name_that_two_claim(packages: Packages) -> None:
    packages.install("thief_sink", "files = thief_sink:make", PLAIN)
    with pytest.raises(UsageError, match="'files' is claimed by market-streamer and thief_sink; uninstall or rename"):
        registry.make("files", {"path": "x"})


def test_a_sink_whose_client_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    for name in [m for m in sys.modules if m.startswith("streamer.sinks.kafka")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UsageError, match=r"sink 'kafka' cannot be used: .*; pip install 'market-streamer\[kafka\]'"):
        registry.make("kafka", {})
