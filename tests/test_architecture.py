"""Who may import whom (DESIGN section 2), read out of the sources; what `import streamer` and `streamer --help` cost.

Every file of the project stands in a layer, and a layer imports only what it names. A new file is placed here first.
"""

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import streamer
from streamer import registry

REPO = Path(__file__).parent.parent
PACKAGES = ("streamer", "feeds", "normalizers")


class Layer(NamedTuple):
    """`modules` of `streamer` (or, ending in a dot, all below), the layers `below` that it imports, and what it takes from `outside`
    beside the pure part of the standard library."""

    modules: str
    below: str = ""
    outside: str = ""


PURE = "abc ast base64 binascii bisect collections contextlib datetime decimal difflib enum fnmatch functools gzip heapq importlib itertools json logging math operator os pathlib pkgutil random re string sys types typing typing_extensions urllib zlib msgspec orjson"  # noqa: E501
LAYERS = {
    # words: what ticks, symbols, times and errors are
    "words": Layer("types errors times symbols rules version"),
    "disk": Layer("disk"),
    "books": Layer("book checksum sync", "words"),
    "spec": Layer("frames ctx answers handlers book_methods spec decode channels wire declaration urls", "words books"),
    # protocols of which the packets are read by a library
    "socketio": Layer("socketio", "words spec", "engineio socketio"),
    # meaning and facts: pure, and nothing but these parts
    "normalizers": Layer("normalizers.", "words spec socketio"),
    "feeds": Layer("feeds.", "words books spec socketio normalizers"),
    "registry": Layer("registry", "words spec"),
    # the hub knows no feed, engine or socket
    "hub": Layer("ledger mailbox conflate dropping pages policies asks views streams book_stream hub", "words books spec"),
    "subscription": Layer("reader subscription", "words hub", "asyncio inspect weakref"),
    "text": Layer("encode output", "words books"),
    "recording": Layer("recording", "words", "threading"),
    # the seam to the world, and the only files behind it
    "io": Layer("io record", "words spec recording"),
    "transport": Layer(
        "realio dial target proxies tls_proxy http picows_connect picows_socket websockets_socket", "words spec io",
        "asyncio socket ssl time ipaddress struct aiohttp yarl picows websockets python_socks",
    ),
    "gates": Layer("gates silence", "words spec io disk", "asyncio threading"),
    "engine": Layer(
        "line topics wants commands channels catalog listing delisting tasks snapshots watch session connection poller venue engine",
        "words books spec registry hub io gates disk", "asyncio",
    ),
    "facade": Layer("streamer", "words hub subscription engine io recording transport", "asyncio concurrent threading queue platformdirs"),
    # does an exchange do what is declared of it? seen as any subscriber sees it
    "probe": Layer("verdict doubts probe", "words spec registry facade", "asyncio statistics"),
    "replay": Layer("recorded recorded_polls replay", "words books spec registry hub recording engine", "time"),
    # ticks as bytes, for what stores and carries them; only the client of schema registries opens sockets
    "codecs": Layer("codecs codecs.", "words text", "asyncio io struct aiohttp fastavro google"),
    # where ticks go: they see the subscription and the types, nothing of how ticks came
    "sinks": Layer(
        "sinks sinks.", "words books hub subscription text gates codecs",
        "asyncio concurrent threading queue select struct errno fcntl inspect confluent_kafka",
    ),
    # and the way back
    "kafka": Layer(
        "kafka kafka_wants kafka_inbox kafka_lane kafka_places", "words books spec hub subscription gates codecs sinks",
        "asyncio concurrent time confluent_kafka uuid",
    ),
    # programs: a server of its own, and the command
    "sim": Layer("sim sim.", "words books spec text recording normalizers registry engine replay", "asyncio aiohttp time struct hashlib"),
    # all of it under supervision, with servers, signals and clocks of its own
    "daemon": Layer(
        "daemon daemon.", "words spec registry hub subscription io transport gates engine sinks disk",
        "asyncio gc socket signal time threading queue traceback tomllib types stat aiohttp prometheus_client platformdirs",
    ),
    "cli": Layer(
        "__main__ cli cli.", "words spec text hub subscription recording registry facade probe replay sim sinks daemon",
        "asyncio threading queue select signal time traceback uvloop click rich",
    ),
    "package": Layer("__init__", "words hub subscription facade"),
}  # fmt: skip

CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "now", "utcnow", "today", "process_time"}
NETWORK = {"aiohttp", "picows", "websockets", "python_socks", "socket", "ssl", "httpx", "requests", "http", "selectors"}


class Import(NamedTuple):
    """One import of a file. `when`: `load`, `lazy` (inside a function) or `typing`."""

    module: str
    when: str


def name_of(path: Path) -> str:
    """`streamer.cli.demo`; a package is its own name."""
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and parts[:-1] != ("streamer",) else parts)


FILES = {name_of(p): p for package in PACKAGES for p in sorted((REPO / package).rglob("*.py"))}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text())


@cache
def imports(name: str) -> tuple[Import, ...]:
    """Everything that a file imports; `from package import module` is the module."""
    return tuple(_imports(tree(name), "load"))


def _imports(node: ast.AST, when: str) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inner = when
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and when == "load":
            inner = "lazy"
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            inner = "typing"
        elif isinstance(child, ast.Import):
            yield from (Import(alias.name, when) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            module = child.module or ""
            inside = [f"{module}.{alias.name}" for alias in child.names]
            yield from (Import(x if x in FILES else module, when) for x in inside)
        yield from _imports(child, inner)


def layer_of(name: str) -> str | None:
    """The layer of one of our modules."""
    short = name.removeprefix("streamer.") if name != "streamer" else "__init__"
    for layer, (modules, _, _) in LAYERS.items():
        for entry in modules.split():
            if short == entry or (entry.endswith(".") and (short.startswith(entry) or short == entry[:-1])):
                return layer
    return None


def ours(module: str) -> bool:
    return module.partition(".")[0] in PACKAGES


by_file = pytest.mark.parametrize("name", sorted(FILES))


@by_file
def test_every_file_stands_in_a_layer(name: str) -> None:
    assert layer_of(name) is not None, f"{name} is new: place it in a layer of {Path(__file__).name}, or in a folder that has one"


def test_no_layer_names_a_layer_that_is_not_below_it() -> None:
    names = list(LAYERS)
    for layer, (_, below, _) in LAYERS.items():
        assert [b for b in below.split() if b not in names[: names.index(layer)]] == [], f"{layer} stands above those"


@by_file
def test_imports_go_down(name: str) -> None:
    """Imports for type checking may point anywhere inside a layer, but up no more than the others."""
    layer = layer_of(name) or ""
    allowed = {layer, *LAYERS[layer].below.split()}
    up = [f"{m} ({layer_of(m)}, {when})" for m, when in imports(name) if ours(m) and layer_of(m) not in allowed]
    # the package itself is imported for its place on the disk only
    assert [u for u in up if not u.startswith("streamer (")] == [], f"{name} is of the layer {layer}, which imports {sorted(allowed)}"


@by_file
def test_what_comes_from_outside(name: str) -> None:
    layer = layer_of(name) or ""
    allowed = {*PURE.split(), *LAYERS[layer].outside.split()}
    strange = {m.partition(".")[0] for m, _ in imports(name) if not ours(m)} - allowed
    assert not strange, f"{name} is of the layer {layer}, which takes none of them; pure parts have no task, clock or socket"


@by_file
def test_only_the_transport_opens_sockets_and_reads_the_clock(name: str) -> None:
    """Servers (sim, daemon) and programs (cli) have clocks of their own. In the way of ticks time comes with the frames and from `Io`; the
    event loop's own clock, by which everything there sleeps, stands still in tests like the rest of the loop."""
    if layer_of(name) in ("transport", "sim", "daemon", "kafka", "cli"):
        return
    assert name == "streamer.codecs.registry" or {m.partition(".")[0] for m, _ in imports(name)} & NETWORK == set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS and isinstance(node.value, ast.Name | ast.Call):
            whose = ast.unparse(node.value)
            assert whose not in ("time", "datetime", "date", "datetime.datetime"), (
                f"{name}:{node.lineno} reads a clock: {ast.unparse(node)}"
            )


def test_nothing_but_the_registry_reaches_for_a_feed() -> None:
    """By name and when asked: no import statement names a feed, and no other file has the name of the package to import it by."""
    for name in FILES:
        if layer_of(name) in ("feeds", "registry"):
            continue
        assert [m for m, _ in imports(name) if m.partition(".")[0] == "feeds"] == [], name
        calls = [c for c in ast.walk(tree(name)) if isinstance(c, ast.Call) and "import" in ast.unparse(c.func)]
        assert [ast.unparse(c) for c in calls if "feeds" in ast.unparse(c)] == [], name
    assert [i for i in imports("streamer.registry") if i.module.partition(".")[0] in ("feeds", "normalizers")] == []


def test_a_feed_uses_its_own_normalizer_or_its_siblings() -> None:
    for name in FILES:
        if layer_of(name) == "normalizers":
            assert [m for m, _ in imports(name) if m.startswith("feeds")] == [], "meaning knows no addresses"
        if name.startswith("feeds."):
            assert any(m.startswith("normalizers.") for m, _ in imports(name)), name


def test_no_two_modules_import_each_other() -> None:
    """Neither directly nor in a circle, when they are loaded."""
    graph = {n: {m for m, when in imports(n) if m in FILES and when == "load" and m != n} for n in FILES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_names_do_not_collide() -> None:
    modules = {n.split(".")[1] for n in FILES if n.startswith("streamer.")}
    assert set(streamer.__all__) & modules == set(), "importing the module would hide the exported name"
    for path in FILES.values():
        assert not (path.stem != "__init__" and path.with_suffix("").is_dir()), f"{path} hides behind the folder of its name"
    assert {n.split(".")[1] for n in FILES if n.startswith("feeds.")} == set(registry.built())


EXPORTED = """
AnyTick BookDelta BookNotLive BookSnapshot BookStale Candle Entry Funding Gap Greeks IndexPrice Instrument IoFailure Kind Ledger Liquidation
LiveBook MarkPrice NotReady OpenInterest Quote SlowConsumer Status StreamerError Streamer Subscription Tick Ticker Trade UnknownExchange
UnknownSymbol UnsupportedKind UsageError ticks
"""


def test_exported_names() -> None:
    """A change of this list is a change of the public interface: CHANGELOG.md and docs/api.md name it too."""
    assert streamer.__all__ == sorted(EXPORTED.split())
    for name in streamer.__all__:
        assert getattr(streamer, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        streamer.nothing  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    typed = {
        alias.asname
        for node in ast.walk(tree("streamer.__init__"))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("streamer.")
        for alias in node.names
    }
    assert typed == set(streamer.__all__)


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after this code."""
    run = [sys.executable, "-c", code + "\nimport sys; print('MODULES', *sys.modules)"]
    out = subprocess.run(run, check=True, capture_output=True, text=True, cwd=REPO)  # noqa: S603
    return {m.partition(".")[0] for m in out.stdout.rpartition("MODULES ")[2].split()}


HEAVY = {
    "asyncio",
    "aiohttp",
    "picows",
    "websockets",
    "msgspec",
    "orjson",
    "uvloop",
    "rich",
    "ssl",
    "socket",
    "platformdirs",
    "importlib_metadata",
}
HELP = """
from streamer.cli import cli
try:
    cli.main(["--help"])
except SystemExit as end:
    assert not end.code
"""


def test_importing_costs_next_to_nothing() -> None:
    assert loaded_by("import streamer") & (HEAVY | {"click", "feeds", "normalizers"}) == set()


def test_help_loads_nothing_heavy() -> None:
    """What makes a command slow to answer is what it imports: measured by that, since a clock would measure this machine."""
    began = time.perf_counter()
    loaded = loaded_by(HELP)
    print(f"streamer --help: {1000 * (time.perf_counter() - began):.0f} ms, interpreter included")
    assert loaded & HEAVY == set()
    assert loaded & {"feeds", "normalizers"} == set()


LISTING = """
import sys
from streamer import registry
registry.built(), registry.listed()
assert not [m for m in sys.modules if m.startswith(("feeds.", "normalizers."))]
"""


def test_listing_the_exchanges_that_are_built_imports_no_feed() -> None:
    assert loaded_by(LISTING) & {"asyncio", "aiohttp", "picows"} == set()
