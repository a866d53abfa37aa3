"""The one batch that is on its way to the sink. It stays in memory until each of its ticks is settled, even when it is in the spool too."""

from typing import Any

from streamer.types import Tick


class Flight:
    """`ticks` are not settled yet. The first `told` of them are in no spool (Gaps put in front of what was spooled); of the others the
    first `stored` are in it, from number `base` on."""

    __slots__ = ("base", "stored", "ticks", "told")

    def __init__(self) -> None:
        self.ticks: list[Tick[Any]] = []
        self.told = self.base = self.stored = 0

    def put(self, ticks: list[Tick[Any]]) -> None:
        """A batch out of the mailboxes."""
        self.ticks, self.told, self.stored = ticks, 0, 0

    def replay(self, told: list[Tick[Any]], ticks: list[Tick[Any]], base: int) -> None:
        """A batch out of the spool."""
        self.ticks, self.told, self.base, self.stored = told + ticks, len(told), base, len(ticks)

    @property
    def unstored(self) -> list[Tick[Any]]:
        """Ticks that only memory has."""
        return self.ticks[self.told + self.stored :]

    def stow(self, base: int, stored: int) -> None:
        """So many more of them are in the spool, from number `base` on."""
        if not self.stored:
            self.base = base
        self.stored += stored

    def settle(self, n: int) -> int | None:
        """The first `n` are done with. The number before which the spool need not keep anything, or None if that is as it was."""
        told = min(n, self.told)
        stored = min(n - told, self.stored)
        self.ticks = self.ticks[n:]
        self.told -= told
        self.base += stored
        self.stored -= stored
        return self.base if stored else None
