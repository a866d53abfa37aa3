"""ccxt.pro on recordings: its own client takes each frame (`handle_message`), one task a symbol and kind waits in its watch call.

Modes: `each`, the loop turns after every frame so that each update is delivered, as ours delivers each; `burst`, it turns after 16, as in
our own measurement: a watch call then returns once for all changes of a book in between. The connection is a stub, REST snapshots are the
recorded ones and arrive where they arrived then. Checksums and other checks are at their defaults.
"""

import gc
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import ccxt.pro
import orjson
from ccxt.async_support.base.ws.client import Client
from driver import Counter, Recording, Round, Skip, asyncio, quiet, serve

CALLS = {"trade": "watch_trades", "book": "watch_order_book", "ticker": "watch_ticker", "quote": "watch_bids_asks", "candle": "watch_ohlcv"}
ARGUMENTS: dict[tuple[str, str], tuple[Any, ...]] = {
    ("bybit", "book"): (200,), ("deribit", "book"): (None, {"interval": "raw"}), ("deribit", "ticker"): ({"interval": "raw"},),
    ("deribit", "trade"): (None, None, {"interval": "raw"}),
}  # fmt: skip
"""What it must be told so that it asks for what was recorded."""
OPTIONS = {"enableRateLimit": False, "newUpdates": True, "apiKey": "x", "secret": "eHh4eA==", "password": "x"}
TURNS = 4
"""Of the loop, from a resolved future to the user's hands and back to waiting."""
BURST = 16


class Stub(Client):
    """A connection that is there and takes commands; venues that must answer them do."""

    async def send(self, message: Any) -> None:
        """Acknowledge."""
        number = message.get("id") if isinstance(message, dict) else None
        if number is not None and "method" in message and "jsonrpc" not in message:
            self.on_message_callback(self, {"id": number, "result": None})
        elif number is not None and message.get("type") == "subscribe":
            self.on_message_callback(self, {"id": str(number), "type": "ack"})


def market(exchange: Any, stream: dict[str, Any]) -> dict[str, Any]:
    """A row of its list of markets."""
    base, quote = (stream["base"], stream["quote"]) if stream["base"] else pair(stream["id"])
    contract = stream["kind"] != "spot"
    inverse = contract and stream["settle"] == base
    names = {"id": stream["id"], "lowercaseId": stream["id"].lower(), "base": base, "quote": quote, "baseId": base, "quoteId": quote}
    kinds = {kind: stream["kind"] == kind for kind in ("spot", "swap", "future", "option")}
    more = {"symbol": stream["symbol"] if stream["base"] else f"{base}/{quote}", "settle": stream["settle"], "settleId": stream["settle"]}
    facts = {"type": stream["kind"], "contract": contract, "linear": contract and not inverse, "inverse": inverse}
    numbers = {
        "contractSize": stream["contract_size"] or 1.0, "expiry": stream["expiry_ms"], "strike": stream["strike"],
        "optionType": stream["option_type"], "precision": {"amount": stream["size_step"], "price": stream["price_step"]}, "info": {},
    }  # fmt: skip
    found: dict[str, Any] = exchange.safe_market_structure(names | kinds | more | facts | numbers)
    return found


def pair(raw: str) -> tuple[str, str]:
    """Base and quote in one of bitfinex's ids."""
    base, colon, quote = raw.removeprefix("t").partition(":")
    return (base, quote) if colon else (base[:3], base[3:])


