"""The sinks at run time: for each a `SinkRunner`, and its lanes, each of which is a subscription of its own."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from streamer.daemon import config
from streamer.daemon.lanes import Lane
from streamer.engine import Engine, Shape
from streamer.errors import StreamerError
from streamer.policies import mailbox
from streamer.sinks import Sink
from streamer.sinks.registry import make
from streamer.sinks.runner import SinkRunner
from streamer.sinks.spool import Spool
from streamer.sinks.stats import SinkStats
from streamer.subscription import Subscription

log = logging.getLogger(__name__)

SUBSCRIBED_S = 5.0
"""So long what is new may take to be subscribed before what it replaces goes all the same."""


def spool_of(table: config.Spool | None) -> Spool | None:
    """The spool of a sink. Raises `UsageError`."""
    if table is None:
        return None
    bounds: Any = {"max_bytes": table.max_bytes, "segment_bytes": table.segment_bytes}
    return Spool(Path(table.path), **bounds, on_full=table.on_full, fsync=table.fsync, fsync_s=table.fsync_s)


class Outlet:
    """One sink, and what it gets."""

    def __init__(self, name: str, table: config.Sink, wrap: Callable[[str, Sink], Sink]) -> None:
        self.name = name
        self.table = table
        self.runner = SinkRunner(wrap(name, make(table.type, table.options, called=name)), spool=spool_of(table.spool))
        self.lanes: dict[Lane, Subscription] = {}
        self._streams: dict[Lane, set[str]] = {}

    def set_lanes(self, engine: Engine, wanted: Mapping[Lane, Mapping[str, None]]) -> None:
        """Have exactly these. What is kept goes on undisturbed. What is new begins before anything ends, so that a stream which only moves
        is neither unsubscribed nor missed in between."""
        fresh = False
        for lane, streams in wanted.items():
            fresh = (self._more(engine, lane, streams) if lane in self.lanes else self._begin(engine, lane, streams)) or fresh
        gone = {lane: self._streams.get(lane, set()) - wanted.get(lane, {}).keys() for lane in self.lanes}
        ending = [self.lanes.pop(lane) for lane in gone if lane not in wanted]
        self._streams = {lane: set(streams) for lane, streams in wanted.items()}
        if fresh:
            engine.spawn(self._leave_after(engine, ending, gone), f"sink {self.name} lanes")
        else:
            self._leave(ending, gone)

    def boxes(self) -> Iterator[tuple[Lane, Any]]:
        """The mailboxes of its lanes."""
        return ((lane, sub.box) for lane, sub in self.lanes.items())

    def _more(self, engine: Engine, lane: Lane, streams: Mapping[str, None]) -> bool:
        """Add what is new, and once more what was refused before."""
        sub, known = self.lanes[lane], self._streams[lane]
        refused = {f"{w.exchange}:{w.symbol}" for w, served in engine.served(sub.box).items() if isinstance(served, StreamerError)}
        more = [s for s in streams if s not in known or s in refused]
        if more:
            sub.add(*more)
        return bool(more)

    def _begin(self, engine: Engine, lane: Lane, streams: Mapping[str, None]) -> bool:
        box = mailbox(lane.policy, lane.max_items, lane.max_bytes)
        engine.open(box, Shape(lane.kinds, lane.depth, lane.interval or "1m"), tuple(streams))
        sub = self.lanes[lane] = Subscription(box, engine, f"sink {self.name}")
        self.runner.attach(sub)
        return True

    async def _leave_after(self, engine: Engine, ending: list[Subscription], gone: Mapping[Lane, set[str]]) -> None:
        """This task was made after those that subscribe what is new, so its turn comes right behind theirs: nothing comes twice."""
        until = asyncio.get_running_loop().time() + SUBSCRIBED_S
        while any(served is None for sub in self.lanes.values() for served in engine.served(sub.box).values()):
            if asyncio.get_running_loop().time() > until:
                break
            await asyncio.sleep(0.05)
        self._leave(ending, gone)

    def _leave(self, ending: list[Subscription], gone: Mapping[Lane, set[str]]) -> None:
        for sub in ending:
            self.runner.detach(sub)
        for lane, names in gone.items():
            if lane in self.lanes:
                self.lanes[lane].remove(*(names - self._streams[lane]))


class Outlets:
    """All sinks by name. `wrap` puts a measure around each."""

    def __init__(self, engine: Engine, wrap: Callable[[str, Sink], Sink]) -> None:
        self.by_name: dict[str, Outlet] = {}
        self._engine = engine
        self._wrap = wrap
        self._ending: set[SinkRunner] = set()

    async def apply(self, tables: Mapping[str, config.Sink], wanted: Mapping[Lane, Mapping[str, None]], deadline_s: float) -> None:
        """Have these sinks, with these lanes. One that is not as it was is drained and made anew; ticks that come meanwhile wait for it.

        Raises `UsageError` before anything was touched.
        """
        changed = {n: Outlet(n, t, self._wrap) for n, t in tables.items() if n not in self.by_name or self.by_name[n].table != t}
        old = {n: o for n, o in self.by_name.items() if n in changed or n not in tables}
        self.by_name = {n: changed.get(n) or self.by_name[n] for n in tables}
        self.set_lanes(wanted)
        await asyncio.gather(*[asyncio.ensure_future(self._drain(outlet, deadline_s)) for outlet in old.values()])
        for outlet in changed.values():
            if outlet.runner.state == "new":  # it may be that all is over meanwhile
                outlet.runner.start()

    def set_lanes(self, wanted: Mapping[Lane, Mapping[str, None]]) -> None:
        """Give each sink what it is to get now."""
        for name, outlet in self.by_name.items():
            outlet.set_lanes(self._engine, lanes_of(name, wanted))

    async def drain(self, timeout: float) -> list[SinkStats]:
        """The end of all. A second call with less time hurries the first."""
        runners = {*self._ending, *(o.runner for o in self.by_name.values())}
        return await asyncio.gather(*(r.drain(timeout) for r in runners))

    async def _drain(self, outlet: Outlet, timeout: float) -> None:
        runner = outlet.runner
        self._ending.add(runner)
        for sub in outlet.lanes.values():
            runner.detach(sub)
        try:
            report(await runner.drain(timeout))
        finally:
            self._ending.discard(runner)


def report(stats: SinkStats) -> None:
    """What became of everything that a sink was given, to the log: the last word on it."""
    lost = sum(stats.lost.values())
    why = f" ({', '.join(f'{reason} {n}' for reason, n in stats.lost.items())})" if lost else ""
    words = "sink %s: %d accepted = %d confirmed + %d spooled + %d lost%s"
    level = logging.WARNING if lost else logging.INFO
    log.log(level, words, stats.name, stats.accepted, stats.confirmed, stats.spooled + stats.in_flight, lost, why)


def lanes_of(sink: str, wanted: Mapping[Lane, Mapping[str, None]]) -> dict[Lane, Mapping[str, None]]:
    """Those of one sink."""
    return {lane: streams for lane, streams in wanted.items() if lane.sink == sink}
