"""The recordings as the benchmarks take them: frames and REST answers of one file, in order, read before anything is timed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from streamer import registry
from streamer.recorded import instruments_in
from streamer.recording import Line, read
from streamer.spec import Feed
from streamer.types import Instrument

ROOT = Path(os.environ.get("STREAMER_RECORDINGS", Path(__file__).parent.parent.parent / "shared" / "recordings"))
FILES = {
    "binance": "cryptofeed-2", "binanceus": "cryptofeed-2", "binanceusdm": "cryptofeed-1", "coinbaseexchange": "cryptofeed-1",
    "okx": "cryptofeed-1", "bybit": "cryptofeed-3", "bitmex": "cryptofeed-1", "deribit": "cryptofeed-1", "bitfinex": "cryptofeed-1",
    "kucoin": "cryptofeed-1",
}  # fmt: skip
"""The ten of the pipeline benchmark, by exchange."""


class Step(NamedTuple):
    """A frame (`url` None) or a REST answer."""

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


def load(exchange: str) -> Recording:
    """Read a recording into memory. Raises FileNotFoundError when the recordings are not there."""
    path = ROOT / exchange / f"{FILES[exchange]}.jsonl.gz"
    lines = list(read(path))
    feed = registry.load(exchange)
    return Recording(exchange, feed, instruments_in(feed, lines), list(_steps(feed, lines)))


def _steps(feed: Feed, lines: list[Line]) -> Iterator[Step]:
    ts = 0
    for line in lines:
        ts = line.time_ns() or ts + 1
        if line.dir == "in" or (line.dir == "http" and line.url):
            yield Step(line.conn or "", line.url, line.payload(), ts, line.dir == "in")
