"""`streamer symbols`."""

import fnmatch
from typing import Any

import click

from streamer.cli.common import command as new_command
from streamer.cli.common import note, run
from streamer.cli.live import bases, connection_options
from streamer.errors import UnknownSymbol, nearest
from streamer.output import Ndjson
from streamer.types import Instrument


@new_command("symbols")
@click.argument("exchange")
@click.argument("glob", default="*")
@click.option("--all", "everything", is_flag=True, help="Also what is listed but not trading.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@connection_options
def command(exchange: str, glob: str, everything: bool, as_json: bool, transport: str, proxy: str | None, urls: Any) -> None:
    """What an exchange trades: symbol, the exchange's own id, kind, price step, size step.

    GLOB matches the symbol or the exchange's own id, upper or lower case, like 'BTC/*' (in quotes, for the shell).
    """
    found: list[Instrument] = []
    run(_load(exchange, {"transport": transport, "proxy": proxy, "urls": bases(urls, {exchange})}, found))
    shown = [i for i in found if (i.active or everything) and _matches(i, glob)]
    if not shown:
        hint = nearest(glob, [i.symbol for i in found]) or "; without GLOB all are listed"
        raise UnknownSymbol(f"no symbol of {exchange} is like {glob!r}{hint}")
    if as_json:
        click.echo(Ndjson().lines(shown), nl=False)
        return
    widths = [max(map(len, column)) for column in zip(*map(_cells, shown), strict=True)]
    for instrument in shown:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(_cells(instrument), widths, strict=True)).rstrip())
    note(f"{len(shown)} of {len(found)} symbols of {exchange}")


async def _load(exchange: str, options: dict[str, Any], found: list[Instrument]) -> None:
    from streamer.streamer import Streamer

    async with Streamer(**options) as s:
        found += await s.instruments(exchange)


def _matches(i: Instrument, glob: str) -> bool:
    return any(fnmatch.fnmatchcase(name.upper(), glob.upper()) for name in (i.symbol, i.id))


def _cells(i: Instrument) -> tuple[str, ...]:
    unit = f"{i.contract_size} a contract" if i.contract_size is not None else ""
    steps = ["-" if step is None else f"{step:f}" for step in (i.price_step, i.size_step)]
    return i.symbol, i.id, i.kind, *steps, unit, "" if i.active else "inactive"
