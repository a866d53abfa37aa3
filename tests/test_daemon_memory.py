"""Too much memory: who gives way, in which order, and what is said of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.daemon.memory import LEAST_BYTES, LEAST_ITEMS, MOST_STEPS, Memory, resident, room
from tests.daemons import SimInside, before_the_end, config, running
from tests.simulation import wait_for

MB = 1_000_000


class World:
    """What a process holds, and the time."""

    def __init__(self) -> None:
        self.held: int | None = 50 * MB
        self.now = 100.0
        self.memory = Memory(lambda: self.held)

    def steps(self, seconds: float, limit: int | None = 100 * MB) -> list[int]:
        """The step after each look, two of which are in a second; alike ones once."""
        found: list[int] = []
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            before = self.memory.step
            assert self.memory.look(self.now, limit) == (self.memory.step != before)
            found += [self.memory.step] if found[-1:] != [self.memory.step] else []
        return found


def test_a_step_each_second_while_it_is_too_much_and_all_back_when_it_is_well() -> None:
    w = World()
    assert w.steps(10) == [0]
    assert w.memory.reason() is None
    w.held = 101 * MB
    assert w.steps(0.5) == [1]
    assert w.memory.reason() == "memory: 101 MB are held, memory.limit_bytes is 100 MB: new streams wait"
    assert w.steps(2) == [1, 2, 3]
    assert w.memory.reason() == "memory: 101 MB are held, memory.limit_bytes is 100 MB: new streams wait, queues have 1/4 of their room"
    w.held = 95 * MB
    assert w.steps(60) == [3], "neither too much nor well"
    w.held = 89 * MB
    assert w.steps(4.5) == [3]
    assert w.steps(3) == [2, 1, 0]
    assert w.memory.raised == 3
    w.held = 500 * MB
    assert w.steps(20)[-1] == MOST_STEPS
    assert w.steps(0.5, limit=None) == [0], "a reload takes the limit away"


def test_where_nobody_tells_what_is_held_nothing_happens() -> None:
    w = World()
    w.held = None
    assert w.steps(10) == [0]


def test_what_a_process_holds_falls_when_it_lets_go() -> None:
    before = resident()
    assert before is not None
    block = bytearray(b"x" * (64 << 20))
    during = resident() or 0
    assert during > before + (60 << 20)
    del block
    assert (resident() or 0) < during - (60 << 20)


def test_the_room_of_a_queue() -> None:
    assert [room(s, 100_000, 128 << 20)[0] for s in range(7)] == [100_000, 100_000, 50_000, 25_000, 12_500, 6_250, 3_125]
    assert [room(s, 10_000, 8 << 20)[1] >> 20 for s in range(7)] == [8, 8, 4, 2, 1, 1, 1]
    assert room(6, 4000, 128 << 20)[0] == LEAST_ITEMS
    assert room(6, 10, 5000) == (10, 5000), "never more than it had"
    assert room(6, 10**6, LEAST_BYTES) == (LEAST_BYTES // 256, LEAST_BYTES), "bytes bound items too, as in the queue itself"


GREEDY = '''
import asyncio, pathlib
from streamer.encode import encode_lines
class Greedy:
    """A sink that holds 300 MB, and gets nothing done, while a file is there."""
    name = "greedy"
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
    async def open(self): pass
    async def write(self, ticks):
        if (self.folder / "trigger").exists():
            block = bytearray(b"x" * 300_000_000)
            while (self.folder / "trigger").exists():
                await asyncio.sleep(0.05)
            del block
        with (self.folder / "ticks").open("ab") as f:
            f.write(encode_lines(ticks))
        return ()
    async def close(self, timeout): pass
def make(options): return Greedy(options["folder"])
'''


@pytest.fixture
def busy() -> Iterator[SimInside]:
    sim = SimInside("binance", "kraken").start("--rate", "300")
    yield sim
    sim.stop()


def test_it_gives_way_says_so_and_recovers(busy: SimInside, tmp_path: Path) -> None:
    (tmp_path / "greedy_sink.py").write_text(GREEDY)
    info = tmp_path / "greedy_sink-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greedy-sink\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[streamer.sinks]\ngreedy = greedy_sink:make\n")
    text = re.sub(r'type = "files"\npath = .*', f'type = "greedy"\nfolder = "{tmp_path}"', config(busy, tmp_path, "binance:BTC/USDT"))
    text = text.replace("\nsinks = [", "\nmax_items = 4000\nsinks = [", 1)
    with running(tmp_path / "s.toml", text, {"PYTHONPATH": str(tmp_path)}) as daemon:
        daemon.until_ready()
        assert daemon.metric("streamer_memory_limit_bytes") == 0
        limit = int(daemon.metric("process_resident_memory_bytes")) + 150 * MB
        text += f"[memory]\nlimit_bytes = {limit}\n"
        daemon.reload(text)
        assert daemon.metric("streamer_memory_limit_bytes") == limit
        (tmp_path / "trigger").touch()
        wait_for(lambda: daemon.get("/readyz")[0] == 503, 5)
        wait_for(lambda: daemon.metric("streamer_memory_shedding") >= 4, 10)
        text = text.replace('"binance:BTC/USDT"', '"binance:BTC/USDT", "binance:ETH/USDT"')
        daemon.reload(text)
        assert re.match(r"memory: \d+ MB are held, .*: new streams wait, queues have 1/\d+ of their room \(1 do\)", reason(daemon))
        assert {s for s, _ in daemon.streams()} == {"binance:BTC/USDT"}
        wait_for(lambda: daemon.metric("streamer_dropped_total") > 0, 20)
        assert daemon.metric("streamer_queue_depth") <= 1001, "a quarter of its room, which is not less than the floor; and a gap"
        (tmp_path / "trigger").unlink()
        daemon.until_ready(25)
        assert {s for s, _ in daemon.streams()} == {"binance:BTC/USDT", "binance:ETH/USDT"}
        assert daemon.metric("streamer_memory_shedding") == 0
        assert daemon.metric("streamer_memory_steps_total") >= 4
        assert daemon.logged("^memory: enough again")
        dropped = daemon.metric("streamer_dropped_total")
        assert daemon.end() == 0
    ticks = [json.loads(line) for line in (tmp_path / "ticks").read_text().splitlines()]
    gaps = [t for t in before_the_end(ticks) if t["type"] == "gap"]
    assert {t["cause"] for t in gaps} == {"overflow"}
    assert sum(t["count"] for t in gaps) == dropped, "what gave way is told to the tick"


def reason(daemon: object) -> str:
    return str(daemon.get("/readyz")[1]["reasons"][0])  # type: ignore[attr-defined]
