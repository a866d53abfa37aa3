"""What keeps us within a venue's limits: gates for connects and REST, shared by all of its connections, and the silence it orders."""

import asyncio
import logging
import math
import random
from collections import deque
from collections.abc import Iterator

from streamer.errors import IoFailure, RateLimited
from streamer.io import Io, Response
from streamer.silence import LONGEST_NS, Silence
from streamer.spec import Limits

log = logging.getLogger(__name__)

RETRY_STATUS = frozenset((418, 429))
DEFAULT_SILENCE_S = {418: 120.0, 429: 10.0}
LONGEST_SILENCE_S = LONGEST_NS / 1e9


def backoff(base: float = 0.5, cap: float = 60.0) -> Iterator[float]:
    """Full-jitter delays for ever: uniform between 0 and a bound that doubles up to `cap` seconds, the first few never near zero.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    bound = base
    while True:
        yield random.uniform(base / 4, bound)
        bound = min(cap, bound * 2)


class Gate:
    """At most `most` (summed weights) in any `seconds`, first come first served.

    A leaky bucket lets through twice as much in its first window, and venues cut the connection or ban for that.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._passed: deque[tuple[float, int]] = deque()
        self._used = 0
        self._turn = asyncio.Lock()

    async def acquire(self, weight: int = 1) -> None:
        """Wait until there is room for `weight`; what is heavier than all there is counts as all."""
        weight = min(weight, self._most)
        async with self._turn:
            while True:
                now = asyncio.get_running_loop().time()
                while self._passed and self._passed[0][0] + self._seconds <= now:
                    self._used -= self._passed.popleft()[1]
                if self._used + weight <= self._most:
                    break
                await asyncio.sleep(self._passed[0][0] + self._seconds - now)
            self._passed.append((now, weight))
            self._used += weight


class Gates:
    """One a venue. `silent_until` is on the clock of `Io.monotonic`. `kept`: the silence that was ordered before this start."""

    def __init__(self, io: Io, limits: Limits, kept: Silence | None = None) -> None:
        self._io = io
        self._connects = Gate(*limits.connects)
        self._rest = Gate(*limits.rest)
        self._kept = kept
        self.silent_until = 0.0
        left = 0.0 if kept is None else kept.left(io.now())
        if kept is not None and left:
            log.warning("%s ordered silence before this start: no request for another %.0f s", kept.exchange, left)
            self.silent_until = io.monotonic() + left

    @property
    def silent(self) -> bool:
        """Did the venue order silence, and is it not over yet?"""
        return self._io.monotonic() < self.silent_until

    def refused(self, reason: str) -> None:
        """A connect failed. 429 and 418 are orders here too, though a handshake does not say for how long."""
        seconds = {f"http_{status}": s for status, s in DEFAULT_SILENCE_S.items()}.get(reason)
        if seconds is not None:
            self._be_silent(seconds)

    async def connect(self) -> None:
        """Wait until one more connection may be opened."""
        await self._pass(self._connects, 1)

    async def fetch(self, method: str, url: str, weight: int = 1) -> bytes:
        """The body of one REST answer, at the venue's pace. Raises `IoFailure`; `RateLimited` after an order to be silent."""
        await self._pass(self._rest, weight)
        response = await self._io.request(method, url)
        if response.status in RETRY_STATUS:
            raise self._banned(response, url)
        if response.status != 200:
            text = ascii(response.body[:200].decode(errors="replace"))
            raise IoFailure(f"{url} answered {response.status}: {text}", f"http_{response.status}")
        return response.body

    def _banned(self, response: Response, url: str) -> RateLimited:
        try:
            wait = float(response.headers.get("retry-after", ""))
        except ValueError:
            wait = math.nan  # missing, or a date
        if not math.isfinite(wait):
            wait = DEFAULT_SILENCE_S[response.status]
        wait = min(max(wait, 1.0), LONGEST_SILENCE_S)
        self._be_silent(wait)
        return RateLimited(f"{url} answered {response.status}: no request for {wait:.0f} s", wait)

    def _be_silent(self, seconds: float) -> None:
        self.silent_until = max(self.silent_until, self._io.monotonic() + seconds)
        if self._kept is not None:
            asyncio.get_running_loop().run_in_executor(None, self._kept.order, self._io.now() + int(seconds * 1e9))

    async def _pass(self, gate: Gate, weight: int) -> None:
        while True:  # silence may be ordered, or prolonged, while we wait
            await gate.acquire(weight)
            wait = self.silent_until - self._io.monotonic()
            if wait <= 0:
                return
            await asyncio.sleep(wait)
