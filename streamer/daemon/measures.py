"""How late data is: measured around each sink, one tick a batch, so that it costs next to nothing."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Histogram

from streamer.sinks import Refused, Sink
from streamer.types import Tick

EVENT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
HUB_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Measures:
    """Histograms by exchange and by sink. `now_ns`: the wall clock."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.now_ns = now_ns
        self.event_lag = Histogram(
            "streamer_event_lag_seconds", "Receipt minus the exchange's own time, of one tick a batch", ["exchange"],
            buckets=EVENT_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self.hub_latency = Histogram(
            "streamer_hub_latency_seconds", "From receipt to the sink, of the first tick of a batch", ["sink"],
            buckets=HUB_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self.write = Histogram(
            "streamer_sink_write_seconds", "How long the sink took for a batch", ["sink"], buckets=HUB_BUCKETS, registry=self.registry
        )

    def around(self, name: str, sink: Sink) -> Sink:
        """The sink, measured."""
        return Measured(name, sink, self)


class Measured:
    """A `Sink` around a `Sink`."""

    def __init__(self, name: str, sink: Sink, measures: Measures) -> None:
        self.name = name
        if hasattr(sink, "linger"):
            self.linger: float = sink.linger
        self._sink = sink
        self._measures = measures
        self._batches = 0
        self._latency = measures.hub_latency.labels(name)
        self._took = measures.write.labels(name)

    async def open(self) -> None:
        """Let the sink open."""
        await self._sink.open()

    async def write(self, ticks: Sequence[Tick[Any]]) -> Sequence[Refused]:
        """Let it write. Whose lag is taken goes round the places of a batch: an exchange that always came second would never be heard."""
        self._latency.observe(max(0.0, (self._measures.now_ns() - ticks[0].ts_recv) / 1e9))
        one = ticks[self._batches % len(ticks)]
        self._batches += 1
        if one.ts_event is not None:
            self._measures.event_lag.labels(one.exchange).observe((one.ts_recv - one.ts_event) / 1e9)
        began = time.perf_counter()
        refused = await self._sink.write(ticks)
        self._took.observe(time.perf_counter() - began)
        return refused

    async def close(self, timeout: float) -> None:
        """Let it close."""
        await self._sink.close(timeout)
