"""`streamer record` and `streamer replay`, against the simulation: what was recorded comes back, the same every time."""

import gzip
import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation import interrupt, left_alone, run, simulated, started, wait_for


@pytest.fixture(scope="module")
def binance() -> Iterator[list[str]]:
    with simulated("binance") as urls:
        yield urls


@pytest.fixture(scope="module")
def recording(binance: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "btc.jsonl.gz"
    done = run("record", "binance:BTC/USDT", "--kinds", "trade,book", "--limit", "80", "-o", str(path), *binance)
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith(f" are in {path}\n")
    assert done.stdout == ""
    return path


def test_a_recording_holds_frames_commands_and_instruments(recording: Path) -> None:
    with gzip.open(recording, "rt") as f:
        lines = [json.loads(line) for line in f]
    assert {line["dir"] for line in lines} == {"in", "out", "http"}
    assert {line["exchange"] for line in lines} == {"binance"}
    assert any("exchangeInfo" in line["url"] for line in lines if line["dir"] == "http")


def test_a_replay_gives_the_same_bytes_every_time(recording: Path) -> None:
    first, second = run("replay", str(recording)), run("replay", str(recording))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    types = Counter(json.loads(line)["type"] for line in first.stdout.splitlines())
    assert types["trade"] > 3
    assert types["book_snapshot"] >= 1
    assert types["book_delta"] > 3
    assert {json.loads(line)["symbol"] for line in first.stdout.splitlines()} == {"BTC/USDT"}
    assert "bad frames: none" in first.stderr
    assert "frames: " in first.stderr


def test_replay_as_csv_has_the_columns_of_all_kinds(recording: Path) -> None:
    done = run("replay", str(recording), "--format", "csv", "-q")
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith("type,exchange,symbol,ts_event,ts_recv,")
    assert {line.split(",")[0] for line in lines[1:]} == {"trade", "book_snapshot", "book_delta"}


def test_replay_into_a_closed_pipe_is_silent(recording: Path) -> None:
    with started("replay", str(recording), "--speed", "1", "-q") as process:
        assert left_alone(process) == (0, "")


def test_ctrl_c_leaves_a_whole_recording(binance: list[str], tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    with started("record", "binance:BTC/USDT", "-o", str(path), "-q", *binance) as process:
        assert process.stderr is not None
        wait_for(lambda: path.exists() and b'"dir":"in"' in path.read_bytes(), 10)
        assert interrupt(process, signal.SIGINT) == 130
        assert process.stderr.read() == ""
    lines = path.read_text()
    assert lines.endswith("\n")
    assert all(json.loads(line) for line in lines.splitlines())


def test_a_file_that_cannot_be_written_is_named(binance: list[str], tmp_path: Path) -> None:
    path = tmp_path / "no" / "such" / "folder.jsonl"
    done = run("record", "binance:BTC/USDT", "-o", str(path), *binance)
    assert done.returncode == 1
    assert done.stderr == f"streamer: error: {path}: No such file or directory\n"
