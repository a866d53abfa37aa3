"""Does it stay flat? 1 to 14 venues and 10 to 2000 symbols against `streamer sim`; start-up with 2000 symbols; 500 books lost at once.

The simulation runs in a process of its own on the other core, and each case in a fresh process, so that memory is its own. Every stream
brings the same number of messages a second, whatever there is beside it. Start-up is compared with what the venue's limits on connects,
commands and REST allow at best.
"""

import argparse
import asyncio
import json
import logging
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import uvloop

from bench.table import Column, Run, cores, cpu_of, pin, rss, spread
from streamer import Streamer, registry
from streamer.book_stream import BookSource
from streamer.sim import VENUES
from streamer.spec import FromRest

KINDS = ("trade", "book")
VENUE_COUNTS = (4, 8, 14)
SYMBOL_COUNTS = (10, 100, 500, 2000)
PER_VENUE = 60
"""Memory comes in arenas of a megabyte: with ten symbols, of some 50 kB each, a venue alone would be measured to within half of that."""
RATE = {"venues": 0.8, "symbols": 0.5}
"""Steps a second of each simulated market."""
GROWING = "kraken"
STARTING = ("okx", "bybit", "kraken")
MANY = 2000
LOST = 500
WATCH_S = 5.0
READY_S = 600.0


class Case(NamedTuple):
    """What one process does. `do`: watch (CPU and memory), start (time until all is live) or resync (books lost at once)."""

    do: str
    urls: dict[str, str]
    symbols: int
    kinds: list[str]
    seconds: float


# in the process of a case


async def carry_out(case: Case) -> dict[str, Any]:
    """Its figures."""
    async with Streamer(urls=case.urls, cache=None) as s:
        streams = [x for venue in case.urls for x in await some(s, venue, case.symbols)]
        sub = s.subscribe(*streams[:: case.symbols], kinds=case.kinds, max_items=1_000_000, max_bytes=1 << 34)
        reading = asyncio.ensure_future(count(sub))
        if case.do == "watch":  # what the first stream of a venue brings with it (modules, a connection) is no other stream's cost
            await s.ready(sub, timeout=READY_S)
            await asyncio.sleep(0.5)
        memory, began, cpu = rss(), time.monotonic(), time.process_time()
        sub.add(*streams)
        await s.ready(sub, timeout=READY_S)
        found: dict[str, Any] = {"streams": len(streams), "start_s": time.monotonic() - began, "start_cpu_s": time.process_time() - cpu}
        if case.do == "watch":
            found |= await watch(s, case, memory, len(streams))
        elif case.do == "resync":
            found |= await resync(s, sub)
        reading.cancel()
    return found


async def some(s: Streamer, venue: str, count: int) -> list[str]:
    """So many of its spot pairs (or whatever it has)."""
    found = [i for i in await s.instruments(venue) if i.active]
    chosen = ([i for i in found if i.kind == "spot"] or found)[:count]
    assert len(chosen) == count, f"the simulation of {venue} has {len(chosen)} of {count} pairs"
    return [f"{venue}:{i.symbol}" for i in chosen]


async def count(sub: Any) -> None:
    """The subscriber."""
    async for _ in sub:
        pass


async def watch(s: Streamer, case: Case, memory: int, streams: int) -> dict[str, Any]:
    """CPU and memory once all stands."""
    await asyncio.sleep(1.0)
    frames, cpu, began = frames_of(s), time.process_time(), time.monotonic()
    await asyncio.sleep(case.seconds)
    cpu, frames, wall = time.process_time() - cpu, frames_of(s) - frames, time.monotonic() - began
    bad = {venue: v["bad"] for venue, v in s.stats().items() if v["bad"]}
    assert not bad, bad
    return {
        "per_s": frames / wall,
        "us": cpu / max(1, frames) * 1e6,
        "cpu_ms": cpu / wall / streams * 1e3,
        "kb": (rss() - memory) / (streams - len(case.urls)) / 1024,
    }


def frames_of(s: Streamer) -> int:
    """Frames that have arrived."""
    return sum(v["frames"] for v in s.stats().values())


