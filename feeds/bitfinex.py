"""Bitfinex, websocket v2: spot and perpetuals on one address. https://docs.bitfinex.com/docs/ws-general"""

import orjson

from normalizers.bitfinex import BARS, INSTRUMENTS, NORMALIZE, OB_CHECKSUM, SEQ_ALL, TIMESTAMP
from streamer.checksum import Crc32, javascript
from streamer.spec import Feed, FromStream, Instruments, Limits, Ping
from streamer.types import Kind

CONF = "https://api-pub.bitfinex.com/v2/conf/pub:info:pair,pub:info:pair:futures,pub:map:currency:sym"
STATUS: tuple[Kind, ...] = ("funding", "mark", "index", "open_interest")


def command(event: str, **more: object) -> str:
    return orjson.dumps({"event": event} | more).decode()


def subscribe(topic: str) -> str:
    name, _, about = topic.partition(":")
    channel, _, depth = name.partition("-")
    more = {"prec": "P0", "freq": "F0", "len": depth} if depth else {}
    return command("subscribe", channel=channel, **{"key" if channel in ("candles", "status") else "symbol": about}, **more)


FEED = Feed(
    name="bitfinex",
    endpoints={"public": "wss://api-pub.bitfinex.com/ws/2"},
    only=dict.fromkeys(STATUS, ("swap",)),
    instruments=Instruments([CONF], INSTRUMENTS),
    topics={
        ("public", "trade"): "trades:{id}",
        ("public", "book"): "book-{depth}:{id}",
        ("public", "ticker"): "ticker:{id}",
        ("public", "candle"): "candles:trade:{interval}:{id}",
        ("public", "liquidation"): "status:liq:global",
        **{("public", kind): "status:deriv:{id}" for kind in STATUS},
    },
    intervals={interval: bar for bar, interval in BARS.items()},
    hello=[command("conf", flags=TIMESTAMP | SEQ_ALL | OB_CHECKSUM)],
    await_ready=True,  # what is subscribed is counted from its first message on
    subscribe=lambda topics, n: [subscribe(topic) for topic in topics],
    unsubscribe=lambda numbers, n: [command("unsubscribe", chanId=int(number)) for number in numbers if number.isdigit()],
    normalize=NORMALIZE,
    book={"public": FromStream(checksum=Crc32(25, "interleaved", javascript, ":", True, True), depths=(25, 100, 250), line_counted=True)},
    ping=Ping(20, command("ping")),
    quiet_s=35,  # each channel has a heartbeat every 15 s
    # DOUBT: 25 channels a connection (one page), 30 (another), 36 (a third party's probe, 2026; settled by subscribing to more)
    limits=Limits(connects=(20, 60.0), sends=(10, 1.0), rest=(60, 60.0), topics_per_line=25, topics_per_command=25),
)
