"""The sessions in tests/exchanges/<id>/*.jsonl: our own, shaped after the venues' documents. What the generic tests need of them.

An `out` line that we wrote says what the feed was asked for: `verb`, `n` and `topics`. `<name>.expected.jsonl` holds the ticks that must
come of it, exact numbers in base units; `python -m tests.sessions` writes it anew, and the difference is read before it is committed.
"""

import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from streamer.recording import Line, read

from streamer import registry
from streamer.encode import encode
from streamer.replay import Replayer, Summary
from streamer.spec import Feed
from streamer.types import Tick

ROOT = Path(__file__).parent / "exchanges"



def paths() -> list[Path]:
    """Every session, of every exchange."""
    return sorted(p for p in ROOT.glob("*/*.jsonl") if not p.name.endswith(".expected.jsonl"))


def name(path: Path) -> str:
    """`binance/session`."""
    return f"{path.parent.name}/{path.stem}"


@cache
def lines(path: Path) -> tuple[Line, ...]:
    """The lines of a session."""
    return tuple(read(path))


@cache
def feed(path: Path) -> Feed:
    """The feed that a session is for."""
    return registry.load(path.parent.name)


def run(path: Path, taken: Iterable[Line] | None = None, **how: Any) -> tuple[list[Tick[Any]], Summary, Replayer]:
    """Replay a session, or these lines of it."""
    replayer = Replayer(lambda: lines(path), exchange=path.parent.name, **how)
    ticks = [t for line in (lines(path) if taken is None else taken) for t in replayer.feed(line)]
    return ticks, replayer.summary(), replayer


def expected(path: Path) -> Path:
    """Where the expected ticks are."""
    return path.with_suffix(".expected.jsonl")


def commands(path: Path) -> list[dict[str, Any]]:
    """The `out` lines with what we noted beside them."""
    rows = [orjson.loads(row) for row in path.read_bytes().splitlines()]
    return [row for row in rows if row["dir"] == "out"]


if __name__ == "__main__":
    for session in paths():
        if len(sys.argv) < 2 or session.parent.name in sys.argv[1:]:
            ticks, summary, _ = run(session, numbers="decimal")
            expected(session).write_bytes(b"".join(encode(t) + b"\n" for t in ticks))
            print(name(session), *summary.lines(), sep="\n  ")