async def resync(s: Streamer, sub: Any) -> dict[str, Any]:
    """Doubt `LOST` books at once, and wait until all are whole again."""
    engine = s._running()
    began, cpu, lost = time.monotonic(), time.process_time(), 0
    for venue in engine.venues.values():
        for connection in venue.connections:
            session = connection.session
            books = [x for x in session.carrier.sources.values() if isinstance(x, BookSource)] if session is not None else []
            for source in books[: LOST - lost]:
                need = source.distrust("gap", venue.io.now())
                if need is not None and session is not None:
                    session._need(need, venue.io.now())
                    lost += 1
    waiting, _ = engine.pending(sub.box)
    assert len(waiting) >= lost > 0, f"{lost} books were doubted and {len(waiting)} are waited for"
    await s.ready(sub, timeout=READY_S)
    return {"lost": lost, "seconds": time.monotonic() - began, "cpu_ms": (time.process_time() - cpu) / lost * 1e3}


# in the process of the benchmark


@contextmanager
def simulation(venues: list[str], symbols: int, rate: float, where: set[int]) -> Iterator[tuple[dict[str, str], int]]:
    """`streamer sim` on these cores: the urls by venue, and its process's id."""
    command = [sys.executable, "-m", "streamer", "sim", *venues, "--symbols", str(symbols), "--rate", str(rate), "--until-stdin-closes"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sim:  # noqa: S603
        pin(where, sim.pid)
        assert sim.stdout is not None
        assert sim.stdin is not None
        lines = [sim.stdout.readline().split() for _ in venues]
        if [] in lines:
            raise SystemExit("the simulation did not start; what it said is above")
        yield dict(lines), sim.pid
        sim.stdin.close()


def run_case(case: Case, where: set[int]) -> dict[str, Any]:
    """In a fresh process."""
    command = [sys.executable, "-m", "bench.growth", "--case", json.dumps(case)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        pin(where, process.pid)
        out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the case {case} failed; what it said is above")
    found: dict[str, Any] = json.loads(out)
    return found


def allowed(venue: str, kinds: list[str], symbols: int) -> float:
    """Seconds that its limits ask for at the least: connections, then each one's commands, beside them the snapshots over REST."""
    feed = registry.load(venue)
    limits, topics = feed.limits, len(kinds) * symbols
    lines = math.ceil(topics / limits.topics_per_line)
    commands = math.ceil(min(topics, limits.topics_per_line) / limits.topics_per_command)
    weight = sum(m.weight for m in feed.book.values() if isinstance(m, FromRest)) if "book" in kinds else 0
    rest = gated(math.ceil(symbols * weight / max(1, weight)), limits.rest[0] // max(1, weight), limits.rest[1]) if weight else 0.0
    return max(gated(lines, *limits.connects) + gated(commands, *limits.sends), rest)


def gated(count: int, most: int, seconds: float) -> float:
    """When the last of `count` passes a gate that lets `most` through in `seconds`."""
    return (count - 1) // max(1, most) * seconds


class Growth:
    """The tables."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.mine, self.theirs = cores()
        self.seconds = 2.0 if run.quick else WATCH_S

    def _case(self, do: str, urls: dict[str, str], symbols: int, kinds: list[str]) -> dict[str, Any]:
        return run_case(Case(do, urls, symbols, kinds, self.seconds), self.mine)

    def _table(self, title: str, *first: Column) -> Any:
        columns = [("per_s", "frames/s", ".0f"), ("us", "CPU us a frame", ".1f")]
        columns += [("cpu_ms", "CPU ms/s a stream", ".3f"), ("kb", "kB a stream", ".0f")]
        return self.run.section(f"{title}; a stream is a symbol's {' and '.join(KINDS)}", *first, *(Column(*c) for c in columns))

    def _watch(self, table: Any, urls: dict[str, str], each: int, **first: Any) -> list[dict[str, Any]]:
        found = [self._case("watch", urls, each, list(KINDS)) for _ in range(self.run.rounds)]
        return self._row(table, found, **first)

    def _row(self, table: Any, found: list[dict[str, Any]], **first: Any) -> list[dict[str, Any]]:
        values: dict[str, Any] = {key: spread(f[key] for f in found) for key in ("per_s", "us", "cpu_ms", "kb")}
        table.row(**first, **values)
        return found

    def _flat(self, what: str, few: list[dict[str, Any]], many: list[dict[str, Any]], middle: Callable[[Iterable[float]], float]) -> None:
        for key, name in (("cpu_ms", "CPU"), ("kb", "memory")):
            self.run.bar(f"{name} a stream, {what}", statistics.median(f[key] for f in many) / middle(f[key] for f in few), 1.2)

    def venues(self) -> None:
        """More venues, as many symbols of each. Venues differ (in depth, say), so what all cost together is compared with the mean of each
        alone."""
        names = [v for v in VENUES if set(KINDS) <= set(registry.load(v).kinds())]
        counts = (len(names),) if self.run.quick else sorted({min(n, len(names)) for n in VENUE_COUNTS})
        table = self._table(f"venues, {PER_VENUE} symbols each", Column("venues", "venues"))
        with simulation(names, PER_VENUE, RATE["venues"], self.theirs) as (urls, _):
            single = names[::5] if self.run.quick else names
            alone = self._row(table, [self._case("watch", {v: urls[v]}, PER_VENUE, list(KINDS)) for v in single], venues="each alone")
            for n in counts:
                together = self._watch(table, {v: urls[v] for v in names[:n]}, PER_VENUE, venues=n)
        self._flat(f"{len(names)} venues to each alone", alone, together, statistics.fmean)

    def symbols(self) -> None:
        """More symbols of one venue."""
        counts = (10, 200) if self.run.quick else SYMBOL_COUNTS
        table = self._table(f"symbols of {GROWING}", Column("symbols", "symbols"))
        found = {}
        for n in counts:
            with simulation([GROWING], n, RATE["symbols"], self.theirs) as (urls, _):
                found[n] = self._watch(table, urls, n, symbols=n)
        self._flat(f"{counts[-1]} symbols to {counts[0]}", found[counts[0]], found[counts[-1]], statistics.median)

    def start(self) -> None:
        """The time until the books of many symbols are live."""
        many = 200 if self.run.quick else MANY
        columns = [("start_s", "seconds", ".1f"), ("allowed_s", "its limits allow", ".1f"), ("start_cpu_s", "CPU s, ours", ".2f")]
        columns.append(("sim_cpu_s", "CPU s, simulation", ".1f"))
        table = self.run.section(f"start-up: books of {many} symbols", Column("venue", "venue"), *(Column(*c) for c in columns))
        for venue in STARTING:
            with simulation([venue], many, 0.05, self.theirs) as (urls, pid):
                before = cpu_of(pid)
                found = self._case("start", urls, many, ["book"])
                limit = allowed(venue, ["book"], many)
                sim = cpu_of(pid) - before
            table.row(venue=venue, start_s=found["start_s"], start_cpu_s=found["start_cpu_s"], allowed_s=limit, sim_cpu_s=sim)
            bound, by = max((limit, "its limits"), (sim, "the simulation's own CPU"))
            self.run.bar(f"seconds until {many} books of {venue} are live, bound by {by}", found["start_s"], bound * 1.2)

    def resync(self) -> None:
        """Many books lost at once."""
        lost = 50 if self.run.quick else LOST
        table = self.run.section(
            f"resync: {lost} books at once", Column("venue", "venue"), Column("lost", "books"), Column("seconds", "seconds", ".1f"),
            Column("cpu_ms", "CPU ms a book", ".2f"),
        )  # fmt: skip
        for venue in STARTING:
            with simulation([venue], lost, 0.05, self.theirs) as (urls, _):
                found = self._case("resync", urls, lost, ["book"])
            table.row(venue=venue, **{key: found[key] for key in ("lost", "seconds", "cpu_ms")})


def main() -> None:
    if "--case" in sys.argv:
        logging.disable(logging.WARNING)
        print(json.dumps(uvloop.run(carry_out(Case(*json.loads(sys.argv[-1]))))))
        return
    parts = "venues", "symbols", "start", "resync"

    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("parts", nargs="*", help=", ".join(parts))

    run = Run("growth", __doc__, arguments)
    growth = Growth(run)
    for part in run.options.parts or parts:
        getattr(growth, part)()
    run.end()


if __name__ == "__main__":
    main()
