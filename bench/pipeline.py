"""What does a message cost from its frame to a subscriber's hands? In multiples of `orjson.loads` alone, on the same frames in one run."""

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import orjson
import uvloop

from bench.peers import Column as Peer
from bench.peers import columns
from bench.recordings import FILES, Recording, load
from bench.table import COMPILED, Column, Run, paired, ratio, spread
from streamer.errors import BadFrame
from streamer.hub import Carrier, Hub
from streamer.mailbox import Mailbox
from streamer.policies import mailbox
from streamer.recorded import RecordedVenue
from streamer.spec import UnknownId
from streamer.streams import Need
from streamer.subscription import Subscription
from streamer.types import Instrument

BURST = 16
"""Frames handed over in one turn of the loop, as a socket that was read brings them."""
LEAST = 4000
"""Messages of a round."""


CRYPTOFEED = {
    "trades": ["trade"], "l2_book": ["book"], "ticker": ["ticker", "quote"], "candles": ["candle"], "funding": ["funding"],
    "open_interest": ["open_interest"], "index": ["index"], "liquidations": ["liquidation"],
}  # fmt: skip
"""Its channels, as our kinds."""
REST = "the rest is routing, gap check, book, delivery and the turn of the loop"
SAME = "ours is asked only for the kinds that reached cryptofeed's user (of deribit's options it makes one tick of five)"


class _Nobody:
    def add(self, box: Any, streams: Any) -> None: ...
    def remove(self, box: Any, streams: Any) -> None: ...
    def release(self, box: Any) -> None: ...


class _Venue(RecordedVenue):
    """Notes what opens streams, and how."""

    opened: list[tuple[Any, ...]]
    asked: Container[str] | None = None
    """Only these kinds are subscribed, of what the recording holds; all when None."""

    def _carrier(self, market: str, name: str = "polls") -> Carrier:
        carrier = super()._carrier(market, name)
        if self.asked is not None:
            carrier.on_unrouted = None
        return carrier

    def _open(self, carrier: Carrier, market: str, instrument: Instrument, kind: str, answer: Any) -> Any:
        self.opened.append((carrier.name, market, instrument, kind, answer))
        return super()._open(carrier, market, instrument, kind, answer)


def _ready(recording: Recording, box: Mailbox, numbers: Any, kinds: Container[str] | None = None) -> tuple[_Venue, list[Any]]:
    """A venue with the recording's connections, and what each step calls."""
    venue = _Venue(recording.feed, Hub(), box, numbers, recording.instruments)
    venue.opened, venue.asked = [], kinds
    for step in recording.steps:
        if step.frame and step.line not in venue.lines:
            venue.lines[step.line] = step.line, venue._line(step.line, step.url)
            venue.heard[step.line] = step.ts
    lines = {name: line for name, (_, line) in venue.lines.items()}
    calls = [
        (lines[s.line].on_frame if s.frame else partial(venue.answer, s.url or ""), s.data, s.ts, lines.get(s.line))
        for s in recording.steps
    ]
    return venue, calls


def _subscribed(recording: Recording, box: Mailbox, numbers: Any, kinds: Container[str] | None) -> tuple[_Venue, list[Any]]:
    """The same, with the streams of the recording open, as subscribing leaves them: a first pass finds out which there are."""
    venue, calls = _ready(recording, mailbox("drop_oldest", 1, 256), numbers)
    for take, data, ts, at in calls:
        _heed(venue, at, take(data, ts), ts)
    fresh, calls = _ready(recording, box, numbers, kinds)
    for name, market, instrument, kind, answer in venue.opened:
        if kinds is None or kind in kinds:
            RecordedVenue._open(fresh, fresh.lines[name][1].carrier, market, instrument, kind, answer)
    return fresh, calls


def _heed(venue: RecordedVenue, at: Any, back: Any, ts: int) -> None:
    for item in back or ():
        if item.__class__ is Need:
            venue._need(at, item.symbol, ts)


