"""The exchanges' lists of instruments, as far as patterns need them: loaded, however long that takes, and read again for new listings."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from streamer.catalog import Catalog
from streamer.engine import Engine
from streamer.errors import IoFailure, StreamerError

log = logging.getLogger(__name__)


class Lists:
    """`loaded` by exchange; `problems` says why others are not. `changed` is called, once a turn of the loop, when either differs."""

    def __init__(self, engine: Engine, changed: Callable[[], None], refresh_s: float) -> None:
        self.loaded: dict[str, Catalog] = {}
        self.problems: dict[str, str] = {}
        self.refresh_s = refresh_s
        self._engine = engine
        self._changed = changed
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._now: dict[str, asyncio.Event] = {}
        self._told = False

    def need(self, exchanges: Iterable[str]) -> None:
        """Have the lists of these, and of no others. Raises `BadFeed` for an exchange that cannot be used."""
        wanted = set(exchanges)
        venues = {e: self._engine.venue(e) for e in wanted}
        for exchange in self._tasks.keys() - wanted:
            self._tasks.pop(exchange).cancel()
            self._engine.venue(exchange).on_relist = lambda: None
            for of in (self.loaded, self.problems, self._now):
                of.pop(exchange, None)
        for exchange in sorted(wanted - self._tasks.keys()):
            venues[exchange].on_relist = self._tell
            self._now[exchange] = asyncio.Event()
            self.problems[exchange] = "loading instruments"
            self._tasks[exchange] = self._engine.spawn(self._keep(exchange), f"{exchange} list")

    def refresh(self) -> None:
        """Read all of them again now."""
        for event in self._now.values():
            event.set()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            asyncio.get_running_loop().call_soon(self._tell_now)

    def _tell_now(self) -> None:
        self._told = False
        self._changed()

    async def _keep(self, exchange: str) -> None:
        venue = self._engine.venue(exchange)
        while True:
            try:
                await venue.load()  # which keeps the venue's pace
                break
            except StreamerError as e:
                self._trouble(exchange, str(e))
            except Exception as e:  # noqa: BLE001  (logged, with its traceback, by the task that loads)
                self._trouble(exchange, f"internal error: {e!r}")
                await asyncio.sleep(10.0)
        self.problems.pop(exchange, None)
        self.loaded[exchange] = venue.catalog
        self._tell()
        again = self._now[exchange]
        while True:
            try:
                async with asyncio.timeout(self.refresh_s):
                    await again.wait()
            except TimeoutError:
                pass  # so long it is since the last time
            again.clear()
            try:
                await venue.listing.refresh()
            except IoFailure as e:
                log.warning("%s: the list of instruments stays as it was: %s", exchange, e)
            except Exception:
                log.exception("%s: the list of instruments stays as it was", exchange)

    def _trouble(self, exchange: str, what: str) -> None:
        if self.problems.get(exchange) != what:
            self.problems[exchange] = what
            log.warning("%s: %s", exchange, what)
