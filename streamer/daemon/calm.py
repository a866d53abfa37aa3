"""Keeps the pauses of Python's garbage collector short.

A full collection goes through every level of every book: measured, 65 ms for 2000 books of a thousand levels a side, and it comes when the
collector likes. What is there once data flows stays for long, so it is set aside (`gc.freeze`), and collections see only what is new. Once
an hour all of it is collected at a moment of our choosing and set aside anew, so nothing is kept that is garbage.
"""

import gc
import logging
import time
from math import inf
from typing import Final

log = logging.getLogger(__name__)

EVERY_S: Final = 3600.0


class Calm:
    """`look` is called again and again; it acts when it is due."""

    def __init__(self) -> None:
        self._due = -inf

    def look(self, now: float) -> bool:
        """Everything is up and running at `now` (monotonic seconds). True: it was due, and is done."""
        if now < self._due:
            return False
        self._due = now + EVERY_S
        began = time.perf_counter()
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        log.debug("garbage collected and %d objects set aside in %.0f ms", gc.get_freeze_count(), 1e3 * (time.perf_counter() - began))
        return True

    def again(self) -> None:
        """Much has changed: do it at the next look."""
        self._due = -inf
