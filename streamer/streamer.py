"""The facade: `Streamer`, which most programs need alone, and the blocking `ticks` for notebooks and scripts."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from streamer.asks import check
from streamer.book_stream import BookStream
from streamer.engine import Engine, Shape
from streamer.errors import UsageError, not_ready
from streamer.io import Io
from streamer.ledger import Ledger
from streamer.line import Numbers
from streamer.mailbox import Policy
from streamer.policies import mailbox
from streamer.subscription import Pump, Subscription
from streamer.symbols import split
from streamer.types import Instrument, Kind, Tick
from streamer.venue import Options
from streamer.views import LiveBook

if TYPE_CHECKING:
    from streamer.recording import Writer

log = logging.getLogger(__name__)


class Streamer:
    """Streams market data of any exchange that `streamer` speaks to.

        async with Streamer() as s:
            sub = s.subscribe("binance:BTC/USDT", "kraken:BTC/USD", kinds=("trade", "book"))
            await s.ready(sub, timeout=10)
            async for tick in sub:
                ...

    `numbers`: "float" or "decimal" (the exchange's own digits). `sizes`: "base" units, or "venue" as the exchange counts them. `urls`:
    a base url by exchange, in place of its own hosts. `transport`: "picows" or "websockets". `proxy`: http://, socks5:// or socks5h://
    for all, else the environment's. `recorder`: a `recording.Writer` that gets every raw frame. `cache`: folder of instrument lists,
    None for none, by default the user's cache folder. `io`: another world, for tests.
    """

    def __init__(
        self,
        *,
        numbers: Numbers = "float",
        sizes: str = "base",
        urls: Mapping[str, str] | None = None,
        transport: str = "picows",
        proxy: str | None = None,
        recorder: "Writer | None" = None,
        cache: Path | str | None = "default",
        io: Io | None = None,
    ) -> None:
        if numbers not in ("float", "decimal"):
            raise UsageError(f"numbers={numbers!r} is neither 'float' nor 'decimal'")
        if sizes not in ("base", "venue"):
            raise UsageError(f"sizes={sizes!r} is neither 'base' nor 'venue'")
        if transport not in ("picows", "websockets"):
            raise UsageError(f"transport={transport!r} is neither 'picows' nor 'websockets'")
        self._transport = transport
        self._proxy = proxy
        self._recorder = recorder
        self._given_io = io
        folder = _cache_folder() if cache == "default" else None if cache is None else Path(cache)
        self._options = Options(numbers, sizes, dict(urls or {}), folder)
        self._engine: Engine | None = None
        self._names = 0

    async def __aenter__(self) -> Self:
        self._engine = Engine(self._io_of, self._options)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """End every connection. What subscriptions have queued can still be read; then they end."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()

    def subscribe(
        self,
        *streams: str,
        kinds: Sequence[Kind] = ("trade",),
        depth: int | None = None,
        interval: str = "1m",
        policy: Policy = "drop_oldest",
        max_items: int = 10_000,
        max_bytes: int = 64 << 20,
        callback: Callable[[Tick[Any]], object] | None = None,
        on_error: str = "log",
        name: str | None = None,
    ) -> Subscription:
        """Subscribe to streams, each ``exchange:symbol``. Returns at once; data comes when the venue sends it.

        `depth`: levels of a book (None: all that the venue gives); `interval`: of candles. `policy` says what happens when the
        subscriber is slower than the market and `max_items` ticks or about `max_bytes` bytes wait: drop_oldest, drop_newest, conflate
        or disconnect. Raises `UsageError` for what is known to be wrong at once; an unknown symbol is told by `ready` and in-band.
        """
        engine = self._running()
        check(kinds, depth, policy)
        if policy == "block":
            raise UsageError("policy 'block' is for replay: an exchange cuts slow readers; choose drop_oldest, conflate or disconnect")
        self._names += 1
        box = mailbox(policy, max_items, max_bytes)
        engine.open(box, Shape(tuple(kinds), depth, interval), streams)
        sub = Subscription(box, engine, name or f"subscription {self._names}")
        if callback is not None:
            Pump(sub, callback, on_error)
        return sub

    async def ready(self, sub: Subscription, timeout: float = 10.0) -> None:
        """Wait until every book of `sub` is live and every other stream is subscribed.

        Raises `NotReady` naming what is not after `timeout` seconds, or at once the error that makes waiting useless
        (`UnknownSymbol`, `UnsupportedKind`, a refusal by the venue).
        """
        engine = self._running()
        try:
            async with asyncio.timeout(timeout):
                while True:
                    waiting, error = engine.pending(sub.box)
                    if error is not None:
                        raise error
                    if not waiting:
                        return
                    await engine.changed()
        except TimeoutError:
            waiting, _ = engine.pending(sub.box)
            raise not_ready(timeout, [f"{w.exchange}:{w.symbol} {w.kind} ({state})" for w, state in waiting]) from None

    def book(self, stream: str) -> LiveBook[Any] | None:
        """The live book of a stream that somebody subscribed to, or None while it is not known to be right."""
        engine = self._running()
        exchange, symbol = split(stream)
        found = engine.hub.book(exchange, symbol)
        if found is None or found.book is None:
            return None
        return LiveBook(found, engine.venues[exchange].io.now)

    async def instruments(self, exchange: str) -> list[Instrument]:
        """What the exchange lists, by symbol. Raises `UnknownExchange` or `IoFailure`."""
        venue = self._running().venue(exchange)
        await venue.load()
        return sorted(venue.catalog.by_symbol.values(), key=lambda i: i.symbol)

    @property
    def ledger(self) -> Ledger:
        """When each stream was not whole, and why."""
        return self._running().hub.ledger

    def stats(self) -> dict[str, dict[str, Any]]:
        """By exchange: connections, reconnects, stalls, frames, bad and unknown ones, one sample of each sort of bad ones, unknown ids; by
        symbol, what its book counted."""
        books = [s for s in self._running().hub.streams.values() if isinstance(s, BookStream)]
        return {
            name: {
                "connections": len(v.connections),
                "reconnects": sum(c.reconnects for c in v.connections),
                "stalls": sum(c.stalls for c in v.connections),
                "frames": v.tally.frames,
                "bad": dict(v.tally.bad),
                "unknown": dict(v.tally.unknown),
                "unknown_ids": dict(v.tally.unknown_ids),
                "samples": dict(v.tally.samples),
                "books": {s.key[1]: s.counts() for s in books if s.key[0] == name},
            }
            for name, v in self._running().venues.items()
        }

    def _running(self) -> Engine:
        if self._engine is None:
            raise UsageError("this Streamer is not running: use it inside `async with Streamer() as s:`")
        return self._engine

    def _io_of(self, exchange: str) -> Io:
        io = self._given_io
        if io is None:
            from streamer.realio import RealIo

            io = RealIo(transport=self._transport, proxy=self._proxy)
        if self._recorder is not None:
            from streamer.record import RecordingIo

            io = RecordingIo(io, self._recorder, exchange)
        return io


def _cache_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("streamer") / "instruments"


def ticks(*streams: str, timeout: float | None = None, numbers: Numbers = "float", sizes: str = "base",
          urls: Mapping[str, str] | None = None, io: Io | None = None, **how: Any) -> Iterator[Tick[Any]]:  # fmt: skip
    """A blocking iterator of ticks, for notebooks and scripts: the streamer runs in a thread of its own.

    `how`: what `Streamer.subscribe` takes (kinds, depth, interval, policy, max_items, max_bytes). Ends after `timeout` seconds without a
    tick, if given. Leaving the loop (or closing the iterator) ends the streamer and its thread.

        for tick in streamer.ticks("binance:BTC/USDT", kinds=("trade",)):
            print(tick)
    """
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, AsyncIterator[list[Any]]]] = Future()

    async def live() -> None:
        over = asyncio.Event()
        async with Streamer(numbers=numbers, sizes=sizes, urls=urls, io=io) as s:
            begun.set_result((asyncio.get_running_loop(), over, s.subscribe(*streams, **how).batches()))
            await over.wait()

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as e:
            if begun.done():
                raise
            begun.set_exception(e)  # the reader raises it

    def end(begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Any]]) -> None:
        if begun.exception() is None:
            loop, over, _ = begun.result()
            loop.call_soon_threadsafe(over.set)

    thread = threading.Thread(target=run, name="streamer", daemon=True)
    thread.start()
    try:
        loop, _, batches = begun.result()
        while True:
            coming = asyncio.run_coroutine_threadsafe(_next(batches), loop)
            try:
                batch = coming.result(timeout)
            except TimeoutError:
                return
            if not batch:
                return
            yield from batch
    finally:
        begun.add_done_callback(end)  # at once, or when it has begun after all
        thread.join(timeout=10)


async def _next(batches: AsyncIterator[list[Any]]) -> list[Any]:
    """The next batch, empty at the end."""
    return await anext(batches, [])
