"""What an exchange declares: a `Feed` of facts and a normalizer of pure handlers.

A handler is ``handler(message, ctx) -> answers``: ticks, or controls from a closed set. It never sees a socket, a clock, a task or a
book; the message was already decoded into a typed wire Struct. No base class, no hook to override.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Generic, NamedTuple, TypeAlias

from msgspec import Struct

from streamer.checksum import Crc32
from streamer.errors import BadNumber
from streamer.frames import Framing
from streamer.rules import Rule, unnumbered
from streamer.types import AnyTick, BookDelta, BookSnapshot, Instrument, Kind, N, Trade

BOUND: Final = 1e30
"""No price, size or volume is larger."""
WHOLE: Final = 1 << 62


class UnknownId(KeyError):
    """The venue named an instrument that its list does not hold. Costs the frame, is counted, and makes the list be read again."""


class Symbols(dict[str, Instrument]):
    """The venue's raw id to the `Instrument`."""

    def __missing__(self, raw: str) -> Instrument:
        raise UnknownId(raw)


def bounded(text: Any) -> float:
    """`float`, without nan, inf and what is out of all reason, and without what only Python calls a number (1_000, full-width digits)."""
    number = float(text)
    if not -BOUND <= number <= BOUND or (text.__class__ is str and ("_" in text or not text.isascii())):
        raise BadNumber(f"{text!s:.40} is not a number within reason")
    return number


def exact(text: Any) -> Decimal:
    """`Decimal`, without what only Python calls a number. (Whether it is within reason is checked behind the handler, all at once.)"""
    if text.__class__ is str and ("_" in text or not text.isascii()):
        raise BadNumber(f"{text!s:.40} is not a number")
    return Decimal(text)


def whole(number: Any) -> int:
    """An integer (a time, an id), as text or among numbers of the chosen type. Checked first: making one of Decimal("1e999999999") takes
    for ever."""
    if number.__class__ is str:
        number = int(number)  # which takes no more than 4300 digits
    if not -WHOLE <= number <= WHOLE:
        raise BadNumber(f"{number!s:.40} is no integer within reason")
    return int(number)


class Ctx(Generic[N]):
    """All that a handler may see besides the message.

    `exchange`; `market` of the connection; `ts_recv` (ns) of the frame; `sym` from the venue's raw id to the `Instrument` (an id
    that is not there raises `UnknownId`); `num`, which makes a number of the chosen type out of text; `mem`, free for the handlers of this
    connection and thrown away with it.
    """

    __slots__ = ("exchange", "market", "mem", "num", "sym", "ts_recv")

    def __init__(self, exchange: str, market: str, sym: Symbols, num: Callable[[Any], N]) -> None:
        self.exchange = exchange
        self.market = market
        self.sym = sym
        strict: Any = bounded if num is float else exact if num is Decimal else num
        self.num: Callable[[Any], N] = strict
        self.mem: dict[Any, Any] = {}
        self.ts_recv = 0


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
Handler: TypeAlias = Callable[[Any, Ctx[Any]], Out[Any]]


class On(NamedTuple):
    """A wire type and the function that reads it."""

    wire: Any
    handle: Callable[..., Any]


def on(wire: Any, handle: Callable[..., Any]) -> On:
    """Decode into `wire` (generic wire types get the number type filled in) and hand the message to `handle`."""
    return On(wire, handle)


class Instruments(Struct, frozen=True):
    """Where the list of instruments is, and ``parse(message, ctx) -> instruments``, called once for each url's answer.

    `more`: where the list comes in pages, ``more(plain JSON of an answer, its url)`` gives the next page's url, or None.
    """

    urls: Sequence[str]
    parse: On
    more: Callable[[Any, str], str | None] | None = None


class FromStream(Struct, frozen=True):
    """The book's snapshot comes in the stream, after subscribing.

    `depths`: those that the venue offers, ascending; empty if there is no choice. `truncate`: the venue counts on us to cut the book
    to the subscribed depth. `line_counted`: the venue counts all messages of a connection, and a hole is answered with `Restart`.
    `repeats`: snapshots come again and again, unasked and maybe late; each replaces the book, and later deltas are applied to it once more.
    `reach`, for those: snapshots and deltas tell of so many levels a side, the best, and what lies beyond is not known.
    `by_id`: levels have ids, and a change of one that is not there is answered with `Broken`.
    """

    rule: Rule = unnumbered
    checksum: Crc32 | None = None
    depths: Sequence[int] = ()
    truncate: bool = False
    line_counted: bool = False
    repeats: bool = False
    reach: int | None = None
    by_id: bool = False
    grace_s: float = 1.0


class FromRest(Struct, frozen=True):
    """The snapshot comes by REST: `url` is a template ({id} {lower} {base} {quote} {depth}), `parse` ``(message, ctx, instrument)``
    to a `BookSnapshot`. `weight` counts against `Limits.rest`; `delay` seconds pass between the first delta held and the request. `reach`:
    it has so many levels a side at most, and what lies beyond is not known; when half of them are gone another is asked for."""

    url: str
    parse: On
    rule: Rule
    weight: int = 1
    delay: float = 0.0
    depths: Sequence[int] = ()
    grace_s: float = 1.0
    reach: int | None = None


class FromRequest(Struct, frozen=True):
    """The snapshot is asked for on the same socket: ``request(topic, n) -> frame``; its answer comes like any message. Deltas are held
    until then."""

    request: Callable[[str, int], str]
    rule: Rule
    depths: Sequence[int] = ()
    grace_s: float = 1.0


class FullRefresh(Struct, frozen=True):
    """Every message is the whole book (to its depth): nothing to sequence."""

    depths: Sequence[int] = ()
    grace_s: float = 1.0


BookMethod: TypeAlias = FromStream | FromRest | FromRequest | FullRefresh


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


Decode: TypeAlias = Callable[[bytes, Ctx[Any]], Out[Any]]
"""A compiled normalizer: one message's bytes to its answers. Raises `BadFrame`; a KeyError means an unknown symbol."""


class Normalizer(Struct, frozen=True):
    """How messages are told apart: see `streamer.decode.union` and `keyed`. `compile(number type)` gives the `Decode`."""

    compile: Callable[[type[float] | type[Decimal]], Decode]
    handlers: Sequence[On]


def _unheard(num: type[float] | type[Decimal]) -> Decode:
    return lambda data, ctx: Unknown("message")


UNHEARD: Final = Normalizer(_unheard, ())
"""That of a venue that is only polled."""


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
