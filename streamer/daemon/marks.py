"""A file that is there while a sink runs, and says which streams it is given. A start that finds it knows that the run before was killed,
and of which streams something may be missing: what was taken over and was neither safe nor on the disk.

It survives kill -9. After a loss of power it is as old as the disk's last write of it.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from streamer.daemon.config import Sink
from streamer.disk import put
from streamer.mailbox import StreamKey
from streamer.types import BookStale, Gap, Tick

log = logging.getLogger(__name__)

MOST_BYTES = 64 << 20


class Mark:
    """Of one sink; `path` None: there is nowhere to keep it. A disk that refuses is logged, and costs only what this file is for."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._left: list[StreamKey] = []
        self._written: set[StreamKey] | None = None

    def begin(self) -> list[StreamKey]:
        """The streams of a run that was killed; they stay in the file until `clear`, for this one may be killed before it has told them."""
        if self.path is None:
            return []
        try:
            if self.path.stat().st_size <= MOST_BYTES:
                self._left = msgspec.json.decode(self.path.read_bytes(), type=list[StreamKey])
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as e:  # msgspec's errors are ValueErrors
            log.warning("%s cannot be read, so nobody is told what the run before may have lost: %s", self.path, e)
        return self._left

    def write(self, streams: Iterable[StreamKey]) -> None:
        """The sink is given these now."""
        keys = {*self._left, *streams}
        if self.path is None or keys == self._written:
            return
        try:
            put(self.path, msgspec.json.encode(sorted(keys)), folder_mode=0o700)
        except OSError as e:
            log.warning("%s cannot be written: after a kill nobody would be told what was lost: %s", self.path, e.strerror or e)
        self._written = keys

    def clear(self) -> None:
        """The sink has ended, and nothing of it is missing."""
        if self.path is not None:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as e:
                log.warning("%s cannot be deleted: %s", self.path, e.strerror or e)
        self._left, self._written = [], None


def mark_of(name: str, table: Sink, state: Path | None) -> Mark:
    """That of a sink: in its spool, else in the folder `state`, if there is one."""
    if table.spool is not None:
        return Mark(Path(table.spool.path) / "streams.json")
    return Mark(state / f"{quote(name, safe='')}.streams.json" if state is not None else None)


def restart_gaps(streams: Iterable[StreamKey], now: int) -> list[Tick[Any]]:
    """What is told of the streams of a run that was killed: since when is not known here, but to who has the last tick of each. A book is
    not to be trusted until its next snapshot."""
    ticks: list[Tick[Any]] = []
    for exchange, symbol, kind in dict.fromkeys(key[:3] for key in streams):
        ticks.append(Gap(exchange, symbol, None, now, kind, "process_restart", None, now, None, None, "none"))
        if kind == "book":
            ticks.append(BookStale(exchange, symbol, None, now, "process_restart"))
    return ticks
