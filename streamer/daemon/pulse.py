"""Is a stream silent for longer than it ever should be? Learned from the stream itself. Pure: times are given.

The engine's own watch decides when to reconnect and is slow on purpose (a minute at least); this one only says what `/readyz` says, and
may be wrong at a small price.
"""

from typing import Final

LEAST_TICKS: Final = 20
LEAST_TURNS: Final = 10
"""Ticks, and looks at it that found new ones, before a stream has a habit that can be broken."""
FACTOR: Final = 15.0
LONGEST_FACTOR: Final = 3.0
"""It is late after so many of its mean intervals, and so many times its longest silence: trades come in clusters."""
MOST_PATIENCE: Final = 64.0
FORGET_S: Final = 600.0
"""How long a silence, or a false alarm, is remembered."""


class Pulse:
    """One stream. `count`: ticks it has brought; `last`: when the newest of them was seen. `lived`: it was live once;
    `not_live`: since when it is not. `late`: silent for too long."""

    __slots__ = ("_before", "_elapsed", "_longest", "_patience", "_ticks", "_turned", "_turns", "count", "last", "late", "lived",
                 "not_live")  # fmt: skip

    def __init__(self, now: float, count: int) -> None:
        self.count = count
        self.last = now
        self.late = False
        self.not_live: float | None = now
        self.lived = False
        self._ticks = self._turns = 0
        self._elapsed = 0.0
        self._longest = self._before = 0.0  # of this window and of the one before
        self._patience = 1.0
        self._turned = now

    def beat(self, now: float, count: int, live: bool, least: float) -> None:
        """What a look at the stream found: `count` ticks brought so far. `least`: a shorter silence is never too long."""
        if now - self._turned > FORGET_S:
            self._turned, self._before, self._longest = now, self._longest, 0.0
            self._patience = max(1.0, self._patience / 2)
            self._ticks, self._elapsed = self._ticks // 2, self._elapsed / 2
        if count != self.count:
            self._heard(now, count)
        self.late = now - self.last > self.limit(least)
        if live:
            self.lived, self.not_live = True, None
        elif self.not_live is None:
            self.not_live = now

    def limit(self, least: float) -> float:
        """Seconds of silence that are too long; infinite while it has no habit."""
        if self._ticks < LEAST_TICKS or self._turns < LEAST_TURNS:
            return float("inf")
        usual = max(FACTOR * self._elapsed / self._ticks, LONGEST_FACTOR * max(self._longest, self._before))
        return max(least, usual) * self._patience

    def _heard(self, now: float, count: int) -> None:
        silence = now - self.last
        if not self.late:
            self._elapsed += silence
            self._longest = max(self._longest, silence)
            self._ticks += max(1, count - self.count)
            self._turns += 1
        elif self.not_live is None:  # it went on as if nothing had been: the alarm was false
            self._patience = min(MOST_PATIENCE, self._patience * 2)
        self.count, self.last = count, now
