"""A tick of every type: what everything that writes, carries or shows ticks must cope with."""

from typing import Any

from streamer.types import (
    BookDelta,
    BookSnapshot,
    BookStale,
    Candle,
    Funding,
    Gap,
    Greeks,
    IndexPrice,
    Instrument,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Quote,
    Status,
    Tick,
    Ticker,
    Trade,
)

AT = ("kraken", "BTC/USD", 1_700_000_000_000_000_000, 1_700_000_000_001_000_000)
TRADE: Trade[Any] = Trade(*AT, 60000.5, 0.25, "buy", "17")
SNAPSHOT: BookSnapshot[Any] = BookSnapshot(*AT, [(60000.0, 1.0), (59999.5, 2.0)], [(60001.0, 0.5)], 7)
DELTA: BookDelta[Any] = BookDelta(*AT, [(60000.0, 0.0)], [], 8, 9, 7)
EVERY: list[Tick[Any]] = [
    TRADE, SNAPSHOT, DELTA, BookStale(*AT, "gap"), Quote(*AT, 1.0, 2.0, 3.0, 4.0), Ticker(*AT, 5.0),
    Candle(*AT, "1m", AT[2], 1.0, 3.0, 0.5, 2.0), Funding(*AT, 0.0001), MarkPrice(*AT, 1.5), IndexPrice(*AT, 1.5),
    OpenInterest(*AT, 12.0), Liquidation(*AT, "sell", 1.0, 2.0),
    Greeks(*AT, 0.65), Gap(*AT, "book", "sequence"), Status(*AT, "trade", "live"), Instrument(*AT, "XBTUSD", "BTC", "USD"),
]  # fmt: skip
