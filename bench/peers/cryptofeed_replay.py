"""What the drivers of cryptofeed 2.4 and 3 share: they differ in how symbols are learnt, not in how a feed is given its frames.

Imports nothing of cryptofeed, and uses only what both versions have.
"""

import gc
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from driver import Counter, Recording, Round, Skip

NAMES = {
    "binance": "BINANCE", "binanceus": "BINANCE_US", "binanceusdm": "BINANCE_FUTURES", "okx": "OKX", "bybit": "BYBIT", "deribit": "DERIBIT",
    "bitfinex": "BITFINEX",
}  # fmt: skip
"""The venues that both read."""
BOOK = "l2_book"
CHANNELS = {
    "trade": "trades", "book": BOOK, "quote": "ticker", "ticker": "ticker", "candle": "candles", "funding": "funding",
    "open_interest": "open_interest", "index": "index", "liquidation": "liquidations",
}  # fmt: skip


class Socket:
    """What a handler and its subscription see of a connection."""

    conn_type = "wss"

    def __init__(self, address: str) -> None:
        self.address = address
        self.uuid = self.id = address
        self.subscription: Any = None

    async def write(self, *_: Any, **__: Any) -> None:
        """Commands go nowhere."""


def symbol_in(url: str) -> str:
    """The venue's id that a REST snapshot is about."""
    return url.partition("symbol=")[2].partition("&")[0]


def snapshots(recording: Recording) -> Callable[..., Any]:
    """What reads books by REST: the recorded answers."""
    bodies = {symbol_in(s.url): s.text for s in recording.steps if not s.frame}

    async def read(self: Any, url: str, *_: Any, **__: Any) -> str:
        return bodies[symbol_in(url)]

    return read


def listing(recording: Recording, address: str) -> str:
    """The recorded answer of this address, or of one that was called a little otherwise then (a query, another ending)."""
    found = (body for url, body in recording.lists.items() if url.startswith(address) or address.startswith(url))
    body = next(found, None)
    if body is None:
        raise Skip(f"no list of instruments for {address}")
    return body


def subscription(cls: Any, recording: Recording) -> dict[str, list[str]]:
    """Its own names of what the recording brings."""
    ours = {exchange: own for own, exchange in cls.symbol_mapping().items()}
    wanted: dict[str, dict[str, None]] = {}
    for stream in recording.streams:
        raw = f"{stream['base']}/{stream['quote']}" if recording.exchange == "bybit" and stream["kind"] == "spot" else stream["id"]
        for kind in stream["kinds"]:
            channel = CHANNELS.get(kind)
            if channel in cls.websocket_channels and raw in ours:
                wanted.setdefault(channel, {})[ours[raw]] = None
    if not wanted:
        raise Skip("it knows none of the symbols")
    return {channel: list(symbols) for channel, symbols in wanted.items()}


def callbacks(channels: Iterable[str], events: Counter[str], mode: str) -> dict[str, Any]:
    """The user's, by channel."""
    return {channel: callback(channel, events, mode) for channel in channels}


def callback(channel: str, events: Counter[str], mode: str) -> Any:
    """One of them."""

    async def plain(data: Any, receipt: float) -> None:
        events[channel] += 1

    async def best(data: Any, receipt: float) -> None:
        events[channel] += 1
        book = data.book
        if len(book.bids) and len(book.asks):
            book.bids.index(0)
            book.asks.index(0)

    return best if mode != "plain" and channel == BOOK else plain


async def replay(feed: Any, recording: Recording, wanted: Mapping[str, list[str]], events: Counter[str]) -> Round:
    """Every frame through the handler that its connection would call."""
    sockets: dict[str, Socket] = {}
    for url in dict.fromkeys(s.url for s in recording.steps if s.frame):
        socket = sockets[url] = Socket(url)
        native = {c: [feed.std_symbol_to_exchange_symbol(s) for s in names] for c, names in wanted.items()}
        socket.subscription = {feed.std_channel_to_exchange(c): names for c, names in native.items()}
        await feed.subscribe(socket)
    frames = [(s.text, sockets[s.url], s.seconds) for s in recording.steps if s.frame]
    handle, errors = feed.message_handler, Counter[str]()
    gc.collect()
    began = time.process_time_ns()
    for text, socket, seconds in frames:
        try:
            await handle(text, socket, seconds)
        except Exception as e:  # noqa: BLE001  (counted, and told)
            errors[f"{type(e).__name__}: {e}"[:80]] += 1
    took = time.process_time_ns() - began
    books = sum(1 for b in feed._l2_book.values() if len(b.book.bids) or len(b.book.asks))
    return Round(took, events, books, errors)
