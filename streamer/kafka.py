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

from streamer.asks import check
from streamer.errors import UsageError, not_ready
from streamer.kafka_inbox import Inbox
from streamer.kafka_places import read_to_end
from streamer.kafka_wants import Shape, Source, Wants
from streamer.ledger import Ledger
from streamer.mailbox import Policy
from streamer.policies import mailbox
from streamer.sinks.kafka_config import KafkaOptions, Link
from streamer.subscription import Pump, Subscription
from streamer.symbols import split
from streamer.types import Instrument, Kind, Tick
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


class KafkaStreamer:
    """Has of `Streamer` all that reads: `subscribe`, `ready`, `book`, `instruments`, `ledger`, `stats`, `close`."""

    def __init__(self, link: Link, topic: str, latest: str, start: str | int, decimal: bool) -> None:
        self._link = link
        self._inbox = Inbox(link, topic, decimal)
        self._news = asyncio.Event()
        self._wants = Wants(Source(link, topic, latest, start), self._inbox, self._news.set)
        self._running = False
        self._names = 0

    async def __aenter__(self) -> Self:
        self._running = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """End every consumer. What subscriptions have queued can still be read; then they end."""
        self._running, self._inbox.over = False, True
        await self._wants.close()

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
        check(kinds, depth, policy)
        box = mailbox(policy, max_items, max_bytes)
        self._wants.open(box, Shape(tuple(kinds), depth, interval), streams)
        self._names += 1
        sub = Subscription(box, self._wants, name or f"subscription {self._names}")
        if callback is not None:
            Pump(sub, callback, on_error)
        return sub

    async def ready(self, sub: Subscription, timeout: float = 10.0) -> None:
        """Wait until every book of `sub` is live and every other stream is read. Raises as `Streamer.ready`."""
        try:
            async with asyncio.timeout(timeout):
                while waiting := self._wants.waiting(sub.box):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise not_ready(timeout, [f"{s.key[0]}:{s.key[1]} {s.kind} ({self._wants.why(s)})" for s in waiting]) from None

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
        return {"bad": dict(self._inbox.bad), "down": [lane.down for lane in self._wants.lanes if lane.down is not None]}
