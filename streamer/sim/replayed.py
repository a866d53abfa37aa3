"""A recording as a venue: its frames come again at their own pace, its REST answers answer."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from streamer.errors import UsageError
from streamer.recording import B64, Line, read
from streamer.sim.connection import Connection
from streamer.sim.venue import Payload, Refused, Request, Venue

AT_ONCE_S = 1.0
"""A client that says nothing hears the recording after so long."""


def replayed(name: str, path: Path) -> Venue:
    """The venue that speaks only what the file holds: what a client says begins the replay, and is not answered otherwise. After the last
    frame the connection is closed, so that the client comes again and hears it from the beginning. Raises `BadRecording`, `UsageError`."""
    frames: dict[str, list[Line]] = {}
    answers: dict[str, list[Line]] = {}
    for line in read(path):
        if line.exchange in (None, name) and line.dir != "out":
            where = urlsplit(line.url or "").path.removeprefix(f"/{name}")  # recorded from a simulation
            (frames if line.dir == "in" else answers).setdefault(where, []).append(line)
    if not frames and not answers:
        raise UsageError(f"{path} holds nothing of {name}")
    heard = _teller(frames)
    return Venue(
        name=name,
        lists=lambda exchange, now, more: (),
        sockets=["*" if where == "" else where for where in frames],
        rest={where: _answerer(lines) for where, lines in answers.items()},
        heard=heard,
        opened=lambda c: c.every(AT_ONCE_S, lambda c: heard(c, "")),
    )


def _teller(frames: Mapping[str, Sequence[Line]]) -> Callable[[Connection, str], None]:
    """Begins the replay, once for each connection."""

    def heard(c: Connection, text: str) -> None:
        if not c.mem:
            c.mem["begun"] = True
            c.spawn(_tell(c, frames.get(c.path) or frames[""]))

    return heard


async def _tell(c: Connection, lines: Sequence[Line]) -> None:
    loop = asyncio.get_running_loop()
    began, first = loop.time(), next((t for line in lines if (t := line.time_ns()) is not None), 0)
    for line in lines:
        ts = line.time_ns()
        await asyncio.sleep(0 if ts is None else max(0.0, (ts - first) / 1e9 - (loop.time() - began)))
        c.send(line.payload() if line.raw.startswith(B64) else line.raw)
    c.close(1000, "the recording ends")


def _answerer(lines: Sequence[Line]) -> Callable[[Request], Payload]:
    """Answers with the line whose query is most like the one asked, the next of several alike each time; the last again and again."""
    queries = [dict(parse_qsl(urlsplit(line.url or "").query)) for line in lines]
    asked: dict[int, int] = {}

    def answer(r: Request) -> Payload:
        likeness = [sum(r.query.get(k) == v for k, v in q.items()) for q in queries]
        alike = [i for i, n in enumerate(likeness) if n == max(likeness)]
        turn = asked[alike[0]] = asked.get(alike[0], -1) + 1
        line = lines[alike[min(turn, len(alike) - 1)]]
        if line.status != 200:
            raise Refused(line.status, line.raw)
        return line.payload()

    return answer
