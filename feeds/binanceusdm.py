"""Binance USDⓈ-M futures, perpetual and delivery. https://developers.binance.com/docs/derivatives/usds-margined-futures"""

from msgspec.structs import replace

from feeds.binance import FEED as BINANCE
from feeds.binance import INTERVALS
from normalizers.binanceusdm import BOOK_REST, INSTRUMENTS, NORMALIZE, OPEN_INTEREST
from streamer.rules import straddled_chain
from streamer.spec import FromRest, Instruments, Limits, Poll
from streamer.types import Instrument, Kind

API = "https://fapi.binance.com/fapi/v1"


def market(instrument: Instrument, kind: Kind) -> str:
    """What is subscribed at the other address is acknowledged, and never comes. Delivery contracts have no funding."""
    if kind == "funding" and instrument.kind == "future":
        return ""
    return "public" if kind in ("book", "quote") else "market"


FEED = replace(
    BINANCE,
    name="binanceusdm",
    # since April 2026: depth and bookTicker here, all else there (a notice of 2026-03-06)
    endpoints={"public": "wss://fstream.binance.com/public/stream", "market": "wss://fstream.binance.com/market/stream"},
    market=market,
    instruments=Instruments([f"{API}/exchangeInfo"], INSTRUMENTS),
    topics={
        ("market", "trade"): "{lower}@aggTrade",  # fills of one taker at one price; @trade comes too, but is in no document
        ("public", "book"): "{lower}@depth@100ms",
        ("public", "quote"): "{lower}@bookTicker",
        ("market", "ticker"): "{lower}@ticker",
        ("market", "candle"): "{lower}@kline_{interval}",
        ("market", "mark"): "{lower}@markPrice@1s",
        ("market", "index"): "{lower}@markPrice@1s",
        ("market", "funding"): "{lower}@markPrice@1s",
        ("market", "liquidation"): "{lower}@forceOrder",
        ("market", "open_interest"): Poll(30, f"{API}/openInterest?symbol={{id}}", OPEN_INTEREST),  # all 600: half of the limit
    },
    intervals={ours: theirs for ours, theirs in INTERVALS.items() if ours != "1s"},
    normalize=NORMALIZE,
    book={"public": FromRest(f"{API}/depth?symbol={{id}}&limit=1000", BOOK_REST, straddled_chain, weight=20, reach=1000)},
    # 300 connects in 5 minutes, 10 messages a second, 24 h, 2400 weight a minute; the documents allow 1024 streams, older ones 200
    limits=Limits(connects=(300, 300.0), sends=(8, 1.0), rest=(2400, 60.0), topics_per_line=200, topics_per_command=200, life_s=86400),
)
