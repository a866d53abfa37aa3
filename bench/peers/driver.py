"""What the drivers under Python share. Runs in the peers' environment, so it imports nothing of ours.

A driver is started with the folder that `bench.peers.export` wrote. It reads ``{"exchange", "mode"}`` as JSON lines on stdin and answers
each, after one round over all frames, with a line: `cpu_ns`, `messages`, `events` (by name, as they reached the peer's user), `books` that
hold levels, `errors`, and `base_ns`, the CPU of `orjson.loads` alone on the same frames and snapshots, measured right after. Or with
``{"skip": why}`` where the peer cannot read the recording.
"""

import asyncio
import base64
import gc
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import uvloop


class Step(NamedTuple):
    """A frame, or a REST answer with a book's snapshot."""

    frame: bool
    url: str
    text: str
    seconds: float


class Recording(NamedTuple):
    """`lists`: REST answers with instruments, by url. `streams`: the instruments and, of each, the kinds that the recording brings."""

    exchange: str
    steps: list[Step]
    lists: dict[str, str]
    streams: list[dict[str, Any]]


class Skip(Exception):
    """The peer cannot read this recording."""


class Round(NamedTuple):
    """What a peer did of a recording. `errors`: what it raised, and how often."""

    cpu_ns: int
    events: Counter[str]
    books: int
    errors: Counter[str]


def load(folder: Path, exchange: str) -> Recording:
    """Read what was exported."""
    steps = [
        Step(x["dir"] == "in", x["url"] or "", _text(x["raw"]), x["ns"] / 1e9)
        for x in map(json.loads, (folder / f"{exchange}.jsonl").read_text().splitlines())
    ]
    lists = {x["url"]: x["raw"] for x in map(json.loads, (folder / f"{exchange}.lists.jsonl").read_text().splitlines())}
    return Recording(exchange, steps, lists, json.loads((folder / f"{exchange}.streams.json").read_text()))


def _text(raw: str) -> str:
    return base64.b64decode(raw[4:]).decode() if raw.startswith("b64:") else raw


def baseline(recording: Recording) -> int:
    """CPU ns of `orjson.loads` on the same, from the bytes that came."""
    payloads = [s.text.encode() for s in recording.steps]
    gc.collect()
    began = time.process_time_ns()
    for payload in payloads:
        try:
            orjson.loads(payload)
        except orjson.JSONDecodeError:
            continue
    return time.process_time_ns() - began


def serve(play: Callable[[Recording, str], Awaitable[Round]]) -> None:
    """Play recordings as asked, until stdin ends."""
    folder, known = Path(sys.argv[1]), dict[str, Recording]()

    def one(asked: dict[str, Any]) -> dict[str, Any]:
        recording = known.get(asked["exchange"]) or known.setdefault(asked["exchange"], load(folder, asked["exchange"]))
        try:
            done = uvloop.run(play(recording, asked["mode"]))
        except Skip as e:
            return {"skip": str(e)}
        found = {"cpu_ns": done.cpu_ns, "messages": len(recording.steps), "events": done.events, "books": done.books}
        return found | {"errors": done.errors, "base_ns": baseline(recording)}

    answer(one)


def answer(one: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """A JSON line for each that comes, until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a peer prints must not mix with the answers
    for line in sys.stdin:
        answers.write(json.dumps(one(json.loads(line))) + "\n")


def quiet() -> None:
    """Peers log; here nobody reads it."""
    import logging

    logging.disable(logging.CRITICAL)


__all__ = ["Counter", "Recording", "Round", "Skip", "Step", "answer", "asyncio", "quiet", "serve", "uvloop"]
