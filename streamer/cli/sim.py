"""`streamer sim`."""

import asyncio
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from streamer.cli.common import command as new_command
from streamer.cli.common import run


def _by_venue(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    for text in value:
        venue, equals, what = text.partition("=")
        if not (venue and equals and what):
            raise click.BadParameter(f"{text!r} is not like VENUE={param.metavar.partition('=')[2] if param.metavar else 'WHAT'}")
    return dict(text.split("=", 1) for text in value)


@new_command("sim")
@click.argument("venues", nargs=-1, metavar="[VENUE]...")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: any that is free.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the generated market.")
@click.option("--rate", type=click.FloatRange(0.01, 1000), default=20.0, show_default=True, help="Steps a second of each market.")
@click.option("--symbols", type=click.IntRange(0, 10_000), default=0, show_default=True, help="So many more made-up pairs.")
@click.option("--fault", "faults", callback=_by_venue, multiple=True, metavar="VENUE=FAULT", help="skip_delta, bad_checksum or mute:KIND.")
@click.option("--recording", "recordings", callback=_by_venue, multiple=True, metavar="VENUE=FILE", help="In place of a generated market.")
@click.option("--until-stdin-closes", is_flag=True, help="End when stdin ends: so with the process that started this one.")
def command(venues: tuple[str, ...], until_stdin_closes: bool, recordings: dict[str, str], **how: Any) -> None:
    """Serve simulated exchanges on this machine, each in its own protocol, until Ctrl-C. All that are built if none is named.

    Prints a line "VENUE URL" for each once it listens; give the URL to `streamer stream --url VENUE=URL`.
    """
    run(_serve(venues, until_stdin_closes, recordings={venue: Path(name) for venue, name in recordings.items()}, **how))


async def _serve(venues: tuple[str, ...], until_stdin_closes: bool, **how: Any) -> None:
    from streamer.sim import VENUES, SimServer

    server = SimServer(venues or VENUES, **how)
    await server.start()
    try:
        for venue in venues or VENUES:
            click.echo(f"{venue} {server.url(venue)}")
        sys.stdout.flush()
        await (_stdin_closed() if until_stdin_closes else asyncio.Event().wait())
    finally:
        await server.stop()


async def _stdin_closed() -> None:
    """Read stdin away, in a thread: pipes, files and terminals alike."""
    loop, closed = asyncio.get_running_loop(), asyncio.Event()

    def read() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(closed.set)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    await closed.wait()
