"""What was captured of real exchanges: ../shared/recordings, or $STREAMER_RECORDINGS. A test that wants what is not there is skipped.

A capture is named as `okx/cryptofeed-1`.
"""

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from streamer.recording import Line, read
from streamer.replay import Replayer

ROOT = Path(os.environ.get("STREAMER_RECORDINGS", Path(__file__).parents[2] / "shared" / "recordings"))


def capture(name: str) -> Path:
    """Its file."""
    path = ROOT / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is not there; STREAMER_RECORDINGS says where recordings are")
    return path


def recorded(name: str) -> list[Line]:
    """Its lines."""
    return list(read(capture(name)))


def rows(name: str) -> list[dict[str, Any]]:
    """Its lines as plain JSON, read without our code."""
    with gzip.open(capture(name), "rt") as file:
        return [json.loads(row) for row in file]


def replayed(exchange: str, lines: Sequence[Line], **how: Any) -> tuple[list[Any], Replayer]:
    """The ticks of these lines, and the replayer as it then is."""
    replayer = Replayer(lambda: lines, exchange=exchange, **how)
    return [tick for line in lines for tick in replayer.feed(line)], replayer
