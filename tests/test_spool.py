"""The spool: what was put in comes out in order, after kill -9, cut ends, flipped bits and full disks; and it keeps to its bytes."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamer.errors import UsageError
from streamer.sinks.holes import Holes
from streamer.sinks.records import MAGIC, pack, parse
from streamer.sinks.spool import ON_FULL, OnFull, Spool
from streamer.types import (
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    Gap,
    IndexPrice,
    Instrument,
    MarkPrice,
    Quote,
    Trade,
)
from tests.ticks import EVERY

ROOT = Path(__file__).parent.parent
NS = 1_700_000_000_000_000_000


def trade(n: int, symbol: str = "A/B") -> Any:
    return Trade("toy", symbol, None, NS + n, 1.5, 2.0, "buy", str(n))


def trades(n: int, start: int = 0) -> list[Any]:
    return [trade(i) for i in range(start, start + n)]


def ids(ticks: list[Any]) -> list[int]:
    return [int(t.id) for t in ticks]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def opened(path: Path, **options: Any) -> Spool:
    spool = Spool(path, **options)
    await spool.open()
    return spool


async def everything(spool: Spool, most: int = 1000) -> list[Any]:
    """All that is unread, confirmed as it comes."""
    found: list[Any] = []
    while spool.unread:
        got = await spool.take(most)
        found += got.ticks
        await spool.confirm(spool.taken)
    return found


def files(path: Path) -> list[Path]:
    return sorted(path.glob("*.ticks"))


# records

HEAD = ("toy", "A/B", None, NS)
D = Decimal
EDGES: list[Any] = [
    Trade(*HEAD, D("1.50"), D("0E-8"), None, None),
    Quote(*HEAD, None, None, 1.0, 2.0, "book"),
    BookDelta("toy", "A/B", 5, NS, [(D("1E-9"), D("0"))], [(D("2.10"), D("3"))], 1, 2, 0),
    Candle(*HEAD, "1m", NS, 1.0, 2.0, 0.5, 1.5, 10.0, None, 4, True),
    Funding(*HEAD, -0.0001),
    MarkPrice(*HEAD, 1e-30),
    IndexPrice(*HEAD, 1e300),
    Gap(*HEAD, "trade", "overflow", 1, 2, 3, None, "count"),
    Instrument(*HEAD, "AB", "A", "B", price_step=D("0.10")),
]


@pytest.mark.parametrize("tick", [*EVERY, *EDGES], ids=lambda t: type(t).__name__)
def test_every_tick_comes_back_as_it_was(tick: Any) -> None:
    [back] = parse(pack(tick), 10, whole=True).ticks
    assert back == tick
    assert repr(back) == repr(tick)  # Decimals with their digits


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.decimals(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=20)


times = st.integers(0, 2**63)


@given(st.lists(st.builds(Trade, texts, texts, st.none() | times, times, numbers, numbers, st.none(), texts)), st.integers(1, 50))
def test_records_side_by_side(ticks: list[Any], most: int) -> None:
    got = parse(b"".join(map(pack, ticks)), most, whole=True)
    assert got.ticks == ticks[:most]
    assert not got.bad


def test_a_flipped_bit_costs_its_record_and_no_other() -> None:
    ticks = trades(5)
    data = b"".join(map(pack, ticks))
    size = len(pack(ticks[0]))
    for bit in range(0, 8 * len(data), 3):
        hurt = bytearray(data)
        hurt[bit // 8] ^= 1 << bit % 8
        hit = bit // 8 // size
        got = parse(bytes(hurt), 10, whole=True)
        assert got.bad
        assert ids(got.ticks) == list(range(hit)), "nothing that is damaged is taken for sound"
        if bit // 8 % size >= 4:  # the length is what it was
            assert got.bad_end == (hit + 1) * size


@pytest.mark.parametrize("length", [0, 1, 64 << 20, (64 << 20) + 1, 2**32 - 1])
def test_a_length_out_of_all_reason(length: int) -> None:
    got = parse(length.to_bytes(4, "little") + b"\0" * 60, 10, whole=True)
    assert (got.ticks, got.bad, got.bad_end) == ([], True, None)


# first in, first out


async def test_in_and_out(tmp_path: Path) -> None:
    spool = await opened(tmp_path / "s")
    assert (await spool.append(trades(10))).stored == 10
    first = await spool.take(4)
    assert (first.base, ids(first.ticks), spool.unread) == (0, [0, 1, 2, 3], 6)
    assert (await spool.append(trades(5, 10))).stored == 5
    await spool.confirm(4)
    assert ids(await everything(spool)) == list(range(4, 15))
    assert spool.bytes == 0
    assert files(spool.path) == [], "nothing is kept of what is safe"
    await spool.append(trades(2, 15))
    assert ids(await everything(spool)) == [15, 16]
    await spool.close(Holes())


async def test_what_was_taken_and_not_confirmed_comes_again_in_the_next_life(tmp_path: Path) -> None:
    spool = await opened(tmp_path)
    await spool.append(trades(10))
    await spool.take(7)
    await spool.confirm(3)
    await spool.close(Holes())
    spool = await opened(tmp_path)
    assert (spool.recovered, spool.unclean) == (7, False)
    assert ids(await everything(spool)) == list(range(3, 10))
    await spool.close(Holes())
    spool = await opened(tmp_path)
    assert spool.recovered == 0
    await spool.append(trades(1, 10))
    assert (await spool.take(5)).base == 10, "numbers are never used twice"
    await spool.close(Holes())


async def test_what_is_left_to_tell_is_told_in_the_next_life(tmp_path: Path) -> None:
    spool = await opened(tmp_path)
    holes = Holes()
    holes.add(trades(3), "overflow")
    await spool.close(holes)
    holes = await Spool(tmp_path).open()
    [gap] = holes.take()
    assert (gap.channel, gap.count, gap.ts_from, gap.ts_to) == ("trade", 3, NS, NS + 2)


class Lives:
    """A spool that is used, killed and closed at random, and a list that says what must be in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model: list[int] = []
        self.number = 0
        self.flight = 0

    async def live(self, steps: list[tuple[str, int]]) -> None:
        spool = await opened(self.path, segment_bytes=700, max_bytes=1 << 20, fsync="never")
        for step, n in steps:
            if step == "append":
                assert (await spool.append(trades(n, self.number))).stored == n
                self.model += range(self.number, self.number + n)
                self.number += n
            elif step == "take" and not self.flight:
                got = await spool.take(n)
                assert ids(got.ticks) == self.model[: len(got.ticks)]
                assert got.ticks or not self.model
                self.flight = len(got.ticks)
            elif step == "confirm":
                n = min(n, self.flight)
                await spool.confirm(spool.taken - self.flight + n)
                del self.model[:n]
                self.flight -= n
            elif step in ("close", "kill"):
                if step == "close":
                    await spool.close(Holes())
                else:
                    kill(spool)
                spool = await opened(self.path, segment_bytes=700, max_bytes=1 << 20, fsync="never")
                assert spool.unclean is (step == "kill")
                self.flight = 0
            assert spool.unread == len(self.model) - self.flight
            assert spool.bytes == sum(f.stat().st_size for f in files(self.path))
        assert ids(await everything(spool)) == self.model[self.flight :]
        await spool.close(Holes())


