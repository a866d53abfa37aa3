"""Coinbase Exchange: spot. https://docs.cdp.coinbase.com/exchange/websocket-feed/overview"""

from collections.abc import Sequence

import orjson

from normalizers.coinbaseexchange import INSTRUMENTS, NORMALIZE
from streamer.spec import Feed, FromStream, Instruments, Limits


def commands(verb: str, topics: Sequence[str]) -> list[str]:
    """One for each product: a product that is refused takes all of its command with it."""
    products: dict[str, list[str]] = {}
    for channel, _, product in (topic.partition(":") for topic in topics):
        products.setdefault(product, []).append(channel)
    asked = {product: [{"name": channel, "product_ids": [product]} for channel in named] for product, named in products.items()}
    return [orjson.dumps({"type": verb, "channels": channels}).decode() for channels in asked.values()]


FEED = Feed(
    name="coinbaseexchange",
    endpoints={"spot": "wss://ws-feed.exchange.coinbase.com"},
    instruments=Instruments(["https://api.exchange.coinbase.com/products"], INSTRUMENTS),
    topics={
        ("spot", "trade"): "matches:{id}",
        ("spot", "book"): "level2_batch:{id}",  # every 50 ms; `level2` wants a login. Neither is numbered
        ("spot", "ticker"): "ticker:{id}",  # `ticker_batch` is the same every 5 s. Candles are not streamed, nor to be polled (Coinbase)
    },
    subscribe=lambda topics, n: commands("subscribe", topics),
    unsubscribe=lambda topics, n: commands("unsubscribe", topics),
    normalize=NORMALIZE,
    book={"spot": FromStream()},
    quiet_s=30,
    # DOUBT: "requests: 8 a second and IP" may mean connects only, "messages" are 100 (one page; settled by sending faster)
    limits=Limits(connects=(8, 1.0), sends=(8, 1.0), rest=(10, 1.0), topics_per_line=200, topics_per_command=60),
)
