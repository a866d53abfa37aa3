"""`streamer stream`."""

import logging
from typing import Any, get_args

import click

from streamer.cli.common import colored, note, run
from streamer.cli.common import command as new_command
from streamer.cli.live import bases, connection_options, follow, log, subscription_options
from streamer.mailbox import Policy
from streamer.output import FORMATS, Formatter, Pretty, formatter
from streamer.symbols import split
from streamer.types import Status


@new_command("stream")
@subscription_options
@connection_options
@click.option("--format", "format_", type=click.Choice(FORMATS), default="ndjson", show_default=True, help="Of the lines on stdout.")
@click.option("--numbers", type=click.Choice(["float", "decimal"]), default="float", show_default=True, help="decimal: exact digits.")
@click.option("--sizes", type=click.Choice(["base", "venue"]), default="base", show_default=True, help="Base currency, or as the exchange.")
@click.option(
    "--policy", type=click.Choice([p for p in get_args(Policy) if p != "block"]), default="drop_oldest", show_default=True,
    help="When stdout is slower than the market.",
)  # fmt: skip
def command(
    streams: tuple[str, ...], kinds: Any, depth: int | None, interval: str, format_: Any, policy: Any, limit: int | None,
    duration: float | None, timeout: float, numbers: Any, sizes: str, transport: str, proxy: str | None, urls: Any,
) -> None:  # fmt: skip
    """Live ticks, one a line, until Ctrl-C.

    Besides data a stream brings its health: status, gap, book_stale.
    """
    options = {"numbers": numbers, "sizes": sizes, "transport": transport, "proxy": proxy}
    options["urls"] = bases(urls, {split(stream)[0] for stream in streams})
    how = {"kinds": kinds, "depth": depth, "interval": interval, "policy": policy}
    fmt = formatter(format_, kinds, color=colored())
    run(_stream(options, streams, how, fmt, {"limit": limit, "duration": duration, "timeout": timeout}))


async def _stream(options: Any, streams: tuple[str, ...], how: dict[str, Any], fmt: Formatter, until: dict[str, Any]) -> None:
    from streamer.cli.stdout import Stdout
    from streamer.streamer import Streamer

    aside = Pretty()

    def keep(tick: Any) -> bool:
        if not fmt.aside(tick):
            return True
        level = logging.INFO if isinstance(tick, Status) and tick.state in ("live", "connecting") else logging.WARNING
        log.log(level, "%s", aside.lines([tick]).decode().strip())
        return False

    async def take(ticks: list[Any]) -> None:
        await out.write(fmt.lines(ticks))

    async with Streamer(**options) as s:
        sub = s.subscribe(*streams, **how)
        out = Stdout()
        try:
            await out.write(fmt.head())
            await follow(s, sub, take, keep=keep, **until)
        finally:
            out.close()
    if sub.dropped:
        note(f"{sub.dropped} ticks were dropped because stdout was too slow")
