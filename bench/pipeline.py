"""What does a message cost from its frame to a subscriber's hands? In multiples of `orjson.loads` alone, on the same frames in one run."""

import argparse
import asyncio
import gc
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import uvloop

from bench.recordings import FILES, Recording, load
from streamer.hub import Hub
from streamer.policies import mailbox
from streamer.recorded import RecordedVenue
from streamer.streams import Need
from streamer.subscription import Subscription

BURST = 16
"""Frames handed over in one turn of the loop, as a socket that was read brings them."""
ROUNDS = 7


class _Nobody:
    def add(self, box: Any, streams: Any) -> None: ...
    def remove(self, box: Any, streams: Any) -> None: ...
    def release(self, box: Any) -> None: ...


async def ours(recording: Recording, numbers: Any = "float", burst: int = BURST) -> tuple[int, int]:
    """(CPU ns, ticks): every frame through decode, normalizer, gap checks and book to one reader of the async iterator."""
    box = mailbox("drop_oldest", 1_000_000, 1 << 40)
    sub = Subscription(box, _Nobody(), "bench")
    venue = RecordedVenue(recording.feed, Hub(), box, numbers, recording.instruments)
    ticks = 0

    async def reader() -> None:
        nonlocal ticks
        async for _ in sub:
            ticks += 1

    reading = asyncio.ensure_future(reader())
    await asyncio.sleep(0)
    lines: dict[str, Any] = {}
    turn = 0
    gc.collect()
    began = time.process_time_ns()
    for step in recording.steps:
        if step.frame:
            on_frame = lines.get(step.line)
            if on_frame is None:
                line = venue.lines[step.line] = (step.line, venue._line(step.line, step.url))
                on_frame = lines[step.line] = line[1].on_frame
                venue.heard[step.line] = step.ts
            back = on_frame(step.data, step.ts)
            if back:
                for item in back:
                    if item.__class__ is Need:
                        venue._need(venue.lines[step.line][1], item.symbol, step.ts)
        else:
            venue.answer(step.url or "", step.data, step.ts)
        turn += 1
        if turn == burst:
            turn = 0
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    took = time.process_time_ns() - began
    box.finish()
    await reading
    return took, ticks


def baseline(recording: Recording) -> int:
    """CPU ns of `orjson.loads` on the same frames and REST answers."""
    payloads = [s.data for s in recording.steps]
    if recording.feed.framing is not None:
        payloads = [m for s in recording.steps for m in (recording.feed.framing(s.data) if s.frame else (s.data,))]
    gc.collect()
    began = time.process_time_ns()
    for payload in payloads:
        try:
            orjson.loads(payload)
        except orjson.JSONDecodeError:
            continue
    return time.process_time_ns() - began


def measure(recording: Recording, rounds: int) -> dict[str, Any]:
    """Paired rounds: ours and the baseline, one after the other."""
    run: Callable[..., Any] = lambda: uvloop.run(ours(recording))  # noqa: E731
    run(), baseline(recording)
    ratios, mine, plain, ticks = [], [], [], 0
    for _ in range(rounds):
        took, ticks = run()
        base = baseline(recording)
        mine.append(took)
        plain.append(base)
        ratios.append(took / base)
    n = len(recording.steps)
    return {
        "exchange": recording.exchange, "messages": n, "ticks": ticks, "us": statistics.median(mine) / n / 1e3,
        "orjson_us": statistics.median(plain) / n / 1e3, "ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exchanges", nargs="*", default=list(FILES))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    print(f"{'recording':<18}{'messages':>9}{'ticks':>8}{'us':>8}{'orjson us':>11}{'x orjson.loads':>16}")
    for exchange in options.exchanges:
        row = measure(load(exchange), options.rounds)
        rows.append(row)
        spread = f"{row['ratio']:.2f} ({row['least']:.2f}-{row['most']:.2f})"
        print(f"{exchange:<18}{row['messages']:>9}{row['ticks']:>8}{row['us']:>8.2f}{row['orjson_us']:>11.2f}{spread:>20}")
    print(f"median {statistics.median(r['ratio'] for r in rows):.2f} x orjson.loads")
    if options.json is not None:
        options.json.write_text(json.dumps({"pipeline": rows}, indent=1))


if __name__ == "__main__":
    main()
