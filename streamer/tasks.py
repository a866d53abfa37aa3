"""Care for what runs in the background: nothing ends unseen, and all of it ends in the end."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from streamer.errors import StreamerError

log = logging.getLogger(__name__)


class Tasks:
    """Those of one engine."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run in the background; an unexpected end is logged, never lost."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, StreamerError):
            log.error("%s ended unexpectedly", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel them all, but for who calls this, and wait until they have ended."""
        while tasks := [t for t in self._running if t is not asyncio.current_task()]:  # an ending one may leave another behind
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
