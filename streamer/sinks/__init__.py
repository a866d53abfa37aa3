"""Where ticks go beside the program that subscribed: Kafka, stdout, files, and other people's sinks from entry points.

A sink is one short file: an object that writes a batch and says when it is safe. Everything else (overflow, batches, retries, the spool
on disk, accounting, the end) is written once, in `streamer.sinks.runner`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from streamer.errors import StreamerError
from streamer.types import Tick

GROUP = "streamer.sinks"
"""The entry point group of other people's sinks: ``name = "module:make"``, where ``make(options)`` gives a `Sink`."""


class SinkDown(StreamerError):
    """Nothing can be written now (broker gone, disk full, no rights). What was not confirmed is written again later, in its order.

    `reason`: one of a closed set of words, for metrics. `confirmed`: how many ticks of the batch, from its beginning, are safe all the
    same; `refused` are those among these that never will be. `reopen`: `close` and `open` are wanted before anything is written again.
    """

    exit_code = 69

    def __init__(
        self, message: str, reason: str = "down", confirmed: int = 0, refused: "Sequence[Refused]" = (), *, reopen: bool = False
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.confirmed = confirmed
        self.refused = refused
        self.reopen = reopen


class SinkGone(SinkDown):
    """Nothing can ever be written again (nobody reads the pipe any more): it is not tried again."""


class Refused(Struct, frozen=True):
    """One tick of a batch that can never be written (too large, not encodable): counted as lost with this reason, out of a closed set."""

    index: int
    reason: str
    detail: str = ""


class Sink(Protocol):
    """What a sink is. All its methods are called from one task, one at a time."""

    name: str

    async def open(self) -> None:
        """Connect, make topics or files. Raises `SinkDown` (it is tried again, with backoff) or `UsageError` (never again)."""

    async def write(self, ticks: Sequence[Tick[Any]]) -> Sequence[Refused]:
        """Write all, in order, and return once they are safe as far as this sink can promise. Raises `SinkDown`.

        Cancelled at the end of a drain: what is on its way is then taken back, for it goes to the spool (and may come twice).
        """

    async def close(self, timeout: float) -> None:
        """Let go, within `timeout` seconds. Nothing is in flight: the runner saw to that."""
