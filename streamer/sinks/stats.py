"""The numbers of a sink, for metrics and people."""

from typing import Final, Literal, TypeAlias

from msgspec import Struct

State: TypeAlias = Literal["new", "opening", "up", "down", "failed", "closed"]
"""`opening`: not open yet for the first time; `down`: tried again with backoff; `failed`: never again (`failure` says why); `closed`:
drained."""

LOST: Final = ("spool_full", "spool_error", "spool_corrupt", "too_large", "shutdown", "failed")
"""Why ticks are lost, whatever the sink; a sink's own `Refused` may add to these."""


class SinkStats(Struct, frozen=True):
    """What a sink has done so far; a copy. ``accepted == confirmed + in_flight + spooled + sum(lost.values())``."""

    name: str
    state: State
    reason: str
    """Why it is down or failed: one line; empty while all is well."""
    accepted: int
    """Ticks taken over: out of mailboxes, out of the spool of an earlier run, and those of its own making (`Gap`, `BookStale`)."""
    confirmed: int
    """Ticks that the sink said are safe."""
    in_flight: int
    """Ticks on their way, in memory (those that are in the spool as well among them)."""
    spooled: int
    """Ticks on disk that are not in flight."""
    lost: dict[str, int]
    """By reason: those of `LOST`, and of `Refused`."""
    dropped: int
    """Ticks that the mailboxes dropped before they were accepted, each told by a `Gap`."""
    writes: int
    """Batches that were written."""
    errors: dict[str, int]
    """Failures of `open` and `write` by the reason of `SinkDown`; each was, or will be, tried again."""
    lag_s: float
    """Seconds by which what is confirmed lies behind what was accepted; 0 when nothing waits."""
    spool_bytes: int = 0
    spool_max_bytes: int = 0
    """0: there is no spool."""
    spool_errors: int = 0
    spool_corrupt: int = 0
