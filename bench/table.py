"""What the benchmarks share: paired rounds, medians with their spread, tables on the screen, JSON in a file.

On a shared machine only what was measured in one run can be compared. So the sides of a comparison are measured in turn, round after round,
every second round in the opposite order, and the figure is the median of the rounds' ratios, beside the least and the most of them.
"""

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from streamer import book
from streamer.daemon.memory import resident

ROUNDS = 7
"""The least number of rounds that a figure is taken from. `--quick` takes fewer, and its figures are good for nothing but trying."""
QUICK_ROUNDS = 2
COMPILED = not str(book.__file__).endswith(".py")
"""Is this the copy of the tree whose core is compiled (`make compiled`)?"""
TWIN = ", compiled" if COMPILED else ""
PACKAGES = ("uvloop", "msgspec", "orjson", "picows", "websockets", "aiohttp", "confluent-kafka")


class Spread(NamedTuple):
    """The median of the rounds, and what lay farthest off."""

    median: float
    least: float
    most: float

    def __format__(self, spec: str) -> str:
        return f"{self.median:{spec}} ({self.least:{spec}}-{self.most:{spec}})"


def spread(values: Iterable[float]) -> Spread:
    """Of the values of all rounds."""
    values = list(values)
    return Spread(statistics.median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Of paired rounds: each round's own ratio."""
    return spread(a / b for a, b in zip(ours, theirs, strict=True))


def paired(rounds: int, sides: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Every side once a round, after one round that does not count; every second round backwards, so that drift hits all alike."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-1, rounds):
        for name in list(sides) if number % 2 else reversed(list(sides)):
            gc.collect()
            value = sides[name]()
            if number >= 0:
                found[name].append(value)
    return found


class Column(NamedTuple):
    """`key` in the rows, `title` above them, `spec` for numbers. `note` is printed below the table."""

    key: str
    title: str
    spec: str = ""
    note: str = ""


class Bar(NamedTuple):
    """What was wanted: at `most` or at `least` so much. A figure that was not measured here is no bar."""

    what: str
    value: float
    limit: float
    sense: str = "most"

    @property
    def met(self) -> bool:
        """Is it so?"""
        return self.value <= self.limit if self.sense == "most" else self.value >= self.limit

    def __str__(self) -> str:
        return f"{'met   ' if self.met else 'MISSED'} {self.what}: {self.value:.3g}, at {self.sense} {self.limit:.3g}"


class Section:
    """A table that is printed row by row as it is measured."""

    def __init__(self, title: str, columns: Sequence[Column]) -> None:
        self.title = title
        self.columns = columns
        self.rows: list[dict[str, Any]] = []
        self._widths = [max(len(c.title), 22 if c.spec else 16) for c in columns]
        print(f"\n{title}")
        self._print([c.title for c in columns])

    def row(self, **values: Any) -> None:
        """One more row; a column without a value stays empty."""
        self.rows.append(values)
        self._print([cell(values.get(c.key), c.spec) for c in self.columns])

    def _print(self, cells: Sequence[str]) -> None:
        print(
            "  ".join(f"{text:>{w}}" if i else f"{text:<{w}}" for i, (text, w) in enumerate(zip(cells, self._widths, strict=True))),
            flush=True,
        )

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        rows = [{k: v._asdict() if isinstance(v, Spread) else v for k, v in row.items()} for row in self.rows]
        return {"title": self.title, "columns": [c._asdict() for c in self.columns], "rows": rows}


def cell(value: Any, spec: str) -> str:
    """A value as the table shows it. From JSON a spread is an object."""
    if isinstance(value, dict):
        value = Spread(**value)
    if value is None:
        return ""
    return f"{value:{spec}}" if isinstance(value, int | float | Spread) else str(value)


class Run:
    """One benchmark's run: its options, sections and bars, and in the end its JSON."""

    def __init__(self, name: str, doc: str | None, arguments: Callable[[argparse.ArgumentParser], Any] | None = None) -> None:
        parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=doc)
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
        parser.add_argument("--quick", action="store_true", help="does it run? A few seconds; the figures are good for nothing")
        parser.add_argument("--rounds", type=int, help=f"{ROUNDS} or more")
        if arguments is not None:
            arguments(parser)
        self.options = parser.parse_args()
        self.name = name + TWIN.replace(", ", "-")
        self.quick: bool = self.options.quick
        self.rounds: int = self.options.rounds or (QUICK_ROUNDS if self.quick else ROUNDS)
        self.sections: list[Section] = []
        self.bars: list[Bar] = []
        self._on = machine()
        self._began = time.monotonic()

    def section(self, title: str, *columns: Column) -> Section:
        """A new table."""
        made = Section(title + TWIN, columns)
        self.sections.append(made)
        return made

    def bar(self, what: str, value: float, limit: float, sense: str = "most") -> None:
        """Compare with what was wanted."""
        self.bars.append(Bar(what + TWIN, value, limit, sense))

    def end(self) -> None:
        """Print the notes and bars, and write the JSON."""
        for column in (c for s in self.sections for c in s.columns if c.note):
            print(f"  {column.title}: {column.note}")
        for bar in self.bars:
            print(f"  {bar}")
        if self.options.json is None:
            return
        self._on["seconds"] = round(time.monotonic() - self._began)
        self._on["load_after"] = os.getloadavg()[0]
        found = {
            "bench": self.name, "quick": self.quick, "rounds": self.rounds, "on": self._on,
            "sections": [s.plain() for s in self.sections], "bars": [b._asdict() | {"met": b.met} for b in self.bars],
        }  # fmt: skip
        self.options.json.parent.mkdir(parents=True, exist_ok=True)
        self.options.json.write_text(json.dumps(found, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """On what this was measured. `load`: how many others computed when it began."""
    installed = {d.name: d.version for d in importlib.metadata.distributions()}
    versions = {name: installed[name] for name in PACKAGES if name in installed}
    return {
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "commit": _commit(), "cpu": _cpu(), "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}", "python": platform.python_version(), "load": os.getloadavg()[0], **versions,
    }  # fmt: skip


def _commit() -> str:
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def cores() -> tuple[set[int], set[int]]:
    """(ours, the servers'): a core each, or the same where there is but one."""
    if not hasattr(os, "sched_setaffinity"):
        return set(), set()
    found = sorted(os.sched_getaffinity(0))
    return {found[0]}, {found[-1]}


def pin(where: set[int], pid: int = 0) -> None:
    """Keep a process on these cores."""
    if where:
        os.sched_setaffinity(pid, where)


def rss() -> int:
    """Bytes of memory that this process holds."""
    held = resident()
    if held is None:
        raise SystemExit("this system does not tell how much memory a process holds (no /proc/self/statm)")
    return held


def cpu_of(pid: int) -> float:
    """CPU seconds that another process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