def kill(spool: Spool) -> None:
    """Let go of the files as the kernel does when a process is killed: nothing of ours is run."""
    assert spool._pool is not None
    spool._pool.shutdown()
    for fd in (spool._disk.files._fd, spool._disk.files._done_fd, spool._disk._lock_fd):
        if fd >= 0:
            os.close(fd)


steps = st.lists(
    st.tuples(st.sampled_from(["append", "append", "take", "confirm", "confirm", "close", "kill"]), st.integers(1, 15)), max_size=25
)


@given(steps)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_done_to_it(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    run(Lives(tmp_path_factory.mktemp("spool")).live(steps))


# damage


async def filled(path: Path, n: int = 40, **options: Any) -> list[Path]:
    spool = await opened(path, segment_bytes=1000, **options)
    for i in range(0, n, 4):
        await spool.append(trades(4, i))
    await spool.close(Holes())
    return files(path)


async def test_every_cut_of_the_newest_file_costs_what_was_cut(tmp_path: Path) -> None:
    newest = (await filled(tmp_path))[-1]
    start = int(newest.stem)
    whole = newest.read_bytes()
    record = len(pack(trade(10)))
    done = (tmp_path / "done").read_bytes()
    for size in range(0, len(whole) + 1):
        newest.write_bytes(whole[:size])
        spool = await opened(tmp_path)
        sound = start + max(0, size - len(MAGIC)) // record
        torn = bool(size) if size < len(MAGIC) else (size - len(MAGIC)) % record != 0
        assert (spool.recovered, spool.corrupt) == (sound, torn)
        if size % 17 == 0:
            await spool.append(trades(3, 1000))
            assert ids((await spool.take(1000)).ticks)[:5] == [0, 1, 2, 3, 4]
        kill(spool)
        for path in files(tmp_path):
            if path.name > newest.name or int(path.stem) > start:
                path.unlink()
        (tmp_path / "done").write_bytes(done)


async def test_behind_a_cut_file_new_ticks_follow(tmp_path: Path) -> None:
    newest = (await filled(tmp_path))[-1]
    start = int(newest.stem)
    os.truncate(newest, newest.stat().st_size - 5)
    spool = await opened(tmp_path)
    await spool.append(trades(3, 1000))
    kill(spool)
    spool = await opened(tmp_path)  # the cut file is not the newest any more
    assert ids(await everything(spool)) == [*range(39), 1000, 1001, 1002]
    assert start < 39
    assert spool.corrupt == 0
    await spool.close(Holes())


@pytest.mark.parametrize("seed", range(20))
async def test_a_flipped_bit_anywhere(tmp_path: Path, seed: int) -> None:
    """At most the rest of that file is lost; it is counted to the last tick; what comes is sound and in order."""
    rng = random.Random(seed)
    segments = await filled(tmp_path)
    path = rng.choice(segments)
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    spool = await opened(tmp_path)
    recovered, torn = spool.recovered, spool.corrupt
    lost = 0
    found: list[Any] = []
    while spool.unread:
        got = await spool.take(7)
        found += got.ticks
        lost += got.lost
        if got.lost:
            assert [t.symbol for t in got.holes.take()] in (["A/B"], []), "the streams of that file are told"
    assert ids(found) == sorted(set(ids(found)))
    assert len(found) + lost == recovered
    last = len(segments) - 1
    assert recovered == 40 or (path is segments[last] and torn)
    assert 40 - len(found) <= 12
    if at >= 12 and (at - 8) % len(pack(trade(10))) >= 4 and path is not segments[0]:
        assert 40 - len(found) == 1, "only the record that was hit"
    await spool.close(Holes())


async def test_files_that_were_taken_away(tmp_path: Path) -> None:
    first, second, third, *_ = await filled(tmp_path)
    missing = range(int(second.stem), int(third.stem))
    second.unlink()
    spool = await opened(tmp_path)
    found = await everything(spool)
    assert ids(found) == [n for n in range(40) if n not in missing]
    assert spool.corrupt == len(missing)
    assert first.exists() is False
    await spool.close(Holes())


async def test_a_file_that_goes_away_while_we_run(tmp_path: Path) -> None:
    spool = await opened(tmp_path, segment_bytes=1000)
    for i in range(0, 40, 4):
        await spool.append(trades(4, i))
    for path in files(tmp_path)[1:]:
        path.unlink()
    found = await everything(spool)
    assert 0 < len(found) < 40
    assert len(found) + spool.corrupt == 40
    await spool.append(trades(2, 40))
    assert ids(await everything(spool)) == [40, 41]
    await spool.close(Holes())


@pytest.mark.parametrize("text", [b"", b"x", b"9" * 20, b"0" * 20 + b" 00000000\n", b"\xff" * 40])
async def test_a_damaged_done_brings_ticks_twice_and_loses_none(tmp_path: Path, text: bytes) -> None:
    spool = await opened(tmp_path)
    await spool.append(trades(10))
    await spool.take(5)
    await spool.confirm(5)
    await spool.close(Holes())
    (tmp_path / "done").write_bytes(text)
    spool = await opened(tmp_path)
    assert ids(await everything(spool)) == list(range(10))
    await spool.close(Holes())


# bounds and policies


@pytest.mark.parametrize("policy", ON_FULL)
async def test_it_keeps_to_its_bytes(tmp_path: Path, policy: OnFull) -> None:
    spool = await opened(tmp_path, max_bytes=64 << 10, on_full=policy)
    stored = dropped = 0
    for i in range(0, 2000, 50):
        done = await spool.append(trades(50, i))
        stored += done.stored
        dropped += done.dropped
        assert spool.bytes == sum(f.stat().st_size for f in files(tmp_path)) <= 64 << 10
        assert done.reason == ("" if policy == "drop_oldest_segment" else "spool_full") or done.stored == 50
        assert spool.unread == stored - dropped
        told = sum(t.count for t in done.holes.take())
        assert told == done.dropped
    kept = ids(await everything(spool))
    assert len(kept) == stored - dropped > 400
    expected = list(range(2000))
    assert kept == (expected[-len(kept) :] if policy == "drop_oldest_segment" else expected[: len(kept)])
    if policy != "drop_oldest_segment":
        assert not spool.full
        assert (await spool.append(trades(1))).stored == 1, "there is room again"
    await spool.close(Holes())


async def test_a_small_tick_does_not_overtake_a_large_one_that_was_refused(tmp_path: Path) -> None:
    spool = await opened(tmp_path, max_bytes=64 << 10, on_full="drop_newest")
    big = BookSnapshot(*HEAD, [(1.0, 2.0)] * 2500, [])
    assert (await spool.append([big, big, trade(1)])).stored == 1
    assert (await spool.append([trade(2)])).reason == "spool_full"
    await spool.take(1)
    await spool.confirm(1)
    assert (await spool.append([trade(3)])).stored == 1
    await spool.close(Holes())


async def test_what_gives_way_while_it_is_in_flight_is_not_lost_yet(tmp_path: Path) -> None:
    spool = await opened(tmp_path, max_bytes=64 << 10)
    await spool.append(trades(100))
    got = await spool.take(100)
    dropped = 0
    for i in range(100, 2000, 50):
        dropped += (await spool.append(trades(50, i))).dropped
    assert spool.first > 100
    assert spool.unread == 1900 - dropped
    await spool.confirm(got.base + 100)
    kept = ids(await everything(spool))
    assert kept == list(range(2000 - len(kept), 2000))
    await spool.close(Holes())


async def test_a_tick_larger_than_all(tmp_path: Path) -> None:
    spool = await opened(tmp_path, max_bytes=64 << 10)
    huge = BookSnapshot(*HEAD, [(1.0, 2.0)] * 10_000, [])
    done = await spool.append([trade(1), huge, trade(2)])
    assert (done.stored, done.reason) == (1, "too_large")
    await spool.close(Holes())


async def test_a_record_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    spool = await opened(tmp_path)
    huge = BookSnapshot(*HEAD, [(1.5, 2.0)] * 300_000, [])
    assert len(pack(huge)) > 5 << 20
    await spool.append([trade(1), huge, trade(2), huge, trade(3)])
    assert [type(t) for t in await everything(spool)] == [Trade, BookSnapshot, Trade, BookSnapshot, Trade]
    await spool.close(Holes())


def test_bounds_that_make_no_sense(tmp_path: Path) -> None:
    for wrong in ({"max_bytes": 1000}, {"segment_bytes": 0}, {"on_full": "cry"}, {"fsync": "often"}, {"fsync_s": 0}):
        with pytest.raises(UsageError, match=f"spool {tmp_path}"):
            Spool(tmp_path, **wrong)  # type: ignore[arg-type]


# the disk


async def test_a_full_disk_raises_nothing_and_is_got_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """/dev/full says ENOSPC to every write, for real."""
    spool = await opened(tmp_path, on_full="drop_newest")
    await spool.append(trades(5))
    spool._disk.files.seal()
    (tmp_path / f"{5:020d}.ticks").symlink_to("/dev/full")
    for _ in range(3):
        (tmp_path / f"{5:020d}.ticks").unlink(missing_ok=True)
        (tmp_path / f"{5:020d}.ticks").symlink_to("/dev/full")
        done = await spool.append(trades(5, 5))
        assert (done.stored, done.reason) == (0, "spool_error")
    assert spool.errors == 3
    assert caplog.text.count("No space left on device; on_full=drop_newest decides") == 1, "said once"
    assert (await spool.append(trades(5, 5))).stored == 5
    assert ids(await everything(spool)) == list(range(10))
    await spool.close(Holes())


FILE_LIMIT = """
import asyncio, resource, sys
from pathlib import Path
from streamer.sinks.holes import Holes
from streamer.sinks.spool import Spool
from tests.test_spool import everything, ids, trades
async def main():
    spool = Spool(Path(sys.argv[1]), on_full="drop_newest")
    await spool.open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    stored = refused = 0
    for i in range(0, 1000, 10):
        done = await spool.append(trades(10, i))
        stored += done.stored
        refused += 10 - done.stored
    found = ids(await everything(spool))
    await spool.close(Holes())
    assert len(found) == stored and found == sorted(found), found
    print(stored, refused, spool.errors)
asyncio.run(main())
"""


def test_a_write_that_fails_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    """The largest file that this process may write is reached in the middle of a batch: the kernel writes half of it."""
    run_ = [sys.executable, "-c", FILE_LIMIT, str(tmp_path)]
    done = subprocess.run(run_, capture_output=True, text=True, cwd=ROOT, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    stored, refused, errors = map(int, done.stdout.split())
    assert stored + refused == 1000
    assert refused == 10 * errors > 0
    assert stored > 900, "the next batch goes to the next file"
    assert "File too large" in done.stderr


async def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"spool .*file/s cannot be used: Not a directory; choose another folder"):
        await Spool(tmp_path / "file" / "s").open()


async def test_two_cannot_have_it(tmp_path: Path) -> None:
    spool = await opened(tmp_path)
    with pytest.raises(UsageError, match="is in use by another process; give each sink its own"):
        await Spool(tmp_path).open()
    await spool.append(trades(1))
    await spool.close(Holes())
    assert not (await opened(tmp_path)).unclean


@pytest.mark.parametrize(("policy", "at_least", "at_most"), [("always", 10, 10), ("interval", 1, 4), ("never", 0, 0)])
async def test_when_the_disk_is_waited_for(
    tmp_path: Path, policy: Any, at_least: int, at_most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fsync
    spool = await opened(tmp_path, fsync=policy, fsync_s=0.05)
    await spool.append(trades(1))
    await asyncio.sleep(0.1 if policy == "interval" else 0)
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(fd), real(fd)))
    for i in range(10):
        await spool.append(trades(1, i))
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.07)
    assert at_least <= len(synced) <= at_most
    await spool.close(Holes())


