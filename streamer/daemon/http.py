"""What the daemon answers over HTTP, on loopback unless the configuration says otherwise: no command can be given here."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from streamer.daemon.health import Verdict
from streamer.errors import UsageError

Answer = Callable[[web.Request], tuple[int, Any]]
GOODBYE_S = 0.5


class Http:
    """Paths and what answers them: (status, body), where bytes are Prometheus' text and all else becomes JSON. `url` once it listens."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.url = ""
        self._answers = answers
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen, here and nowhere else. Raises `UsageError` when the address cannot be had; then all is as it was."""
        old, where = self._runner, self.url
        try:
            await self._listen(host, port)
        except UsageError:
            if old is None:
                raise
            await _end(old)  # the new address may be the old one by another name
            try:
                await self._listen(host, port)
            except UsageError:
                parts = urlsplit(where)
                await self._listen(parts.hostname or "", parts.port or 0)
                raise
        else:
            await _end(old)

    async def stop(self) -> None:
        """Listen no more."""
        runner, self._runner, self.url = self._runner, None, ""
        await _end(runner)

    async def _listen(self, host: str, port: int) -> None:
        app = web.Application(client_max_size=1024)
        for path, answer in self._answers.items():
            app.router.add_get(path, _handler(answer))  # and HEAD
        app.router.add_get("/", _handler(lambda request: (200, {"paths": list(self._answers)})))
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=GOODBYE_S, keepalive_timeout=30)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as e:
            await runner.cleanup()
            raise UsageError(f"http.listen: {host}:{port} cannot be listened on: {e.strerror or e}; choose another address") from None
        self._runner = runner
        host, port = runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _end(runner: web.AppRunner | None) -> None:
    if runner is not None:
        with suppress(TimeoutError):
            await asyncio.wait_for(runner.cleanup(), 2 * GOODBYE_S)


def _handler(answer: Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        status, body = answer(request)
        headers = {"Cache-Control": "no-store"}
        if isinstance(body, bytes):
            return web.Response(status=status, body=body, headers=headers | {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
        text = orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)
        return web.Response(status=status, body=text, headers=headers, content_type="application/json")

    return handle


def readiness(verdict: Verdict) -> tuple[int, Any]:
    """For `/readyz`."""
    streams = {"wanted": verdict.wanted.total(), "fresh": verdict.fresh.total()}
    return 200 if verdict.ready else 503, {"ready": verdict.ready, "reasons": verdict.reasons, "streams": streams}
