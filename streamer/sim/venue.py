"""What a simulated venue declares: a `Venue` of plain functions, in `streamer/sim/venues/<id>.py`. docs/sim.md shows how.

A payload is what the venue sends, before it is bytes: a wire Struct, dict or list becomes JSON (Decimals as bare numbers, digits kept);
a str goes as it is, bytes go as a binary frame. A function may answer with one payload, several, or None.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from msgspec import Struct

from streamer.sim.listed import Listed
from streamer.types import Kind

if TYPE_CHECKING:
    from streamer.sim.connection import Connection
    from streamer.sim.exchange import Exchange
    from streamer.sim.topic import Topic

Payload: TypeAlias = Any
Payloads: TypeAlias = Any
"""A payload, a generator or list made by `several`, or None."""
Pairs: TypeAlias = Sequence[tuple[str, str, str, str]]
"""Spot pairs as (base, quote, price step, size step)."""


class several(list[Payload]):
    """More than one payload; a plain list is one payload, a JSON array."""


class Channel(NamedTuple):
    """One sort of topic: the kinds of ticks that it carries, ``tell(topic, tick) -> payloads``, and ``first(topic) -> payloads``, what
    comes at subscribing. `first` begins the topic's memory anew if `tell` keeps one: at that moment all have been told the same."""

    kinds: tuple[Kind, ...]
    tell: Callable[["Topic", Any], Payloads]
    first: Callable[["Topic"], Payloads] | None = None


def present(topic: "Topic") -> Payloads:
    """A `first` that tells the present state, in the words of `tell`."""
    tell, kinds = topic.channel.tell, topic.channel.kinds
    ticks = [tick for kind in kinds for i in topic.instruments if (tick := topic.now(kind, i)) is not None]
    return several(payload for tick in ticks for payload in flat(tell(topic, tick)))


def flat(payloads: Payloads) -> Iterable[Payload]:
    """One, several or none, as a sequence."""
    return payloads if payloads.__class__ is several else () if payloads is None else (payloads,)


class Request(Struct, frozen=True):
    """A REST request. `params`: what {names} in the path stand for. What is asked wrongly may fail with any error of `CONFUSED`: 400."""

    exchange: "Exchange"
    method: str
    path: str
    query: Mapping[str, str]
    params: Mapping[str, str]
    body: bytes


class Refused(Exception):
    """A REST request's answer with another status than 200."""

    def __init__(self, status: int, payload: Payload) -> None:
        super().__init__(status)
        self.status = status
        self.payload = payload


def deaf(connection: "Connection", text: str) -> None:
    """A `heard` for venues that nothing is said to."""


class Venue(Struct, frozen=True, kw_only=True):
    """A venue's own way of speaking.

    `lists`: ``(exchange id, now, more pairs) -> instruments`` with their first prices. `rest`: path, in which {names} stand for a part,
    to ``(request) -> payload``. `sockets`: the paths that take websockets, "" where the address has none, "*" for all. `heard`:
    ``(connection, text)`` for whatever the client sends. `opened`: ``(connection)``, to greet it and start its timers. `wrap`:
    ``(connection, topic, payload) -> payload`` where frames differ by connection (channel numbers, a sequence of the connection); without
    it a tick is encoded once for all. `pack`: bytes to those of a binary frame (gzip). `confused`: ``(text) -> payload`` for what `heard`
    fails on; without it such a client is cut off. `silent`: an unknown symbol is accepted, and nothing ever comes.
    """

    name: str
    lists: Callable[[str, int, Pairs], Iterable[Listed]]
    rest: Mapping[str, Callable[[Request], Payload]]
    sockets: Sequence[str] = ()
    heard: Callable[["Connection", str], None] = deaf
    opened: Callable[["Connection"], None] | None = None
    wrap: Callable[["Connection", "Topic", Payload], Payload] | None = None
    pack: Callable[[bytes], bytes] | None = None
    confused: Callable[[str], Payload] | None = None
    silent: bool = False