class Play:
    """One round, with a fresh exchange."""

    def __init__(self, recording: Recording) -> None:
        if recording.exchange not in ccxt.pro.exchanges:
            raise Skip("ccxt.pro has no websocket of this venue")
        self.recording = recording
        self.exchange = getattr(ccxt.pro, recording.exchange)(OPTIONS)
        self.exchange.set_markets([market(self.exchange, s) for s in recording.streams])
        self.events: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.tasks: list[asyncio.Task[None]] = []
        self._bodies: dict[str, asyncio.Future[str]] = {}
        self._clients: dict[str, Stub] = {}

    def connect(self) -> None:
        """Stubs in place of everything that would leave this machine."""
        e, loop = self.exchange, asyncio.get_running_loop()
        numbers = itertools.count(1000)  # what was recorded answers commands of its own
        e.open()
        for url in dict.fromkeys(s.url for s in self.recording.steps if s.frame):
            client = Stub(url, e.handle_message, e.on_error, e.on_close, e.on_connected, {"asyncio_loop": loop})
            client.connected.set_result(url)
            self._clients[url] = client

        async def nothing(*_: Any, **__: Any) -> Any:
            return e.markets

        async def fetch(url: str, *_: Any, **__: Any) -> Any:
            return orjson.loads(await self._body(url))

        async def address(*_: Any, **__: Any) -> str:
            return next(iter(self._clients))

        e.client, e.fetch, e.load_markets = self._client, fetch, nothing
        if self.recording.exchange == "deribit":
            e.authenticate = nothing
        elif hasattr(e, "request_id"):
            e.request_id = lambda *_: next(numbers)
        e.delay = lambda _, method, *arguments: e.spawn(method, *arguments)
        e.negotiate = address

    def _client(self, url: str) -> Stub:
        path = urlsplit(url).path
        return next((c for u, c in self._clients.items() if urlsplit(u).path == path), None) or next(iter(self._clients.values()))

    def _body(self, url: str) -> "asyncio.Future[str]":
        symbol = url.partition("symbol=")[2].partition("&")[0]
        return self._bodies.setdefault(symbol, asyncio.get_running_loop().create_future())

    def watch(self) -> None:
        """The user's tasks."""
        for stream in self.recording.streams:
            symbol = market(self.exchange, stream)["symbol"]
            kinds = [k for k in stream["kinds"] if k in CALLS and self.exchange.has.get(camel(CALLS[k]))]
            for kind in kinds:
                arguments = ARGUMENTS.get((self.recording.exchange, kind), ())
                first = [symbol] if kind == "quote" else symbol
                self.tasks.append(asyncio.ensure_future(self._again(kind, getattr(self.exchange, CALLS[kind]), first, *arguments)))

    async def _again(self, kind: str, call: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        events = self.events
        try:
            while True:
                found = await call(*arguments)
                events[kind] += len(found) if kind in ("trade", "candle") else 1
        except Exception as e:  # noqa: BLE001  (counted, and told)
            self.errors[f"{kind} {type(e).__name__}: {e}"[:100]] += 1

    async def run(self, turn_after: int) -> int:
        """CPU ns of all frames and snapshots."""
        text = aiohttp.WSMsgType.TEXT
        todo = [(self._clients[s.url], aiohttp.WSMessage(text, s.text, "")) if s.frame else (None, s) for s in self.recording.steps]
        waiting = 0
        gc.collect()
        began = time.process_time_ns()
        for client, what in todo:
            if client is None:
                future = self._body(what.url)
                if not future.done():
                    future.set_result(what.text)
                for _ in range(TURNS):  # it does not bear that deltas come before it has taken the snapshot
                    await asyncio.sleep(0)
                continue
            try:
                client.handle_message(what)
            except Exception as e:  # noqa: BLE001  (counted, and told)
                self.errors[f"{type(e).__name__}: {e}"[:100]] += 1
            waiting += 1
            if waiting == turn_after:
                waiting = 0
                for _ in range(TURNS):
                    await asyncio.sleep(0)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        return time.process_time_ns() - began

    async def close(self) -> None:
        """End the tasks."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for future in self._bodies.values():
            future.cancel()
        await self.exchange.close()


def camel(name: str) -> str:
    """As ccxt's table of abilities spells it."""
    head, *rest = name.split("_")
    return head + "".join("OHLCV" if part == "ohlcv" else part.capitalize() for part in rest)


async def bare(count: int) -> int:
    """CPU ns of the turns alone, which are no work of ccxt's."""
    began = time.process_time_ns()
    for _ in range(count * TURNS):
        await asyncio.sleep(0)
    return time.process_time_ns() - began


async def play(recording: Recording, mode: str) -> Round:
    """One round."""
    one = Play(recording)
    one.connect()
    one.watch()
    for _ in range(20):
        await asyncio.sleep(0)
    turn_after = 1 if mode == "each" else BURST
    took = await one.run(turn_after)
    took -= await bare(sum(s.frame for s in recording.steps) // turn_after)
    books = sum(1 for book in one.exchange.orderbooks.values() if book["bids"] or book["asks"])
    await one.close()
    return Round(took, one.events, books, one.errors)


if __name__ == "__main__":
    quiet()
    serve(play)
