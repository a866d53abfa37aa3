"""aiokafka, given the same bytes: `send` each, await all of a batch. Runs in the peers' environment, so it imports nothing of ours.

Asked for a round by a JSON line: `servers`, `file` of the messages (a JSON list each line: topic, key, value, ms, headers), `batch`.
"""

import asyncio
import gc
import time
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from driver import answer, uvloop

known: dict[str, list[tuple[Any, ...]]] = {}
"""Messages by file: read once."""


def messages(file: str) -> list[tuple[Any, ...]]:
    """What to send, ready."""
    if file not in known:
        rows = map(orjson.loads, Path(file).read_bytes().splitlines())
        known[file] = [(t, v.encode(), k.encode(), ms, [(name, x.encode()) for name, x in headers]) for t, k, v, ms, headers in rows]
    return known[file]


async def play(servers: str, rows: list[tuple[Any, ...]], batch: int) -> dict[str, float]:
    """One round: us of CPU per message as bench.kafka has them, and messages acknowledged per second."""
    producer = AIOKafkaProducer(
        bootstrap_servers=servers.split(","), enable_idempotence=True, acks="all", linger_ms=5, max_batch_size=1_000_000,
        compression_type="lz4",
    )  # fmt: skip
    await producer.start()
    gc.collect()
    enqueue = 0.0
    thread, process, wall = time.thread_time(), time.process_time(), time.perf_counter()
    for i in range(0, len(rows), batch):
        before = time.thread_time()
        sent = [await producer.send(t, v, k, timestamp_ms=ms, headers=h) for t, v, k, ms, h in rows[i : i + batch]]
        enqueue += time.thread_time() - before
        await asyncio.gather(*sent)
    thread, process, wall = time.thread_time() - thread, time.process_time() - process, time.perf_counter() - wall
    await producer.stop()
    us = 1e6 / len(rows)
    return {"enqueue": enqueue * us, "loop": thread * us, "process": process * us, "acked": len(rows) / wall}


if __name__ == "__main__":
    answer(lambda asked: uvloop.run(play(asked["servers"], messages(asked["file"]), asked["batch"])))
