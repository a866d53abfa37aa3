"""The sinks by name: ours, and other people's from entry points. All lazy.

An entry point of the group `streamer.sinks` is ``name = "module:make"``, where ``make(options)`` gives a `Sink`. If `make` says that its
options are a `msgspec.Struct`, they are checked against it before it is called; otherwise it is given the table as it is.
"""

import inspect
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import Struct

from streamer.errors import UsageError, nearest
from streamer.sinks import GROUP, Sink

BUILT: Final[dict[str, str]] = {
    "files": "streamer.sinks.files:make",
    "kafka": "streamer.sinks.kafka:make",
    "stdout": "streamer.sinks.stdout:make",
}
EXTRAS: Final[dict[str, str]] = {"kafka": "kafka"}
"""What `pip install market-streamer[extra]` must have brought."""


def names() -> tuple[str, ...]:
    """Every name that `make` can be asked for. Imports no sink."""
    return tuple(sorted({*BUILT, *entry_points(group=GROUP).names}))


def options_of(name: str) -> type[Struct] | None:
    """The options of a sink as a type, or None when it takes a plain table. Raises `UsageError`."""
    return _options_of(_load(name), name)


def make(name: str, options: Mapping[str, Any] | Struct | None = None, *, called: str | None = None) -> Sink:
    """A sink, not open yet. `called`: its name in logs and metrics, if there are several of a kind.

    Raises `UsageError` for an unknown name with the nearest, for options that are wrong, and for an entry point that cannot be used.
    """
    maker = _load(name)
    shape = _options_of(maker, name)
    given: Any = options if options is not None else {}
    try:
        sink: Any = maker(given if shape is None or isinstance(given, Struct) else _checked(given, shape, name))
    except UsageError:
        raise
    except Exception as e:  # somebody else's code may raise anything; it must not take the caller down with it
        raise UsageError(f"sink {name!r} could not be made: {e!r}") from e
    missing = [m for m in ("open", "write", "close") if not inspect.iscoroutinefunction(getattr(sink, m, None))]
    if missing:
        raise UsageError(f"sink {name!r} is none: {', '.join(missing)} must be coroutine functions, see docs/adding-a-sink.md")
    sink.name = called or getattr(sink, "name", name)
    found: Sink = sink
    return found


def _checked(given: Mapping[str, Any], shape: type[Struct], name: str) -> Struct:
    known = msgspec.structs.fields(shape)
    for key in given:
        if key not in {f.encode_name for f in known}:
            hint = nearest(str(key), [f.encode_name for f in known])
            raise UsageError(f"sink {name!r} has no option {str(key)!r}{hint or '; it has ' + _list(known)}")
    try:
        checked: Struct = msgspec.convert(dict(given), shape)
    except msgspec.ValidationError as e:
        raise UsageError(f"sink {name!r}: {e}") from None
    return checked


def _list(known: tuple[Any, ...]) -> str:
    return ", ".join(f.encode_name for f in known) or "none"


def _load(name: str) -> Any:
    """The `make` of a sink."""
    foreign = tuple(entry_points(group=GROUP, name=name))
    if len(foreign) + (name in BUILT) > 1:
        claims = ["market-streamer"] * (name in BUILT) + [_package_of(p) for p in foreign]
        raise UsageError(f"sink {name!r} is claimed by {' and '.join(claims)}; uninstall or rename the entry point in {GROUP!r}")
    if name in BUILT:
        return _ours(name)
    if not foreign:
        raise UsageError(f"unknown sink {name!r}{nearest(name, names())}; there are {', '.join(names())}")
    try:
        maker = foreign[0].load()
    except Exception as e:  # somebody else's module may raise anything
        raise UsageError(f"entry point {name!r} = {foreign[0].value!r} of {_package_of(foreign[0])} cannot be loaded: {e!r}") from e
    if not callable(maker):
        raise UsageError(f"entry point {name!r} = {foreign[0].value!r} of {_package_of(foreign[0])} is no function that makes a sink")
    return maker


def _ours(name: str) -> Any:
    module, _, function = BUILT[name].partition(":")
    try:
        return getattr(import_module(module), function)
    except ImportError as e:
        extra = EXTRAS.get(name)
        remedy = f"pip install 'market-streamer[{extra}]'" if extra else "reinstall market-streamer"
        raise UsageError(f"sink {name!r} cannot be used: {e}; {remedy}") from e


def _options_of(maker: Any, name: str) -> type[Struct] | None:
    try:
        hints = [hint for key, hint in get_type_hints(maker).items() if key != "return"]
    except Exception as e:  # an annotation of somebody else's that does not evaluate
        raise UsageError(f"sink {name!r}: the type of its options cannot be told: {e!r}") from e
    return hints[0] if hints and isinstance(hints[0], type) and issubclass(hints[0], Struct) else None


def _package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
