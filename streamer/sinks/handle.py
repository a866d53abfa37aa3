"""A sink in hand: is it open, up, down or failed, and why; every call of it cut off in time. When to try again is the runner's to know."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from streamer.sinks import Refused, Sink, SinkDown
from streamer.sinks.calls import Calls
from streamer.sinks.stats import State
from streamer.types import Tick

log = logging.getLogger(__name__)

CLOSE_S = 5.0
"""For a sink to let go, when nothing else says how long."""


class Handle:
    """`reason`: why it is down or failed. `failure`: why it failed for good. `writing`: a batch is on its way."""

    def __init__(self, sink: Sink) -> None:
        self.name = sink.name
        self.state: State = "new"
        self.reason = ""
        self.failure: Exception | None = None
        self.writes = 0
        self.errors: Counter[str] = Counter()
        self.opened = self.writing = False
        self.call = Calls()
        self._sink = sink

    async def open(self) -> None:
        """See to it that it is open. Raises what the sink raises, and `Cut`."""
        if not self.opened:
            await self.call(self._sink.open())
            self.opened = True
            self.up()

    async def write(self, ticks: Sequence[Tick[Any]]) -> Sequence[Refused]:
        """Write a batch. Raises what the sink raises, and `Cut`."""
        self.writing = True
        try:
            refused = await self.call(self._sink.write(ticks))
        finally:
            self.writing = False
        self.writes += 1
        return refused

    async def close(self, timeout: float) -> None:
        """Have it let go; whatever it raises is logged."""
        if not self.opened:
            return
        self.opened = False
        try:
            await self.call(self._sink.close(timeout), timeout + 0.5)
        except Exception as e:  # noqa: BLE001  (somebody else's sink may raise anything)
            log.warning("sink %s: closing it failed: %s", self.name, e)

    def up(self) -> None:
        """It took what it was given."""
        if self.state == "down":
            log.info("sink %s is up again", self.name)
        self.state = "up"
        self.reason = ""

    def down(self, error: SinkDown) -> None:
        """It did not, and will be tried again."""
        self.errors[error.reason] += 1
        if self.state != "down":
            log.warning("sink %s is down: %s", self.name, error)
        self.state = "down"
        self.reason = str(error)

    def fail(self, error: Exception) -> None:
        """It will not be tried again."""
        log.error("sink %s has failed: %s", self.name, error)
        self.state = "failed"
        self.reason = str(error)
        self.failure = error
