"""What the commands that read live exchanges share: their options, and following a subscription to its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

from streamer.errors import NotReady, UsageError, nearest
from streamer.types import KINDS, Kind, Status

if TYPE_CHECKING:
    from streamer.streamer import Streamer
    from streamer.subscription import Subscription

log = logging.getLogger("streamer.cli")
F = TypeVar("F", bound=Callable[..., Any])


def _kinds(ctx: click.Context, param: click.Parameter, value: str) -> tuple[Kind, ...]:
    words = [w.strip() for w in value.split(",") if w.strip()]
    for word in words:
        if word not in KINDS:
            raise click.BadParameter(f"no kind {word!r}" + (nearest(word, KINDS) or f"; one of {', '.join(KINDS)}"))
    if not words:
        raise click.BadParameter(f"no kind given; one of {', '.join(KINDS)}")
    return tuple(k for k in KINDS if k in words)


def _urls(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    for text in value:
        exchange, equals, url = text.partition("=")
        if not (equals and exchange and urlsplit(url).hostname):
            raise click.BadParameter(f"{text!r} is not like binance=http://127.0.0.1:9000/binance")
    return dict(text.split("=", 1) for text in value)


def connection_options(f: F) -> F:
    """How exchanges are reached."""
    f = click.option("--proxy", metavar="URL", help="http://, socks5:// or socks5h://; else HTTPS_PROXY, ALL_PROXY and NO_PROXY say.")(f)
    f = click.option("--transport", type=click.Choice(["picows", "websockets"]), default="picows", show_default=True, help="The socket.")(f)
    return click.option("--url", "urls", callback=_urls, multiple=True, metavar="EXCHANGE=URL", help="In place of its own hosts.")(f)


def subscription_options(f: F) -> F:
    """What is subscribed to, and for how long."""
    seconds = click.FloatRange(min=0, min_open=True)
    f = click.option(
        "--timeout",
        type=seconds,
        default=30.0,
        show_default=True,
        metavar="S",
        help="Give up if nothing comes in S seconds.",
    )(f)
    f = click.option("--duration", type=seconds, metavar="S", help="End after S seconds.")(f)
    f = click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after N ticks.")(f)
    f = click.option("--interval", default="1m", show_default=True, help="Of candles.")(f)
    f = click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Levels of a book; else all that the exchange gives.")(f)
    f = click.option("--kinds", callback=_kinds, default="trade", show_default=True, help=f"With commas, of: {', '.join(KINDS)}.")(f)
    return click.argument("streams", nargs=-1, required=True, metavar="EXCHANGE:SYMBOL...")(f)


def bases(urls: dict[str, str], exchanges: set[str]) -> dict[str, str]:
    """The urls by exchange. Raises `UsageError` for one that would have no effect."""
    for exchange in urls:
        if exchange not in exchanges:
            raise UsageError(f"--url is for {exchange!r}, but what is asked for is of {', '.join(sorted(exchanges))}")
    return urls


async def follow(
    s: "Streamer",
    sub: "Subscription",
    take: Callable[[list[Any]], Awaitable[None]],
    *,
    keep: Callable[[Any], bool] = lambda tick: True,
    limit: int | None,
    duration: float | None,
    timeout: float,
) -> None:
    """Hand what comes to `take`, until `limit` ticks that `keep` wants or `duration` seconds.

    Raises what makes waiting useless (an unknown symbol, a kind that is not there), and `NotReady` when after `timeout` seconds not
    one tick of data has come; if some streams live and some do not, that is a warning.
    """
    heard = False

    async def pump() -> None:
        nonlocal heard
        left = limit
        async for batch in sub.batches():
            heard = heard or any(not isinstance(tick, Status) for tick in batch)
            kept = [tick for tick in batch if keep(tick)][:left]
            await take(kept)
            if left is not None and (left := left - len(kept)) <= 0:
                return

    async def watch() -> None:
        try:
            await s.ready(sub, timeout)
        except NotReady as e:
            if not heard:
                raise
            log.warning("%s; waiting on", e)

    pumping, watching = asyncio.ensure_future(pump()), asyncio.ensure_future(watch())
    watching.add_done_callback(lambda task: pumping.cancel() if not task.cancelled() and task.exception() else None)
    try:
        await asyncio.wait({pumping}, timeout=duration)
        if watching.done():
            watching.result()
        if pumping.done():
            pumping.result()
    finally:
        pumping.cancel()
        watching.cancel()
        await asyncio.gather(pumping, watching, return_exceptions=True)
