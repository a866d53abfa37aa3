"""Too much memory: in which order we give way before the system ends us.

Above `memory.limit_bytes`, one step a second. 1: not ready; streams that would join wait; what a sink does not take at once goes to its
spool. 2 to 6: the room of every queue is halved, down to a floor; what it drops is counted, and told by a `gap`. After five
seconds below nine tenths of the limit all is taken back, as fast.
"""

import os
from collections.abc import Callable
from pathlib import Path

from streamer.mailbox import TICK_BYTES

MOST_STEPS = 6
STEP_S = 1.0
CALM_S = 5.0
CALM = 0.9
"""Of the limit: so much less than it before anything is taken back."""
LEAST_ITEMS = 1000
LEAST_BYTES = 1 << 20


def resident() -> int | None:
    """Bytes of this process that are in memory; None where the system does not tell: all but Linux say only the most that it ever was."""
    try:
        pages = Path("/proc/self/statm").read_bytes().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return None


class Memory:
    """`step`: 0 while all is well. `raised`: how often a step was taken. `held`: gives the resident bytes."""

    def __init__(self, held: Callable[[], int | None] = resident) -> None:
        self.step = self.raised = 0
        self.held: int | None = None
        self.limit: int | None = None
        self._ask = held
        self._stepped = self._high = 0.0  # when the last step was, and when it was last too much to be called well

    def look(self, now: float, limit: int | None) -> bool:
        """How is it at `now` (monotonic seconds)? True when the step is another than before."""
        before = self.step
        self.limit, self.held = limit, self._ask() if limit is not None else None
        if limit is None or self.held is None:
            self.step = 0
        elif self.held > limit:
            self._high = now
            if not self.step or now - self._stepped >= STEP_S:
                self.step, self._stepped = min(MOST_STEPS, self.step + 1), now
        elif self.held > CALM * limit:
            self._high = now
        elif self.step and now - self._high >= CALM_S and now - self._stepped >= STEP_S:
            self.step, self._stepped = self.step - 1, now
        self.raised += self.step > before
        return self.step != before

    def reason(self) -> str | None:
        """What ails, as one line; None while all is well."""
        if not self.step or self.held is None or self.limit is None:
            return None
        what = f"memory: {self.held / 1e6:.0f} MB are held, memory.limit_bytes is {self.limit / 1e6:.0f} MB"
        cut = f", queues have 1/{1 << (self.step - 1)} of their room" if self.step > 1 else ""
        return f"{what}: new streams wait{cut}"


def room(step: int, max_items: int, max_bytes: int) -> tuple[int, int]:
    """What of its room a queue has left."""
    cut = max(0, step - 1)
    bytes_ = min(max_bytes, max(LEAST_BYTES, max_bytes >> cut))
    return min(max_items, max(LEAST_ITEMS, max_items >> cut), bytes_ // TICK_BYTES), bytes_
