"""A venue's order to be silent, kept on disk: who starts again within a ban and asks is banned for longer."""

import logging
from pathlib import Path
from threading import Lock
from typing import Final

from streamer.disk import put

log = logging.getLogger(__name__)
LONGEST_NS: Final = 3 * 86400 * 1_000_000_000
"""No order is obeyed for longer."""


class Silence:
    """Of one exchange; a file beside its list of instruments. `folder` None: nothing is kept."""

    def __init__(self, folder: Path | None, exchange: str) -> None:
        self.exchange = exchange
        self._path = None if folder is None else folder / f"{exchange}.silent"
        self._until = 0
        self._writing = Lock()

    def left(self, now: int) -> float:
        """For how many seconds it lasts from `now` (ns) on, within reason. A file that cannot be read counts as none."""
        if self._path is None:
            return 0.0
        try:
            self._until = min(int(self._path.read_text(encoding="ascii")), now + LONGEST_NS)
        except (OSError, ValueError):
            return 0.0
        return max(0, self._until - now) / 1e9

    def order(self, until: int) -> None:
        """It lasts until then (ns), or longer. To be called in a thread; a disk that refuses is only noted."""
        if self._path is None:
            return
        with self._writing:
            if until <= self._until:
                return
            self._until = until
            try:
                put(self._path, str(until).encode())
            except OSError as e:
                log.warning("%s ordered silence, which cannot be noted in %s: %s", self.exchange, self._path, e)
