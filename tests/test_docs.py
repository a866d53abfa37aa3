"""The documents name what there is, and nothing that there is not."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import click
import pytest

import streamer
from streamer import mailbox, types
from streamer.cli import COMMANDS, cli
from streamer.registry import built, load
from streamer.subscription import Subscription

REPO = Path(__file__).parent.parent
PAGES = [REPO / "README.md", REPO / "CHANGELOG.md", *sorted((REPO / "docs").rglob("*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(REPO).as_posix())


def read(name: str) -> str:
    return (REPO / name).read_text()


def words_in_code(text: str) -> set[str]:
    """Every word that stands in code: in backticks or a block."""
    return {word for code in CODE.findall(text) for word in re.findall(r"[A-Za-z_]\w*", code)}


@by_page
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(CODE.sub("", page.read_text())):
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name} links to {target}, which is not there"


@by_page
def test_python_blocks_compile_and_use_names_that_exist(page: Path) -> None:
    for block in PYTHON.findall(page.read_text()):
        tree = ast.parse(block)
        compile(tree, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)  # as in a notebook
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "streamer":
                module = import_module(node.module or "")
                assert [a.name for a in node.names if not hasattr(module, a.name)] == [], f"{page.name} imports what {node.module} lacks"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "streamer":
                assert node.attr in streamer.__all__, f"{page.name} uses streamer.{node.attr}"


def keywords(tree: ast.AST, method: str) -> set[str]:
    """The keyword arguments of every call of something with this name."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func).rpartition(".")[2] == method]
    return {k.arg for call in calls for k in call.keywords if k.arg}


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_blocks_call_with_parameters_that_exist(page: str) -> None:
    known: dict[str, Any] = {"Streamer": streamer.Streamer, "subscribe": streamer.Streamer.subscribe, "ready": streamer.Streamer.ready}
    for block in PYTHON.findall(read(page)):
        for method, function in known.items():
            assert keywords(ast.parse(block), method) <= set(inspect.signature(function).parameters), method


def test_every_public_name_is_documented() -> None:
    assert set(streamer.__all__) - words_in_code(read("docs/api.md")) == set()


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "streams", "how", "sub", "stream", "exchange"}


@pytest.mark.parametrize("of", [streamer.Streamer, Subscription, streamer.LiveBook, streamer.Ledger], ids=lambda c: c.__name__)
def test_every_method_and_parameter_is_documented(of: type[Any]) -> None:
    known = words_in_code(read("docs/api.md"))
    public = {name: member for name, member in vars(of).items() if not name.startswith("_") and not isinstance(member, type)}
    internal = {"box", "stale", "gap", "whole"}  # the hub's side of a subscription and of the ledger
    assert set(public) - known - internal == set()
    for name, member in public.items():
        if inspect.isfunction(member) and name not in internal:
            assert parameters(member) - known == set(), f"{of.__name__}.{name}"
    if of is streamer.Streamer:
        assert parameters(of) - known == set()
        assert parameters(streamer.ticks) - known == set()


def test_every_policy_and_kind_is_documented() -> None:
    text = words_in_code(read("docs/api.md"))
    assert set(get_args(mailbox.Policy)) - text == set()
    assert set(types.KINDS) - text == set()


@pytest.mark.parametrize(
    "name", [t.__name__ for t in get_args(types.AnyTick.__value__ if hasattr(types.AnyTick, "__value__") else types.AnyTick)]
)
def test_every_field_of_every_tick_has_a_meaning(name: str) -> None:
    text = read("docs/meaning.md")
    tick = getattr(types, name)
    assert f"`{tick.__struct_config__.tag}`" in text
    assert set(tick.__struct_fields__) - words_in_code(text) == set()


def test_reasons_of_stale_books_are_those_in_the_code() -> None:
    """Words that the code gives to a fall."""
    given = set()
    for path in (REPO / "streamer").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in ("_fall", "fall", "fell", "distrust", "suspect"):
                given |= {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    assert {"gap", "checksum", "crossed", "stall", "bad_frame", "bad_level"} <= given
    assert given - words_in_code(read("docs/meaning.md")) == set()


def commands() -> list[tuple[str, click.Command]]:
    context = click.Context(cli)
    return [(name, command) for name in COMMANDS if (command := cli.get_command(context, name)) is not None]


@pytest.mark.parametrize(("name", "command"), commands(), ids=list(COMMANDS))
def test_every_command_and_option_is_documented(name: str, command: click.Command) -> None:
    text = read("docs/cli.md")
    assert f"## `streamer {name}" in text
    section = text.partition(f"## `streamer {name}")[2].partition("\n## ")[0]
    common = text.partition("## `streamer")[0]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            shown = [o for o in (*parameter.opts, *parameter.secondary_opts) if o.startswith("--")]
            assert all(f"`{o}" in section + common for o in shown), f"{shown} of streamer {name} is not in docs/cli.md"


def test_no_option_is_documented_that_is_not_there() -> None:
    real = {o for _, c in commands() for p in c.params for o in p.opts} | {o for p in cli.params for o in p.opts} | {"--help"}
    for page in ("README.md", "docs/cli.md"):
        lines = [x for code in CODE.findall(read(page)) for x in code.splitlines() if "streamer" in x or code.startswith("`--")]
        used = {o for x in lines for o in re.findall(r"(?<![\w-])--[a-z][a-z-]*", x)}
        assert used - real == set(), page


def test_readme_names_only_exchanges_that_are_built() -> None:
    named = re.search(r"Built so far: (.*)", read("README.md"))
    assert named is not None
    assert set(re.findall(r"`([a-z0-9]+)`", named[1])) <= set(built())


def test_streams_in_examples_can_be_subscribed_to() -> None:
    """Every `exchange:SYMBOL` in the documents is in our grammar and of an exchange that is built."""
    from streamer.symbols import parse, split

    found = {s for page in PAGES for s in re.findall(r"\b[a-z0-9]+:[A-Z0-9]+/[A-Z0-9:-]+", page.read_text())}
    assert found
    for stream in found:
        exchange, symbol = split(stream)
        parse(symbol)
        assert exchange in built(), stream


def test_make_verbs_of_the_readme_exist() -> None:
    verbs = set(re.findall(r"^make (\w+)", read("README.md"), re.MULTILINE))
    assert verbs == {"run", "test"}
    assert verbs <= set(re.findall(r"^(\w+):", read("Makefile"), re.MULTILINE))


def test_decisions_are_listed() -> None:
    pages = sorted(p.name for p in (REPO / "docs/decisions").glob("0*.md"))
    assert [p[:4] for p in pages] == [f"{n:04}" for n in range(1, len(pages) + 1)]
    assert LINK.findall(read("docs/decisions/README.md")) == pages
    for page in pages:
        assert read(f"docs/decisions/{page}").startswith(f"# {page[:4]} ")


def test_the_pair_beside_the_guide_is_there() -> None:
    """docs/adding-an-exchange.md tells the reader to have these open."""
    for file in re.findall(r"`((?:feeds|normalizers|streamer)/[\w/]+\.py)`", read("docs/adding-an-exchange.md")):
        assert (REPO / file).exists(), file
    assert load("kraken").name == "kraken"
