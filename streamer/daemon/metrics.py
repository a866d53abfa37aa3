"""Prometheus metrics, read from the state of things when somebody scrapes. Label sets are closed: exchanges, kinds, sinks, reasons.

docs/daemon.md lists them; a test holds the two together.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamer.daemon.health import judge
from streamer.daemon.service import Service
from streamer.daemon.survey import connections, state_of
from streamer.ledger import Entry
from streamer.sinks.stats import LOST, SinkStats
from streamer.venue import Venue
from streamer.version import USER_AGENT

Rows = Iterable[tuple[tuple[str, ...], float]]
STATES = ("up", "down", "connecting")


class Process(ProcessCollector):
    """That of prometheus-client, which says nothing at all where `/proc/stat` is hidden (`ProcSubset=pid`, as in our unit)."""

    def _boot_time(self) -> float:
        try:
            found: float = super()._boot_time()  # type: ignore[no-untyped-call]
        except OSError:
            if not hasattr(time, "CLOCK_BOOTTIME"):
                raise
            return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return found


class Supervision:
    """What the supervisor counts."""

    def __init__(self) -> None:
        self.loop_lag_s = 0.0
        self.loop_stalls = 0
        self.reloads = {"ok": 0, "rejected": 0}
        self.reloaded_at = 0.0


def _gauge(name: str, text: str, labels: str, rows: Rows) -> Metric:
    return _family(GaugeMetricFamily(f"streamer_{name}", text, labels=labels.split()), rows)


def _counter(name: str, text: str, labels: str, rows: Rows) -> Metric:
    return _family(CounterMetricFamily(f"streamer_{name}", text, labels=labels.split()), rows)


def _family(family: Any, rows: Rows) -> Metric:
    for labels, value in rows:
        family.add_metric(labels, value)
    metric: Metric = family
    return metric


class Metrics(Collector):
    """`text` is what `/metrics` answers. `clock`: monotonic seconds."""

    def __init__(self, service: Service, supervision: Supervision, clock: Callable[[], float]) -> None:
        self._service = service
        self._supervision = supervision
        self._clock = clock
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._registry.register(service.measures.registry)
        for collector in (Process, PlatformCollector, GCCollector):
            collector(registry=self._registry)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing is read when it is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """As of now."""
        now = self._clock()
        self._service.survey.look(now, self._service.config.ready.stale_s)
        yield from self._process()
        yield from self._exchanges()
        yield from self._streams(now)
        yield from self._sinks()

    def _process(self) -> Iterator[Metric]:
        s = self._supervision
        yield _gauge("build_info", "The version", "version", [((USER_AGENT.partition("/")[2],), 1)])
        yield _gauge("loop_lag_seconds", "Most that the event loop was late in the last 10 s", "", [((), s.loop_lag_s)])
        yield _counter("loop_stalls", "Times that the event loop stood still for longer than watchdog.loop_s", "", [((), s.loop_stalls)])
        memory = self._service.memory
        yield _gauge("memory_limit_bytes", "memory.limit_bytes; 0: none", "", [((), self._service.config.memory.limit_bytes or 0)])
        yield _gauge("memory_shedding", "Step of giving way while more is held; 0: all is well", "", [((), memory.step)])
        yield _counter("memory_steps", "Steps that were taken", "", [((), memory.raised)])
        yield _counter("config_reloads", "Reloads of the configuration", "result", [((k,), n) for k, n in s.reloads.items()])
        yield _gauge("config_reload_timestamp_seconds", "When the configuration in force was read", "", [((), s.reloaded_at)])

    def _exchanges(self) -> Iterator[Metric]:
        venues = self._service.engine.venues
        survey = self._service.survey

        def each(count: Callable[[Venue], float]) -> Rows:
            return [((name,), count(venue)) for name, venue in venues.items()]

        def silence(v: Venue) -> float:
            return max(0.0, v.gates.silent_until - v.io.monotonic())

        yield _counter("messages", "Frames and polled answers received", "exchange", each(lambda v: v.tally.frames))
        yield _counter(
            "decode_errors", "Frames that were not understood", "exchange reason",
            [((name, reason), n) for name, v in venues.items() for reason, n in v.tally.bad.items()],
        )  # fmt: skip
        yield _counter("unknown_messages", "Messages that nobody asked for", "exchange", each(lambda v: v.tally.unknown.total()))
        yield _counter("unknown_symbol", "Ids that the exchange does not list", "exchange", each(lambda v: v.tally.unknown_ids.total()))
        yield _gauge(
            "connections", "Connections by state", "exchange state",
            [((n, state), sum(state_of(c) == state for c in connections(v))) for n, v in venues.items() for state in STATES],
        )  # fmt: skip
        yield _counter(
            "reconnects",
            "Times that a connection was lost, or failed, and tried again",
            "exchange",
            each(lambda v: survey.reconnects[v.feed.name]),
        )
        yield _counter("stalls", "Streams that the engine found silent, and mended", "exchange", each(lambda v: survey.stalls[v.feed.name]))
        yield _gauge("rate_limited_seconds", "How long the exchange's order to be silent lasts", "exchange", each(silence))

    def _streams(self, now: float) -> Iterator[Metric]:
        service, survey = self._service, self._service.survey
        verdict = judge(service, now)
        yield _gauge("ready", "1 when /readyz is green", "", [((), verdict.ready)])
        yield _gauge("streams", "Wanted streams by state", "exchange kind state", verdict.states.items())
        yield _gauge("streams_wanted", "Streams that some sink is to get", "exchange kind", verdict.wanted.items())
        yield _gauge("streams_fresh", "Those that are fresh", "exchange kind", [(k, verdict.fresh[k]) for k in verdict.wanted])
        yield _counter("events", "Ticks published", "exchange kind", survey.events.items())
        ages = {s.key: age for s in survey.streams() if (age := survey.age(s.key, now)) is not None}
        oldest: dict[tuple[str, str], float] = {}
        for (exchange, _, kind, _), age in ages.items():
            oldest[exchange, kind] = max(age, oldest.get((exchange, kind), 0.0))
        yield _gauge("stream_age_seconds", "Since the last tick of the stream that is silent longest", "exchange kind", oldest.items())
        if service.config.metrics.symbols:
            rows = {(exchange, symbol, kind): age for (exchange, symbol, kind, _), age in ages.items()}
            yield _gauge("symbol_age_seconds", "Since the last tick of each stream", "exchange symbol kind", rows.items())
        yield _counter("gaps", "Holes in streams that ended", "exchange kind cause recovered", survey.gaps.items())
        yield _counter("gap_seconds", "How long they lasted", "exchange kind", survey.gap_seconds.items())
        holes: dict[tuple[str, str], int] = {}
        for entry in service.engine.hub.ledger.open():
            holes[_where(entry)] = holes.get(_where(entry), 0) + 1
        yield _gauge("gaps_open", "Holes that last", "exchange kind", holes.items())

    def _sinks(self) -> Iterator[Metric]:
        outlets = self._service.outlets.by_name
        stats: dict[str, SinkStats] = {name: outlet.runner.stats() for name, outlet in outlets.items()}
        boxes = [(name, lane, box) for name, outlet in outlets.items() for lane, box in outlet.boxes()]

        def each(count: Callable[[SinkStats], float]) -> Rows:
            return [((name,), count(s)) for name, s in stats.items()]

        def queues(count: Callable[[Any], int]) -> Rows:
            return [((name,), sum(count(box) for n, _, box in boxes if n == name)) for name in stats]

        yield _gauge("sink_up", "1 when the sink accepts", "sink", [((n,), o.runner.ready) for n, o in outlets.items()])
        yield _gauge("queue_depth", "Ticks that wait for the sink in memory", "sink", queues(lambda box: box.queued))
        yield _gauge("queue_bytes", "Bytes that they are taken to hold", "sink", queues(lambda box: box.held_bytes))
        yield _counter("dropped", "Ticks that the queue had no room for, each told by a gap", "sink", each(lambda s: s.dropped))
        yield _counter("sink_accepted", "Ticks that the sink took over", "sink", each(lambda s: s.accepted))
        yield _counter("sink_confirmed", "Ticks that are safe", "sink", each(lambda s: s.confirmed))
        yield _counter(
            "sink_lost", "Ticks that were lost after they were accepted", "sink reason",
            [((name, reason), n) for name, s in stats.items() for reason, n in (dict.fromkeys(LOST, 0) | s.lost).items()],
        )  # fmt: skip
        yield _counter("sink_writes", "Batches written", "sink", each(lambda s: s.writes))
        yield _counter(
            "sink_errors", "Failures, each of which is tried again", "sink reason",
            [((name, reason), n) for name, s in stats.items() for reason, n in s.errors.items()],
        )  # fmt: skip
        yield _gauge("sink_undelivered", "Ticks accepted and neither safe nor lost", "sink", each(lambda s: s.in_flight + s.spooled))
        yield _gauge("sink_lag_seconds", "How far what is safe is behind what was accepted", "sink", each(lambda s: s.lag_s))
        yield _gauge("spool_ticks", "Ticks on the disk", "sink", each(lambda s: s.spooled))
        yield _gauge("spool_bytes", "Bytes on the disk", "sink", each(lambda s: s.spool_bytes))
        limits = [((name,), s.spool_max_bytes) for name, s in stats.items() if s.spool_max_bytes]
        yield _gauge("spool_max_bytes", "Bytes on the disk at most, where there is a spool", "sink", limits)
        yield _counter("spool_errors", "Times that the disk refused", "sink", each(lambda s: s.spool_errors))
        yield _counter("spool_corrupt", "Records that could not be read back", "sink", each(lambda s: s.spool_corrupt))


def _where(entry: Entry) -> tuple[str, str]:
    return entry.exchange, entry.channel
