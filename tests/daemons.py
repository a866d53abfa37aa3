"""`streamer run` as a process, with the simulation and a systemd of its own: a real unix datagram socket."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from streamer.sim.server import SimServer
from tests.simulation import COMMAND, ROOT, wait_for

T = TypeVar("T")
HEAD = """
[http]
listen = "127.0.0.1:0"
[instruments]
cache = ""
[ready]
stale_s = 1.0
"""


class Sim:
    """A simulation that can be stopped, and started anew on its port with other options."""

    def __init__(self, *venues: str) -> None:
        self.venues = venues
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self, *options: str) -> "Sim":
        """Listen, as these options say."""
        args = [*COMMAND, "sim", *self.venues, "--port", str(self.port), "--until-stdin-closes", *options]
        self.process = subprocess.Popen(args, cwd=ROOT, text=True, stdin=-1, stdout=-1)  # noqa: S603
        assert self.process.stdout is not None
        for _ in self.venues:
            self.port = urlsplit(self.process.stdout.readline().split()[1]).port or 0
        return self

    def stop(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def send(self, number: signal.Signals) -> None:
        """A signal to it."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def exchanges(self) -> str:
        """The tables that point to it."""
        return "".join(f'[exchanges.{v}]\nurl = "http://127.0.0.1:{self.port}/{v}"\n' for v in self.venues)


class SimInside(Sim):
    """A simulation in a thread of this process, which can be asked who is connected to it."""

    def start(self, *options: str) -> "SimInside":
        """Listen."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        given = dict(zip(options[::2], options[1::2], strict=True))
        self.server = SimServer(self.venues, rate=float(given.get("--rate", 20.0)), keep=int(given.get("--keep", 0)))
        self._do(self.server.start())
        self.port = urlsplit(self.server.url(self.venues[0])).port or 0
        return self

    def stop(self) -> None:
        """End it."""
        self._do(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def numbers(self) -> dict[str, set[int]]:
        """The numbers of the websockets that are open, by venue: each that is opened has one of its own."""

        async def look() -> dict[str, set[int]]:
            return {v: {c.number for c in self.server._connections if c.exchange.venue.name == v} for v in self.venues}

        return self._do(look())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


@contextmanager
def simulation(*venues: str, options: tuple[str, ...] = ()) -> Iterator[Sim]:
    """A simulation, while inside."""
    sim = Sim(*venues).start(*options)
    try:
        yield sim
    finally:
        sim.stop()


class Daemon:
    """A running `streamer run`. `records`: what it logged so far."""

    def __init__(self, process: "subprocess.Popen[str]", path: Path) -> None:
        self.process = process
        self.path = path
        self.records: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.records.append(json.loads(line))

    @property
    def url(self) -> str:
        """Where it listens."""
        wait_for(lambda: self.logged("listening"), 15)
        return str(self.logged("listening")[-1]["url"])

    def logged(self, text: str) -> list[dict[str, Any]]:
        """The records that hold this."""
        return [r for r in list(self.records) if re.search(text, r["event"])]

    def get(self, path: str) -> tuple[int, Any]:
        """Status and body, JSON taken apart."""
        try:
            with urlopen(self.url + path, timeout=5) as answer:  # noqa: S310
                status, body = answer.status, answer.read().decode()
        except HTTPError as e:
            status, body = e.code, e.read().decode()
        return status, body if path == "/metrics" else json.loads(body)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of that name that have these labels."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            match = re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line)
            if match and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', match[1] or "")).items():
                total += float(match[2])
        return total

    def is_ready(self) -> bool:
        """What /readyz says."""
        return bool(self.get("/readyz")[0] == 200)

    def until_ready(self, within: float = 15.0) -> None:
        """Wait until it is."""
        wait_for(self.is_ready, within)

    def streams(self) -> set[tuple[str, str]]:
        """(stream, kind) of all that are live."""
        return {(s["stream"], s["kind"]) for s in self.get("/streams")[1]["streams"] if s["state"] == "live"}

    def connections(self) -> dict[str, tuple[str, int, int]]:
        """State, reconnects and stalls by id."""
        return {c["id"]: (c["state"], c["reconnects"], c["stalls"]) for c in self.get("/streams")[1]["connections"]}

    def send(self, number: signal.Signals) -> None:
        """A signal to it."""
        os.kill(self.process.pid, number)

    def reload(self, text: str) -> None:
        """Another configuration, and SIGHUP."""
        before = len(self.logged("configuration reloaded|is refused"))
        self.path.write_text(text)
        self.send(signal.SIGHUP)
        wait_for(lambda: len(self.logged("configuration reloaded|is refused")) > before, 10)

    def end(self, number: signal.Signals = signal.SIGTERM, within: float = 20.0) -> int:
        """Send a signal, wait for the end; the exit code."""
        self.send(number)
        code = self.process.wait(within)
        self._thread.join(5)
        return code


@contextmanager
def running(path: Path, text: str, environ: Mapping[str, str] | None = None) -> Iterator[Daemon]:
    """`streamer run -c path` with this configuration, while inside."""
    path.write_text(text)
    env = os.environ | (environ or {})
    args = [*COMMAND, "run", "-c", str(path)]
    process = subprocess.Popen(args, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=-1, env=env)  # noqa: S603
    try:
        yield Daemon(process, path)
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


class Systemd:
    """The other end of NOTIFY_SOCKET. `heard`: (when, message) so far."""

    def __init__(self, path: Path) -> None:
        self.environ = {"NOTIFY_SOCKET": str(path)}
        self.heard: list[tuple[float, dict[str, str]]] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hear no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.socket.getsockname())
        self._thread.join(5)
        self.socket.close()

    def _listen(self) -> None:
        while data := self.socket.recv(4096):
            fields = dict(line.split("=", 1) for line in data.decode().splitlines())
            self.heard.append((time.monotonic(), fields))

    def times(self, key: str) -> list[float]:
        """When messages with this key came."""
        return [at for at, fields in list(self.heard) if key in fields]

    def values(self, key: str) -> list[str]:
        """What they said."""
        return [fields[key] for _, fields in list(self.heard) if key in fields]

    def wait(self, key: str, within: float = 15.0, more_than: int = 0) -> None:
        """Until more than so many have come."""
        wait_for(lambda: len(self.times(key)) > more_than, within)


def lines(folder: Path) -> list[dict[str, Any]]:
    """The ticks in the files of a sink, in order."""
    paths = sorted(folder.glob("*.ndjson*"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def before_the_end(ticks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what is told of a stop."""
    return [t for t in ticks if "shutdown" not in (t.get("cause"), t.get("reason"))]


def config(sim: Sim, folder: Path, *match: str, kinds: str = '["trade", "book"]', more: str = "") -> str:
    """One group of streams to files."""
    names = ", ".join(f'"{m}"' for m in match)
    sinks = f'[sinks.files]\ntype = "files"\npath = "{folder}/t.ndjson"\n'
    return f'[[streams]]\nmatch = [{names}]\nkinds = {kinds}\nsinks = ["files"]\n{sinks}{HEAD}{sim.exchanges()}{more}'
