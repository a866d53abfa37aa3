"""`streamer replay`."""

import sys
from pathlib import Path
from typing import Any

import click

from streamer.cli.common import colored, note
from streamer.cli.common import command as new_command
from streamer.output import FORMATS, formatter
from streamer.types import Tick

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@new_command("replay")
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option("--exchange", metavar="ID", help="For recordings whose lines do not name it.")
@click.option("--instruments", type=FILE, metavar="FILE", help="Another recording that holds the list of instruments.")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="ndjson", show_default=True, help="Of the lines on stdout.")
@click.option("--numbers", type=click.Choice(["float", "decimal"]), default="float", show_default=True, help="decimal: exact digits.")
@click.option("--sizes", type=click.Choice(["base", "venue"]), default="base", show_default=True, help="Base currency, or as the exchange.")
@click.option("--speed", type=click.FloatRange(min=0), default=0.0, show_default=True, help="1: as it was; 10: ten times; 0: at once.")
def command(
    files: tuple[Path, ...], exchange: str | None, instruments: Path | None, format_: Any, numbers: Any, sizes: str, speed: float
) -> None:
    """Push recordings through the same framing, normalizers and books as live frames. The same input gives the same bytes.

    Ends with a summary on stderr: frames, ticks, what was not understood, stale books.
    """
    from streamer.replay import replay

    fmt = formatter(format_, color=colored())
    out = sys.stdout.buffer

    def write(ticks: list[Tick[Any]]) -> None:
        out.write(fmt.lines(ticks))
        if speed:
            out.flush()

    out.write(fmt.head())
    summary = replay(files, exchange=exchange, instruments=instruments, numbers=numbers, sizes=sizes, speed=speed, write=write)
    out.flush()
    for line in summary.lines():
        note(line)
