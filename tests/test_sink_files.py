"""Files of JSON lines: nothing is lost or doubled by rotation, a full disk or kill -9, and nobody sees half a file under its name."""

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from streamer.encode import encode_lines
from streamer.errors import UsageError
from streamer.sinks import SinkDown
from streamer.sinks.files import FileSink, Options
from streamer.sinks.lines import name_at
from streamer.sinks.registry import make
from streamer.types import BookSnapshot, Trade

ROOT = Path(__file__).parent.parent
HOUR = 3600 * 10**9
NS = 1_767_225_600 * 10**9  # 2026-01-01T00:00:00Z
NAMES = ["t.ndjson", "t.ndjson.gz"]


def trades(n: int, start: int = 0, ns: int = NS, step: int = 1000) -> list[Any]:
    return [Trade("toy", "A/B", None, ns + i * step, 1.5, 2.0, "buy", str(i)) for i in range(start, start + n)]


async def opened(path: Path, **options: Any) -> FileSink:
    sink = FileSink(Options(path=str(path), **options))
    await sink.open()
    return sink


def lines(path: Path) -> list[Any]:
    text = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    assert text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()]


def whole(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.endswith(".part"))


def ids(folder: Path) -> list[int]:
    return [int(row["id"]) for path in whole(folder) for row in lines(path)]


@pytest.mark.parametrize("name", NAMES)
async def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path, name: str) -> None:
    sink = await opened(tmp_path / name)
    assert list(await sink.write([*trades(3), BookSnapshot("toy", "A/B", 5, NS, [(1.0, 2.0)], [], 7)])) == []
    suffix = name[1:]
    assert [p.name for p in tmp_path.iterdir()] == [f"t-20260101T000000.000000Z{suffix}.part"]
    await sink.write(trades(2, 3))
    await sink.close(1)
    [path] = tmp_path.iterdir()
    assert path.name == f"t-20260101T000000.000000Z{suffix}"
    rows = lines(path)
    assert [row.get("id") for row in rows] == ["0", "1", "2", None, "3", "4"]
    assert rows[3] == {"type": "book_snapshot", "exchange": "toy", "symbol": "A/B", "ts_event": 5, "ts_recv": NS, "bids": [[1.0, 2.0]],
                       "asks": [], "seq": 7}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
async def test_what_was_written_can_be_read_at_once(tmp_path: Path, name: str) -> None:
    sink = await opened(tmp_path / name)
    await sink.write(trades(100))
    [part] = tmp_path.iterdir()
    if name.endswith("gz"):
        assert zlib.decompressobj(31).decompress(part.read_bytes()) == encode_lines(trades(100))
    else:
        assert part.read_bytes() == encode_lines(trades(100))
    await sink.close(1)


async def test_one_file_for_each_hour_of_what_was_received(tmp_path: Path) -> None:
    sink = await opened(tmp_path / "t.ndjson")
    first = trades(3, ns=NS + HOUR - 2000)  # the third is received on the hour
    await sink.write([*first, trades(1, 3, ns=NS + HOUR - 5000)[0], *trades(2, 4, ns=NS + 3 * HOUR)])
    await sink.close(1)
    assert [(p.name, [int(r["id"]) for r in lines(p)]) for p in whole(tmp_path)] == [
        ("t-20260101T005959.999998Z.ndjson", [0, 1]),
        ("t-20260101T010000.000000Z.ndjson", [2, 3]),  # one that is late stays in the file that is open
        ("t-20260101T030000.000004Z.ndjson", [4, 5]),
    ]


@pytest.mark.parametrize("name", NAMES)
async def test_a_new_file_when_one_has_grown(tmp_path: Path, name: str) -> None:
    sink = await opened(tmp_path / name, rotate_bytes=1000)
    for i in range(0, 400, 10):
        await sink.write(trades(10, i))
    await sink.close(1)
    assert len(whole(tmp_path)) > 3
    assert all(p.stat().st_size < 4000 for p in whole(tmp_path))
    assert ids(tmp_path) == list(range(400))


async def test_a_quiet_file_is_finished_at_the_end_of_its_period(tmp_path: Path) -> None:
    sink = await opened(tmp_path / "t.ndjson", rotate_s=1)
    await sink.write(trades(3, ns=NS + 900_000_000))
    assert whole(tmp_path) == []
    async with asyncio.timeout(5):
        while not whole(tmp_path):
            await asyncio.sleep(0.05)
    assert ids(tmp_path) == [0, 1, 2]
    await sink.write(trades(2, 3, ns=NS + 950_000_000))  # late for its period: a file of its own
    await sink.close(1)
    assert ids(tmp_path) == [0, 1, 2, 3, 4]


