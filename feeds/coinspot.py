"""CoinSpot, Australia: spot, polled; it has no websocket. https://www.coinspot.com.au/v2/api"""

from normalizers.coinspot import BOOK, INSTRUMENTS, TICKERS, TRADES
from streamer.spec import Feed, FullRefresh, Instruments, Limits, Poll

API = "https://www.coinspot.com.au/pubapi/v2"

FEED = Feed(
    name="coinspot",
    endpoints={"spot": API},
    instruments=Instruments([f"{API}/latest"], INSTRUMENTS),
    topics={
        ("spot", "trade"): Poll(2, f"{API}/orders/summary/completed/{{id}}", TRADES),
        ("spot", "book"): Poll(2, f"{API}/orders/open/{{id}}", BOOK),
        ("spot", "ticker"): Poll(2, f"{API}/latest", TICKERS),
    },
    book={"spot": FullRefresh()},
    limits=Limits(rest=(16, 1.0)),  # 1000 requests a minute, spread: 100 coins with books are asked for every 12 s
)
