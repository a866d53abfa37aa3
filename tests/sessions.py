"""The sessions in tests/exchanges/<id>/*.jsonl: our own, shaped after the venues' documents. What the generic tests need of them.

An `out` line that we wrote says what the feed was asked for: `verb`, `n` and `topics`. `<name>.expected.jsonl` holds the ticks that must
come of it, exact numbers in base units; `python -m tests.sessions` writes it anew, and the difference is read before it is committed.
"""

import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from streamer import registry
from streamer.book_stream import BookSource, BookStream
from streamer.encode import encode
from streamer.recording import Line, read
from streamer.replay import Replayer, Summary
from streamer.spec import Feed, Poll
from streamer.types import BookDelta, BookSnapshot, BookStale, Tick

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


def answers(path: Path) -> list[Line]:
    """The REST answers that are those of polled topics."""
    feed_ = feed(path)
    names = {poll.url.partition("{")[0] for poll in feed_.topics.values() if isinstance(poll, Poll)}
    http = [line for line in lines(path) if line.dir == "http" and line.status == 200]
    return [line for line in http if any((line.url or "").startswith(name) for name in names)]


def books(replayer: Replayer) -> dict[str, tuple[list[Any], list[Any]]]:
    """Every live book by symbol: (bids, asks)."""
    return {
        s.instrument.symbol: (s.book.bids.top(), s.book.asks.top())
        for s in replayer.hub.streams.values()
        if isinstance(s, BookStream) and s.book is not None
    }


@cache
def deltas(path: Path) -> tuple[tuple[int, str], ...]:
    """The frames that bring a delta to a live book: (place among the lines, symbol)."""
    replayer = Replayer(lambda: lines(path), exchange=path.parent.name)
    return tuple(
        (i, tick.symbol)
        for i, line in enumerate(lines(path))
        for tick in replayer.feed(line)
        if isinstance(tick, BookDelta) and line.dir == "in" and tick.ts_recv == line.ns
    )


@cache
def drill(path: Path) -> tuple[tuple[int, str, str], ...]:
    """Leave out each delta in turn: (place, symbol, outcome).

    Outcomes: `stale`, the loss was noticed; `equal`, it was not but the book is right where the checksum reaches; `last`, no delta
    follows that could show it, at all or before a snapshot that overwrites the book; `unproved`, the venue gives no proof; `unnoticed`
    and `spread` (another book fell, and not because the venue counts the connection, which ends then) must not be.
    """
    all_lines, places = lines(path), deltas(path)
    plain_ticks, _, plain = run(path)
    last = _last(places, all_lines, plain_ticks)
    return tuple((i, s, "last" if i in last[s] else _left_out(path, all_lines, i, s, plain_ticks, plain)) for i, s in places)


def _last(places: Iterable[tuple[int, str]], all_lines: Sequence[Line], ticks: Iterable[Tick[Any]]) -> dict[str, set[int]]:
    """The places of each book's deltas after which comes a snapshot, or nothing."""
    at = {(all_lines[i].time_ns(), symbol): i for i, symbol in places}
    last: dict[str, set[int]] = {symbol: set() for _, symbol in places}
    open_: dict[str, int] = {}
    for tick in ticks:
        if isinstance(tick, BookDelta) and (tick.ts_recv, tick.symbol) in at:
            open_[tick.symbol] = at[tick.ts_recv, tick.symbol]
        elif isinstance(tick, BookStale):
            open_.pop(tick.symbol, None)
        elif isinstance(tick, BookSnapshot) and tick.symbol in open_:
            last[tick.symbol].add(open_.pop(tick.symbol))
    for symbol, i in open_.items():
        last[symbol].add(i)
    return last


def _left_out(path: Path, all_lines: tuple[Line, ...], i: int, symbol: str, plain_ticks: list[Tick[Any]], plain: Replayer) -> str:
    ticks, _, replayer = run(path, [line for j, line in enumerate(all_lines) if j != i])
    fallen = {t.symbol for t in ticks if isinstance(t, BookStale) and t.reason != "disconnect"}
    fallen -= {t.symbol for t in plain_ticks if isinstance(t, BookStale)}
    if fallen - {symbol}:
        return "spread"
    since = all_lines[i].time_ns() or 0
    if any(isinstance(t, BookStale) and t.symbol == symbol and t.ts_recv > since for t in ticks):
        return "stale"
    stream = plain.hub.book(path.parent.name, symbol)
    source = stream.leader if stream is not None else None
    if stream is None or not isinstance(source, BookSource) or stream.proof in ("none", "ids", "refresh"):
        return "unproved"
    checksum = source.sync.checksum
    if stream.proof != "checksum" or checksum is None or symbol not in books(replayer):
        return "unnoticed"
    same = [side[: checksum.depth] for side in books(replayer)[symbol]] == [side[: checksum.depth] for side in books(plain)[symbol]]
    return "equal" if same else "unnoticed"


if __name__ == "__main__":
    for session in paths():
        if len(sys.argv) < 2 or session.parent.name in sys.argv[1:]:
            ticks, summary, _ = run(session, numbers="decimal")
            expected(session).write_bytes(b"".join(encode(t) + b"\n" for t in ticks))
            print(name(session), *summary.lines(), sep="\n  ")
