"""BitMEX: perpetuals, futures and spot on one address. https://www.bitmex.com/app/wsAPI"""

from collections.abc import Sequence

import orjson

from normalizers.bitmex import INSTRUMENTS, NORMALIZE, SPANS
from streamer.spec import Feed, FromStream, Instruments, Limits, Ping
from streamer.types import Kind

STATES: tuple[Kind, ...] = ("ticker", "funding", "mark", "index", "open_interest")
ONLY: dict[Kind, tuple[str, ...]] = dict.fromkeys((*STATES[1:], "liquidation"), ("swap", "future")) | {"funding": ("swap",)}
# the book whole and at once: orderBookL2_25 is throttled. The table `funding` only tells what was paid, when it was
TABLES: dict[Kind, str] = {"trade": "trade", "book": "orderBookL2", "quote": "quote", "liquidation": "liquidation"}
TABLES |= {"candle": "tradeBin{interval}", **dict.fromkeys(STATES, "instrument")}


def command(op: str, topics: Sequence[str]) -> list[str]:
    return [orjson.dumps({"op": op, "args": list(topics)}).decode()]


FEED = Feed(
    name="bitmex",
    endpoints={"realtime": "wss://ws.bitmex.com/realtime"},
    only=ONLY,
    instruments=Instruments(["https://www.bitmex.com/api/v1/instrument/active"], INSTRUMENTS),
    topics={("realtime", kind): table + ":{id}" for kind, table in TABLES.items()},
    intervals={interval: interval for interval in SPANS},
    subscribe=lambda topics, n: command("subscribe", topics),
    unsubscribe=lambda topics, n: command("unsubscribe", topics),
    normalize=NORMALIZE,
    book={"realtime": FromStream(by_id=True)},
    ping=Ping(5, "ping", b"pong"),
    quiet_s=15,
    # 60 connects an hour, 30 requests a minute, 20 topics a command ("Too many args sent. Max length is 20.")
    # DOUBT: subscriptions are not limited (documents), but may be refused with 429 (ccxt's notes; settled by counting those)
    limits=Limits(connects=(60, 3600.0), sends=(2, 1.0), rest=(30, 60.0), topics_per_command=20),
)
