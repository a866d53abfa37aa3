"""A venue's list of instruments at run time: loaded on first use, cached on disk, refreshed hourly and after an unknown id."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from streamer.catalog import FRESH_NS, Cache, Catalog, fetch_instruments
from streamer.errors import IoFailure
from streamer.gates import Gates, backoff
from streamer.io import Io
from streamer.spec import Feed
from streamer.types import Instrument

log = logging.getLogger(__name__)

REFRESH_S = 3600.0
UNKNOWN_ID_S = 300.0


class Listing:
    """`on_change` is given what a refresh found to be new, changed or gone; nothing, when what was known to be halted has gone."""

    def __init__(
        self,
        feed: Feed,
        io: Io,
        gates: Gates,
        cache: Cache,
        spawn: Callable[[Coroutine[Any, Any, Any], str], "asyncio.Task[Any]"],
        on_change: Callable[[Sequence[Instrument]], None],
    ) -> None:
        self.catalog = Catalog(feed)
        self._feed = feed
        self._io = io
        self._gates = gates
        self._cache = cache
        self._spawn = spawn
        self._on_change = on_change
        self._loading: asyncio.Task[None] | None = None
        self._waits = backoff(base=1.0)
        self._not_before = float("-inf")
        self._refresh = asyncio.Event()
        self._refreshed = float("-inf")

    async def load(self) -> None:
        """Wait until the instruments are there. However many wait, they are loaded once. Raises `IoFailure`; the next try then comes after
        a backoff."""
        if self._loading is None or (self._loading.done() and not self.catalog.by_symbol):
            self._loading = self._spawn(self._load(), f"{self._feed.name} instruments")
        await asyncio.shield(self._loading)

    def unknown(self) -> None:
        """An instrument was named that we do not know: read the list again as soon as the last time is five minutes ago."""
        self._refresh.set()

    async def refresh(self) -> None:
        """Read the list again now, at the venue's pace. Raises `IoFailure`."""
        self._refreshed = self._io.monotonic()
        await self._renew()

    async def _load(self) -> None:
        await asyncio.sleep(max(0.0, self._not_before - self._io.monotonic()))
        self._not_before = self._io.monotonic() + next(self._waits)
        name, now = self._feed.name, self._io.now()
        found = await asyncio.to_thread(self._cache.read, name, now - FRESH_NS)
        age = (now - found[0].ts_recv) / 1e9 if found else 0.0
        if not found:
            found, age = await self._fetch_or_old()
        self.catalog.update(found)
        self._spawn(self._keep_fresh(max(0.0, REFRESH_S - age)), f"{name} instrument refresh")

    async def _fetch_or_old(self) -> tuple[list[Instrument], float]:
        """The venue's list and its age in seconds; what it does not give is taken from an old list, if we have one."""
        name = self._feed.name
        self._refreshed = self._io.monotonic()
        found: list[Instrument] = []
        try:
            found, whole = await fetch_instruments(self._feed, self._gates, self._io)
            if whole:
                await asyncio.to_thread(self._cache.write, name, found)
                return found, 0.0
            failure = IoFailure(f"{name} does not list all of its instruments", "bad_answer")
        except IoFailure as e:
            failure = e
        known = {i.symbol for i in found}
        old = [i for i in await asyncio.to_thread(self._cache.read, name, 0) if i.symbol not in known]
        if not found and not old:
            raise failure
        if old:
            log.warning("%s: %d instruments of an older list are used: %s", name, len(old), failure)
        return old + found, REFRESH_S - UNKNOWN_ID_S

    async def _keep_fresh(self, wait: float) -> None:
        while True:
            try:
                async with asyncio.timeout(wait):
                    await self._refresh.wait()
                    await asyncio.sleep(self._refreshed + UNKNOWN_ID_S - self._io.monotonic())
            except TimeoutError:
                pass  # an hour has passed
            self._refresh.clear()
            self._refreshed = self._io.monotonic()
            try:
                whole = await self._renew()
            except IoFailure as e:
                whole = False
                log.warning("%s: instruments not refreshed: %s", self._feed.name, e)
            except Exception:
                whole = False
                log.exception("%s: instruments not refreshed", self._feed.name)
            wait = REFRESH_S if whole else UNKNOWN_ID_S

    async def _renew(self) -> bool:
        found, whole = await fetch_instruments(self._feed, self._gates, self._io)
        gone = self.catalog.gone
        changed = self.catalog.update(found, whole)
        if changed or self.catalog.gone != gone:
            self._on_change(changed)
        if whole:
            await asyncio.to_thread(self._cache.write, self._feed.name, found)
        return whole
