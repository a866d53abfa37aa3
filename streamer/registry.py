"""The exchanges: the user's list of 99 as data, the feeds that are built, and other people's feeds from entry points. All lazy.

Nothing of `feeds` or of an entry point is imported before `load` asks for it by name. What is imported must be ours: a folder of the
user's called `feeds` or `normalizers` that shadows our package is refused by name, instead of failing somewhere inside it.
"""

import ast
import importlib.util
import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from streamer.declaration import check as check
from streamer.declaration import proof as proof
from streamer.errors import BadFeed, UnknownExchange, nearest
from streamer.spec import Feed

GROUP = "streamer.feeds"
"""The entry point group of other people's feeds: ``name = "module:FEED"``."""
OURS = "market-streamer"


class Exchange(Struct, frozen=True):
    """A row of the list. `id` is ccxt's; `countries` as the user's list writes them and `iso` the same as ISO 3166 alpha-2 (`EU` stays).

    `status` was true at `status_date` (YYYY, YYYY-MM or YYYY-MM-DD; None for an entry point, whose `status_reason` names its package).
    """

    id: str
    title: str
    countries: tuple[str, ...] = ()
    iso: tuple[str, ...] = ()
    docs: str = ""
    status: Literal["open", "closed", "unknown"] = "unknown"
    status_date: str | None = None
    status_reason: str = ""


@cache
def _the_list() -> tuple[Exchange, ...]:
    return msgspec.json.decode(files("streamer").joinpath("exchanges.json").read_bytes(), type=tuple[Exchange, ...])


def listed() -> tuple[Exchange, ...]:
    """The 99, and after them the entry points that are none of the 99. Imports no feed."""
    known = {e.id for e in _the_list()}
    foreign = sorted({p.name: p for p in entry_points(group=GROUP) if p.name not in known}.items())
    return _the_list() + tuple(Exchange(name, name, status_reason=f"entry point of {_package_of(p)}") for name, p in foreign)


def built() -> tuple[str, ...]:
    """The ids that have a feed of ours, sorted. Imports no feed."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(_our_package("feeds")) if not m.name.startswith("_")))


def available() -> tuple[str, ...]:
    """Every id that `load` can be asked for: ours and the entry points'. Imports no feed."""
    return tuple(sorted({*built(), *entry_points(group=GROUP).names}))


def load(id: str) -> Feed:
    """The feed of an exchange, imported now if it was not yet, and checked.

    Raises `UnknownExchange` with the nearest names, and `BadFeed` for one that cannot be used or whose name two packages claim.
    """
    ours = id in built()
    foreign = tuple(entry_points(group=GROUP, name=id))
    if len(foreign) + ours > 1:
        claims = ["market-streamer"] * ours + [_package_of(p) for p in foreign]
        raise BadFeed(f"exchange {id!r} is claimed by {' and '.join(claims)}; uninstall or rename the entry point in {GROUP!r}")
    if not ours and not foreign:
        raise _unknown(id)
    return check(_ours(id) if ours else _foreign(foreign[0]), id)


def sources(id: str) -> list[Path]:
    """The files in which an exchange of ours is written: its feed, its normalizer, and what these share with siblings. Empty for one of an
    entry point. Imports none of them."""
    folders = {name: Path(_our_package(name)[0]) for name in ("feeds", "normalizers")}
    found: dict[Path, None] = {}
    todo = [folders["feeds"] / f"{id}.py"]
    while todo:
        path = todo.pop()
        if path in found or not path.is_file():
            continue
        found[path] = None
        froms = [node.module or "" for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
        todo += [folders[package] / f"{name}.py" for package, _, name in (m.partition(".") for m in froms) if package in folders]
    return sorted(found)


def _ours(id: str) -> object:
    _our_package("normalizers")
    try:
        module = import_module(f"feeds.{id}")
    except ImportError as e:
        raise BadFeed(f"feeds.{id} cannot be imported: {e}; reinstall market-streamer, or add what is missing") from e
    return getattr(module, "FEED", None)


def _foreign(point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as e:  # somebody else's module may raise anything; it must not take the caller down with it
        raise BadFeed(f"entry point {point.name!r} = {point.value!r} of {_package_of(point)} cannot be loaded: {e!r}") from e


def _our_package(name: str) -> list[str]:
    """Where our package is. Raises `BadFeed` when the name finds somebody else's."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None or spec.origin is None:
        raise _shadowed(name, (spec.origin or next(iter(spec.submodule_search_locations or ()), None)) if spec else None)
    try:
        ours = getattr(import_module(name), "OURS", None) == OURS
    except Exception as e:  # the user's own package, imported in place of ours, may raise anything
        raise _shadowed(name, spec.origin) from e
    if not ours:
        raise _shadowed(name, spec.origin)
    return list(spec.submodule_search_locations)


def _shadowed(name: str, where: str | None) -> BadFeed:
    if where is None:
        return BadFeed(f"the package {name!r} of market-streamer is missing; reinstall market-streamer")
    path = Path(where).parent if Path(where).name == "__init__.py" else Path(where)
    return BadFeed(f"{path} shadows the package {name!r} of market-streamer; rename it, or start from another folder")


def _unknown(id: str) -> UnknownExchange:
    row = next((e for e in _the_list() if e.id == id), None)
    if row is not None:
        why = f"closed ({row.status_reason}, {row.status_date})" if row.status == "closed" else "not built yet"
        return UnknownExchange(f"exchange {id!r} is on the list but {why}; built: {', '.join(available())}")
    hint = nearest(id, {*(e.id for e in _the_list()), *available()})
    return UnknownExchange(f"unknown exchange {id!r}{hint or '; `streamer exchanges` lists them'}")


def _package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
