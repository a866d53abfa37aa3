"""What a handler may answer besides ticks: controls, from a closed set."""

from collections.abc import Sequence
from typing import Any, Generic, TypeAlias

from msgspec import Struct

from streamer.types import AnyTick, BookDelta, BookSnapshot, N, Trade


class Reply(Struct, frozen=True):
    """Send this frame back (a pong that the venue wants in its own form, a follow-up request)."""

    frame: str | bytes


class Ready(Struct, frozen=True):
    """The venue said that it accepts subscriptions now (feeds with `await_ready`)."""


class Ack(Struct, frozen=True):
    """A subscription was accepted: `key` is the topic, or the number `n` that `subscribe` was given. `id`: the venue's own name of it,
    which `unsubscribe` is then given in place of the topic."""

    key: str | int
    id: str | None = None


class Reject(Struct, frozen=True):
    """A subscription was refused. `fatal`: asking again is of no use.

    By the number of a command it is about all of its topics that were not answered by name yet. Which of them the venue did not like is
    found out by asking again for halves, unless `each` of them was refused (where an answer lists what was accepted, say).
    """

    key: str | int
    reason: str
    fatal: bool = False
    each: bool = False


class Restart(Struct, frozen=True):
    """This connection cannot be trusted any more (a hole in a sequence that counts it), or the venue wants us to come again.

    `planned`: the venue only announces it, so a new line may be opened before this one is closed.
    """

    reason: str
    planned: bool = False


class Checked(Struct, Generic[N], frozen=True):
    """A checksum of the book of `symbol`: after applying `tick`, or as it stands when the venue sends the checksum alone, at `ts_recv`."""

    symbol: str
    checksum: int
    tick: BookDelta[N] | BookSnapshot[N] | None = None
    ts_recv: int | None = None


class Broken(Struct, frozen=True):
    """What came, at `ts_recv`, shows that something of the book of `symbol` was missed, although nothing numbers it: a change of a level
    that is not there, say. It is stale from here on, for this `reason`."""

    symbol: str
    reason: str
    ts_recv: int


class History(Struct, Generic[N], frozen=True):
    """Trades that the venue sends at subscribing although they happened before. Dropped, but for those missed over a reconnect."""

    trades: Sequence[Trade[N]]

    @property
    def symbol(self) -> str:
        """That of its trades; empty when there are none."""
        return self.trades[0].symbol if self.trades else ""


class Page(Struct, Generic[N], frozen=True):
    """The latest trades of `symbol` as a page, oldest first, where they come in overlapping pages (polled over REST): what pages share came
    before. `complete`: the page holds all that happened, so nothing can be missing between it and the last one.
    """

    symbol: str
    trades: Sequence[Trade[N]]
    complete: bool = False


class Unknown(Struct, frozen=True):
    """The frame is the venue's, well-formed, and nothing we asked for. `what` names it (a channel, an event) for the count."""

    what: str


Control: TypeAlias = Reply | Ready | Ack | Reject | Restart | Broken | Checked[N] | History[N] | Page[N] | Unknown
Answer: TypeAlias = AnyTick[N] | Control[N]
Out: TypeAlias = Answer[N] | Sequence[Answer[N]] | None


def several(out: Out[Any]) -> Sequence[Any]:
    """What a handler answered, as a sequence."""
    return () if out is None else out if isinstance(out, list | tuple) else (out,)
