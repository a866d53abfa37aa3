"""What makes the simulated markets go: each so many steps a second, spread evenly; all of them slower when this machine cannot keep up."""

import asyncio
import logging
import random
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.sim.exchange import Exchange, Running

log = logging.getLogger(__name__)

TURN_S = 0.01
"""So long steps are made before the sockets get their turn."""
LEAST_S, MOST_S = 0.002, 0.02
"""How long to sleep when nothing is due: steps due within the least are made together."""


class Clock:
    """`rate`: steps a second of each market. `errors` says what went wrong in declarations; that market stands still then."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.errors: list[str] = []
        self.paused = False
        self._due: list[tuple[float, int, Exchange, Running]] = []
        self._count = 0

    def add(self, exchange: "Exchange", running: "Running") -> None:
        """Step this market too, until it has no reason to go on."""
        running.scheduled = True
        self._again(asyncio.get_running_loop().time() + random.random() / self.rate, exchange, running)

    async def run(self) -> None:
        """Go, until cancelled."""
        loop, due = asyncio.get_running_loop(), self._due
        while True:
            began = now = loop.time()
            while due and due[0][0] <= now and not self.paused:
                self._step(now)
                if loop.time() - began > TURN_S:
                    await asyncio.sleep(0)
                    began = now = loop.time()
            await asyncio.sleep(min(MOST_S, max(LEAST_S, due[0][0] - loop.time())) if due else MOST_S)

    def _step(self, now: float) -> None:
        at, _, exchange, running = heappop(self._due)
        running.scheduled = running.awake()
        if not running.scheduled:
            return
        try:
            exchange.step(running)
        except Exception as e:  # a fault in one declaration must not stop the other venues
            self.errors.append(f"{exchange.venue.name}: {e!r}")
            log.exception("%s: %s stands still", exchange.venue.name, running.market.instrument.symbol)
            return
        self._again(max(at + 1 / self.rate, now), exchange, running)

    def _again(self, at: float, exchange: "Exchange", running: "Running") -> None:
        self._count += 1
        heappush(self._due, (at, self._count, exchange, running))
