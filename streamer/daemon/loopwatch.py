"""Does the event loop go round? A timer in the loop notes how late it is; a thread outside notices when it does not come at all."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections import deque

log = logging.getLogger(__name__)

BEAT_S = 0.1
LOOK_S = 0.25
WINDOW = 100
"""Beats over which the worst lateness is kept: ten seconds."""


class LoopWatch:
    """`stall_s`: a longer standstill is logged, with what the loop's thread was doing. `stalls` counts them."""

    def __init__(self, stall_s: float) -> None:
        self.stall_s = stall_s
        self.stalls = 0
        self._lags: deque[float] = deque(maxlen=WINDOW)
        self._beat = time.monotonic()
        self._thread_id = threading.get_ident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop watch", daemon=True)

    @property
    def lag_s(self) -> float:
        """The worst of the last ten seconds."""
        return max(self._lags, default=0.0)

    async def run(self) -> None:
        """Beat, until cancelled."""
        self._beat = time.monotonic()
        self._thread.start()
        try:
            while True:
                await asyncio.sleep(BEAT_S)
                now = time.monotonic()
                self._lags.append(max(0.0, now - self._beat - BEAT_S))
                self._beat = now
        finally:
            self._over.set()

    def _watch(self) -> None:
        told = 0.0
        while not self._over.wait(LOOK_S):
            beat = self._beat
            if beat != told and time.monotonic() - beat > self.stall_s:
                told = beat
                self.stalls += 1
                frame = sys._current_frames().get(self._thread_id)
                stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
                log.error("the event loop stands still for more than %g s", self.stall_s, extra={"data": {"stack": stack}})
