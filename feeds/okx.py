"""OKX v5: spot, swaps, futures and options. https://www.okx.com/docs-v5/en/"""

from collections.abc import Sequence

import orjson

from normalizers.okx import BARS, INSTRUMENTS, NORMALIZE, arg_of
from streamer.checksum import Crc32, shortest
from streamer.rules import chained
from streamer.spec import Feed, FromStream, Instruments, Limits, Ping
from streamer.types import Kind

LIST = "https://www.okx.com/api/v5/public/instruments?instType="
FAMILIES = ("BTC-USD", "ETH-USD")
# DOUBT: options are listed family by family (documents); these two are in all clients, there may be more (settled by /public/underlying)
# DOUBT: perpetual-style futures (ruleType xperp) have funding too (a notice, 2025; settled by asking); it is offered for swaps only
ONLY: dict[Kind, tuple[str, ...]] = {
    "funding": ("swap",), "greeks": ("option",), "liquidation": ("swap", "future"), "index": ("spot", "swap"),
    "mark": ("swap", "future", "option"), "open_interest": ("swap", "future", "option"),
}  # fmt: skip


def command(op: str, topics: Sequence[str], n: int) -> list[str]:
    return [orjson.dumps({"id": str(n), "op": op, "args": [arg_of(topic) for topic in topics]}).decode()]


FEED = Feed(
    name="okx",
    endpoints={"public": "wss://ws.okx.com:8443/ws/v5/public", "business": "wss://ws.okx.com:8443/ws/v5/business"},
    market=lambda instrument, kind: "business" if kind == "candle" else "public",
    only=ONLY,
    instruments=Instruments([LIST + t for t in ("SPOT", "SWAP", "FUTURES", *("OPTION&instFamily=" + f for f in FAMILIES))], INSTRUMENTS),
    topics={
        ("public", "trade"): "channel:trades,instId:{id}",
        ("public", "book"): "channel:books,instId:{id}",
        ("public", "quote"): "channel:bbo-tbt,instId:{id}",
        ("public", "ticker"): "channel:tickers,instId:{id}",
        ("business", "candle"): "channel:candle{interval},instId:{id}",
        ("public", "funding"): "channel:funding-rate,instId:{id}",
        ("public", "mark"): "channel:mark-price,instId:{id}",
        ("public", "index"): "channel:index-tickers,instId:{base}-{quote}",
        ("public", "open_interest"): "channel:open-interest,instId:{id}",
        ("public", "liquidation"): "channel:liquidation-orders,instType:{kind}",
        ("public", "greeks"): "channel:opt-summary,instFamily:{base}-{quote}",
    },
    intervals=BARS,
    subscribe=lambda topics, n: command("subscribe", topics, n),
    unsubscribe=lambda topics, n: command("unsubscribe", topics, n),
    normalize=NORMALIZE,
    # DOUBT: OKX's log of changes (February 2026) let the first snapshot go in August, for GET /market/books; its notice of May names the
    # checksum alone, and a third party still got snapshots (settled by subscribing). Without it books never come live: FromRest then
    book={"public": FromStream(chained, Crc32(25, "interleaved", shortest, ":", signed=True))},
    ping=Ping(20, "ping", b"pong"),
    quiet_s=30,
    # 480 commands an hour and connection, of at most 64 KB (90 bytes a topic); OKX advises less than 30 deep books on a connection
    limits=Limits(connects=(3, 1.0), sends=(480, 3600.0), topics_per_line=100, topics_per_command=200),
)
