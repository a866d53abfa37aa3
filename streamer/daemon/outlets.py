"""The sinks at run time: had, changed and drained as the configuration says."""

import asyncio
import logging
from collections.abc import Mapping

from streamer.daemon import config
from streamer.daemon.lanes import Lane
from streamer.daemon.outlet import Outlet, World
from streamer.sinks.stats import SinkStats

log = logging.getLogger(__name__)


class Outlets:
    """All sinks by name."""

    def __init__(self, world: World) -> None:
        self.by_name: dict[str, Outlet] = {}
        self.held_back = 0
        """Streams of sinks that are not begun because memory is short."""
        self._world = world
        self._ending: set[Outlet] = set()
        self._step = 0

    async def apply(self, tables: Mapping[str, config.Sink], wanted: Mapping[Lane, Mapping[str, None]], deadline_s: float) -> None:
        """Have these sinks, with these lanes. One that is not as it was is drained and made anew; ticks that come meanwhile wait for it.

        Raises `UsageError` before anything was touched.
        """
        changed = {n: Outlet(n, t, self._world) for n, t in tables.items() if n not in self.by_name or self.by_name[n].table != t}
        old = {n: o for n, o in self.by_name.items() if n in changed or n not in tables}
        had = self._had()
        self.by_name = {n: changed.get(n) or self.by_name[n] for n in tables}
        self._set_lanes(wanted, had)
        await asyncio.gather(*[asyncio.ensure_future(self._drain(outlet, deadline_s)) for outlet in old.values()])
        for outlet in changed.values():
            if outlet.runner.state == "new":  # it may be that all is over meanwhile
                outlet.start()

    def set_lanes(self, wanted: Mapping[Lane, Mapping[str, None]]) -> None:
        """Give each sink what it is to get now. While memory is short, nothing that it did not get before."""
        self._set_lanes(wanted, self._had())

    def press(self, step: int) -> None:
        """Memory is short by so many steps; 0: it is not."""
        self._step = step
        for outlet in self.by_name.values():
            outlet.press(step)

    async def drain(self, timeout: float) -> list[SinkStats]:
        """The end of all. A second call with less time hurries the first."""
        return await asyncio.gather(*(o.drain(timeout) for o in {*self._ending, *self.by_name.values()}))

    def _had(self) -> dict[str, set[str]]:
        return {name: outlet.streams for name, outlet in self.by_name.items()}

    def _set_lanes(self, wanted: Mapping[Lane, Mapping[str, None]], had: Mapping[str, set[str]]) -> None:
        self.held_back = 0
        for name, outlet in self.by_name.items():
            lanes = lanes_of(name, wanted)
            if self._step:
                known = had.get(name, set())
                self.held_back += len({s for streams in lanes.values() for s in streams} - known)
                lanes = {lane: kept for lane, streams in lanes.items() if (kept := {s: None for s in streams if s in known})}
            outlet.press(self._step)
            outlet.set_lanes(lanes)

    async def _drain(self, outlet: Outlet, timeout: float) -> None:
        self._ending.add(outlet)
        for sub in outlet.lanes.values():
            outlet.runner.detach(sub)
        try:
            report(await outlet.drain(timeout))
        finally:
            self._ending.discard(outlet)


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
