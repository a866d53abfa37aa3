"""Addresses: a user's base url in place of a venue's own hosts."""

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from msgspec.structs import replace

from streamer.errors import UsageError
from streamer.spec import Endpoint, EndpointOf, Feed, FromRest, Poll

_WS = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_HTTP = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def check_base(exchange: str, base: str) -> None:
    """Raise `UsageError` unless `base` is a secure address, or a plain one on this machine."""
    try:
        parts = urlsplit(base)
        known = parts.scheme in _WS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        known = False
    if not known:
        raise UsageError(f"the url given for {exchange} is {base!r}: give one like https://host/path or ws://127.0.0.1:9000/{exchange}")
    if parts.scheme in ("http", "ws") and parts.hostname not in _LOOPBACK:
        raise UsageError(f"the url given for {exchange} is not encrypted ({base!r}): use https or wss, or an address on this machine")


def rebase(url: str, base: str) -> str:
    """`url` with the scheme, host and path prefix of `base`: its own path and query stay, and ws stays ws, http http."""
    own, new = urlsplit(url), urlsplit(base)
    scheme = _WS[new.scheme] if own.scheme in ("ws", "wss") else _HTTP[new.scheme]
    return urlunsplit((scheme, new.netloc, new.path.rstrip("/") + own.path, own.query, ""))


def rebase_feed(feed: Feed, base: str) -> Feed:
    """The feed with all its addresses below `base`. Endpoints that are functions fetch their token from there and are rebased after."""
    check_base(feed.name, base)
    return replace(
        feed,
        endpoints={m: _rebase_static(e, base) for m, e in feed.endpoints.items()},
        instruments=replace(feed.instruments, urls=[rebase(u, base) for u in feed.instruments.urls]),
        book={m: replace(b, url=rebase(b.url, base)) if isinstance(b, FromRest) else b for m, b in feed.book.items()},
        topics={k: replace(t, url=rebase(t.url, base)) if isinstance(t, Poll) else t for k, t in feed.topics.items()},
    )


def _rebase_static(endpoint: EndpointOf, base: str) -> EndpointOf:
    if isinstance(endpoint, Endpoint):
        return rebase_endpoint(endpoint, base)
    return rebase(endpoint, base) if isinstance(endpoint, str) else endpoint


def rebase_endpoint(endpoint: Endpoint, base: str | None) -> Endpoint:
    """An endpoint that a function made, moved below `base` when one was given."""
    return endpoint if base is None else replace(endpoint, url=rebase(endpoint.url, base))


def market_of_url(feed: Feed, url: str | None) -> str:
    """Which of the feed's markets an address belongs to, for recordings: the same path counts most, then the same host."""
    wanted = urlsplit(url or "")

    def likeness(endpoint: object) -> tuple[bool, bool]:
        own = urlsplit(endpoint.url if isinstance(endpoint, Endpoint) else endpoint if isinstance(endpoint, str) else "")
        return own.path.rstrip("/") == wanted.path.rstrip("/"), own.hostname == wanted.hostname

    endpoints: Mapping[str, object] = feed.endpoints
    return max(endpoints, key=lambda m: likeness(endpoints[m]))
