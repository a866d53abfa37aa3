"""A tick as a message: which topic, key and headers, and an identity by which a reader knows what comes twice.

    topic    of the stream's kind. `Gap`, `Status` and `BookStale` go where the data goes that they are about, so that order holds
    key      exchange:symbol
    time     ts_recv, in ms
    headers  mid, schema (json/trade/1), exchange, kind

`mid` is ts_recv and the CRC32 of the value, both hexadecimal, and a count if there are several such in one stream. It is made of the tick
alone, so that a tick has the same one when it is sent again, by another producer or out of the spool by another process.
"""

import zlib
from collections.abc import Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from streamer.codecs import BadValue, Codec, stamp
from streamer.errors import UsageError
from streamer.mailbox import CONTROL, key_of
from streamer.sinks import Refused
from streamer.sinks.kafka_config import KafkaOptions
from streamer.types import Tick

OVERHEAD = 256
"""Bytes of a message besides its value, at most: key, headers and what a batch adds."""
MOST_ROUTES = 200_000


Header: TypeAlias = tuple[str, str | bytes | None]


class Message(Struct, gc=False):
    """What is produced. Its list of headers is made when it is: ten thousand lists that wait would cost the garbage collector 1 us each."""

    topic: str
    key: bytes
    value: bytes
    mid: bytes
    more: tuple[Header, ...]
    ms: int

    @property
    def headers(self) -> list[Header]:
        """All of them."""
        return [("mid", self.mid), *self.more]


class Route:
    """Where one type of tick of one stream goes. `ts` and `seen`: the last frame, and how often each checksum came in it; `safe` is what
    they were when all before was confirmed."""

    __slots__ = ("headers", "key", "round", "safe", "seen", "topic", "ts")

    def __init__(self, topic: str, key: bytes, headers: tuple[Header, ...]) -> None:
        self.topic = topic
        self.key = key
        self.headers = headers
        self.round = 0
        self.ts = 0
        self.seen: dict[int, int] = {}
        self.safe: tuple[int, dict[int, int]] = (0, {})


class Messages:
    """Makes messages, a batch at a time: `begin`, `fill` until all are made, and `commit` with how many are safe. `topics`: all that were
    ever named."""

    def __init__(self, options: KafkaOptions, codec: Codec) -> None:
        self.topics: set[str] = set()
        self._options = options
        self._codec = codec
        self._routes: dict[tuple[Any, ...], Route] = {}
        self._touched: list[Route] = []
        self._round = 0

    def begin(self) -> None:
        """A new batch. What was made before and not committed is forgotten."""
        self._round += 1
        self._touched = []
        if len(self._routes) > MOST_ROUTES:
            self._routes.clear()

    def fill(self, ticks: Sequence[Tick[Any]], made: list[Message | None], until: int, limit: int, refused: list[Refused]) -> None:
        """Append the messages of the ticks from where `made` ends to before `until`; None for those that are refused, because they are
        larger than `limit` or cannot be encoded. Raises `NotKnown` of the codec: learn it, and go on."""
        encode, route_of, crc32 = self._codec.encode, self._routes.get, zlib.crc32
        for tick in ticks[len(made) : until]:
            try:
                value = encode(tick)
                route = (None if tick.__class__ in CONTROL else route_of((tick.__class__, tick.exchange, tick.symbol))) or self._route(tick)
            except (BadValue, UsageError) as e:
                refused.append(Refused(len(made), "unencodable", str(e)))
                made.append(None)
                continue
            if len(value) + OVERHEAD > limit:
                refused.append(Refused(len(made), "too_large", f"{len(value)} bytes; {route.topic} takes {limit}"))
                made.append(None)
                continue
            ts, crc = tick.ts_recv, crc32(value)
            if route.ts != ts and route.round == self._round:
                route.ts, route.seen, again = ts, {crc: 1}, 0
            else:
                again = self._count(route, ts, crc)
            mid = b"%x-%08x-%d" % (ts, crc, again) if again else b"%x-%08x" % (ts, crc)
            made.append(Message(route.topic, route.key, value, mid, route.headers, ts // 1_000_000 if ts > 0 else 0))

    def commit(self, ticks: Sequence[Tick[Any]], made: Sequence[Message | None], safe: int) -> None:
        """The first `safe` are safe: all, or what a failure left behind."""
        if safe < len(ticks):
            self.begin()
            for tick, message in zip(ticks[:safe], made, strict=False):
                if message is not None:
                    self._count(self._route(tick), tick.ts_recv, zlib.crc32(message.value))
        for route in self._touched:
            route.safe = (route.ts, route.seen)
        self._touched = []

    def _count(self, route: Route, ts: int, crc: int) -> int:
        """How often this came before in its frame."""
        if route.round != self._round:
            route.round = self._round
            route.ts, route.seen = route.safe[0], dict(route.safe[1])
            self._touched.append(route)
        if route.ts != ts:
            route.ts, route.seen = ts, {crc: 1}
            return 0
        before = route.seen.get(crc, 0)
        route.seen[crc] = before + 1
        return before

    def _route(self, tick: Tick[Any]) -> Route:
        cls = tick.__class__
        exchange, symbol, kind, _ = key_of(tick)
        known = (cls, exchange, symbol, kind) if cls in CONTROL else (cls, exchange, symbol)
        found = self._routes.get(known)
        if found is None:
            headers = (("schema", stamp(self._codec.format, cls)), ("exchange", exchange.encode()), ("kind", kind.encode()))
            topic = self._options.topic_of(kind, exchange)
            self.topics.add(topic)
            found = self._routes[known] = Route(topic, f"{exchange}:{symbol}".encode(), headers)
        return found
