"""What keeps us within a venue's limits: gates for connects and REST, shared by all of its connections, and the silence it orders."""

import asyncio
import random
from collections.abc import Iterator

from aiolimiter import AsyncLimiter

from streamer.errors import IoFailure, RateLimited
from streamer.io import Io, Response
from streamer.spec import Limits

RETRY_STATUS = frozenset((418, 429))
DEFAULT_SILENCE_S = {418: 120.0, 429: 10.0}
LONGEST_SILENCE_S = 3 * 86400.0


def backoff(base: float = 0.5, cap: float = 60.0) -> Iterator[float]:
    """Full-jitter delays for ever: uniform between 0 and a bound that doubles up to `cap` seconds, the first few never near zero.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    bound = base
    while True:
        yield random.uniform(base / 4, bound)
        bound = min(cap, bound * 2)


class Gates:
    """One a venue. `silent_until` is on the clock of `Io.monotonic`."""

    def __init__(self, io: Io, limits: Limits) -> None:
        self._io = io
        self._connects = AsyncLimiter(*limits.connects)
        self._rest = AsyncLimiter(*limits.rest)
        self._most = limits.rest[0]
        self.silent_until = 0.0

    async def connect(self) -> None:
        """Wait until one more connection may be opened."""
        await self._silence()
        await self._connects.acquire()

    async def fetch(self, method: str, url: str, weight: int = 1) -> bytes:
        """The body of one REST answer, at the venue's pace. Raises `IoFailure`; `RateLimited` after an order to be silent."""
        await self._silence()
        await self._rest.acquire(min(weight, self._most))
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
            wait = DEFAULT_SILENCE_S[response.status]
        wait = min(max(wait, 1.0), LONGEST_SILENCE_S)
        self.silent_until = max(self.silent_until, self._io.monotonic() + wait)
        return RateLimited(f"{url} answered {response.status}: no request for {wait:.0f} s", wait)

    async def _silence(self) -> None:
        while True:  # the silence may be prolonged while we wait
            wait = self.silent_until - self._io.monotonic()
            if wait <= 0:
                return
            await asyncio.sleep(wait)
