"""Kraken spot, websocket v2. https://docs.kraken.com/api/docs/websocket-v2/"""

from collections.abc import Sequence

import orjson

from normalizers.kraken import BARS, CHANNELS, DEPTHS, INSTRUMENTS, NORMALIZE
from streamer.checksum import Crc32, fixed
from streamer.spec import Feed, FromStream, Instruments, Limits, Ping


def commands(method: str, topics: Sequence[str], n: int) -> list[str]:
    """One for each channel and parameter, naming all its symbols."""
    symbols: dict[str, list[str]] = {}
    for name, _, symbol in (topic.partition(":") for topic in topics):
        symbols.setdefault(name, []).append(symbol)
    frames = []
    for name, named in symbols.items():
        more = {"snapshot": True} if method == "subscribe" else {}  # `trade` sends none unless asked to
        params = {"channel": name.partition("-")[0], "symbol": named, **CHANNELS[name], **more}
        frames.append({"method": method, "params": params, "req_id": n * len(CHANNELS) + list(CHANNELS).index(name)})
    return [orjson.dumps(frame).decode() for frame in frames]


FEED = Feed(
    name="kraken",
    endpoints={"spot": "wss://ws.kraken.com/v2"},
    instruments=Instruments(["https://api.kraken.com/0/public/AssetPairs"], INSTRUMENTS),
    topics={
        ("spot", "trade"): "trade:{id}",
        ("spot", "book"): "book-{depth}:{id}",
        ("spot", "quote"): "ticker:{id}",
        ("spot", "ticker"): "ticker:{id}",
        # DOUBT: a second interval of a symbol is refused (a third party saw so, 2026; settled by asking for two on a connection)
        ("spot", "candle"): "ohlc-{interval}:{id}",
    },
    intervals={interval: str(minutes) for minutes, interval in BARS.items()},
    subscribe=lambda topics, n: commands("subscribe", topics, n),
    unsubscribe=lambda topics, n: commands("unsubscribe", topics, n),
    normalize=NORMALIZE,
    # DOUBT: floats carry 8 decimals up to 67 million; larger ones need numbers="decimal" (arithmetic; settled by the cheapest coins' books)
    book={"spot": FromStream(checksum=Crc32(10, "asks_bids", fixed), depths=DEPTHS, truncate=True)},
    ping=Ping(20, '{"method":"ping"}'),
    quiet_s=15,  # a heartbeat comes in every second without anything else
    # DOUBT: some 150 connects in 10 minutes; commands as "the load" allows (Kraken's pages; settled by counts of "Exceeded msg rate")
    limits=Limits(connects=(15, 60.0), sends=(5, 1.0), rest=(1, 1.0), topics_per_line=200),
)
