"""Deribit v2, JSON-RPC: options, inverse and linear futures, spot. https://docs.deribit.com/articles/json-rpc-overview"""

from collections.abc import Sequence

import orjson

from normalizers.deribit import INSTRUMENTS, NORMALIZE, RESOLUTIONS
from streamer.rules import chained
from streamer.spec import Feed, FromStream, Instruments, Limits
from streamer.types import Kind

TOPICS: dict[Kind, str] = {  # in place of 100ms, those with an account may say raw
    "trade": "trades.{id}.100ms", "book": "book.{id}.100ms", "quote": "quote.{id}", "ticker": "ticker.{id}.100ms",
    "candle": "chart.trades.{id}.{interval}", "liquidation": "trades.{id}.100ms",
}  # fmt: skip
PRICED: list[Kind] = ["mark", "index", "open_interest"]
TOPICS |= dict.fromkeys([*PRICED, "funding", "greeks"], TOPICS["ticker"])
ONLY: dict[Kind, tuple[str, ...]] = {"funding": ("swap",), "greeks": ("option",)}
ONLY |= dict.fromkeys((*PRICED, "liquidation"), ("swap", "future", "option"))


def command(verb: str, topics: Sequence[str], n: int) -> list[str]:
    # DOUBT: numbers may be negative, to tell answers to unsubscribing from those to subscribing (an inference; settled by unsubscribing)
    return [orjson.dumps({"jsonrpc": "2.0", "id": n, "method": f"public/{verb}", "params": {"channels": list(topics)}}).decode()]


FEED = Feed(
    name="deribit",
    endpoints={"public": "wss://www.deribit.com/ws/api/v2"},
    only=ONLY,
    instruments=Instruments(["https://www.deribit.com/api/v2/public/get_instruments?currency=any"], INSTRUMENTS),
    topics={("public", kind): topic for kind, topic in TOPICS.items()},
    intervals={bar: resolution for resolution, bar in RESOLUTIONS.items()},
    subscribe=lambda topics, n: command("subscribe", topics, n),
    unsubscribe=lambda topics, n: command("unsubscribe", topics, -n),
    normalize=NORMALIZE,
    # DOUBT: unsubscribed and subscribed again, a book begins with a snapshot (subscribed twice it does not; settled by a resync)
    book={"public": FromStream(chained)},
    hello=['{"jsonrpc":"2.0","id":0,"method":"public/set_heartbeat","params":{"interval":10}}'],
    quiet_s=35,
    # subscribing: 3.3 commands a second, of at most 500 channels; 32 connections; the list of instruments: five times in 50 s
    # DOUBT: no limit of channels on one connection is told; 131 were taken at once (a probe of 2026; settled by counting refusals)
    limits=Limits(sends=(3, 1.0), rest=(5, 50.0), topics_per_line=500, topics_per_command=500),
)
