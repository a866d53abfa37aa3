"""HTX, once Huobi: spot, USDT-margined contracts, coin-margined swaps and futures. https://www.htx.com/en-us/opend/newApiPages/"""

from collections.abc import Sequence

import orjson

from normalizers.htx import INSTRUMENTS, INTERVALS, NORMALIZE, OPEN_INTEREST
from streamer.frames import gzip
from streamer.rules import aligned, counted
from streamer.spec import Feed, FromRequest, FromStream, Instruments, Limits, Poll
from streamer.types import Instrument, Kind

HBDM = "https://api.hbdm.com/"
SOCKETS = {"linear": "linear-swap-", "swap": "swap-", "future": ""}
REST = {"linear": "linear-swap-api/v1/swap_{}?business_type=all&", "swap": "swap-api/v1/swap_{}?", "future": "api/v1/contract_{}?"}
LISTS = [HBDM + path.format("contract_info").rstrip("?&") for path in REST.values()]
OPEN = {name: HBDM + path.format("open_interest") + "contract_code={id}" for name, path in REST.items()}
ALL: dict[Kind, str] = {"trade": "trade.detail", "quote": "bbo", "ticker": "detail", "candle": "kline.{interval}"}
CONTRACT: dict[Kind, str] = ALL | {"book": "depth.size_{depth}.high_freq"}
INDEX: dict[Kind, str] = {"mark": "mark_price.1min", "index": "index.1min"}
MARKETS: dict[str, dict[Kind, str]] = {"spot": ALL, "spot_book": {"book": "mbp.150"}, "index": INDEX, **dict.fromkeys(REST, CONTRACT)}


def market(instrument: Instrument, kind: Kind) -> str:
    """Futures have no funding, and the index is that of their swap."""
    if instrument.kind == "spot":
        return "spot_book" if kind == "book" else "spot"
    if instrument.kind == "future" and kind in ("funding", "index"):
        return ""
    family = "linear" if instrument.size_unit == "base" else instrument.kind
    return "index" if kind in INDEX else f"{family}_notice" if kind in ("funding", "liquidation") else family


def command(verb: str, topics: Sequence[str], n: int) -> list[str]:
    frames = []
    for topic in topics:
        frame = {"op": verb, "cid": str(n), "topic": topic} if topic.startswith("public.") else {verb: topic, "id": str(n)}
        frames.append(frame | ({"data_type": "incremental"} if topic.endswith("high_freq") else {}))
    return [orjson.dumps(frame).decode() for frame in frames]


FEED = Feed(
    name="htx",
    endpoints={"spot": "wss://api.huobi.pro/ws", "spot_book": "wss://api.huobi.pro/feed", "index": "wss://api.hbdm.com/ws_index"}
    | {family: f"wss://api.hbdm.com/{path}ws" for family, path in SOCKETS.items()}
    | {f"{family}_notice": f"wss://api.hbdm.com/{path}notification" for family, path in SOCKETS.items()},
    market=market,
    instruments=Instruments(["https://api.huobi.pro/v1/common/symbols", *LISTS], INSTRUMENTS),
    topics={(name, kind): f"market.{{id}}.{topic}" for name, topics in MARKETS.items() for kind, topic in topics.items()}
    | {(name, "open_interest"): Poll(30, url, OPEN_INTEREST) for name, url in OPEN.items()}
    | {(f"{name}_notice", "liquidation"): "public.{id}.liquidation_orders" for name in ("linear", "swap")}
    | {(f"{name}_notice", "funding"): "public.{id}.funding_rate" for name in ("linear", "swap")}
    | {("future_notice", "liquidation"): "public.{base}.liquidation_orders"},
    intervals={bar: interval for interval, bar in INTERVALS.items()},
    subscribe=lambda topics, n: command("sub", topics, n),
    unsubscribe=lambda topics, n: command("unsub", topics, n),
    normalize=NORMALIZE,
    book={"spot_book": FromRequest(lambda topic, n: orjson.dumps({"req": topic, "id": str(n)}).decode(), aligned)}
    | dict.fromkeys(REST, FromStream(counted, depths=(20, 150))),
    framing=gzip,
    quiet_s=20,  # the server pings every 5 s
    # a request each 100 ms on spot, 40 subscriptions a second elsewhere, 120 fetches in 3 s; 150 topics a line were seen to work
    limits=Limits(sends=(1, 0.1), rest=(30, 1.0), topics_per_line=150, topics_per_command=1),
)
