"""`streamer record`."""

import contextlib
from pathlib import Path
from typing import Any

import click

from streamer.cli.common import command as new_command
from streamer.cli.common import note, run
from streamer.cli.live import bases, connection_options, follow, subscription_options
from streamer.symbols import split


@new_command("record")
@subscription_options
@connection_options
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE", help="Compressed if it ends in .gz."
)
def command(
    streams: tuple[str, ...], kinds: Any, depth: int | None, interval: str, limit: int | None, duration: float | None, timeout: float,
    transport: str, proxy: str | None, urls: dict[str, str], output: Path,
) -> None:  # fmt: skip
    """Write raw frames, commands and REST answers to FILE, one JSON object a line, for `streamer replay`. Until Ctrl-C."""
    options = {"transport": transport, "proxy": proxy, "urls": bases(urls, {split(stream)[0] for stream in streams})}
    until = {"limit": limit, "duration": duration, "timeout": timeout}
    run(_record(options, streams, {"kinds": kinds, "depth": depth, "interval": interval}, until, output))


async def _record(options: dict[str, Any], streams: tuple[str, ...], how: dict[str, Any], until: dict[str, Any], output: Path) -> None:
    from streamer.recording import Writer
    from streamer.streamer import Streamer

    async def take(ticks: list[Any]) -> None:
        """The recorder has the frames already; the ticks only count."""

    # without the cache: what it knows of the instruments would be missing from the file
    with contextlib.closing(Writer(output)) as writer:
        async with Streamer(**options, recorder=writer, cache=None) as s:
            sub = s.subscribe(*streams, **how)
            try:
                await follow(s, sub, take, **until)
            finally:
                note(f"{sub.delivered} ticks' frames are in {output}")
