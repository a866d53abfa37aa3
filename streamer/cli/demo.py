"""`streamer demo`."""

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any

import click

from streamer.cli.common import colored, run
from streamer.cli.common import command as new_command

if TYPE_CHECKING:
    from streamer.cli.child import SimProcess
    from streamer.streamer import Streamer

log = logging.getLogger("streamer.cli")
VENUES = ("binance", "binanceus", "kraken", "okx")
LIKED = ("BTC/USDT", "BTC/USD", "ETH/USDT", "ETH/USD")
EACH = 2
"""Symbols of a venue."""


@new_command("demo")
@click.option("--plain", is_flag=True, help="One line for each tick; so by itself when stdout is no terminal.")
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), metavar="S", help="End after S seconds.")
@click.option("--venues", default=",".join(VENUES), show_default=True, help="With commas.")
def command(plain: bool, duration: float | None, venues: str) -> None:
    """Watch simulated exchanges: their trades and live books, through real sockets, until Ctrl-C. Needs no network.

    The simulation (`streamer sim`) is a process of its own. Kill it, and see the books go stale at once and come back by themselves.
    """
    from streamer.registry import load

    names = tuple(v.strip() for v in venues.split(",") if v.strip())
    for name in names:
        load(name)
    run(_demo(names, plain or not sys.stdout.isatty(), duration))


async def _demo(venues: tuple[str, ...], plain: bool, duration: float | None) -> None:
    from streamer.cli.child import SimProcess
    from streamer.streamer import Streamer

    sim = SimProcess(venues)
    try:
        await sim.start()
        keeper = asyncio.ensure_future(sim.keep_alive())
        try:
            async with Streamer(urls=sim.urls, cache=None) as s:
                streams = [stream for venue in venues for stream in await _streams(s, venue)]
                await (_lines(s, streams, duration) if plain else _screen(s, streams, duration, sim))
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
    finally:
        await sim.stop()


async def _streams(s: "Streamer", venue: str) -> list[str]:
    have = {i.symbol for i in await s.instruments(venue)}
    return [f"{venue}:{symbol}" for symbol in [*(x for x in LIKED if x in have), *sorted(have - {*LIKED})][:EACH]]


async def _lines(s: "Streamer", streams: list[str], duration: float | None) -> None:
    from streamer.cli.live import follow
    from streamer.cli.stdout import Stdout
    from streamer.output import Pretty

    sub = s.subscribe(*streams, kinds=("trade", "book"))
    fmt, out = Pretty(colored()), Stdout()

    async def take(ticks: list[Any]) -> None:
        await out.write(fmt.lines(ticks))

    try:
        await follow(s, sub, take, limit=None, duration=duration, timeout=30.0)
    finally:
        out.close()
        log.info("%d ticks of %d streams; dropped: %d", sub.delivered, len(streams), sub.dropped)


async def _screen(s: "Streamer", streams: list[str], duration: float | None, sim: "SimProcess") -> None:
    from streamer.cli.live import follow
    from streamer.cli.screen import Board, draw

    sub = s.subscribe(*streams, kinds=("trade", "book"))
    board = Board(s, streams, sim)

    async def take(ticks: list[Any]) -> None:
        board.take(ticks)

    drawing = asyncio.ensure_future(draw(board))
    try:
        await follow(s, sub, take, limit=None, duration=duration, timeout=30.0)
    finally:
        drawing.cancel()
        await asyncio.gather(drawing, return_exceptions=True)
