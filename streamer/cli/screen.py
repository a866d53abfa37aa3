"""The screen of `streamer demo`: a live ladder for each book, the latest trades, and what is stale in red."""

import asyncio
from collections import deque
from typing import Any

from rich.columns import Columns
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streamer.cli.child import SimProcess
from streamer.output import clock, number
from streamer.streamer import Streamer
from streamer.types import BookSnapshot, BookStale, Status, Trade

LEVELS = 5
TRADES = 8
FRAMES_PER_S = 8
BAR = 10


class Board:
    """What the screen knows. It asks the streamer for its books, and remembers from the ticks why one is not there."""

    def __init__(self, s: Streamer, streams: list[str], sim: SimProcess) -> None:
        self._s = s
        self._sim = sim
        self._streams = streams
        self._why = dict.fromkeys(streams, "waiting for its snapshot")
        self._trades: deque[Trade[Any]] = deque(maxlen=TRADES)
        self.ticks = 0

    def take(self, ticks: list[Any]) -> None:
        """News."""
        self.ticks += len(ticks)
        for tick in ticks:
            stream = f"{tick.exchange}:{tick.symbol}"
            if isinstance(tick, Trade):
                self._trades.append(tick)
            elif isinstance(tick, BookStale):
                self._why[stream] = tick.reason
            elif isinstance(tick, BookSnapshot):
                self._why.pop(stream, None)
            elif isinstance(tick, Status) and stream in self._why and tick.reason:
                self._why[stream] = f"{tick.state}: {tick.reason}"

    def render(self) -> Group:
        """The whole screen, from the state of now."""
        panels = [self._panel(stream) for stream in self._streams]
        sim = f"simulation: pid {self._sim.pid}, started again {self._sim.restarts} times"
        head = Text(f"{self.ticks:,} ticks   {sim}   Ctrl-C ends", style="dim")
        return Group(head, Columns(panels), Panel(self._tape(), title="trades", width=76))

    def _panel(self, stream: str) -> Panel:
        book = self._s.book(stream)
        if book is None:
            why = self._why.get(stream, "not live")
            return Panel(Text(f"STALE\n{why}", style="bold red", justify="center"), title=stream, border_style="red", width=38)
        bids, asks = book.top(LEVELS)
        most = max([float(size) for _, size in bids + asks], default=1.0) or 1.0
        table = Table.grid(padding=(0, 1))
        for _ in range(2):
            table.add_column(justify="right", min_width=11)
        table.add_column(width=BAR)
        for style, levels in (("red", reversed(asks)), ("green", bids)):
            for price, size in levels:
                table.add_row(Text(number(price), style=style), number(size), Text("█" * round(BAR * float(size) / most), style=style))
        return Panel(table, title=f"{stream} LIVE", subtitle=f"{book.age:.1f} s", border_style="green", width=38)

    def _tape(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for t in reversed(self._trades):
            side = Text(t.side or "?", style="green" if t.side == "buy" else "red")
            table.add_row(clock(t.ts_recv), t.exchange, t.symbol, side, number(t.price), number(t.size))
        return table


async def draw(board: Board) -> None:
    """Draw until cancelled. A terminal that is slow (or stopped with Ctrl-S) holds up a thread only, not the sockets."""
    with Live(screen=True, auto_refresh=False) as live:
        while True:
            live.update(board.render())
            await asyncio.to_thread(live.refresh)
            await asyncio.sleep(1 / FRAMES_PER_S)
