"""What a subscription wants of a venue, and which of the venue's topics that is."""

from msgspec import Struct

from streamer.errors import UnsupportedKind, UsageError
from streamer.spec import Feed, Poll, fill
from streamer.types import Instrument, Kind


class Want(Struct, frozen=True):
    """One stream. `depth` None: as deep as the venue goes."""

    exchange: str
    symbol: str
    kind: Kind
    interval: str = ""
    depth: int | None = None


class Plan(Struct, frozen=True):
    """The topic that feeds it: `text` in the venue's words, on the connections of `market`; `depth` is the one subscribed.

    `poll`: it is asked for over REST, and `text` is its url.
    """

    market: str
    text: str
    depth: int | None
    poll: Poll | None = None


def plan(feed: Feed, instrument: Instrument, want: Want) -> Plan | None:
    """The topic of a want; None when it is to be cut from the book. Raises `UsageError` with the remedy."""
    market = feed.market_of(instrument, want.kind)
    template = feed.topics.get((market, want.kind))
    if template is None:
        if want.kind == "quote" and (feed.market_of(instrument, "book"), "book") in feed.topics:
            return None
        has = ", ".join(k for k in feed.kinds() if (feed.market_of(instrument, k), k) in feed.topics)
        raise UnsupportedKind(f"{feed.name} has no {want.kind} for {want.symbol}; it has {has}")
    poll = template if isinstance(template, Poll) else None
    interval = _interval(feed, want.interval) if want.kind == "candle" else ""
    depth = _depth(feed, market, want.depth) if want.kind == "book" else None
    return Plan(market, fill(template if isinstance(template, str) else template.url, instrument, interval, depth), depth, poll)


def _interval(feed: Feed, asked: str) -> str:
    interval = feed.intervals.get(asked)
    if interval is None:
        raise UsageError(f"{feed.name} has no candles of {asked!r}; it has {', '.join(feed.intervals)}")
    return interval


def _depth(feed: Feed, market: str, asked: int | None) -> int | None:
    """The least depth on offer that is deep enough; the deepest for None."""
    method = feed.book.get(market)
    depths = method.depths if method is not None else ()
    if not depths:
        return None
    return depths[-1] if asked is None else next((d for d in depths if d >= asked), depths[-1])