async def ours(recording: Recording, numbers: Any = "float", burst: int = BURST, kinds: Container[str] | None = None) -> tuple[int, int]:
    """(CPU ns, ticks): every frame through decode, normalizer, gap checks and book to one reader of the async iterator."""
    box = mailbox("drop_oldest", 1_000_000, 1 << 40)
    sub = Subscription(box, _Nobody(), "bench")
    venue, calls = _subscribed(recording, box, numbers, kinds)
    turns = [calls[i : i + burst] for i in range(0, len(calls), burst)]
    ticks = 0

    async def reader() -> None:
        nonlocal ticks
        async for _ in sub:
            ticks += 1

    reading = asyncio.ensure_future(reader())
    await asyncio.sleep(0)
    gc.collect()
    began = time.process_time_ns()
    for turn in turns:
        for take, data, ts, at in turn:
            back = take(data, ts)
            if back:
                _heed(venue, at, back, ts)
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


def normalizing(recording: Recording) -> int:
    """CPU ns of typed decode and handlers alone, on the same frames. What ours takes more is hub, books, delivery and the loop."""
    _, calls = _ready(recording, mailbox("drop_oldest", 1, 256), "float")
    frames = [(at._decode, at.ctx, data, ts) for step, (_, data, ts, at) in zip(recording.steps, calls, strict=True) if step.frame]
    gc.collect()
    began = time.process_time_ns()
    for decode, ctx, data, ts in frames:
        ctx.ts_recv = ts
        try:
            decode(data, ctx)
        except (BadFrame, UnknownId):
            continue
    return time.process_time_ns() - began


