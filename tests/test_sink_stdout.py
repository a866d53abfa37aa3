"""Ticks on stdout: whole lines, a loop that turns while nobody reads, and an end when the reader goes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = """
import asyncio, os, sys
from streamer.sinks.registry import make
from streamer.sinks.runner import SinkRunner
from tests.shelf import Market
async def main():
    market = Market()
    sub = market.subscribe("A/B trade", "A/B book", max_items=100_000)
    runner = SinkRunner(make("stdout"), sub)
    runner.start()
    market.trades(int(sys.argv[1]))
    if sys.argv[2] == "end":
        sub.box.finish()
    await asyncio.wait_for(runner.ended(), 20)
    stats = await runner.drain(0.5)
    print(stats.state, runner.failure, stats.confirmed, stats.lost, file=sys.stderr)
asyncio.run(main())
"""


def start(n: int, what: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(n), what], cwd=ROOT, stdout=-1, stderr=-1)  # noqa: S603


def test_one_json_object_a_line() -> None:
    out, err = start(20_000, "end").communicate(timeout=20)
    assert err.startswith(b"closed None 20002 {}"), err
    rows = [json.loads(line) for line in out.splitlines()]
    assert rows[0]["type"] == "book_snapshot"
    assert [row["id"] for row in rows if row["type"] == "trade"] == [str(n) for n in range(1, 20_001)]


def test_a_reader_who_goes_away_ends_it() -> None:
    with start(20_000, "go on") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"type":"book_snapshot"')
        process.stdout.close()
        err = process.stderr.read().decode()
        assert process.wait(10) == 0
    assert "failed nobody reads standard output any more 0 {'failed': 20002}" in err


FULL = """
import asyncio, os, resource, sys
from streamer.sinks import SinkDown
from streamer.sinks.stdout import StdoutSink
from tests.test_spool import trades
async def main():
    sink = StdoutSink()
    await sink.open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
    todo, failures = trades(300), 0
    while todo:
        try:
            await sink.write(todo[:50])
            del todo[:50]
        except SinkDown as e:
            assert e.reason == "disk"
            del todo[: e.confirmed]
            failures += 1
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]) + failures * 40, resource.RLIM_INFINITY))
            if failures == 9:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await sink.close(1)
    print(failures, file=sys.stderr)
asyncio.run(main())
"""


@pytest.mark.parametrize("limit", [0, 1, 13_333, 13_400, 20_000])
def test_no_line_is_torn_by_a_disk_that_was_full_meanwhile(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "out"
    with path.open("wb") as out:
        run = [sys.executable, "-c", FULL, str(limit)]
        done = subprocess.run(run, stdout=out, stderr=-1, cwd=ROOT, check=False, timeout=20)  # noqa: S603
    assert done.stderr == b"9\n", done.stderr
    assert [int(json.loads(line)["id"]) for line in path.read_bytes().splitlines()] == list(range(300))
