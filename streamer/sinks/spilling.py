"""The task beside the writing one: while the sink is down, or so slow that a mailbox might drop, what waits goes to the spool."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from streamer.sinks.handle import Handle
from streamer.sinks.pipeline import Pipeline

log = logging.getLogger(__name__)

POLL_S: Final = 0.02
"""How often the mailboxes are looked at while the sink writes."""
BLOCKED_S: Final = 0.5
"""After which a spool that had no room is asked again."""


class Spilling:
    """`failed` is called when it ends by a fault of ours."""

    def __init__(self, pipeline: Pipeline, handle: Handle, failed: Callable[[Exception], None]) -> None:
        self._pipeline = pipeline
        self._handle = handle
        self._failed = failed
        self._news = asyncio.Event()
        self._over = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"spool of {self._handle.name}")
        self._task.add_done_callback(self._done)

    def ring(self) -> None:
        """Something came, or the sink is another than it was: look."""
        self._news.set()

    def stop(self) -> None:
        """No more after what is under way."""
        self._over = True
        self._news.set()

    async def ended(self) -> None:
        """Wait until it has stopped."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        p = self._pipeline
        while not self._over:
            self._news.clear()
            wait: float | None = None
            if p.must_spill(self._handle.state == "up", self._handle.writing):
                if await p.spill():
                    continue
                wait = BLOCKED_S
            else:
                p.intake.sleep()
                if self._handle.writing and p.intake.waiting:
                    wait = POLL_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    def _done(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            log.error("sink %s ended by a fault of its spool", self._handle.name, exc_info=error)
            self._failed(error)
