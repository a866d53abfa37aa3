"""A scripted world for the engine: virtual time, and exchanges that do what a test tells them, good or bad.

    @virtual                                     time is warped forward while nothing runs: 1000 s pass in about 1 s
    async def test_x():
        venue = Toy()                            or Binance() (tests.venues), or an `Exchange` of your own
        async with streaming(venue) as s:        a `Streamer` in that world
            sub = s.subscribe("toy:A/B")
            await s.ready(sub)
            venue.trade("AB")                    an event of the market, sent to every wire that subscribed to it
            venue.wire.drop("reset")             a fault of the network

The switches of an exchange (`refuse`, `fault`, `silent` ...) are plain attributes. `@virtual` fails a test that leaves a task behind, or
in which anything was logged as an error; `@virtual_logging("text")` wants errors with that text, and no others.
"""

import asyncio
import functools
import logging
import selectors
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson

from streamer import Streamer
from streamer.errors import IoFailure
from streamer.io import Closed, OnFrame, Response
from streamer.spec import Endpoint, Feed

EPOCH = 1_700_000_000_000_000_000
"""The wall clock at virtual time 0, ns."""


class _Warp(selectors.DefaultSelector):
    """Never sleeps: time jumps to the next timer, except while other threads (`busy`) work for us."""

    now = 1000.0
    busy = 0

    def select(self, timeout: float | None = None) -> Any:
        if self.busy:
            return super().select(None if timeout != 0 else 0)
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("the world stands still: every task waits for something that will not come")
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which time is free."""

    def __init__(self) -> None:
        self.warp = _Warp()
        super().__init__(self.warp)

    def time(self) -> float:
        return self.warp.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        self.warp.busy += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._idle)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        self.warp.busy += 1
        await super().shutdown_default_executor(*args)
        self._idle()

    def _idle(self, *_: Any) -> None:
        self.warp.busy -= 1


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record.getMessage() + (f": {record.exc_info[1]!r}" if record.exc_info else ""))


Test = Callable[..., Coroutine[Any, Any, None]]


def virtual(test: Test) -> Callable[..., None]:
    """Run a coroutine test on a `VirtualLoop`."""
    return virtual_logging()(test)


def virtual_logging(*texts: str) -> Callable[[Test], Callable[..., None]]:
    """The same for a test in which errors with these texts are logged."""
    return lambda test: _virtual(test, texts)


def _virtual(test: Test, texts: tuple[str, ...]) -> Callable[..., None]:
    async def checked(*args: Any, **kwargs: Any) -> None:
        await test(*args, **kwargs)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left running: {[t.get_name() for t in left]}"

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        errors, log = _Errors(), logging.getLogger()
        log.addHandler(errors)
        try:
            with asyncio.Runner(loop_factory=VirtualLoop) as runner:
                runner.run(checked(*args, **kwargs))
        finally:
            log.removeHandler(errors)
        assert not [r for r in errors.records if not any(t in r for t in texts)]
        assert not [t for t in texts if not any(t in r for r in errors.records)], f"not logged; there were {errors.records}"

    return run


def clock() -> float:
    """Virtual seconds."""
    return asyncio.get_running_loop().time()


class Wire:
    """One accepted connection: our `Socket`, and the exchange's end of it. `sent`: (when, frame) of what we sent."""

    def __init__(self, exchange: "Exchange", endpoint: Endpoint, on_frame: OnFrame) -> None:
        self.exchange = exchange
        self.path = urlsplit(endpoint.url).path
        self.topics: set[str] = set()
        self.sent: list[tuple[float, Any]] = []
        self.opened = self._heard = clock()
        self.pings = 0
        self.silent = False
        """Half-open: nothing arrives any more, either way."""
        self._on_frame = on_frame
        self._closed: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()
        self._inbox: deque[Any] = deque()

    @property
    def open(self) -> bool:
        """Has neither side closed it?"""
        return not self._closed.done()

    def push(self, message: Any) -> None:
        """Send a frame to the client; what is not text or bytes goes as JSON."""
        if self.open and not self.silent:
            self._heard = clock()
            data = message.encode() if isinstance(message, str) else message if isinstance(message, bytes) else orjson.dumps(message)
            self._on_frame(data, EPOCH + int(clock() * 1e9))

    def drop(self, reason: str = "reset", code: int | None = None) -> None:
        """End it from the exchange's side."""
        if self.open:
            self._closed.set_result(Closed(reason, code))

    def send(self, frame: str | bytes) -> None:
        if self.open:
            message = orjson.loads(frame) if frame[:1] in ("{", b"{") else frame
            self.sent.append((clock(), message))
            self._inbox.append(message)
            asyncio.get_running_loop().call_later(self.exchange.latency, self._arrived)

    def _arrived(self) -> None:
        message = self._inbox.popleft()
        if self.open and not self.silent:
            self.exchange.heard(self, message)

    def ping(self) -> None:
        self.pings += 1
        if self.open and not self.silent and self.exchange.pongs:
            self._heard = clock()

    def heard(self) -> float:
        return self._heard

    async def wait_closed(self) -> Closed:
        return await asyncio.shield(self._closed)

    async def close(self) -> None:
        if self.open and self.silent:
            await asyncio.wait([self._closed], timeout=1.0)  # the other side does not answer
        self.drop("local", 1000)


