"""The server: many venues on one port of this machine, each below its own path, websockets and REST alike."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from streamer.errors import StreamerError, UsageError, nearest
from streamer.sim import VENUES
from streamer.sim.clock import Clock
from streamer.sim.connection import Connection
from streamer.sim.exchange import Exchange
from streamer.sim.faults import Faults
from streamer.sim.listed import made_up
from streamer.sim.market import Market
from streamer.sim.replayed import replayed

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
MOST_SENT = 1 << 20
"""Bytes of a message or body that a client may send."""
GOODBYE_S = 0.5


class SimServer:
    """Simulated venues: ``async with SimServer(["binance"]) as sim`` or `start` and `stop`; clients are pointed to `sim.url("binance")`.

    `port` 0: any that is free. `seed`: of the generated markets. `rate`: steps a second of each. `symbols`: so many more made-up pairs at
    each venue. `faults`: by venue, what it does wrong (`faults.Faults`). `recordings`: by venue, a recording to serve in place of a
    generated market. `keep`: how many of the newest frames `sent` remembers. Raises `UsageError` for a venue without a declaration.
    """

    def __init__(
        self,
        venues: Iterable[str],
        *,
        port: int = 0,
        seed: int = 1,
        rate: float = 20.0,
        symbols: int = 0,
        faults: Mapping[str, str] | None = None,
        recordings: Mapping[str, Path] | None = None,
        keep: int = 0,
    ) -> None:
        self.clock = Clock(rate)
        self.exchanges: dict[str, Exchange] = {}
        self._port = port
        self._connections: set[Connection] = set()
        self._count = 0
        self._runner: web.AppRunner | None = None
        self._going: asyncio.Task[None] | None = None
        self._bound = 0
        faults, recordings = faults or {}, recordings or {}
        names = list(dict.fromkeys(venues))
        for other in {*faults, *recordings} - {*names}:
            raise UsageError(f"a fault or recording is given for {other}, which is not served here")
        for name in names:
            self.exchanges[name] = self._exchange(name, recordings.get(name), seed, symbols, Faults(faults.get(name)), keep)

    def _exchange(self, name: str, recording: Path | None, seed: int, symbols: int, faults: Faults, keep: int) -> Exchange:
        if recording is None and name not in VENUES:
            raise UsageError(f"there is no simulation of {name!r}{nearest(name, VENUES) or '; there are ' + ', '.join(VENUES)}")
        venue = import_module(f"streamer.sim.venues.{name}").VENUE if recording is None else replayed(name, recording)
        remember = 300 if symbols <= 100 else 20  # steps; a step takes about 600 bytes to remember
        shape: Any = {"more": made_up(symbols), "remember": remember, "faults": faults, "log": keep}
        exchange = Exchange(venue, seed, lambda running: self.clock.add(exchange, running), **shape)
        return exchange

    async def start(self) -> None:
        """Listen. Raises `StreamerError` when the port is taken."""
        app = web.Application(client_max_size=MOST_SENT)
        app.router.add_route("*", "/{venue}{path:(/.*)?}", self._request)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=GOODBYE_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, self._port).start()
        except OSError as e:
            await self._runner.cleanup()
            raise StreamerError(f"the simulation cannot listen on port {self._port}: {e.strerror or e}; choose another port") from None
        self._bound = self._runner.addresses[0][1]
        self._going = asyncio.ensure_future(self.clock.run())

    async def stop(self) -> None:
        """Close every connection and listen no more."""
        if self._going is not None:
            self._going.cancel()
            with suppress(asyncio.CancelledError):
                await self._going
        for connection in list(self._connections):
            connection.close(1001, "the simulation ends")
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> "SimServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def url(self, venue: str) -> str:
        """The base url to point clients of this venue to."""
        return f"http://{HOST}:{self._bound}/{venue}"

    def market(self, venue: str, symbol: str) -> Market:
        """The true market of a generated venue. Raises LookupError."""
        exchange = self.exchanges[venue]
        instrument = next((i for i in exchange.instruments if i.symbol == symbol), None)
        if instrument is None:
            raise LookupError(f"the simulation of {venue} generates no {symbol}")
        return exchange.market(instrument)

    def sent(self, venue: str) -> list[tuple[str, Any, tuple[bytes, ...]]]:
        """The newest (topic, tick, frames) that a venue sent, at most `keep`."""
        return list(self.exchanges[venue].log or ())

    def topics(self, venue: str) -> list[str]:
        """What clients are subscribed to at a venue, in its own words."""
        return [key for connection in self._connections if connection.exchange is self.exchanges[venue] for key in connection.topics]

    # requests

    async def _request(self, request: web.Request) -> web.StreamResponse:
        exchange = self.exchanges.get(request.match_info["venue"])
        if exchange is None:
            return web.json_response({"error": f"this simulation serves {', '.join(self.exchanges)}"}, status=404)
        path = request.match_info["path"]
        if request.headers.get("Upgrade", "").lower() == "websocket" and exchange.opens(path):
            return await self._socket(request, exchange, path)
        status, body = exchange.answer(request.method, path, request.query, await request.read())
        return web.Response(status=status, body=body, content_type="application/json")

    async def _socket(self, request: web.Request, exchange: Exchange, path: str) -> web.StreamResponse:
        ws = web.WebSocketResponse(timeout=GOODBYE_S, compress=False, max_msg_size=MOST_SENT)
        await ws.prepare(request)
        self._count += 1
        connection = Connection(exchange, path, request.query, self._count)
        self._connections.add(connection)
        writing = asyncio.ensure_future(connection.write(ws))
        try:
            exchange.opened(connection)
            async for message in ws:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    connection.received(message.data if isinstance(message.data, str) else message.data.decode(errors="replace"))
                    await asyncio.sleep(0)  # others' turn, if this one sends many commands at once
        finally:
            self._connections.discard(connection)
            connection.gone()
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        return ws
