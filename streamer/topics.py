"""A venue's topic: what is subscribed on the wire, counted by the streams that it feeds."""

from typing import Any

from streamer.mailbox import StreamKey
from streamer.spec import Poll

RETRY_REJECTED_S = 300.0


class Topic:
    """`text` is what the feed's commands name; `streams` those it feeds; the rest is its state on the connection that carries it.

    `poll`: it is asked for over REST, and `text` is its url. `since`: when it was last subscribed on the wire (monotonic seconds), None
    while the command waits for its turn. `heard`: ticks that its streams had brought by then. `resent`: asked for twice. `renewed`: a
    connection was already replaced for its sake, in vain so far.
    """

    __slots__ = ("acked", "connection", "depth", "fatal", "heard", "market", "poll", "rejected", "renewed", "resent", "retry_at", "since",
                 "streams", "text")  # fmt: skip

    def __init__(self, market: str, text: str, depth: int | None, poll: Poll | None = None) -> None:
        self.market = market
        self.text = text
        self.depth = depth
        self.poll = poll
        self.streams: dict[StreamKey, Any] = {}
        self.connection: Any = None
        self.renewed = False
        self.reset()

    def reset(self) -> None:
        """To be subscribed anew; nothing is known of it yet."""
        self.acked = False
        self.rejected: str | None = None
        self.fatal = False
        self.resent = False
        self.retry_at = 0.0
        self.since: float | None = None
        self.heard = 0

    def twin(self, connection: Any) -> "Topic":
        """The same topic for another connection that is to take it over."""
        made = Topic(self.market, self.text, self.depth)
        made.streams, made.connection, made.renewed = self.streams, connection, self.renewed
        return made

    def reject(self, reason: str, fatal: bool, now: float) -> None:
        """The venue refused it; unless `fatal`, it is tried again slowly."""
        self.rejected = reason
        self.fatal = fatal
        self.retry_at = now + RETRY_REJECTED_S
