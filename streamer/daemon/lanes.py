"""What each sink is to get, out of the groups of the file and the exchanges' lists: lanes, each of which is one subscription. Pure.

A lane is what groups with the same kinds and policy have in common, so a reload that moves a stream from one group to another like it
changes nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from streamer.daemon.config import Config, Policy, Streams
from streamer.daemon.patterns import Listed, Pattern, choose, pattern
from streamer.types import Kind

Has: TypeAlias = Callable[[str, str, Kind, str], bool]
"""(exchange, symbol, kind, interval): can it be had?"""
Taken: TypeAlias = tuple[str, str, str, Kind, str]
"""(sink, exchange, symbol, kind, interval)."""


class Lane(Struct, frozen=True):
    """One subscription of a sink. `depth` of books, `interval` of candles."""

    sink: str
    kinds: tuple[Kind, ...]
    depth: int | None
    interval: str
    policy: Policy
    max_items: int
    max_bytes: int


class Group(Struct, frozen=True):
    """A group of the file with its patterns taken apart. `name`: how the file calls it."""

    name: str
    streams: Streams
    match: tuple[Pattern, ...]
    exclude: tuple[Pattern, ...]

    def exchanges(self, known: Sequence[str]) -> set[str]:
        """The exchanges that it may be about."""
        return {e for p in self.match for e in p.exchanges(known)}


class Plan(Struct, frozen=True):
    """`lanes` with their streams. `cut`: how many instruments were too many, by group. `empty`: patterns that mean nothing so far."""

    lanes: dict[Lane, dict[str, None]]
    cut: dict[str, int]
    empty: tuple[str, ...]


def groups(config: Config, known: Sequence[str]) -> list[Group]:
    """The groups of a checked configuration."""
    return [
        Group(f"streams[{n}]", g, tuple(pattern(p, known) for p in g.match), tuple(pattern(p, known) for p in g.exclude))
        for n, g in enumerate(config.streams)
    ]


def plan(all_groups: Iterable[Group], known: Sequence[str], lists: Mapping[str, Listed], has: Has) -> Plan:
    """The lanes, of the exchanges whose lists are loaded. A stream that two groups give to a sink is the first's."""
    lanes: dict[Lane, dict[str, None]] = {}
    cut: dict[str, int] = {}
    empty: list[str] = []
    taken: set[Taken] = set()
    for group in all_groups:
        names = [(e, s) for e in sorted(group.exchanges(known) & lists.keys()) for s in choose(group.match, group.exclude, e, lists[e])]
        empty += [p.text for p in group.match if lists.keys() >= set(p.exchanges(known)) and not any(p.matches(*name) for name in names)]
        most = group.streams.max_streams
        if len(names) > most:
            cut[group.name] = len(names) - most
        for sink in dict.fromkeys(group.streams.sinks):
            for exchange, symbol in names[:most]:
                _claim(lanes, taken, group.streams, sink, exchange, symbol, has)
    return Plan(lanes, cut, tuple(empty))


def _claim(
    lanes: dict[Lane, dict[str, None]], taken: set[Taken], g: Streams, sink: str, exchange: str, symbol: str, has: Has
) -> None:  # fmt: skip
    kinds: list[Kind] = []
    for kind in dict.fromkeys(g.kinds):
        key = (sink, exchange, symbol, kind, g.interval if kind == "candle" else "")
        if key not in taken and has(exchange, symbol, kind, g.interval):
            taken.add(key)
            kinds.append(kind)
    if kinds:
        depth = g.depth if "book" in kinds or "quote" in kinds else None
        interval = g.interval if "candle" in kinds else ""
        lane = Lane(sink, tuple(kinds), depth, interval, g.policy, g.max_items, g.max_bytes)
        lanes.setdefault(lane, {})[f"{exchange}:{symbol}"] = None
