"""The peers, measured on the same frames in the same minutes: see `columns`. `make bench-peers` installs them.

Each runs in an environment of its own, in one process that stays for all rounds and is asked for one at a time over stdin (see `driver`).
"""

import atexit
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from bench.peers.export import export

HERE = Path(__file__).parent
PYTHON = HERE / ".venv" / "bin" / "python"
NEWER = HERE / ".venv3" / "bin" / "python"
"""For cryptofeed 3, which needs Python 3.13: there only if `make bench-peers` found one."""
MODULES = HERE / "node_modules"


class Driver:
    """One peer's process, started when it is first asked."""

    def __init__(self, *command: str) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None

    def ask(self, what: Mapping[str, Any]) -> dict[str, Any]:
        """One round."""
        if self._process is None:
            command = [*self._command, str(frames())]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
            atexit.register(self.close)
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(what) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self._command)} died on {what}; what it said is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(10)


@cache
def frames() -> Path:
    """Where the recordings are written for them, until this process ends; never inside the repository."""
    folder = tempfile.TemporaryDirectory(prefix="streamer-bench-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@cache
def exported(exchange: str) -> Path:
    """A recording, written once."""
    export(exchange, frames())
    return frames()


class Column(NamedTuple):
    """A peer in one mode. `does`: what it does and does not do, beside ours."""

    key: str
    title: str
    does: str
    driver: Driver
    mode: str

    def round(self, exchange: str) -> dict[str, Any]:
        """One round over a recording: `cpu_ns`, `messages`, `events`, `books`, `errors`, `base_ns`; or `skip`."""
        exported(exchange)
        return self.driver.ask({"exchange": exchange, "mode": self.mode})


CRYPTOFEED = (
    "2.4, Decimal, book in C; checks sequences on binance*, kucoin, deribit, bitfinex, not on bybit, and lost levels not on bitmex; "
    "looks for no crossed book; an awaited callback for each event; speaks another protocol of coinbase"
)
CRYPTOFEED3 = (
    "Decimal, book in C; checks sequences on binance*, deribit, bitfinex, not on bybit, and on okx by numbers that its recording lacks; "
    "knows no checksum of okx (bitfinex's recording has none); reads the best bid and ask of each book update by itself, tells a crossed "
    "book like any other; an awaited callback for each event; has no bitmex, speaks another protocol of coinbase and kucoin"
)
BEST = "its user reads the best bid and ask of each book update"
CHECKED = "and okx's checksums are compared, as ours always are"
CCXT = (
    "4.5, float; checks sequences on binance*, elsewhere not (okx's and bitfinex's recordings lack what it checks); its watch calls, "
    "one task a symbol and kind, and the loop turns after each frame; has no websocket of bitmex"
)
BURSTS = "the loop turns after 16 frames, as with ours; it then tells one book update for several"
TARDIS = (
    "13, Node, float; checks the first delta on binance* and kucoin, later ones nowhere, and no checksums; a function for each event; "
    "its user reads the best bid; leaves aggregated trades, candles and kucoin's empty deltas out"
)


def columns() -> list[Column]:
    """The peers that are installed, in every mode; none is no error."""
    found: list[Column] = []
    if PYTHON.exists():
        cryptofeed = Driver(str(PYTHON), str(HERE / "cryptofeed_pipeline.py"))
        ccxt = Driver(str(PYTHON), str(HERE / "ccxt_pipeline.py"))
        found += [
            Column("cryptofeed", "cryptofeed", CRYPTOFEED, cryptofeed, "plain"),
            Column("cryptofeed_best", "cryptofeed, best", BEST, cryptofeed, "best"),
            Column("cryptofeed_checked", "cryptofeed, checked", CHECKED, cryptofeed, "checked"),
            Column("ccxt", "ccxt.pro", CCXT, ccxt, "each"),
            Column("ccxt_burst", "ccxt.pro, bursts", BURSTS, ccxt, "burst"),
        ]
    if NEWER.exists():
        cryptofeed3 = Driver(str(NEWER), str(HERE / "cryptofeed3_pipeline.py"))
        does = f"3, on Python {minor(NEWER)} while ours runs on {sys.version_info[0]}.{sys.version_info[1]}; {CRYPTOFEED3}"
        found.append(Column("cryptofeed3", "cryptofeed 3", does, cryptofeed3, "plain"))
    if MODULES.exists():
        tardis = Driver("node", "--expose-gc", str(HERE / "tardis_pipeline.mjs"))
        found += [
            Column("tardis", "tardis-dev", TARDIS, tardis, "callback"),
            Column("tardis_iterator", "tardis, iterator", "through its own async generator, as its streams come", tardis, "iterator"),
        ]
    return found


def minor(python: Path) -> str:
    """Which Python an environment has."""
    return next(python.parent.parent.glob("lib/python3.*")).name.removeprefix("python")


def aiokafka() -> Driver | None:
    """The other producer, if it is installed."""
    there = next(HERE.glob(".venv/lib/python*/site-packages/aiokafka"), None)
    return Driver(str(PYTHON), str(HERE / "aiokafka_producer.py")) if there else None