# kill -9

CHILD = """
import asyncio, os, sys
from pathlib import Path
from streamer.sinks.spool import Spool
from tests.test_spool import ids, trades
async def main():
    spool = Spool(Path(sys.argv[1]), segment_bytes=20_000, fsync="never")
    await spool.open()
    n = int(sys.argv[2])
    while True:
        await spool.append(trades(7, n))
        n += 7
        os.write(1, b"in %d\\n" % n)
        if n % 3:
            got = await spool.take(5)
            if got.ticks:
                os.write(1, b"out %s\\n" % " ".join(map(str, ids(got.ticks))).encode())
                await spool.confirm(spool.taken)
asyncio.run(main())
"""


@pytest.mark.parametrize("seed", range(3))
def test_kill_9(tmp_path: Path, seed: int) -> None:
    """A process that is killed at any moment loses nothing that it was told is in the spool, over several lives."""
    rng = random.Random(seed)
    accepted = delivered = 0
    for life in range(3):
        run_ = [sys.executable, "-c", CHILD, str(tmp_path), str(accepted)]
        with subprocess.Popen(run_, stdout=subprocess.PIPE, cwd=ROOT) as child:  # noqa: S603
            assert child.stdout is not None
            told = [child.stdout.readline() for _ in range(rng.randrange(5, 300))]
            os.kill(child.pid, signal.SIGKILL)
            told += child.stdout.readlines()
            assert child.wait(10) == -signal.SIGKILL, f"life {life} ended by itself: {told[-1:]}"
        spool = run(reopened(tmp_path))
        stored = max(int(line.split()[1]) for line in told if line.startswith(b"in"))
        assert stored <= spool.next <= stored + 7, "what was told to be stored is, and at most one batch more"
        for line in told:
            if line.startswith(b"out") and line.endswith(b"\n"):
                numbers = [int(n) for n in line.split()[1:]]
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
                assert delivered - 5 <= numbers[0] <= delivered, "none is left out; of one batch it is not known whether it was confirmed"
                delivered = numbers[-1] + 1
        accepted = spool.next
    found = run(leftovers(tmp_path))
    assert found == list(range(found[0], accepted)), "all, in order, none twice"
    assert delivered - 5 <= found[0] <= delivered


async def reopened(path: Path) -> Spool:
    spool = await opened(path)
    assert spool.unclean
    assert spool.corrupt == 0
    kill(spool)
    return spool


async def leftovers(path: Path) -> list[int]:
    spool = await opened(path)
    found = ids(await everything(spool))
    await spool.close(Holes())
    return found
