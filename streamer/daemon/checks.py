"""What a configuration must be beyond its form: names that exist, kinds that somebody has, addresses that can be used."""

from collections.abc import Iterator, Mapping
from typing import Any

from streamer import proxies, registry
from streamer.daemon import config
from streamer.daemon.outlet import spool_of
from streamer.daemon.patterns import pattern, problem
from streamer.daemon.read import Check
from streamer.errors import StreamerError, UsageError, nearest
from streamer.sinks.registry import make
from streamer.spec import Feed
from streamer.urls import check_base

Wrong = Iterator[tuple[str, str]]


def check_streams(group: config.Streams, path: str, document: dict[str, Any]) -> Wrong:
    """Patterns, sinks, kinds and policy of a group."""
    known = registry.available()
    bad = False
    for key in ("match", "exclude"):
        for n, text in enumerate(getattr(group, key)):
            what = problem(text, known)
            if what is not None:
                bad = bad or key == "match"
                yield f"{key}[{n}]", what
    sinks = document.get("sinks")
    names = tuple(sinks) if isinstance(sinks, dict) else ()
    for n, name in enumerate(group.sinks):
        if name not in names:
            yield f"sinks[{n}]", f"there is no [sinks.{name}]{nearest(name, names)}"
    if group.policy == "conflate" and "trade" in group.kinds:
        yield "policy", "conflate would lose trades: put them into a group of their own with another policy"
    if not bad:
        yield from _check_kinds(group, known)


def _check_kinds(group: config.Streams, known: tuple[str, ...]) -> Wrong:
    """A kind that none of the exchanges has is a mistake; one that some have not is not."""
    feeds: list[Feed] = []
    for exchange in sorted({e for text in group.match for e in pattern(text, known).exchanges(known)}):
        try:
            feeds.append(registry.load(exchange))
        except StreamerError as e:
            yield "match", str(e)
    for n, kind in enumerate(group.kinds if feeds else ()):
        if not any(kind in f.kinds() or (kind == "quote" and "book" in f.kinds()) for f in feeds):
            has = sorted({k for f in feeds for k in f.kinds()})
            yield f"kinds[{n}]", f"none of {', '.join(f.name for f in feeds)} has {kind}; there is {', '.join(has)}"
    intervals = {i: None for f in feeds for i in f.intervals}
    if "candle" in group.kinds and intervals and group.interval not in intervals:
        yield "interval", f"none of {', '.join(f.name for f in feeds)} has candles of {group.interval!r}; there are {', '.join(intervals)}"


def check_sink(sink: config.Sink, path: str, document: dict[str, Any]) -> Wrong:
    """Its type and options, as far as they can be judged without the other side."""
    try:
        make(sink.type, sink.options, called=path.removeprefix("sinks."))
    except StreamerError as e:
        yield "", str(e)
    try:
        spool_of(sink.spool)
    except UsageError as e:
        yield "spool", str(e)
    if sink.spool is not None:
        spools = {n: t.get("spool") for n, t in document["sinks"].items() if isinstance(t, dict)}
        same = [n for n, spool in spools.items() if isinstance(spool, dict) and spool.get("path") == sink.spool.path]
        if len(same) > 1:
            yield "spool.path", f"{' and '.join(same)} cannot share a folder: give each its own"


def check_exchange(exchange: config.Exchange, path: str, document: dict[str, Any]) -> Wrong:
    """Its name and url."""
    name, known = path.removeprefix("exchanges."), registry.available()
    if name not in known:
        yield "", f"there is no exchange {name!r}{nearest(name, known) or '; `streamer exchanges` lists them'}"
    elif exchange.url is not None:
        try:
            check_base(name, exchange.url)
        except UsageError as e:
            yield "url", str(e)


def address(listen: str) -> tuple[str, int] | None:
    """Host and port of `HOST:PORT`; None for nothing at all. Raises `UsageError`."""
    if not listen:
        return None
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdecimal() and int(port) < 65536):
        raise UsageError(f"{listen!r} is not HOST:PORT, like 127.0.0.1:9464 or [::1]:9464")
    return host, int(port)


def check_http(http: config.Http, path: str, document: dict[str, Any]) -> Wrong:
    """The address."""
    try:
        address(http.listen)
    except UsageError as e:
        yield "listen", str(e)


def check_network(network: config.Network, path: str, document: dict[str, Any]) -> Wrong:
    """The proxy."""
    given = [k for k in ("proxy", "proxy_env", "proxy_file") if getattr(network, k) is not None]
    if len(given) > 1:
        yield given[1], f"{given[0]} is given too: one of them is enough"
    if network.proxy is None:
        return
    try:
        if proxies.parse(network.proxy).password is not None:
            yield "proxy", 'a password does not belong into this file: write proxy_env = "VARIABLE" or proxy_file = "/path"'
    except UsageError as e:
        yield "proxy", str(e)


CHECKS: Mapping[type[config.Table], Check] = {
    config.Streams: check_streams,
    config.Sink: check_sink,
    config.Exchange: check_exchange,
    config.Http: check_http,
    config.Network: check_network,
}
