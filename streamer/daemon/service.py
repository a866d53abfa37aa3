"""What runs: the engine, the exchanges' lists, the lanes that follow from them and the configuration, and the sinks."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from streamer import registry
from streamer.daemon.config import Config
from streamer.daemon.credentials import from_env, from_file
from streamer.daemon.lanes import Group, Plan, groups, plan
from streamer.daemon.lists import Lists
from streamer.daemon.measures import Measures
from streamer.daemon.memory import Memory
from streamer.daemon.outlet import World
from streamer.daemon.outlets import Outlets
from streamer.daemon.survey import Survey
from streamer.engine import Engine
from streamer.errors import StreamerError, UnsupportedKind, UsageError
from streamer.io import Io
from streamer.mailbox import StreamKey
from streamer.realio import RealIo
from streamer.sinks.stats import SinkStats
from streamer.streams import Stream
from streamer.types import Kind
from streamer.venue import Options
from streamer.wants import Want
from streamer.wants import plan as plan_topic

log = logging.getLogger(__name__)

CLOSE_S = 3.0
"""So long connections may take to say goodbye."""
AT_A_RESTART = ("network", "ticks", "exchanges", "state")
"""Tables that a reload does not change: they are in every connection, or belong to the whole run."""


class Service:
    """Belongs to the running loop. `config` is what it goes by now."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        """Raises `UsageError` for a proxy or folder that cannot be used."""
        self.config = config
        self.known: Sequence[str] = registry.available()
        self.groups: list[Group] = []
        self.plan = Plan({}, {}, ())
        self.stopping = False
        proxy = _proxy(config, environ)
        self._io_of: Any = lambda exchange: RealIo(transport=config.network.transport, proxy=proxy)
        io: Io = self._io_of("")  # what is wrong with it is told now
        bases = {name: e.url for name, e in config.exchanges.items() if e.url is not None}
        self.engine = Engine(self._io_of, Options(config.ticks.numbers, config.ticks.sizes, bases, _cache(config.instruments.cache)))
        self.now_ns = io.now
        self.survey = Survey(self.engine)
        self.measures = Measures(self.now_ns)
        self.memory = Memory()
        self.outlets = Outlets(World(self.engine, self.measures.around, self.now_ns, _state(config.state.path, environ)))
        self.lists = Lists(self.engine, self._replan, config.instruments.refresh_s)
        self._begun_with = config
        self._told: tuple[Any, ...] = ()
        self._blind = False

    async def apply(self, config: Config) -> None:
        """Go by this configuration from now on; nothing that it leaves as it was is touched. Raises `StreamerError`, and then goes by the
        old one."""
        old = self.groups
        try:
            self._regroup(groups(config, self.known))
            await self.outlets.apply(config.sinks, self.plan.lanes, config.shutdown.deadline_s)
        except StreamerError:
            self._regroup(old)
            raise
        ignored = [t for t in AT_A_RESTART if getattr(config, t) != getattr(self._begun_with, t)]
        if ignored:
            log.warning("changes of %s take effect at a restart", ", ".join(f"[{t}]" for t in ignored))
        self.config = config
        self.lists.refresh_s = config.instruments.refresh_s
        self._tell_plan()

    def look_at_memory(self, now: float) -> None:
        """Give way while too much is held. `now`: monotonic seconds."""
        limit = self.config.memory.limit_bytes
        if self.memory.look(now, limit):
            reason = self.memory.reason()
            if reason is not None:
                log.warning("%s", reason)
            else:
                log.info("memory: enough again")
            self.outlets.press(self.memory.step)
            if not self.memory.step:
                self._replan()
        if limit is not None and self.memory.held is None and not self._blind:
            self._blind = True
            log.warning("memory.limit_bytes has no effect here: this system does not tell how much a process holds (no /proc/self/statm)")

    def wanted(self) -> dict[StreamKey, Stream | StreamerError | None]:
        """Everything that some sink is to get, and what became of it: a stream, or why there is none."""
        found: dict[StreamKey, Stream | StreamerError | None] = {}
        for outlet in self.outlets.by_name.values():
            for _, box in outlet.boxes():
                found |= {(w.exchange, w.symbol, w.kind, w.interval): served for w, served in self.engine.served(box).items()}
        return found

    async def stop(self, deadline_s: float) -> list[SinkStats]:
        """Hear no more, write what is there. Within `deadline_s` seconds; a second call with less hurries the first."""
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline_s
        if not self.stopping:
            self.stopping = True
            self._say_goodbye()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(CLOSE_S, deadline_s / 2)):
                    await self.engine.close()
        return await self.outlets.drain(max(0.0, until - loop.time()))

    def _say_goodbye(self) -> None:
        """Whoever reads what a sink wrote cannot see that we are gone: from here on no stream is whole, and no book to be trusted."""
        ts = self.now_ns()
        for stream in list(self.engine.hub.streams.values()):
            if stream.wanted:
                stream.lost("shutdown", ts, "down")

    def _regroup(self, new: list[Group]) -> None:
        self.lists.need({e for g in new for e in g.exchanges(self.known)})
        self.groups = new
        self.plan = self._plan()

    def _replan(self) -> None:
        """An exchange's list has come, or has changed."""
        if self.stopping:
            return
        self.plan = self._plan()
        try:
            self.outlets.set_lanes(self.plan.lanes)
        except UsageError:
            log.exception("streams stay as they were")
        self._tell_plan()

    def _plan(self) -> Plan:
        return plan(self.groups, self.known, self.lists.loaded, self._has)

    def _has(self, exchange: str, symbol: str, kind: Kind, interval: str) -> bool:
        """Can it be had? What is not listed is asked for all the same, and refused with its reason."""
        instrument = self.lists.loaded[exchange].by_symbol.get(symbol)
        if instrument is None:
            return True
        try:
            plan_topic(self.engine.venue(exchange).feed, instrument, Want(exchange, symbol, kind, interval if kind == "candle" else ""))
        except UnsupportedKind:
            return False
        except UsageError:
            return kind != "candle"
        return True

    def _tell_plan(self) -> None:
        """What is new about what is streamed, to the log."""
        counts = {sink: sum(len(s) for lane, s in self.plan.lanes.items() if lane.sink == sink) for sink in self.outlets.by_name}
        told = (tuple(counts.items()), tuple(self.plan.cut.items()), self.plan.empty)
        if told == self._told:
            return
        self._told = told
        log.info("streams: %s", ", ".join(f"{n} to {sink}" for sink, n in counts.items()) or "none")
        for name, n in self.plan.cut.items():
            log.warning("%s: %d instruments are left out: raise max_streams, or match fewer", name, n)
        for text in self.plan.empty:
            log.warning("%s matches nothing that is traded now", text)


def _cache(folder: str | None) -> Path | None:
    if folder is None:
        from platformdirs import user_cache_path

        return user_cache_path("streamer") / "instruments"
    return Path(folder) if folder else None


def _state(folder: str | None, environ: Mapping[str, str]) -> Path | None:
    """Systemd names several with colons between them; the first is as good as any."""
    chosen = environ.get("STATE_DIRECTORY", "").partition(":")[0] if folder is None else folder
    return Path(chosen) if chosen else None


def _proxy(config: Config, environ: Mapping[str, str]) -> str | None:
    network = config.network
    try:
        if network.proxy_env is not None:
            return from_env(network.proxy_env, environ)
        if network.proxy_file is not None:
            return from_file(network.proxy_file, lambda what: log.warning("%s", what))
    except LookupError as e:
        raise UsageError(f"network: {e.args[0]}") from None
    return network.proxy
