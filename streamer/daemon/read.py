"""From a TOML file and the environment to a `Config`. Every error at once, each with its path, never only the first.

`STREAMER__HTTP__LISTEN=127.0.0.1:9000` stands for `[http] listen`; of lists a number names the item: `STREAMER__STREAMS__0__DEPTH=50`.
"""

import tomllib
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from streamer.daemon.config import Config, Sink, Table
from streamer.daemon.credentials import resolve
from streamer.errors import StreamerError, UsageError, nearest
from streamer.sinks.registry import options_of

PREFIX = "STREAMER__"
MOST_BYTES = 4 << 20
_BAD: Any = object()
"""In place of what is wrong; that was told."""
Check = Callable[[Any, str, dict[str, Any]], Iterator[tuple[str, str]]]
"""Given a table that is in form, its path, and the whole document as it was written: (key, what is wrong with it)."""


class BadConfig(StreamerError):
    """The configuration cannot be used. `errors`: one line each."""

    exit_code = 78

    def __init__(self, errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


class FromEnv(str):
    """A value out of the environment: text, whatever it shall be."""

    variable: str


class Loaded(Struct, frozen=True):
    """A configuration, and what is doubtful about it."""

    config: Config
    warnings: list[str]


def load(path: Path, environ: Mapping[str, str], checks: Mapping[type[Table], Check]) -> Loaded:
    """The configuration of a file. Raises `BadConfig` with all that is wrong."""
    reader = _Reader(environ, checks)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        reader.document = tomllib.loads(path.read_bytes().decode())
    except OSError as e:
        raise BadConfig([f"{path}: {e.strerror or e}"]) from None
    except (ValueError, RecursionError) as e:  # a TOML error says in which line; so does text that is no UTF-8
        raise BadConfig([f"{path}: not TOML: {e}"]) from None
    _overlay(reader.document, environ, reader.wrong)
    config = reader.value(reader.document, Config, "")
    if reader.errors:
        raise BadConfig([f"{path}: {error}" for error in reader.errors])
    return Loaded(config, [f"{path}: {w}" for w in reader.warnings])


def _overlay(document: dict[str, Any], environ: Mapping[str, str], wrong: Callable[[str, str], None]) -> None:
    """Lay the variables over what the file says."""
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        *way, last = variable.removeprefix(PREFIX).split("__")
        value = FromEnv(environ[variable])
        value.variable = variable
        at: Any = document
        for word in way:
            at = _step(at, word)
        if isinstance(at, dict):
            at[_key(at, last)] = value
        elif isinstance(at, list) and last.isdecimal() and int(last) < len(at):
            at[int(last)] = value
        else:
            wrong("", f"{variable} leads nowhere: the file has nothing there that it could replace")


def _step(at: Any, word: str) -> Any:
    if isinstance(at, dict):
        return at.setdefault(_key(at, word), {})
    return at[int(word)] if isinstance(at, list) and word.isdecimal() and int(word) < len(at) else None


def _key(table: Mapping[str, Any], word: str) -> str:
    """The key that is written in capitals in a variable."""
    return next((k for k in table if k.upper() == word.upper()), word.lower())


class _Reader:
    """Walks the types and the document side by side. What is wrong is left out, so that the rest can be looked at too."""

    def __init__(self, environ: Mapping[str, str], checks: Mapping[type[Table], Check]) -> None:
        self.document: dict[str, Any] = {}
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self._environ = environ
        self._checks = checks

    def wrong(self, path: str, what: str, value: Any = None) -> Any:
        """Note an error."""
        variable = _variable(value)
        self.errors.append(f"{path}{': ' if path else ''}{what}{f' (from {variable})' if variable else ''}")
        return _BAD

    def value(self, raw: Any, type_: Any, path: str) -> Any:
        """A value of this type, or `_BAD`."""
        bare, metas = _bare(type_)
        if bare is Any:
            return _plain(raw)
        if isinstance(bare, type) and issubclass(bare, Struct):
            return self._table(raw, bare, path)
        origin, args = get_origin(bare), get_args(bare)
        if origin in (list, dict) and isinstance(raw, FromEnv):
            raw = _toml(raw)
        if origin is list:
            return self._list(raw, args[0], metas, path)
        if origin is dict:
            return self._dict(raw, args[1], metas, path)
        if origin is Literal:
            words = ", ".join(args)
            return raw if raw in args else self.wrong(path, f"{raw!r} is none of {words}{nearest(str(raw), args)}", raw)
        try:
            return msgspec.convert(raw, type_, strict=not isinstance(raw, FromEnv))
        except msgspec.ValidationError as e:
            return self.wrong(path, _words(str(e)), raw)

    def _list(self, raw: Any, item: Any, metas: list[msgspec.Meta], path: str) -> Any:
        if not isinstance(raw, list):
            return self.wrong(path, f"expected a list, got {_kind(raw)}", raw)
        items = [self.value(x, item, f"{path}[{n}]") for n, x in enumerate(raw)]
        self._empty(items, metas, path)
        return [x for x in items if x is not _BAD]

    def _dict(self, raw: Any, item: Any, metas: list[msgspec.Meta], path: str) -> Any:
        if not isinstance(raw, dict):
            return self.wrong(path, f"expected a table, got {_kind(raw)}", raw)
        items = {k: self.value(x, item, f"{path}.{k}") for k, x in raw.items()}
        self._empty(items, metas, path)
        return {k: x for k, x in items.items() if x is not _BAD}

    def _empty(self, items: Any, metas: list[msgspec.Meta], path: str) -> None:
        if not items and any(m.min_length for m in metas):
            self.wrong(path, "is empty; name at least one")

    def _table(self, raw: Any, table: type[Any], path: str) -> Any:
        if not isinstance(raw, dict):
            return self.wrong(path, f"expected a table, got {_kind(raw)}", raw)
        if table is Sink:
            return self._sink(raw, path)
        return self._fields(raw, table, path)

    def _fields(self, raw: dict[str, Any], table: type[Any], path: str) -> Any:
        """A table of these fields and no others."""
        fields = {f.encode_name: f for f in msgspec.structs.fields(table)}
        hints = get_type_hints(table, include_extras=True)
        found = {fields[k].name: self.value(v, hints[fields[k].name], _at(path, k)) for k, v in raw.items() if k in fields}
        for key in raw:
            if key not in fields:
                self.wrong(_at(path, key), f"there is no such key{nearest(key, fields)}", raw[key])
        missing = [key for key, field in fields.items() if field.required and key not in raw]
        for key in missing:
            self.wrong(_at(path, key), "is missing")
        found = {k: v for k, v in found.items() if v is not _BAD}
        if any(field.required and field.name not in found for field in fields.values()):
            return _BAD
        made = table(**found)
        for key, what in self._checks[table](made, path, self.document) if table in self._checks else ():
            self.wrong(_at(path, key) if key else path, what)
        return made

    def _sink(self, raw: dict[str, Any], path: str) -> Any:
        """All keys that are not of the table are the sink's options, with the secrets that they name put in their place."""
        own = {k: v for k, v in raw.items() if k in Sink.__struct_fields__ and k != "options"}
        before = len(self.errors)
        named = {k: v for k, v in raw.items() if k not in own}
        wrong: Callable[[str, str], None] = lambda key, what: self.wrong(f"{path}.{key}", what)  # noqa: E731
        options = resolve(named, self._environ, wrong, lambda what: self.warnings.append(f"{path}: {what}"))
        shape = _shape(own.get("type"))
        checked = _plain(options) if shape is None else self._fields(options, shape, path)
        if checked is _BAD or len(self.errors) > before:
            for key in own:  # it is wrong already: see what else is
                self.value(own[key], get_type_hints(Sink, include_extras=True)[key], _at(path, key))
            return _BAD
        return self._fields(own | {"options": checked}, Sink, path)


def _shape(type_: Any) -> type[Struct] | None:
    """The options of a sink of this type, if they can be known; what is wrong with the type itself is told elsewhere."""
    try:
        return options_of(str(type_))
    except UsageError:
        return None


def _bare(type_: Any) -> tuple[Any, list[msgspec.Meta]]:
    """Without `Annotated` and `| None`: TOML has no null."""
    metas: list[msgspec.Meta] = []
    while True:
        if get_origin(type_) is Annotated:
            type_, *more = get_args(type_)
            metas += [m for m in more if isinstance(m, msgspec.Meta)]
        elif get_origin(type_) in (Union, types.UnionType):
            type_ = next(t for t in get_args(type_) if t is not type(None))
        else:
            return type_, metas


_WORDS = {
    "`int`": "a whole number",
    "`float`": "a number",
    "`str`": "text",
    "`bool`": "true or false",
    "`array`": "a list",
    "`object`": "a table",
}


def _words(error: str) -> str:
    """What msgspec says, in the words of TOML."""
    for theirs, ours in _WORDS.items():
        error = error.replace(theirs, ours)
    return error[:1].lower() + error[1:].replace("`", "")


def _at(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _kind(raw: Any) -> str:
    names = {dict: "a table", list: "a list", str: "text", FromEnv: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(raw), "a date")


def _toml(text: FromEnv) -> Any:
    """A list or table written in a variable as TOML writes it."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _plain(value: Any) -> Any:
    """An option of which only the sink knows the type: out of the environment it is what TOML would take it for, else text."""
    if isinstance(value, FromEnv):
        found = _toml(value)
        return str(value) if isinstance(found, FromEnv) else found
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, dict) else value


def _variable(value: Any) -> str | None:
    """The variable that a value, or the first value in a table, came from."""
    if isinstance(value, FromEnv):
        return value.variable
    return next((v for x in value.values() if (v := _variable(x))), None) if isinstance(value, dict) else None
