"""What does one more subscriber cost? 1, 10, 100, 1000 of them, in bursts of 1 and 16; and the memory of one that waits.

A trade is published through the hub's stream; every subscriber reads, by tick, by batch or by callback, and every tick must reach it.
"""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import uvloop

from bench.table import Column, Run, paired, spread
from streamer.hub import Carrier, Hub
from streamer.mailbox import Mailbox
from streamer.policies import mailbox
from streamer.subscription import Pump, Subscription
from streamer.types import Instrument, Trade

SUBSCRIBERS = (1, 10, 100, 1000)
BURSTS = (1, 16)
INSTRUMENT = Instrument("bench", "BTC/USDT", None, 0, "BTCUSDT", "BTC", "USDT", price_step=Decimal("0.01"), size_step=Decimal("0.001"))
IDLE = 1000


class Nobody:
    """A manager that has no engine."""

    def add(self, box: Any, streams: Any) -> None: ...
    def remove(self, box: Any, streams: Any) -> None: ...
    def release(self, box: Any) -> None: ...


NOBODY = Nobody()


def subscriptions(stream: Any, count: int) -> list[Subscription]:
    """So many, attached to the stream."""
    made = []
    for n in range(count):
        box: Mailbox = mailbox("drop_oldest", 10_000, 64 << 20)
        stream.attach(box)
        made.append(Subscription(box, NOBODY, f"subscription {n}"))
    return made


async def by_tick(sub: Subscription, count: list[int]) -> None:
    """The async iterator."""
    n = 0
    async for _ in sub:
        n += 1
    count[0] += n


async def by_batch(sub: Subscription, count: list[int]) -> None:
    """All that came in one turn of the loop."""
    n = 0
    async for batch in sub.batches():
        n += len(batch)
    count[0] += n


async def by_callback(sub: Subscription, count: list[int]) -> None:
    """A plain function."""

    def call(tick: Any) -> None:
        count[0] += 1

    Pump(sub, call)
    while not sub.box.closed or sub.box.queued:  # noqa: ASYNC110  (nothing of it is timed)
        await asyncio.sleep(0.001)


READERS: dict[str, Callable[[Subscription, list[int]], Awaitable[None]]] = {"tick": by_tick, "batch": by_batch, "callback": by_callback}


async def publish(reader: Callable[[Subscription, list[int]], Awaitable[None]], subscribers: int, burst: int, events: int) -> float:
    """CPU us per event and subscriber, publishing and waking included."""
    hub = Hub()
    carrier = Carrier("bench")
    stream = hub.stream(INSTRUMENT, "trade")
    subs = subscriptions(stream, subscribers)
    hub.carry(carrier, stream)
    count = [0]
    tasks = [asyncio.ensure_future(reader(sub, count)) for sub in subs]
    trades = [Trade("bench", "BTC/USDT", n, n, 50_000.0, 0.1, "buy", str(n)) for n in range(events)]
    bursts = [trades[i : i + burst] for i in range(0, events, burst)]
    carrier.push([Trade("bench", "BTC/USDT", 0, 0, 50_000.0, 0.1, "buy", "first")])  # which makes the stream live, and tells so
    await asyncio.sleep(0.01)
    before = sum(s.published for s in subs)
    gc.collect()
    began = time.process_time_ns()
    for several in bursts:
        carrier.push(several)
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the first turn wakes the readers, in the second they read
    took = time.process_time_ns() - began
    assert sum(s.published for s in subs) - before == events * subscribers
    assert sum(s.queued for s in subs) == 0, "not all was read within its turn"
    for sub in subs:
        sub.box.finish()
    await asyncio.gather(*tasks)
    assert count[0] == before + events * subscribers
    return took / (events * subscribers) / 1e3


async def idle(waiting: bool) -> float:
    """Bytes of a subscription; with the task that waits for its next tick, if `waiting`."""
    stream = Hub().stream(INSTRUMENT, "trade")
    subscriptions(stream, 10)
    gc.collect()
    tracemalloc.start()
    subs = subscriptions(stream, IDLE)
    tasks = [asyncio.ensure_future(by_tick(sub, [0])) for sub in subs if waiting]
    for sub in subs:
        sub.take()  # the Status that a subscriber is greeted with
    await asyncio.sleep(0.01)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    for sub in subs:
        sub.close()
    await asyncio.gather(*tasks)
    return held / IDLE


def main() -> None:
    run = Run("fanout", __doc__)
    names = {"tick": "async for tick", "batch": "async for batch", "callback": "callback"}
    table = run.section(
        "fan-out: CPU us per event and subscriber",
        Column("subscribers", "subscribers"), Column("burst", "burst"), *(Column(key, title, ".2f") for key, title in names.items()),
    )  # fmt: skip
    total = 20_000 if run.quick else 400_000
    for subscribers in SUBSCRIBERS:
        for burst in BURSTS:
            events = max(burst, min(20_000, total // subscribers) // burst * burst)
            sides: dict[str, Callable[[], float]] = {
                name: lambda r=reader, s=subscribers, b=burst, e=events: uvloop.run(publish(r, s, b, e)) for name, reader in READERS.items()
            }
            found: dict[str, Any] = {name: spread(values) for name, values in paired(run.rounds, sides).items()}
            table.row(subscribers=subscribers, burst=burst, **found)
            if (subscribers, burst) == (100, 16):
                run.bar("us per event and subscriber, 100 subscribers, bursts of 16", found["tick"].median, 0.5)
    memory = run.section("fan-out: memory", Column("what", "an idle subscription"), Column("bytes", "bytes", ".0f"))
    held = uvloop.run(idle(waiting=False))
    memory.row(what="by itself", bytes=held)
    memory.row(what="and its reader's task", bytes=uvloop.run(idle(waiting=True)))
    run.bar("bytes of an idle subscription", held, 2048)
    run.end()


if __name__ == "__main__":
    main()
