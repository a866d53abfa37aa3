"""A venue's topic: what is subscribed on the wire, counted by the streams that it feeds."""

from typing import Any

from streamer.mailbox import StreamKey

RETRY_REJECTED_S = 300.0


class Topic:
    """`text` is what the feed's commands name; `streams` those it feeds; the rest is its state on the connection that carries it."""

    __slots__ = ("acked", "connection", "depth", "fatal", "market", "rejected", "resent", "retry_at", "since", "streams", "text")

    def __init__(self, market: str, text: str, depth: int | None) -> None:
        self.market = market
        self.text = text
        self.depth = depth
        self.streams: dict[StreamKey, Any] = {}
        self.connection: Any = None
        self.reset(0.0)

    def reset(self, now: float) -> None:
        """Subscribed anew at `now` (monotonic seconds); nothing is known of it yet."""
        self.acked = False
        self.rejected: str | None = None
        self.fatal = False
        self.resent = False
        self.retry_at = 0.0
        self.since = now

    def reject(self, reason: str, fatal: bool, now: float) -> None:
        """The venue refused it; unless `fatal`, it is tried again slowly."""
        self.rejected = reason
        self.fatal = fatal
        self.retry_at = now + RETRY_REJECTED_S
