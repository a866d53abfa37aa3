"""Bybit v5: spot, linear and inverse contracts, options. https://bybit-exchange.github.io/docs/v5/ws/connect"""

from collections.abc import Sequence
from typing import Any

import orjson

from normalizers.bybit import INSTRUMENTS, INTERVALS, NORMALIZE
from streamer.rules import counted
from streamer.spec import Feed, FromStream, Instruments, Limits, Ping
from streamer.types import Instrument, Kind

LIST = "https://api.bybit.com/v5/market/instruments-info?limit=1000&category="
# DOUBT: options are listed by base currency; these four are known (documents, captures of 2026), there may be more (settled by asking)
QUERIES = ("spot", "linear", "inverse", "option&baseCoin=BTC", "option&baseCoin=ETH", "option&baseCoin=SOL", "option&baseCoin=XRP")
ALL: dict[Kind, str] = {"trade": "publicTrade.{id}", "book": "orderbook.{depth}.{id}", "ticker": "tickers.{id}"}
SPOT: dict[Kind, str] = ALL | {"quote": "orderbook.1.{id}", "candle": "kline.{interval}.{id}"}
PRICED: dict[Kind, str] = dict.fromkeys(("mark", "index", "open_interest"), "tickers.{id}")
CONTRACT: dict[Kind, str] = SPOT | PRICED | {"funding": "tickers.{id}", "liquidation": "allLiquidation.{id}"}
OPTION: dict[Kind, str] = ALL | PRICED | {"greeks": "tickers.{id}", "trade": "publicTrade.{base}"}
MARKETS = {"spot": SPOT, "linear": CONTRACT, "inverse": CONTRACT, "option": OPTION}


def market(instrument: Instrument, kind: Kind) -> str:
    if instrument.kind in ("spot", "option"):
        return instrument.kind
    return "linear" if instrument.size_unit == "base" else "inverse"


def more(answer: Any, url: str) -> str | None:
    """The cursor comes escaped; the last page may have one too, to an empty page."""
    cursor = answer["result"]["list"] and answer["result"].get("nextPageCursor")
    return f"{url.partition('&cursor=')[0]}&cursor={cursor}" if cursor else None


def command(op: str, topics: Sequence[str], n: int) -> list[str]:
    return [orjson.dumps({"req_id": str(n), "op": op, "args": list(topics)}).decode()]


FEED = Feed(
    name="bybit",
    endpoints={name: f"wss://stream.bybit.com/v5/public/{name}" for name in MARKETS},
    market=market,
    only={"funding": ["swap"]},
    instruments=Instruments([LIST + query for query in QUERIES], INSTRUMENTS, more),
    topics={(name, kind): topic for name, topics in MARKETS.items() for kind, topic in topics.items()},
    intervals={bar: interval for interval, bar in INTERVALS.items()},
    subscribe=lambda topics, n: command("subscribe", topics, n),
    unsubscribe=lambda topics, n: command("unsubscribe", topics, n),
    normalize=NORMALIZE,
    book={name: FromStream(counted, depths=(25, 100) if name == "option" else (50, 200, 1000)) for name in MARKETS},  # 1: the quote
    ping=Ping(20, '{"op":"ping"}'),
    quiet_s=30,
    # 500 connects in 5 minutes, 600 requests in 5 s, 10 topics a command on spot, 21,000 characters of topics a connection
    # DOUBT: no limit of commands is told; 18 at once were taken (a third party's probe of linear, 2026; settled by counting refusals)
    limits=Limits(connects=(500, 300.0), sends=(10, 1.0), rest=(600, 5.0), topics_per_line=400, topics_per_command=10),
)
