"""One sink at run time: its `SinkRunner`, and its lanes, each of which is a subscription of its own.

Before the ticks of a stream it gets that stream's `Instrument`, and after a run that was killed a `Gap`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from streamer.daemon import config
from streamer.daemon.lanes import Lane
from streamer.daemon.marks import mark_of, restart_gaps
from streamer.daemon.memory import room
from streamer.engine import Engine, Shape
from streamer.errors import StreamerError
from streamer.mailbox import StreamKey
from streamer.policies import mailbox
from streamer.sinks import Sink
from streamer.sinks.registry import make
from streamer.sinks.runner import SinkRunner
from streamer.sinks.spool import Spool
from streamer.sinks.stats import SinkStats
from streamer.subscription import Subscription
from streamer.symbols import split
from streamer.types import Tick

log = logging.getLogger(__name__)

SUBSCRIBED_S = 5.0
"""So long what is new may take to be subscribed before what it replaces goes all the same."""


def spool_of(table: config.Spool | None) -> Spool | None:
    """The spool of a sink. Raises `UsageError`."""
    if table is None:
        return None
    bounds: Any = {"max_bytes": table.max_bytes, "segment_bytes": table.segment_bytes}
    return Spool(Path(table.path), **bounds, on_full=table.on_full, fsync=table.fsync, fsync_s=table.fsync_s)


class World(Struct, frozen=True):
    """What all outlets share. `wrap` puts a measure around a sink; `now_ns`: the wall clock; `state`: the folder of marks."""

    engine: Engine
    wrap: Callable[[str, Sink], Sink]
    now_ns: Callable[[], int]
    state: Path | None


class Outlet:
    """One sink, and what it gets."""

    def __init__(self, name: str, table: config.Sink, world: World) -> None:
        self.name = name
        self.table = table
        sink = world.wrap(name, make(table.type, table.options, called=name))
        self.runner = SinkRunner(sink, spool=spool_of(table.spool), instruments=table.instruments)
        self.lanes: dict[Lane, Subscription] = {}
        self._world = world
        self._mark = mark_of(name, table, world.state)
        self._begun = False
        self._streams: dict[Lane, set[str]] = {}
        self._step = 0

    @property
    def streams(self) -> set[str]:
        """Everything that it gets something of."""
        return {name for names in self._streams.values() for name in names}

    def start(self) -> None:
        """Begin, with what is to be told of a run that was killed."""
        missing = self._mark.begin()
        if missing:
            log.warning("sink %s: the run before was killed; what %d streams may have lost is told by gaps", self.name, len(missing))
            self.runner.tell(restart_gaps(missing, self._world.now_ns()))
        self._begun = True
        self._mark.write(self._keys())
        self.runner.start()

    async def drain(self, timeout: float) -> SinkStats:
        """The end. What could be neither written nor spooled is told at the next start, like what a kill costs."""
        stats = await self.runner.drain(timeout)
        if self._begun and stats.state == "closed" and not stats.lost.get("shutdown"):
            self._mark.clear()
        return stats

    def press(self, step: int) -> None:
        """Memory is short by so many steps."""
        self._step = step
        self.runner.press(step > 0)
        for lane, sub in self.lanes.items():
            self._limit(lane, sub)

    def set_lanes(self, wanted: Mapping[Lane, Mapping[str, None]]) -> None:
        """Have exactly these. What is kept goes on undisturbed. What is new begins before anything ends, so that a stream which only moves
        is neither unsubscribed nor missed in between."""
        engine, fresh = self._world.engine, False
        self._introduce({name for names in wanted.values() for name in names} - self.streams)
        for lane, streams in wanted.items():
            fresh = (self._more(engine, lane, streams) if lane in self.lanes else self._begin(engine, lane, streams)) or fresh
        gone = {lane: self._streams.get(lane, set()) - wanted.get(lane, {}).keys() for lane in self.lanes}
        ending = [self.lanes.pop(lane) for lane in gone if lane not in wanted]
        self._streams = {lane: set(streams) for lane, streams in wanted.items()}
        if self._begun:
            self._mark.write(self._keys())
        if fresh:
            engine.spawn(self._leave_after(engine, ending, gone), f"sink {self.name} lanes")
        else:
            self._leave(ending, gone)

    def boxes(self) -> Iterator[tuple[Lane, Any]]:
        """The mailboxes of its lanes."""
        return ((lane, sub.box) for lane, sub in self.lanes.items())

    def _introduce(self, joined: set[str]) -> None:
        """Their instruments as they are now, in front of their ticks. Later on only changes are told, by the venue."""
        told: list[Tick[Any]] = []
        now = self._world.now_ns()
        for exchange, symbol in sorted(map(split, joined)):
            instrument = self._world.engine.venue(exchange).catalog.by_symbol.get(symbol)
            if instrument is not None:
                told.append(replace(instrument, ts_recv=now))  # it holds now, however old the list is
        self.runner.tell(told)

    def _keys(self) -> set[StreamKey]:
        """Everything that it gets."""
        return {
            (*split(name), kind, lane.interval if kind == "candle" else "")
            for lane, names in self._streams.items() for name in names for kind in lane.kinds
        }  # fmt: skip

    def _limit(self, lane: Lane, sub: Subscription) -> None:
        """The room that its queue has now. One that conflates holds only the newest of each stream, and would have to refuse streams."""
        if lane.policy != "conflate":
            sub.box.limit(*room(self._step, lane.max_items, lane.max_bytes))

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
        self._limit(lane, sub)
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