class Exchange:
    """A scripted exchange. Override `heard` (a frame came) and `rest` (the JSON answer to a path with its query)."""

    hosts: tuple[str, ...] = ()
    feed: Feed | None = None
    """A made-up feed, which the registry does not have."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.attempts: list[float] = []
        self.requests: list[tuple[float, str]] = []
        self.latency = 0.01
        self.pongs = True
        self.refuse = ""
        """The reason with which connects fail; `hang`: they get no answer."""
        self.fault: Callable[[str], Response | IoFailure | float | None] = lambda path: None
        """What happens to a REST request for `path`: an answer, a failure, so many seconds of delay, or nothing special."""

    def accepted(self, wire: Wire) -> None:
        """A connection was opened; its client does not know yet."""

    def heard(self, wire: Wire, message: Any) -> None:
        """A frame came from the client."""

    def rest(self, path: str) -> Any:
        """The answer to a REST request."""
        raise KeyError(path)

    @property
    def wire(self) -> Wire:
        """The newest connection."""
        return self.wires[-1]

    @property
    def up(self) -> list[Wire]:
        """The connections that are open now."""
        return [w for w in self.wires if w.open]

    def asked(self, part: str) -> list[float]:
        """When REST paths with `part` in them were asked for."""
        return [at for at, path in self.requests if part in path]

    def commands(self) -> list[Any]:
        """All that was sent on all connections, in order."""
        return [message for _, message in sorted((s for w in self.wires for s in w.sent), key=lambda s: s[0])]

    def publish(self, topic: str, message: Any) -> None:
        """Send to every wire that subscribed to this topic."""
        for wire in self.up:
            if topic in wire.topics:
                wire.push(message)


class ScriptedIo:
    """`streamer.io.Io` in a world of these exchanges."""

    def __init__(self, *exchanges: Exchange) -> None:
        self._by_host = {host: e for e in exchanges for host in e.hosts}

    def now(self) -> int:
        return EPOCH + int(clock() * 1e9)

    def monotonic(self) -> float:
        return clock()

    async def connect(self, endpoint: Endpoint, on_frame: OnFrame, *, max_frame: int, timeout: float = 10.0) -> Wire:
        exchange = self._by_host[urlsplit(endpoint.url).hostname or ""]
        exchange.attempts.append(clock())
        await asyncio.sleep(timeout if exchange.refuse == "hang" else exchange.latency)
        if exchange.refuse:
            raise IoFailure(f"{endpoint.url}: {exchange.refuse}", "timeout" if exchange.refuse == "hang" else exchange.refuse)
        wire = Wire(exchange, endpoint, on_frame)
        exchange.wires.append(wire)
        exchange.accepted(wire)
        return wire

    async def request(self, method: str, url: str, *, headers: Any = None, max_body: int = 0, timeout: float = 15.0) -> Response:
        parts = urlsplit(url)
        exchange = self._by_host[parts.hostname or ""]
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        exchange.requests.append((clock(), path))
        fault = exchange.fault(path)
        await asyncio.sleep(min(fault, timeout) if isinstance(fault, float) else exchange.latency)
        if isinstance(fault, float) and fault >= timeout:
            raise IoFailure(f"{url}: no answer", "timeout")
        if isinstance(fault, IoFailure):
            raise fault
        return fault if isinstance(fault, Response) else Response(200, {}, orjson.dumps(exchange.rest(path)))

    async def close(self) -> None:
        """Nothing is pooled."""


def only(ticks: list[Any], *types: type) -> list[Any]:
    """The ticks of these types."""
    return [t for t in ticks if isinstance(t, types)]


def most_in(times: list[float], seconds: float) -> int:
    """The most that fell into any window of so many seconds."""
    return max((sum(t <= u < t + seconds - 1e-6 for u in times) for t in times), default=0)


@asynccontextmanager
async def streaming(*exchanges: Exchange, cache: Any = None, **how: Any) -> AsyncIterator[Streamer]:
    """A `Streamer` in a world of these exchanges."""
    async with Streamer(io=ScriptedIo(*exchanges), cache=cache, **how) as s:
        engine = s._running()
        for feed in (e.feed for e in exchanges if e.feed is not None):
            engine.adopt(feed, engine._io_of(feed.name))
        yield s
