"""`streamer sim`."""

import asyncio
import os
import sys
import threading
from contextlib import suppress

import click

from streamer.cli.common import command as new_command
from streamer.cli.common import run


@new_command("sim")
@click.argument("venues", nargs=-1, metavar="[VENUE]...")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: any that is free.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the generated market.")
@click.option("--until-stdin-closes", is_flag=True, help="End when stdin ends: so with the process that started this one.")
def command(venues: tuple[str, ...], port: int, seed: int, until_stdin_closes: bool) -> None:
    """Serve simulated exchanges on this machine, each in its own protocol, until Ctrl-C. All that are built if none is named.

    Prints a line "VENUE URL" for each once it listens; give the URL to `streamer stream --url VENUE=URL`.
    """
    run(_serve(venues, port, seed, until_stdin_closes))


async def _serve(venues: tuple[str, ...], port: int, seed: int, until_stdin_closes: bool) -> None:
    from streamer.sim import VENUES, SimServer

    server = SimServer(venues or VENUES, port=port, seed=seed)
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
