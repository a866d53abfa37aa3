"""Is a `Feed` consistent in itself, and what can it prove? Every refusal names the field and the remedy."""

from collections.abc import Iterator
from string import Formatter
from urllib.parse import urlsplit

from streamer.errors import BadFeed
from streamer.rules import PROVE_NOTHING
from streamer.spec import UNHEARD, BookMethod, Endpoint, Feed, FromRest, FromStream, FullRefresh, Poll, unspoken
from streamer.types import KINDS

FIELDS = ("id", "lower", "base", "quote", "kind", "interval", "depth")
"""What a template may be filled with (`spec.fill`)."""


def check(feed: object, name: str | None = None) -> Feed:
    """The feed, or `BadFeed` for the first fault found. `name`: the name it was loaded by."""
    if not isinstance(feed, Feed):
        raise BadFeed(f"{name}: FEED is {type(feed).__name__}; it must be a streamer.spec.Feed")
    for fault in _faults(feed, name):
        raise BadFeed(f"feed {feed.name!r}: {fault}")
    return feed


def _faults(feed: Feed, name: str | None) -> Iterator[str]:
    if name is not None and feed.name != name:
        yield f"name is {feed.name!r} but it was loaded as {name!r}; make them equal"
    if not feed.endpoints:
        yield "endpoints is empty; give an address for each market"
    if len(feed.endpoints) > 1 and feed.market is None:
        yield f"endpoints has {len(feed.endpoints)} markets; give market=, which says what carries an instrument"
    if not feed.instruments.urls:
        yield "instruments.urls is empty; say where the list of instruments is"
    if not feed.topics:
        yield "topics is empty; give a template for each (market, kind)"
    yield from _address_faults(feed)
    yield from _topic_faults(feed)
    yield from _poll_faults(feed)
    yield from _book_faults(feed)
    yield from _number_faults(feed)


def _address_faults(feed: Feed) -> Iterator[str]:
    for market, endpoint in feed.endpoints.items():
        url = endpoint.url if isinstance(endpoint, Endpoint) else endpoint
        polled = all(isinstance(t, Poll) for (m, _), t in feed.topics.items() if m == market)
        if isinstance(url, str) and not polled and urlsplit(url).scheme not in ("ws", "wss"):
            yield f"endpoints[{market!r}] is {url!r}; it must begin with wss:// (or ws://)"


def _topic_faults(feed: Feed) -> Iterator[str]:
    for (market, kind), topic in feed.topics.items():
        at = f"topics[{market!r}, {kind!r}]"
        if market not in feed.endpoints:
            yield f"{at}: market {market!r} is not in endpoints ({', '.join(feed.endpoints)}); add its address"
        if kind not in KINDS:
            yield f"{at}: no such kind; one of {', '.join(KINDS)}"
        template = topic.url if isinstance(topic, Poll) else topic
        yield from _template_faults(at, template)
        fields = set(_fields(template))
        if kind == "candle" and not feed.intervals:
            yield f"{at}: candles need intervals, ccxt's to the venue's; give intervals="
        if "interval" in fields and kind != "candle":
            yield f"{at}: {{interval}} is for candles only"
        if kind == "candle" and len(feed.intervals) > 1 and "interval" not in fields:
            yield f"{at}: {len(feed.intervals)} intervals but no {{interval}} in {template!r}"
        if "depth" in fields and not (kind == "book" and _depths(feed.book.get(market))):
            yield f"{at}: {{depth}} needs a book method with depths=; give book[{market!r}] its depths"
        if kind == "book" and market not in feed.book:
            yield f"{at}: no book method for that market; give book[{market!r}], a FromStream, FromRest or FullRefresh"


def _poll_faults(feed: Feed) -> Iterator[str]:
    polls: dict[tuple[str, str], Poll] = {}
    for (market, kind), topic in feed.topics.items():
        at = f"topics[{market!r}, {kind!r}]"
        if isinstance(topic, Poll):
            if urlsplit(topic.url).scheme not in ("http", "https"):
                yield f"{at}: the url of a Poll is {topic.url!r}; it must begin with https:// (or http://)"
            if polls.setdefault((market, topic.url), topic) != topic:
                yield f"{at}: another kind asks for {topic.url!r} in another way; give both the same Poll, whose parse answers for both"
        elif UNHEARD is feed.normalize or unspoken in (feed.subscribe, feed.unsubscribe):
            yield f"{at} is no Poll: give subscribe=, unsubscribe= and normalize="


def _book_faults(feed: Feed) -> Iterator[str]:
    for market, method in feed.book.items():
        if (market, "book") not in feed.topics:
            yield f"book[{market!r}]: topics has no ({market!r}, 'book'); add the topic or take the method away"
        if isinstance(method, FromRest):
            yield from _template_faults(f"book[{market!r}].url", method.url)
        if isinstance(method, FromStream) and method.reach is not None and not method.repeats:
            yield f"book[{market!r}].reach is for snapshots that come again by themselves; set repeats=True or take it away"
        depths = list(method.depths)
        if depths != sorted(set(depths)) or any(d < 1 for d in depths):
            yield f"book[{market!r}].depths is {depths}; write them ascending, each once"


def _number_faults(feed: Feed) -> Iterator[str]:
    limits = feed.limits
    for name in ("connects", "sends", "rest"):
        many, seconds = getattr(limits, name)
        if many < 1 or seconds <= 0:
            yield f"limits.{name} is {(many, seconds)}; it is (how many, per how many seconds)"
    for name in ("topics_per_line", "topics_per_command", "frame_bytes"):
        if getattr(limits, name) < 1:
            yield f"limits.{name} must be at least 1"
    spans = {"quiet_s": feed.quiet_s, "ping.every": feed.ping.every if feed.ping else None, "limits.life_s": limits.life_s}
    spans |= {f"topics[{m!r}, {k!r}].every": t.every for (m, k), t in feed.topics.items() if isinstance(t, Poll)}
    for name, seconds in spans.items():
        if seconds is not None and seconds <= 0:
            yield f"{name} is {seconds}; it must be more than 0 seconds"


def _fields(template: str) -> list[str]:
    return [field for _, field, _, _ in Formatter().parse(template) if field is not None]


def _template_faults(at: str, template: str) -> Iterator[str]:
    try:
        strange = [f for f in _fields(template) if f not in FIELDS]
    except ValueError as e:
        yield f"{at}: {template!r} is no template ({e}); write literal braces twice"
        return
    if strange:
        yield f"{at}: {{{strange[0]}}} in {template!r} is none of {{{'} {'.join(FIELDS)}}}"


def _depths(method: BookMethod | None) -> bool:
    return method is not None and bool(method.depths)


def prove(method: BookMethod) -> str:
    """What shows a lost update: `sequence`, `checksum`, both joined by `+`, `ids` (a lost level only), `full refresh` (none can be
    lost) or `none`."""
    if isinstance(method, FullRefresh):
        return "full refresh"
    counted = isinstance(method, FromStream) and method.line_counted
    proofs = ["sequence"] if counted or method.rule not in PROVE_NOTHING else []
    if isinstance(method, FromStream) and method.checksum is not None:
        proofs.append("checksum")
    if isinstance(method, FromStream) and method.by_id:
        proofs.append("ids")
    return "+".join(proofs) or "none"


def proof(feed: Feed) -> dict[str, str]:
    """By market, what its book can prove about gaps."""
    return {market: prove(method) for market, method in feed.book.items()}
