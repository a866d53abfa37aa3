"""The recordings as the benchmarks take them: frames and REST snapshots of one file, in order, read before anything is timed.

The lists of instruments are read before, too, and are no steps: nobody parses them while frames flow, so the baseline must not either (in
okx's recording they are six times its frames).
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from streamer import registry
from streamer.recorded import _id_in, instruments_in
from streamer.recording import Line, read
from streamer.spec import Feed, FromRest
from streamer.types import Instrument

ROOT = Path(os.environ.get("STREAMER_RECORDINGS", Path(__file__).parent.parent.parent / "shared" / "recordings"))
FILES = {
    "binance": "cryptofeed-2", "binanceus": "cryptofeed-2", "binanceusdm": "cryptofeed-1", "coinbaseexchange": "cryptofeed-1",
    "okx": "cryptofeed-1", "bybit": "cryptofeed-3", "bitmex": "cryptofeed-1", "deribit": "cryptofeed-1", "bitfinex": "cryptofeed-1",
    "kucoin": "cryptofeed-1",
}  # fmt: skip
"""The ten of the pipeline benchmark, by exchange."""


class Step(NamedTuple):
    """A frame, or the REST answer with a book's snapshot."""

    line: str
    url: str | None
    data: bytes
    ts: int
    frame: bool


class Recording(NamedTuple):
    """One file, ready to run."""

    exchange: str
    feed: Feed
    instruments: list[Instrument]
    steps: list[Step]
    lists: list[Line]
    """The REST answers that are no steps."""


def load(exchange: str) -> Recording:
    """Read a recording into memory. Raises FileNotFoundError when the recordings are not there."""
    path = ROOT / exchange / f"{FILES[exchange]}.jsonl.gz"
    lines = list(read(path))
    feed = registry.load(exchange)
    lists = [line for line in lines if line.dir == "http" and not _is_snapshot(feed, line)]
    return Recording(exchange, feed, instruments_in(feed, lines), list(_steps(feed, lines)), lists)


def _is_snapshot(feed: Feed, line: Line) -> bool:
    return any(isinstance(m, FromRest) and _id_in(m.url, line.url or "") is not None for m in feed.book.values())


def _steps(feed: Feed, lines: list[Line]) -> Iterator[Step]:
    ts = 0
    for line in lines:
        ts = line.time_ns() or ts + 1
        if line.dir == "in" or (line.dir == "http" and _is_snapshot(feed, line)):
            yield Step(line.conn or "", line.url, line.payload(), ts, line.dir == "in")
