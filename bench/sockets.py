"""From a socket to a subscriber: what does a message cost, and how long does it take? Against bare clients on the same server.

A native server on another core sends a made-up venue's messages (`bench.venue`, `bench.server`). *Ours* is all there is: transport,
session, typed decode, book or trade stream, gap check, one subscriber with `async for`. The *bare* clients take the payload and throw it
away. In a flood messages lie ready in the socket; at a pace most arrive alone.
"""

import asyncio
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import picows
import trustme
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport
from websockets.asyncio.client import connect

from bench import venue
from bench.table import Column, Run, Spread, cores, pin, ratio, spread
from streamer import Streamer
from streamer.catalog import Cache
from streamer.realio import RealIo
from streamer.types import Kind

CONNECTIONS = 20
FLOODS: dict[int, tuple[Kind, int]] = {150: ("trade", 200_000), 500: ("book", 100_000), 5000: ("book", 20_000)}
"""By size: what is sent, and how many."""
RATES = (1000, 3000, 10_000, 50_000)
BARRED_RATE = 3000
BARRED = 3
"""So many times the rounds where bars are near: what messages that come alone cost varies by a fifth from round to round."""
PACED_SIZE = 150
PACED_S = 1.5
PATIENCE_S = 120


class Cost(NamedTuple):
    """Of one run: CPU us a message, messages a second of wall time, and the latencies in us, sorted."""

    us: float
    per_s: float
    latencies: list[float]


