"""KuCoin spot, the classic websocket. https://www.kucoin.com/docs-new/websocket-api/base-info/introduction"""

from collections.abc import Sequence

import orjson

from normalizers.kucoin import BOOK_REST, INSTRUMENTS, INTERVALS, NORMALIZE
from streamer.rules import overlap
from streamer.spec import Endpoint, Feed, Fetch, FromRest, Instruments, Limits, Ping

REST = "https://api.kucoin.com/api"


async def endpoint(fetch: Fetch) -> Endpoint:
    """Address, token and the interval of pings are asked for before each connect."""
    told = orjson.loads(await fetch("POST", REST + "/v1/bullet-public"))["data"]
    server = told["instanceServers"][0]
    return Endpoint(f"{server['endpoint']}?token={told['token']}", ping_every=server["pingInterval"] / 1000)


def channel(topic: str) -> str:
    return topic.partition(":")[0]


def command(verb: str, topics: Sequence[str], n: int) -> list[str]:
    """One channel with all its symbols."""
    topic = f"{channel(topics[0])}:{','.join(topic.partition(':')[2] for topic in topics)}"
    return [orjson.dumps({"id": str(n), "type": verb, "topic": topic, "privateChannel": False, "response": True}).decode()]


FEED = Feed(
    name="kucoin",
    endpoints={"spot": endpoint},
    instruments=Instruments([REST + "/v2/symbols"], INSTRUMENTS),
    topics={
        ("spot", "trade"): "/market/match:{id}",
        ("spot", "book"): "/market/level2:{id}",
        ("spot", "quote"): "/spotMarket/level1:{id}",
        # DOUBT: one symbol a command (KuCoin's page) or several (others' clients; settled by asking for two: refused ones are halved)
        ("spot", "ticker"): "/market/snapshot:{id}",
        ("spot", "candle"): "/market/candles:{id}_{interval}",
    },
    intervals={interval: bar for bar, interval in INTERVALS.items()},
    subscribe=lambda topics, n: command("subscribe", topics, n),
    unsubscribe=lambda topics, n: command("unsubscribe", topics, n),
    together=channel,
    await_ready=True,
    normalize=NORMALIZE,
    # the whole book (v3) wants a login; the deltas are of the whole
    book={"spot": FromRest(REST + "/v1/market/orderbook/level2_100?symbol={id}", BOOK_REST, overlap, weight=2, reach=100)},
    ping=Ping(18, '{"id":"0","type":"ping"}'),
    # 30 connects a minute, 100 messages in 10 s, 100 topics a command, 300 a connection (400 by now), weight 2000 in 30 s
    # DOUBT: a token is good for 24 h, and a connection for as long (others' clients; settled by one that lasts longer)
    limits=Limits(connects=(30, 60.0), sends=(90, 10.0), rest=(2000, 30.0), topics_per_line=300, topics_per_command=100, life_s=86400),
)
