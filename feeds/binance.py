"""Binance spot. https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams"""

from collections.abc import Sequence

import orjson

from normalizers.binance import BOOK_REST, INSTRUMENTS, NORMALIZE
from streamer.rules import overlap
from streamer.spec import Feed, FromRest, Instruments, Limits

INTERVALS = {i: i for i in ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")}


def command(method: str, topics: Sequence[str], n: int) -> list[str]:
    return [orjson.dumps({"method": method, "params": list(topics), "id": n}).decode()]


FEED = Feed(
    name="binance",
    endpoints={"spot": "wss://stream.binance.com:9443/stream"},
    instruments=Instruments(["https://api.binance.com/api/v3/exchangeInfo"], INSTRUMENTS),
    topics={
        ("spot", "trade"): "{lower}@trade",
        ("spot", "book"): "{lower}@depth@100ms",
        ("spot", "quote"): "{lower}@bookTicker",
        ("spot", "ticker"): "{lower}@ticker",
        ("spot", "candle"): "{lower}@kline_{interval}",
    },
    intervals=INTERVALS,
    subscribe=lambda topics, n: command("SUBSCRIBE", topics, n),
    unsubscribe=lambda topics, n: command("UNSUBSCRIBE", topics, n),
    normalize=NORMALIZE,
    book={"spot": FromRest("https://api.binance.com/api/v3/depth?symbol={id}&limit=1000", BOOK_REST, overlap, weight=50)},
    # the server sends a websocket ping every 20 s and cuts after 24 h; 300 connects per 5 min, 5 commands a second, 6000 weight a minute
    limits=Limits(connects=(300, 300.0), sends=(4, 1.0), rest=(6000, 60.0), topics_per_line=1000, topics_per_command=200, life_s=86400),
)