class Server:
    """`bench.server` on a core of its own."""

    def __init__(self, where: set[int], certificate: Path) -> None:
        kinds, sizes = [kind for kind, _ in FLOODS.values()], list(FLOODS)
        options = {"certificate": str(certificate), "kinds": kinds, "sizes": sizes, "symbols": CONNECTIONS}
        command = [sys.executable, "-m", "bench.server", json.dumps(options)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        pin(where, self._process.pid)
        begun = self._answer()
        self.ports: list[int] = begun["ports"]
        self.rounds: dict[str, int] = begun["rounds"]

    def tell(self, **command: Any) -> None:
        """Give a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    async def done(self) -> dict[str, Any]:
        """Wait until the command is carried out."""
        return await asyncio.to_thread(self._answer)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the server of the benchmark died; what it said is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


class Load(NamedTuple):
    """What is sent: `each` messages on each of so many connections."""

    kind: Kind
    size: int
    connections: int
    each: int
    rate: float | None
    tls: bool

    @property
    def count(self) -> int:
        """Messages in all."""
        return self.each * self.connections


class Counted:
    """Counts, and tells when all are there."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.all = asyncio.Event()


async def measured(server: Server, load: Load, counted: Counted, latencies: list[int]) -> Cost:
    """Have the load sent, and wait until all of it has arrived."""
    how = {"do": "flood"} if load.rate is None else {"do": "pace", "rate": load.rate}
    began, clock = time.process_time_ns(), time.perf_counter()
    server.tell(kind=load.kind, size=load.size, each=load.each, **how)
    async with asyncio.timeout(PATIENCE_S):
        await counted.all.wait()
    cpu, wall = time.process_time_ns() - began, time.perf_counter() - clock
    told = await server.done()
    assert told["clients"] == load.connections, f"{told['clients']} of {load.connections} connections had subscribed"
    return Cost(cpu / load.count / 1e3, load.count / wall, sorted(x / 1e3 for x in latencies))


def url_of(server: Server, load: Load) -> str:
    return f"{'wss' if load.tls else 'ws'}://127.0.0.1:{server.ports[load.tls]}/"


async def ours(server: Server, load: Load, transport: str, folder: Path, *, clocked: bool = False) -> Cost:
    """The whole of `streamer`, as a user has it. Its reader counts, as the bare clients do; only a `clocked` one looks at the clock."""
    feed = venue.feed(url_of(server, load))
    Cache(folder).write(feed.name, venue.instruments(load.connections, time.time_ns()))
    async with Streamer(cache=folder, transport=transport) as s:
        engine = s._running()
        engine.adopt(feed, RealIo(transport=transport))
        streams = [f"{feed.name}:{i.symbol}" for i in venue.instruments(load.connections, 0)]
        sub = s.subscribe(*streams, kinds=(load.kind,), max_items=5_000_000, max_bytes=1 << 36)
        await s.ready(sub, timeout=20)
        sub.take()
        counted, latencies = Counted(load.count), list[int]()
        reading = asyncio.ensure_future((timed if clocked else flooded)(sub, counted, latencies))
        await asyncio.sleep(0.05)
        cost = await measured(server, load, counted, latencies)
        assert not sub.dropped, f"{sub.dropped} dropped"
        assert not sub.queued, f"{sub.queued} queued"
        assert not engine.venues[feed.name].tally.bad, engine.venues[feed.name].tally.bad
        sub.close()
        reading.cancel()
    return cost


async def flooded(sub: Any, counted: Counted, latencies: list[int]) -> None:
    """A subscriber that counts."""
    left = counted.left
    async for _ in sub:
        left -= 1
        if not left:
            counted.all.set()


async def timed(sub: Any, counted: Counted, latencies: list[int]) -> None:
    """A subscriber that looks at the clock: from the frame's arrival (`ts_recv`) to its hands."""
    left, now, note = counted.left, time.time_ns, latencies.append
    async for tick in sub:
        note(now() - tick.ts_recv)
        left -= 1
        if not left:
            counted.all.set()


def hello(load: Load, n: int) -> str:
    """A bare client's subscription."""
    return json.dumps({"op": "subscribe", "topics": [f"{load.kind}.{venue.raw(n)}"], "n": 1})


class Bare(WSListener):
    """A picows client that takes each payload as bytes and counts it."""

    def __init__(self, greeting: str, counted: Counted, skip: int) -> None:
        self._greeting = greeting
        self._counted = counted
        self._skip = skip
        self.subscribed = asyncio.Event()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Subscribe."""
        self.transport = transport
        transport.send(WSMsgType.TEXT, self._greeting)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take it."""
        frame.get_payload_as_bytes()
        if self._skip:
            self._skip -= 1
            if not self._skip:
                self.subscribed.set()
            return
        counted = self._counted
        counted.left -= 1
        if not counted.left:
            counted.all.set()


async def bare_picows(server: Server, load: Load, secure: ssl.SSLContext) -> Cost:
    """The fastest client there is, and nothing behind it."""
    counted, skip = Counted(load.count), 1 if load.kind == "trade" else 2
    how: dict[str, Any] = {"ssl_context": secure} if load.tls else {}
    bares = []
    for n in range(load.connections):
        bare = Bare(hello(load, n), counted, skip)
        await picows.ws_connect(lambda bare=bare: bare, url_of(server, load), **how)
        bares.append(bare)
    await asyncio.gather(*(b.subscribed.wait() for b in bares))
    await asyncio.sleep(0.05)
    cost = await measured(server, load, counted, [])
    for bare in bares:
        bare.transport.disconnect()
        await bare.transport.wait_disconnected()
    return cost


async def bare_websockets(server: Server, load: Load, secure: ssl.SSLContext) -> Cost:
    """The client that most Python programs have, one task a connection, and nothing behind it."""
    counted, skip = Counted(load.count), 1 if load.kind == "trade" else 2
    how: dict[str, Any] = {"ssl": secure} if load.tls else {}
    clients = [await connect(url_of(server, load), compression=None, proxy=None, **how) for _ in range(load.connections)]

    async def read(client: Any) -> None:
        async for _ in client:
            counted.left -= 1
            if not counted.left:
                counted.all.set()

    for n, client in enumerate(clients):
        await client.send(hello(load, n))
        for _ in range(skip):
            await client.recv()
    tasks = [asyncio.ensure_future(read(c)) for c in clients]
    await asyncio.sleep(0.05)
    cost = await measured(server, load, counted, [])
    await asyncio.gather(*(c.close() for c in clients))
    await asyncio.gather(*tasks)
    return cost


CLIENTS = {"ours": "ours, picows", "ours_websockets": "ours, websockets", "picows": "bare picows", "websockets": "bare websockets"}


class Bench:
    """The server, and the clients that are measured against it in turn."""

    def __init__(self, run: Run, server: Server, secure: ssl.SSLContext, folder: Path) -> None:
        self.run = run
        self.server = server
        self.clients: dict[str, Callable[[Load], Awaitable[Cost]]] = {  # what is compared most stands side by side
            "ours": lambda load: ours(server, load, "picows", folder),
            "picows": lambda load: bare_picows(server, load, secure),
            "websockets": lambda load: bare_websockets(server, load, secure),
            "ours_websockets": lambda load: ours(server, load, "websockets", folder),
            "clocked": lambda load: ours(server, load, "picows", folder, clocked=True),
        }

    def rounds(self, load: Load, count: int) -> dict[str, list[Cost]]:
        """All clients, in turn; at a pace the clocked one too."""
        found: dict[str, list[Cost]] = {name: [] for name in self.clients if name in CLIENTS or load.rate is not None}
        for n in range(count):
            for name in list(found) if n % 2 else reversed(list(found)):
                found[name].append(uvloop.run(self.clients[name](load)))  # type: ignore[arg-type]
        return found

    def floods(self) -> None:
        """Messages a second that one core takes."""
        rate = Column("per_s", "ours: messages/s and core", ",.0f")
        columns = [Column(name, f"{title} us", ".2f") for name, title in CLIENTS.items()]
        table = self.run.section("flood: CPU us per message", Column("size", "bytes"), Column("connections", "connections"), rate, *columns)
        for size, (kind, count) in FLOODS.items():
            for connections in (1, CONNECTIONS):
                each = self._each(f"{kind} {size}", count // 20 if self.run.quick else count, connections)
                costs = self.rounds(Load(kind, size, connections, each, None, False), self.run.rounds)
                us = {name: spread(c.us for c in several) for name, several in costs.items()}
                per_s = spread(1e6 / c.us for c in costs["ours"])
                table.row(size=size, connections=connections, per_s=per_s, **us)
                if size == 150:
                    self.run.bar(f"messages/s on one core, 150 B, {connections} connections", per_s.median, 150_000, "least")

    def _each(self, what: str, count: int, connections: int) -> int:
        """A connection's share of `count`, in whole rounds of frames."""
        frames = self.server.rounds[what]
        return max(1, round(count / connections / frames)) * frames

    def paced(self) -> None:
        """CPU of messages that arrive alone, and how long they take."""
        columns = [Column(name, f"{title} us", ".1f") for name, title in CLIENTS.items()]
        ratios = Column("to_picows", "ours / bare picows", ".2f"), Column("to_websockets", "ours / bare websockets", ".2f")
        latency = [Column(p, f"{p} us", ".0f") for p in ("p50", "p99", "p99.9")]
        at = Column("rate", "messages/s"), Column("how", "how")
        table = self.run.section(f"paced, {CONNECTIONS} connections: CPU us per message; latency", *at, *columns, *ratios, *latency)
        for tls in (False, True):
            for rate in RATES:
                each = int(rate * (0.3 if self.run.quick else PACED_S) / CONNECTIONS)
                count = self.run.rounds * (BARRED if tls and rate == BARRED_RATE else 1)
                costs = self.rounds(Load("trade", PACED_SIZE, CONNECTIONS, each, rate, tls), count)
                self._paced_row(table, rate, tls, costs)

    def _paced_row(self, table: Any, rate: int, tls: bool, costs: dict[str, list[Cost]]) -> None:
        us = {name: [c.us for c in several] for name, several in costs.items()}
        to_picows, to_websockets = ratio(us["ours"], us["picows"]), ratio(us["ours"], us["websockets"])
        clocked = [c.latencies for c in costs["clocked"]]
        late: dict[str, Spread] = {p: spread(percentile(x, float(p[1:])) for x in clocked) for p in ("p50", "p99", "p99.9")}
        how = "TLS" if tls else "plain"
        values = {name: spread(us[name]) for name in CLIENTS}
        table.row(rate=rate, how=how, to_picows=to_picows, to_websockets=to_websockets, **values, **late)
        if tls and rate == BARRED_RATE:
            self.run.bar("CPU to that of bare picows, 3000/s over TLS", to_picows.median, 1.4)
            self.run.bar("CPU to that of bare websockets, 3000/s over TLS", to_websockets.median, 1.0)
        if rate == 10_000:
            self.run.bar(f"p99 latency in us at 10,000/s, {how}", late["p99"].median, 1000)


def percentile(values: list[float], percent: float) -> float:
    """Of sorted values."""
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def main() -> None:
    run = Run("sockets", __doc__)
    mine, theirs = cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        os.environ["SSL_CERT_FILE"] = str(folder / "ca.pem")
        server = Server(theirs, folder / "server.pem")
        pin(mine)
        try:
            bench = Bench(run, server, ssl.create_default_context(cafile=str(folder / "ca.pem")), folder)
            bench.floods()
            bench.paced()
        finally:
            server.close()
    run.end()


if __name__ == "__main__":
    main()
