"""What an exchange declares: a `Feed` of facts and a normalizer of pure handlers.

A handler is ``handler(message, ctx) -> answers``: ticks, or controls from a closed set. It never sees a socket, a clock, a task or a
book; the message was already decoded into a typed wire Struct. No base class, no hook to override.

Feeds and normalizers take all of it from here.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from streamer.answers import Ack, Answer, Broken, Checked, Control, History, Out, Page, Ready, Reject, Reply, Restart, Unknown
from streamer.book_methods import BookMethod, FromRequest, FromRest, FromStream, FullRefresh
from streamer.ctx import BOUND, Ctx, Symbols, UnknownId, bounded, exact, whole
from streamer.frames import Framing
from streamer.handlers import UNHEARD, Decode, Handler, Normalizer, On, on
from streamer.types import Instrument, Kind

__all__ = [
    "BOUND", "UNHEARD", "Ack", "Answer", "BookMethod", "Broken", "Checked", "Commands", "Control", "Ctx", "Decode", "Endpoint",
    "EndpointOf", "Feed", "Fetch", "FromRequest", "FromRest", "FromStream", "FullRefresh", "Handler", "History", "Instruments", "Limits",
    "Normalizer", "On", "Out", "Page", "Ping", "Poll", "Ready", "Reject", "Reply", "Restart", "Symbols", "Unknown", "UnknownId",
    "bounded", "exact", "fill", "on", "unspoken", "whole",
]  # fmt: skip


class Instruments(Struct, frozen=True):
    """Where the list of instruments is, and ``parse(message, ctx) -> instruments``, called once for each url's answer.

    `more`: where the list comes in pages, ``more(plain JSON of an answer, its url)`` gives the next page's url, or None.
    """

    urls: Sequence[str]
    parse: On
    more: Callable[[Any, str], str | None] | None = None


class Endpoint(Struct, frozen=True):
    """Where to connect. `ping_every` overrides the feed's, for venues that dictate it with the address. `deflate`: the venue wants
    compressed frames (permessage-deflate)."""

    url: str
    headers: Mapping[str, str] = {}
    subprotocols: Sequence[str] = ()
    ping_every: float | None = None
    deflate: bool = False


Fetch: TypeAlias = Callable[[str, str], Awaitable[bytes]]
"""``await fetch(method, url)`` -> body, through the venue's gates. What a token-fetching endpoint is given."""
EndpointOf: TypeAlias = str | Endpoint | Callable[[Fetch], Awaitable[Endpoint]]


class Ping(Struct, frozen=True):
    """Ask for a sign of life every `every` seconds: with `frame`, or with a websocket ping when it is None. `answer` is the venue's
    literal reply when it is no JSON; JSON replies go to the normalizer."""

    every: float
    frame: str | None = None
    answer: bytes | None = None


class Limits(Struct, frozen=True):
    """The venue's limits, each (how many, per seconds). `life_s`: it cuts connections after that long; ours are renewed before."""

    connects: tuple[int, float] = (10, 10.0)
    sends: tuple[int, float] = (5, 1.0)
    rest: tuple[int, float] = (10, 1.0)
    topics_per_line: int = 100
    topics_per_command: int = 50
    frame_bytes: int = 16 * 1024 * 1024
    life_s: float | None = None


class Poll(Struct, frozen=True):
    """What the venue serves only by REST: `url` (a template) asked every `every` seconds, `parse` ``(message, ctx, instrument)``. One url
    may feed several kinds, and without {id} all instruments at once: `instrument` is then None, and the message names them. `weight` counts
    against `Limits.rest`, which spreads what is asked too often.
    """

    every: float
    url: str
    parse: On
    weight: int = 1


Commands: TypeAlias = Callable[[Sequence[str], int], Sequence[str]]
"""``(topics, n) -> frames``; `n` numbers the command, for venues that answer with it."""


def unspoken(topics: Sequence[str], n: int) -> Sequence[str]:
    """The commands of a venue that is only polled: none."""
    return ()


class Feed(Struct, frozen=True, kw_only=True):
    """An exchange's facts.

    `endpoints`: address by market; of one that is only polled, its REST address. `market`: which market carries an instrument's kind, or ""
    where none does; needed where there are several. `only`: the kinds that not all instruments have, with those that do.
    `topics`: by (market, kind) the template of the venue's topic, filled with {id} {lower} {base} {quote} {kind} {interval} {depth};
    or a `Poll`. One topic may feed several kinds; the engine counts references to it. A feed of nothing but polls has no `subscribe`,
    `unsubscribe` and `normalize`. `intervals`: ccxt's candle interval to the venue's.
    `book`: how each market's book is kept right. `hello`: frames sent first on every connection; with `await_ready` nothing is subscribed
    before a handler answers `Ready`. `acks`: false where the venue answers no subscription, so that what was sent is believed to stand.
    `quiet_s`: after so many seconds without any frame the connection is given up. `together`: only topics for which this gives the same
    share a command (where one names a channel, say).
    """

    name: str
    endpoints: Mapping[str, EndpointOf]
    instruments: Instruments
    topics: Mapping[tuple[str, Kind], str | Poll]
    subscribe: Commands = unspoken
    unsubscribe: Commands = unspoken
    normalize: Normalizer = UNHEARD
    market: Callable[[Instrument, Kind], str] | None = None
    only: Mapping[Kind, Sequence[str]] = {}
    book: Mapping[str, BookMethod] = {}
    intervals: Mapping[str, str] = {}
    framing: Framing | None = None
    together: Callable[[str], object] | None = None
    hello: Sequence[str] = ()
    await_ready: bool = False
    acks: bool = True
    ping: Ping | None = None
    quiet_s: float = 60.0
    limits: Limits = Limits()

    def market_of(self, instrument: Instrument, kind: Kind) -> str:
        """The market (endpoint) that carries `kind` of `instrument`; "" where none does."""
        if instrument.kind not in self.only.get(kind, (instrument.kind,)):
            return ""
        return self.market(instrument, kind) if self.market is not None else next(iter(self.endpoints))

    def kinds(self) -> list[Kind]:
        """Every kind declared, in the order of declaration."""
        return list(dict.fromkeys(kind for _, kind in self.topics))


def fill(template: str, instrument: Instrument, interval: str = "", depth: int | None = None) -> str:
    """A topic or url from its template. {kind} is the instrument's: for topics that carry all swaps, say."""
    return template.format(
        id=instrument.id,
        lower=instrument.id.lower(),
        base=instrument.base,
        quote=instrument.quote,
        kind=instrument.kind,
        interval=interval,
        depth="" if depth is None else depth,
    )
