"""cryptofeed 2.4 on recordings, through its own playback (`cryptofeed.raw_data_collection._playback`), the file read before it.

Modes: `plain`, each event is handed to an awaited callback that does nothing; `best`, the callback of a book reads its best bid and ask, as
users do; `checked`, with checksums too, where it has them (okx), which it leaves out unless told.
"""

import gc
import time
from decimal import Decimal
from typing import Any

from cryptofeed import defines
from cryptofeed.connection import HTTPAsyncConn, HTTPSync
from cryptofeed.exchanges import EXCHANGE_MAP
from cryptofeed.symbols import Symbols
from driver import Counter, Recording, Round, Skip, quiet, serve
from yapic import json

NAMES = {
    "binance": "BINANCE", "binanceus": "BINANCE_US", "binanceusdm": "BINANCE_FUTURES", "okx": "OKX", "bybit": "BYBIT", "bitmex": "BITMEX",
    "deribit": "DERIBIT", "bitfinex": "BITFINEX", "kucoin": "KUCOIN",
}  # fmt: skip
CHANNELS = {
    "trade": defines.TRADES, "book": defines.L2_BOOK, "quote": defines.TICKER, "ticker": defines.TICKER, "candle": defines.CANDLES,
    "funding": defines.FUNDING, "open_interest": defines.OPEN_INTEREST, "index": defines.INDEX, "liquidation": defines.LIQUIDATIONS,
}  # fmt: skip
KEYS = {"key_id": "x", "key_secret": "x", "key_passphrase": "x"}
CONFIG = {"deribit": KEYS, "kucoin": KEYS, "log": {"disabled": True, "filename": "/dev/null", "level": "CRITICAL"}, "uvloop": False}
BULLET = {"data": {"token": "x", "instanceServers": [{"endpoint": "wss://ws-api.kucoin.com/endpoint", "pingInterval": 18000}]}}


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


async def play(recording: Recording, mode: str) -> Round:
    """One round with a fresh feed."""
    if recording.exchange not in NAMES:
        raise Skip("cryptofeed 2.4 speaks another protocol of this venue")
    cls = EXCHANGE_MAP[NAMES[recording.exchange]]
    bodies = {symbol_in(s.url): s.text for s in recording.steps if not s.frame}
    HTTPSync.read = lambda self, address, *_, **__: json.loads(listing(recording, address), parse_float=Decimal)
    HTTPSync.write = lambda *_, **__: BULLET

    async def read(self: Any, url: str, *_: Any, **__: Any) -> str:
        return bodies[symbol_in(url)]

    HTTPAsyncConn.read = read
    events: Counter[str] = Counter()
    wanted = subscription(cls, recording)
    callbacks = {c: callback(c, events, mode) for c in wanted}
    how = {"candle_closed_only": False, "config": CONFIG, "checksum_validation": mode == "checked"}
    feed = cls(subscription=wanted, callbacks=callbacks, **how)
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
    feed.stop()
    await feed.shutdown()
    return Round(took, events, books, errors)


def callback(channel: str, events: Counter[str], mode: str) -> Any:
    """The user's."""

    async def plain(data: Any, receipt: float) -> None:
        events[channel] += 1

    async def best(data: Any, receipt: float) -> None:
        events[channel] += 1
        book = data.book
        if len(book.bids) and len(book.asks):
            book.bids.index(0)
            book.asks.index(0)

    return best if mode != "plain" and channel == defines.L2_BOOK else plain


if __name__ == "__main__":
    quiet()
    Symbols.clear()
    serve(play)
