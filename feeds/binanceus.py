"""Binance.US: Binance spot's protocol on other addresses. https://docs.binance.us/"""

from msgspec.structs import replace

from feeds.binance import FEED as BINANCE
from normalizers.binance import BOOK_REST, INSTRUMENTS
from streamer.rules import overlap
from streamer.spec import FromRest, Instruments, Limits

FEED = replace(
    BINANCE,
    name="binanceus",
    endpoints={"spot": "wss://stream.binance.us:9443/stream"},
    instruments=Instruments(["https://api.binance.us/api/v3/exchangeInfo"], INSTRUMENTS),
    book={"spot": FromRest("https://api.binance.us/api/v3/depth?symbol={id}&limit=1000", BOOK_REST, overlap, weight=10)},
    limits=Limits(connects=(300, 300.0), sends=(4, 1.0), rest=(1200, 60.0), topics_per_line=1000, topics_per_command=200, life_s=86400),
)