def several(recording: Recording, once: Callable[[], int]) -> float:
    """CPU ns of one pass; a small recording is gone through several times, so that a round is not over before it began."""
    times = max(1, LEAST // len(recording.steps))
    return sum(once() for _ in range(times)) / times


def measure(recording: Recording, rounds: int, peers: Sequence[Peer]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Paired rounds of ours, the baseline and the peers. The row, and the last answer of each peer."""
    ticks: list[int] = []
    told: dict[str, dict[str, Any]] = {}

    def mine() -> int:
        took, count = uvloop.run(ours(recording))
        ticks.append(count)
        return took

    def theirs(peer: Peer) -> float:
        told[peer.key] = answer = peer.round(recording.exchange)
        return float(answer["cpu_ns"])

    def same() -> int:
        return uvloop.run(ours(recording, kinds=kinds))[0]

    able = [peer for peer in peers if "skip" not in peer.round(recording.exchange)]
    sides: dict[str, Callable[[], float]] = {"ours": lambda: several(recording, mine)}
    sides["orjson"] = lambda: several(recording, lambda: baseline(recording))
    sides["normalize"] = lambda: several(recording, lambda: normalizing(recording))
    kinds = {kind for peer in able if peer.key == "cryptofeed" for kind in told_kinds(peer.round(recording.exchange)["events"])}
    if kinds:
        sides["same"] = lambda: several(recording, same)
    costs = paired(rounds, sides | {peer.key: lambda peer=peer: theirs(peer) for peer in able})
    assert len(set(ticks)) == 1, f"{recording.exchange}: {sorted(set(ticks))} ticks in different rounds"
    n = len(recording.steps)
    row: dict[str, Any] = {"exchange": recording.exchange, "messages": n, "ticks": ticks[0]}
    for key, side in (("us", "ours"), ("normalize_us", "normalize"), ("orjson_us", "orjson")):
        row[key] = spread(x / n / 1e3 for x in costs[side])
    row |= {"ratio": ratio(costs["ours"], costs["orjson"])}
    row |= {f"{peer.key} to ours": ratio(costs[peer.key], costs["ours"]) for peer in able}
    if kinds:
        row["cryptofeed to same"] = ratio(costs["cryptofeed"], costs["same"])
    row |= {f"{peer.key} to orjson": ratio(costs[peer.key], costs["orjson"]) for peer in able}
    return row, told


def told_kinds(events: Iterable[str]) -> Iterator[str]:
    """Our kinds of what reached cryptofeed's user."""
    for channel in events:
        yield from CRYPTOFEED[channel]


def compare(run: Run, rows: Sequence[dict[str, Any]], told: dict[str, dict[str, dict[str, Any]]], peers: Sequence[Peer]) -> None:
    """The peers' tables: in multiples of `orjson.loads`, and what reached their users, for a check."""
    name = Column("exchange", "recording")
    multiples = (Column(f"{p.key} to orjson", p.title, ".1f") for p in peers)
    base = run.section("pipeline: the peers in multiples of orjson.loads", name, *multiples)
    for row in rows:
        base.row(**row)
    counts = run.section("pipeline: what reached the user of each", name, Column("ours", "ours"), *(Column(p.key, p.title) for p in peers))
    for row in rows:
        answers = told[row["exchange"]]
        seen = {key: sum(a["events"].values()) for key, a in answers.items()}
        lost = {key: f" ({sum(a['errors'].values()):.0f} errors)" for key, a in answers.items() if a["errors"]}
        counts.row(exchange=row["exchange"], ours=row["ticks"], **{key: f"{n}{lost.get(key, '')}" for key, n in seen.items()})


def bars(run: Run, rows: Sequence[dict[str, Any]]) -> None:
    """What issue 4 wants, of the interpreted core or of the compiled one."""
    middle = statistics.median(r["ratio"].median for r in rows)
    run.bar(f"median of {len(rows)} recordings, in orjson.loads", middle, 2.0 if COMPILED else 3.0)
    for key, least in (("cryptofeed", 3.0 if COMPILED else 1.8), ("cryptofeed_best", 4.0), ("ccxt", 10.0), ("ccxt_burst", 10.0)):
        _least(run, rows, f"{key} to ours", least)
    _least(run, rows, "cryptofeed to same", 3.0 if COMPILED else 1.8, " asked for the same kinds")
    cheaper = [r["tardis to ours"].median > 1 for r in rows if "tardis to ours" in r]
    if cheaper and COMPILED:
        run.bar(f"recordings of {len(cheaper)} on which ours is cheaper than tardis-dev", sum(cheaper), 8, "least")


def _least(run: Run, rows: Sequence[dict[str, Any]], key: str, least: float, more: str = "") -> None:
    found = {r["exchange"]: r[key].median for r in rows if key in r}
    if found:
        worst = min(found, key=lambda e: found[e])
        run.bar(f"{key.replace('same', 'ours')}{more} on {worst}, the least of {len(found)}", found[worst], least, "least")


def main() -> None:
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("exchanges", nargs="*", default=list(FILES))
        parser.add_argument("--peers", action="store_true", help="measure the peers in the same rounds (install them: make bench-peers)")

    run = Run("pipeline", __doc__, arguments)
    peers = columns() if run.options.peers else []
    if run.options.peers and not peers:
        print("no peer is installed: run `make bench-peers`")
    table = run.section(
        "pipeline", Column("exchange", "recording"), Column("messages", "messages"),
        Column("ticks", "ticks"), Column("us", "CPU us", ".2f"),
        Column("normalize_us", "of that decode and handlers", ".2f", REST),
        Column("orjson_us", "orjson us", ".2f"),
        Column("ratio", "x orjson.loads", ".2f"),
        *(Column(f"{p.key} to ours", f"{p.title} / ours", ".1f", p.does) for p in peers),
        *([Column("cryptofeed to same", "cryptofeed / ours, same kinds", ".1f", SAME)] if peers else []),
    )  # fmt: skip
    told: dict[str, dict[str, dict[str, Any]]] = {}
    for exchange in run.options.exchanges:
        row, told[exchange] = measure(load(exchange), run.rounds, peers)
        table.row(**row)
    if peers:
        compare(run, table.rows, told, peers)
    bars(run, table.rows)
    run.end()
    print(f"median {statistics.median(r['ratio'].median for r in table.rows):.2f} x orjson.loads")


if __name__ == "__main__":
    main()
