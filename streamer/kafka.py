"""The way back: the ticks that a sink wrote to Kafka, as if they came from the exchanges.

    async with consume("localhost:9092") as s:            # in place of Streamer()
        sub = s.subscribe("binance:BTC/USDT", kinds=("trade", "book"))
        await s.ready(sub)
        async for tick in sub: ...
        s.book("binance:BTC/USDT")

The same subscriptions, policies, books and ledger, on the same hub: what an exchange's connection brings there, topics bring here. What was
written twice comes once. A gap that was told where the ticks were written is told here, at its place.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from streamer.book_stream import BookStream
from streamer.errors import NotReady, UsageError
from streamer.hub import Carrier
from streamer.kafka_inbox import Inbox, boxes_of
from streamer.kafka_lane import Lane, Plan, read_to_end
from streamer.ledger import Ledger
from streamer.mailbox import POLICIES, Mailbox, Policy, StreamKey
from streamer.policies import mailbox
from streamer.rules import unnumbered
from streamer.sinks.kafka_config import KafkaOptions, Link
from streamer.streams import Stream
from streamer.subscription import Pump, Subscription
from streamer.symbols import parse, split
from streamer.sync import Sync
from streamer.types import KINDS, Instrument, Kind, Tick
from streamer.views import LiveBook


def consume(
    servers: str,
    *,
    topic: str = "md.{kind}",
    latest_books: str = "",
    start: str | int = "now",
    numbers: str = "float",
    **link: Any,
) -> "KafkaStreamer":
    """Read what a Kafka sink wrote. `topic` and `latest_books` as that sink has them.

    `start`: "now" (books from `latest_books` if given, else from their next snapshot), "earliest", or a time in ns of `ts_recv`. `numbers`:
    "float" or "decimal". `link`: security, sasl_user, sasl_password, schema_registry and so on, as in docs/kafka.md. Raises `UsageError`.
    """
    if numbers not in ("float", "decimal"):
        raise UsageError(f"numbers={numbers!r} is neither 'float' nor 'decimal'")
    if not (start in ("now", "earliest") or (isinstance(start, int) and start >= 0)):
        raise UsageError(f"start={start!r} is none of 'now', 'earliest' or a time in ns")
    KafkaOptions.of({"servers": servers, "topic": topic, "latest_books": latest_books})  # the names of topics are checked there
    return KafkaStreamer(Link.of({"servers": servers, **link}), topic, latest_books, start, numbers == "decimal")


class _Shape(Struct, frozen=True):
    """What a subscription takes of each of its streams."""

    kinds: tuple[Kind, ...]
    depth: int | None
    interval: str


class KafkaStreamer:
    """Has of `Streamer` all that reads: `subscribe`, `ready`, `book`, `instruments`, `ledger`, `stats`, `close`."""

    def __init__(self, link: Link, topic: str, latest: str, start: str | int, decimal: bool) -> None:
        self._link = link
        self._topic = topic
        self._latest = latest
        self._start = start
        self._inbox = Inbox(link, topic, decimal)
        self._lanes: list[Lane] = []
        self._shapes: dict[Mailbox, _Shape] = {}
        self._news = asyncio.Event()
        self._running = False

    async def __aenter__(self) -> Self:
        self._running = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """End every consumer. What subscriptions have queued can still be read; then they end."""
        self._running, self._inbox.over = False, True
        lanes, self._lanes = self._lanes, []
        await asyncio.gather(*(lane.close() for lane in lanes))
        for box in self._shapes:
            box.finish()

    def subscribe(
        self,
        *streams: str,
        kinds: Sequence[Kind] = ("trade",),
        depth: int | None = None,
        interval: str = "1m",
        policy: Policy = "block",
        max_items: int = 10_000,
        max_bytes: int = 64 << 20,
        callback: Callable[[Tick[Any]], object] | None = None,
        on_error: str = "log",
        name: str | None = None,
    ) -> Subscription:
        """As `Streamer.subscribe`. `policy`: "block" here by default: Kafka waits for a slow reader, so nothing need be dropped."""
        if not self._running:
            raise UsageError("this is not running: use it inside `async with consume(...) as s:`")
        if policy not in POLICIES:
            raise UsageError(f"policy {policy!r} is none of {', '.join(POLICIES)}")
        if policy == "conflate" and "trade" in kinds:
            raise UsageError("policy 'conflate' would lose trades: subscribe to them with another policy")
        wrong = [k for k in kinds if k not in KINDS]
        if wrong or not kinds:
            raise UsageError(f"kind {wrong[0] if wrong else ''!r} is none of {', '.join(KINDS)}")
        if depth is not None and depth < 1:
            raise UsageError(f"depth={depth} is less than one level")
        box = mailbox(policy, max_items, max_bytes)
        self._shapes[box] = _Shape(tuple(kinds), depth, interval)
        try:
            self.add(box, streams)
        except UsageError:
            del self._shapes[box]
            raise
        sub = Subscription(box, self, name or f"subscription {len(self._shapes)}")
        box.repair = self._repair
        if callback is not None:
            Pump(sub, callback, on_error)
        return sub

    async def ready(self, sub: Subscription, timeout: float = 10.0) -> None:
        """Wait until every book of `sub` is live and every other stream is read. Raises as `Streamer.ready`."""
        try:
            async with asyncio.timeout(timeout):
                while waiting := self._waiting(sub.box):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            names = ", ".join(f"{s.key[0]}:{s.key[1]} {s.kind} ({self._why(s)})" for s in waiting[:10])
            more = f" and {len(waiting) - 10} more" if len(waiting) > 10 else ""
            raise NotReady(f"not live after {timeout:g} s: {names}{more}") from None

    def book(self, stream: str) -> LiveBook[Any] | None:
        """The live book of a stream that somebody subscribed to, or None while it is not known to be right, or no broker can be reached."""
        found = self._inbox.hub.book(*split(stream))
        lane = self._inbox.lane_of.get(found.key) if found is not None else None
        if found is None or found.book is None or lane is None or lane.down is not None:
            return None
        return LiveBook(found, time.time_ns)

    async def instruments(self, exchange: str) -> list[Instrument]:
        """What was written of the exchange's list, by symbol. Raises `IoFailure`."""
        found: dict[str, Instrument] = {}
        for m in await read_to_end(self._link, self._inbox.topic_of("instrument", exchange)):
            tick = await self._inbox.decode(m)
            if isinstance(tick, Instrument) and tick.exchange == exchange:
                found[tick.symbol] = tick
        return sorted(found.values(), key=lambda i: i.symbol)

    @property
    def ledger(self) -> Ledger:
        """When each stream was not whole, and why: since we read."""
        return self._inbox.hub.ledger

    def stats(self) -> dict[str, Any]:
        """`bad`: messages that were not understood, by topic; `down`: why no broker can be reached, by consumer."""
        return {"bad": dict(self._inbox.bad), "down": [lane.down for lane in self._lanes if lane.down is not None]}

    # who asks for what (`streamer.subscription.Manager`)

    def add(self, box: Mailbox, streams: Sequence[str]) -> None:
        """Send these streams too."""
        shape = self._shapes[box]
        pairs = [split(name) for name in streams]
        for _, symbol in pairs:
            parse(symbol)
        new: dict[str, list[Stream]] = {}
        for exchange, symbol in pairs:
            for kind in shape.kinds:
                stream = self._stream(exchange, symbol, kind, shape.interval)
                if stream.key not in self._inbox.lane_of:
                    new.setdefault(exchange if "{exchange}" in self._topic else "", []).append(stream)
                if isinstance(stream, BookStream):
                    stream.attach(box, shape.depth)
                else:
                    stream.attach(box)
        for several in new.values():
            self._open_lane(several)

    def remove(self, box: Mailbox, streams: Sequence[str]) -> None:
        """Send these no more."""
        gone = {split(name) for name in streams}
        for stream in [s for s in self._inbox.hub.streams.values() if s.key[:2] in gone]:
            stream.detach(box)
        self._tidy()

    def release(self, box: Mailbox) -> None:
        """The subscriber is gone."""
        self._inbox.hub.detach(box)
        self._shapes.pop(box, None)
        self._tidy()

    def _stream(self, exchange: str, symbol: str, kind: Kind, interval: str) -> Stream:
        parts = parse(symbol)
        unknown: Any = Instrument(exchange, symbol, None, 0, symbol, parts.base, parts.quote, parts.settle, parts.kind)
        stream = self._inbox.hub.stream(unknown, kind, interval)
        if not stream.sources:
            carrier = self._inbox.carriers.setdefault(exchange, Carrier(exchange))
            # the deltas were checked where they were written, and each partition is whole
            self._inbox.hub.carry(carrier, stream, Sync(stream.instrument, unnumbered) if kind == "book" else None)
            stream.on_state = self._news.set
        return stream

    def _open_lane(self, streams: list[Stream]) -> None:
        exchange = streams[0].key[0]
        topics = sorted({self._inbox.topic_of(s.kind, exchange) for s in streams})
        books = self._inbox.topic_of("book", exchange) if any(s.kind == "book" for s in streams) else ""
        instruments = self._inbox.topic_of("instrument", exchange)
        plan = Plan(topics, [instruments] if instruments not in topics else [], books, self._latest, self._start)
        lane = Lane(self._link, plan, {f"{s.key[0]}:{s.key[1]}".encode() for s in streams}, self._inbox, self._news.set)
        lane.task.add_done_callback(lambda _: self._ended(lane))
        self._lanes.append(lane)
        self._inbox.lane_of.update(dict.fromkeys((s.key for s in streams), lane))

    def _tidy(self) -> None:
        """Forget streams that nobody wants, and end the consumers that have none left."""
        for key, lane in list(self._inbox.lane_of.items()):
            stream = self._inbox.hub.streams.get(key)
            if stream is None or not stream.wanted:
                if stream is not None:
                    self._inbox.hub.uncarry(self._inbox.carriers[key[0]], stream)
                del self._inbox.lane_of[key]
                if not any(k[:2] == key[:2] and x is lane for k, x in self._inbox.lane_of.items()):
                    lane.keys.discard(f"{key[0]}:{key[1]}".encode())
        for lane in self._lanes:
            if not lane.keys:
                lane.end()

    def _ended(self, lane: Lane) -> None:
        """It can go on no more: its subscribers are told by an exception, if it did not end because there are none."""
        if lane in self._lanes:
            self._lanes.remove(lane)
        if lane.error is None:
            return
        for box in {box for key, x in self._inbox.lane_of.items() if x is lane for box in boxes_of(self._inbox.hub.streams.get(key))}:
            box.close(lane.error)

    def _waiting(self, box: Mailbox) -> list[Stream]:
        """What is not live yet. Raises what makes waiting useless."""
        streams = [s for s in self._inbox.hub.streams.values() if box in boxes_of(s)]
        if box.error is not None:
            raise box.error
        lanes = {s.key: self._inbox.lane_of[s.key] for s in streams if s.key in self._inbox.lane_of}
        for lane in lanes.values():
            if lane.error is not None:
                raise lane.error
        return [s for s in streams if not (lanes[s.key].ready and (s.live or not isinstance(s, BookStream)))]

    def _why(self, stream: Stream) -> str:
        lane = self._inbox.lane_of[stream.key]
        if lane.down is not None:
            return lane.down
        return "no snapshot yet" if lane.ready else "connecting"

    def _repair(self, key: StreamKey) -> Any:
        """Our own book, for a subscriber that dropped some of it."""
        stream = self._inbox.hub.streams.get(key)
        return stream.own_snapshot() if isinstance(stream, BookStream) else None
