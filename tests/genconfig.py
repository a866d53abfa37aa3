"""docs/config.md, made from the types of `streamer.daemon.config`, those of the sinks' options, and the example.

`python -m tests.genconfig` writes it anew; tests/test_daemon_docs.py asserts that what is committed is what this gives.
"""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from streamer.daemon import config
from streamer.daemon.credentials import is_secret
from streamer.sinks.registry import options_of

REPO = Path(__file__).parent.parent
PAGE = REPO / "docs" / "config.md"
EXAMPLE = REPO / "packaging" / "streamer.example.toml"
TABLES: dict[str, type[Struct]] = {
    "[[streams]]": config.Streams,
    "[sinks.NAME]": config.Sink,
    "[sinks.NAME.spool]": config.Spool,
    "[exchanges.ID]": config.Exchange,
    "[http]": config.Http,
    "[ready]": config.Ready,
    "[watchdog]": config.Watchdog,
    "[shutdown]": config.Shutdown,
    "[instruments]": config.Instruments,
    "[state]": config.State,
    "[memory]": config.Memory,
    "[log]": config.Log,
    "[metrics]": config.Metrics,
    "[ticks]": config.Ticks,
    "[network]": config.Network,
}
HEAD = """\
- TOML. A key that is not here is an error, told with the nearest that is. `streamer run -c FILE --check` tells every error at once.
- A variable of the environment stands above the file: `STREAMER__HTTP__LISTEN` is `[http] listen`. Of lists a number names the item:
  `STREAMER__STREAMS__0__DEPTH=50`. A value that is a list or a table is written as TOML writes it.
- A secret (`password`, `token`, `secret` and the like) is never in the file: `KEY_env` names the variable that holds it, `KEY_file` the
  file, of which the first line counts. Files are read again at a reload.
"""
SINKS = ("stdout", "files", "kafka")


def page() -> Iterator[str]:
    """docs/config.md."""
    yield "# The configuration file\n"
    yield "Made by `python -m tests.genconfig` from the types; do not edit. [daemon.md](daemon.md) says how it is used.\n"
    yield HEAD
    for heading, table in TABLES.items():
        yield f"## `{heading}`\n"
        yield " ".join((table.__doc__ or "").split()) + "\n"
        yield from rows(table)
        yield ""
    for name in SINKS:
        shape = options_of(name)
        assert shape is not None
        if not msgspec.structs.fields(shape):
            continue
        yield f"## Options of a sink of the type `{name}`\n"
        yield from rows(shape)
        yield ""
    yield "## Example\n"
    yield f"```toml\n{EXAMPLE.read_text().strip()}\n```"


def rows(table: type[Struct]) -> Iterator[str]:
    """A table of keys: type, default, meaning."""
    hints = get_type_hints(table, include_extras=True)
    notes = attribute_docs(table)
    yield "| key | value | default | meaning |\n|---|---|---|---|"
    for field in msgspec.structs.fields(table):
        if field.name == "options" and table is config.Sink:
            continue
        meta = metas(hints[field.name])
        said = next((m.description for m in meta if m.description), None) or notes.get(field.name, "")
        if field.name == "spool" and table is config.Sink:
            yield f"| `spool` | table | none | {said} |"
            continue
        key = field.encode_name
        if table not in TABLES.values() and is_secret(key):
            yield f"| `{key}_env`, `{key}_file` | text | | {' '.join(said.split())} A secret: the variable, or the file, that holds it. |"
            continue
        yield f"| `{key}` | {kind(hints[field.name])} | {default(field)} | {' '.join(said.split())} |"


def metas(hint: Any) -> list[msgspec.Meta]:
    """What annotations say, from the outside in."""
    if get_origin(hint) is Annotated:
        inner, *more = get_args(hint)
        return [m for m in more if isinstance(m, msgspec.Meta)] + metas(inner)
    if get_origin(hint) in (Union, types.UnionType):
        return [m for t in get_args(hint) for m in metas(t)]
    return []


def kind(hint: Any) -> str:
    """A type in words, with its bounds."""
    bounds = "".join(
        f", {words} {getattr(m, name)}"
        for m in metas(hint)
        for name, words in (("ge", "at least"), ("gt", "more than"), ("le", "at most"))
        if getattr(m, name) is not None
    )
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(kind(t) for t in get_args(hint) if t is not type(None)))
    if get_origin(hint) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(hint))
    if get_origin(hint) is list:
        return f"list of {kind(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return "table"
    names = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`"}
    return names.get(hint, getattr(hint, "__name__", str(hint))) + bounds


def default(field: Any) -> str:
    """The default as TOML writes it."""
    if field.required:
        return "**needed**"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list | str):
        return f"`{msgspec.json.encode(value).decode()}`"
    return f"`{value:_}`" if isinstance(value, int) else f"`{value}`"


def attribute_docs(table: type[Struct]) -> dict[str, str]:
    """The strings below the fields, of types that say there what their fields mean."""
    import ast
    import inspect
    import textwrap

    found: dict[str, str] = {}
    for cls in reversed(table.__mro__):
        if cls in (Struct, object) or not issubclass(cls, Struct):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(body, ast.ClassDef)
        for one, two in zip(body.body, body.body[1:], strict=False):
            if isinstance(one, ast.AnnAssign) and isinstance(two, ast.Expr) and isinstance(two.value, ast.Constant):
                found[ast.unparse(one.target)] = str(two.value.value)
    return found


def text() -> str:
    """All of it."""
    return "\n".join(page()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text())