async def test_two_with_one_name_do_not_take_each_others_files(tmp_path: Path) -> None:
    one, two = await opened(tmp_path / "t.ndjson"), await opened(tmp_path / "t.ndjson")
    await one.write(trades(2))
    await two.write(trades(2, 2, step=0))
    await (await opened(tmp_path / "t.ndjson")).close(1)  # a third one begins: these are not left, they are at work
    await one.write(trades(2, 4))
    await one.close(1)
    await two.close(1)
    await two.open()
    await two.write(trades(1, 6, step=0))
    await two.close(1)
    assert [p.name for p in whole(tmp_path)] == [f"t-20260101T000000.000000Z{n}.ndjson" for n in ("-1", "-2", "")]
    assert sorted(ids(tmp_path)) == list(range(7))


def test_names() -> None:
    assert name_at("ticks.ndjson.gz", NS + 5 * HOUR + 123_456_789) == "ticks-20260101T050000.123456Z.ndjson.gz"
    assert name_at("ticks", NS, 3) == "ticks-20260101T000000.000000Z-3"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": ""}, "names no file"),
        ({"path": "/data/"}, "names no file; write it as in /data/ticks.ndjson.gz"),
        ({"path": "/data/.gz"}, "names no file"),
        ({}, "missing required field `path`"),
        ({"path": "x.ndjson", "rotate_s": 0}, r">= 1 - at `\$.rotate_s`"),
        ({"path": "x.ndjson", "rotate_bytes": -1}, r">= 1 - at `\$.rotate_bytes`"),
        ({"path": "x.ndjson", "rotate_byte": 5}, "has no option 'rotate_byte'; did you mean rotate_bytes"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make("files", options)


# disks


LIMIT = """
import asyncio, resource, sys
from pathlib import Path
from streamer.sinks import SinkDown
from tests.test_sink_files import opened, trades
async def main():
    sink = await opened(Path(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
    done = 0
    fails = 0
    while done < 3000:
        try:
            await sink.write(trades(100, done))
        except SinkDown as e:
            assert e.reason == "disk" and e.confirmed == 0 and "File too large" in str(e), e
            fails += 1
            if fails == 3:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        else:
            done += 100
    await sink.close(5)
    print(fails)
asyncio.run(main())
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_write_that_fails_in_the_middle_can_be_done_again(tmp_path: Path, name: str) -> None:
    """The kernel writes as much of a batch as the file may grow, then refuses; the batch is written again until it may."""
    run = [sys.executable, "-c", LIMIT, str(tmp_path / name)]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3\n" or name.endswith("gz")
    assert ids(tmp_path) == list(range(3000))


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkDown, match=r"file/x: Not a directory") as error:
        await opened(tmp_path / "file" / "x" / "t.ndjson")
    assert error.value.reason == "disk"


async def test_what_was_confirmed_before_a_folder_went_away(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    sink = await opened(folder / "t.ndjson")
    await sink.write(trades(2))
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.touch()
    with pytest.raises(SinkDown) as error:
        await sink.write([*trades(2, 2), *trades(2, 4, ns=NS + HOUR)])
    assert error.value.confirmed == 2
    folder.unlink()
    await sink.write(trades(2, 4, ns=NS + HOUR))
    await sink.close(1)
    assert ids(folder) == [4, 5]


# kill -9

CHILD = """
import asyncio, os, sys
from pathlib import Path
from tests.test_sink_files import opened, trades
async def main():
    sink = await opened(Path(sys.argv[1]), rotate_bytes=int(sys.argv[2]))
    n = 0
    while True:
        await sink.write(trades(7, n))
        n += 7
        os.write(1, b"%d\\n" % n)
asyncio.run(main())
"""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("after", [1, 40, 151])
def test_kill_9(tmp_path: Path, name: str, after: int) -> None:
    run = [sys.executable, "-c", CHILD, str(tmp_path / name), "2500"]
    with subprocess.Popen(run, stdout=subprocess.PIPE, cwd=ROOT) as child:  # noqa: S603
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(after)]
        os.kill(child.pid, signal.SIGKILL)
        told += child.stdout.readlines()
        assert child.wait(10) == -signal.SIGKILL, told[-1:]
    asyncio.run(again(tmp_path / name))
    found = ids(tmp_path)
    assert found == list(range(len(found))), "all in order, none twice"
    safe = int(told[-1])
    assert safe <= len(found) <= safe + 7


async def again(path: Path) -> None:
    await (await opened(path)).close(1)


@pytest.mark.parametrize("name", NAMES)
async def test_every_cut_is_made_whole_up_to_its_last_line(tmp_path: Path, name: str) -> None:
    sink = await opened(tmp_path / name)
    for i in range(0, 20, 4):
        await sink.write(trades(4, i))
    [part] = tmp_path.iterdir()
    data, part_name = part.read_bytes(), part.name
    await sink.close(1)
    whole(tmp_path)[0].unlink()
    most = 0
    for size in range(0, len(data) + 1, 7):
        (tmp_path / part_name).write_bytes(data[:size])
        await again(tmp_path / name)
        found = ids(tmp_path)
        assert found == list(range(len(found)))
        assert not list(tmp_path.glob("*.part*"))
        most = max(most, len(found))
        for path in whole(tmp_path):
            path.unlink()
    assert most >= 16
