"""Whatever happens to a sink, its spool and its process, the numbers add up, and who reads behind it is never silently wrong."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.sinks import Refused
from streamer.sinks.pipeline import Pipeline
from streamer.sinks.spool import ON_FULL, OnFull, Spool
from streamer.types import BookSnapshot, BookStale, Gap, Status
from tests.shelf import Believer, Market, law

controls = (Gap, BookStale, Status)
LARGE = [(200.0 + i, 1.0) for i in range(40)]


class Case:
    """A market, the pipeline of a sink, and a reader behind it. `up` is what the runner would know."""

    def __init__(self, folder: Path | None, policy: OnFull = "drop_oldest_segment", seed: int = 0) -> None:
        self.desk = Market()
        self.folder = folder
        self.policy = policy
        self.rng = random.Random(seed)
        self.believer = Believer(self.desk)
        self.up = True
        self.hopeless: set[str] = set()  # books of which a snapshot was refused: only one that fits can help
        self.pipeline: Pipeline

    async def begin(self) -> None:
        spool = None
        if self.folder is not None:
            spool = Spool(self.folder, max_bytes=64 << 10, segment_bytes=4000, on_full=self.policy, fsync="never")
        self.pipeline = Pipeline("shelf", spool, 50, lambda: None)
        self.pipeline.intake.attach(self.desk.subscribe(max_items=400))
        await self.pipeline.recover()

    def publish(self, n: int) -> None:
        """So many trades, deltas and now and then a large one."""
        for _ in range(n):
            symbol = self.rng.choice(("A/B", "C/D"))
            if self.rng.random() < 0.6:
                self.desk.trade(symbol)
            else:
                asks = [(p, self.rng.choice((0.0, 1.0, 2.0))) for p, _ in LARGE] if self.rng.random() < 0.2 else []
                self.desk.delta(symbol, bids=[(self.rng.choice((97.0, 98.0, 99.0)), float(self.rng.randrange(1, 5)))], asks=asks)

    async def write(self, n: int, refuse: int | None = None) -> None:
        """The sink takes up to `n` of a batch, one of which it may refuse, and is down after if that was not all."""
        if not self.pipeline.flight.ticks:
            await self.pipeline.load()
        ticks = self.pipeline.flight.ticks
        n = min(n, len(ticks))
        bad = [Refused(refuse, "too_dear")] if refuse is not None and refuse < n and not isinstance(ticks[refuse], controls) else []
        for i, tick in enumerate(ticks[:n]):
            if bad and i == refuse:
                self.believer.forgive(tick)  # told with the next batch; what stands behind it in this one has gone out already
                self.hopeless |= {tick.symbol} if isinstance(tick, BookSnapshot) else set()
            else:
                self.believer.read([tick])
        await self.pipeline.settle(n, bad)
        self.up = n == len(ticks)

    async def spill(self) -> None:
        """What the runner does while the sink is down, or writes for long."""
        for _ in range(100):
            if not self.pipeline.must_spill(self.up, writing=True) or not await self.pipeline.spill():
                break

    async def again(self) -> None:
        """The process ends and another begins."""
        self.pipeline.intake.detach_all()
        await self.pipeline.save("shutdown")
        assert law(self.pipeline)
        await self.begin()
        self.up = True

    async def finish(self) -> None:
        """The sink works again and all is written."""
        for symbol in self.hopeless:
            self.desk.snapshot(symbol)
        for _ in range(10_000):
            await self.write(10_000)
            if not self.pipeline.waiting:
                break
        assert law(self.pipeline)
        assert self.pipeline.held == 0
        self.believer.knows_the_books()
        for symbol in self.desk.listed:
            assert self.believer.last[symbol] <= self.desk.number[symbol, "trade"]
            missing = self.desk.number[symbol, "trade"] - self.believer.last[symbol]
            assert missing <= self.believer.told[symbol, "trade"] < 10**6, "the last ones are missing and nobody said so"
        self.desk.trades(1)
        self.desk.delta("A/B", bids=[(99.0, 7.0)])
        await self.write(10_000)
        self.believer.knows_the_books()
        await self.pipeline.save("shutdown")


STEPS = ["publish", "publish", "publish", "write", "write", "fail", "spill", "spill", "refuse", "again"]
steps = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 150)), max_size=30)


async def play(case: Case, script: list[tuple[str, int]]) -> None:
    await case.begin()
    for step, n in script:
        if step == "publish":
            case.publish(n)
        elif step == "write":
            await case.write(10_000)
        elif step == "fail":
            await case.write(n % 30)
            case.up = False
        elif step == "refuse":
            await case.write(10_000, refuse=n % 20)
        elif step == "spill":
            await case.spill()
        elif step == "again" and case.folder is not None:
            await case.again()
        assert law(case.pipeline)
    await case.finish()


@pytest.mark.parametrize("policy", ON_FULL)
@given(script=steps, seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_with_a_spool(tmp_path_factory: pytest.TempPathFactory, policy: OnFull, script: list[tuple[str, int]], seed: int) -> None:
    asyncio.run(play(Case(tmp_path_factory.mktemp("spool"), policy, seed), script))


@given(script=steps, seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_without_a_spool(script: list[tuple[str, int]], seed: int) -> None:
    asyncio.run(play(Case(None, seed=seed), script))


@pytest.mark.parametrize("policy", ON_FULL)
@pytest.mark.parametrize("seed", range(3))
async def test_a_long_outage(tmp_path: Path, policy: OnFull, seed: int) -> None:
    """Far more than the spool holds, twice, with a restart in between."""
    case = Case(tmp_path, policy, seed)
    await case.begin()
    for _ in range(2):
        case.publish(100)
        await case.write(20)
        for _ in range(40):
            case.up = False
            case.publish(60)
            await case.spill()
            assert law(case.pipeline)
            assert case.pipeline.spool is not None
            assert case.pipeline.spool.bytes <= 64 << 10
        lost = sum(case.pipeline.lost.values())
        assert lost == (0 if policy == "block" else case.pipeline.lost["spool_full"])
        assert (lost > 500) == (policy != "block")
        assert policy != "block" or case.pipeline.intake.dropped > 500
        await case.again()
    await case.finish()
    assert any(t for t in case.believer.told.values())


async def all_of(pipeline: Pipeline) -> list[Any]:
    found: list[Any] = []
    while pipeline.waiting:
        await pipeline.load()
        found += pipeline.flight.ticks
        await pipeline.settle(len(pipeline.flight.ticks))
    return found


async def test_what_gave_way_is_told_where_it_is_missing(tmp_path: Path) -> None:
    """A Gap with the number for each stream, BookStale for a book, before what is left; the book itself at the live end."""
    case = Case(tmp_path)
    await case.begin()
    case.up = False
    for _ in range(20):
        case.publish(100)
        await case.spill()
    lost = case.pipeline.lost["spool_full"] - 2  # besides data two times Status: live
    ticks = await all_of(case.pipeline)
    gaps = [t for t in ticks if isinstance(t, Gap)]
    assert {(g.symbol, g.channel, g.cause, g.proof) for g in gaps} == {
        (s, k, "overflow", "count") for s in ("A/B", "C/D") for k in ("trade", "book")
    }
    assert sum(g.count or 0 for g in gaps) == lost > 0
    assert all(isinstance(t, Gap | BookStale) for t in ticks[:6])
    assert [type(t) for t in ticks[-2:]] == [BookSnapshot, BookSnapshot]
    assert not any(isinstance(t, BookSnapshot) for t in ticks[6:-2])


async def test_a_refused_tick_is_told_and_a_refused_book_is_not_sent_again_for_ever() -> None:
    case = Case(None)
    await case.begin()
    await case.pipeline.load()
    first = case.pipeline.flight.ticks
    snapshots = [n for n, t in enumerate(first) if isinstance(t, BookSnapshot)]
    await case.pipeline.settle(len(first), [Refused(n, "too_large") for n in snapshots])
    assert case.pipeline.lost == {"too_large": 2}
    ticks = await all_of(case.pipeline)
    assert [(type(t).__name__, t.symbol) for t in ticks] == [("Gap", "A/B"), ("BookStale", "A/B"), ("Gap", "C/D"), ("BookStale", "C/D")]
    assert (ticks[0].cause, ticks[0].count) == ("refused", 1)
    assert not case.pipeline.waiting
    assert law(case.pipeline)


async def test_a_refused_gap_is_told_to_nobody() -> None:
    case = Case(None)
    await case.begin()
    case.publish(10)
    for _ in range(3):
        await case.pipeline.load()
        n = len(case.pipeline.flight.ticks)
        await case.pipeline.settle(n, [Refused(i, "never") for i in range(n)])
    assert not case.pipeline.waiting
    assert law(case.pipeline)


async def test_damage_on_the_disk_is_told_to_the_streams_of_that_file(tmp_path: Path) -> None:
    case = Case(tmp_path)
    await case.begin()
    case.up = False
    case.publish(200)
    await case.spill()
    first = sorted(tmp_path.glob("*.ticks"))[0]
    data = bytearray(first.read_bytes())
    data[200] ^= 8
    first.write_bytes(data)
    ticks = await all_of(case.pipeline)
    gaps = [t for t in ticks if isinstance(t, Gap)]
    assert {(g.symbol, g.channel) for g in gaps} == {(s, k) for s in ("A/B", "C/D") for k in ("trade", "book")}
    assert {(g.cause, g.count, g.proof) for g in gaps} == {("disk", None, None)}
    assert case.pipeline.lost["spool_corrupt"] >= 1
    assert law(case.pipeline)
    case.believer.read(ticks)
    case.believer.knows_the_books()


async def test_lag(tmp_path: Path) -> None:
    case = Case(tmp_path)
    await case.begin()
    await all_of(case.pipeline)
    assert case.pipeline.lag_s == 0
    case.desk.now = 5_000_000_000
    case.desk.trade("A/B")
    await case.write(10_000)
    case.desk.now = 65_000_000_000
    case.desk.trade("A/B")
    case.up = False
    await case.spill()
    assert 59 < case.pipeline.lag_s < 61
    await all_of(case.pipeline)
    assert case.pipeline.lag_s == 0
