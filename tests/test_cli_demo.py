"""`streamer demo`: four venues, a simulation that may be killed, and nothing left behind."""

import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from streamer.cli.demo import VENUES
from tests.simulation import COMMAND, ROOT, alive, children, interrupt, run, started, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to find the processes")


def test_plain_prints_ticks_of_four_venues_each_line_naming_its_exchange() -> None:
    done = run("demo", "--plain", "--duration", "3")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert {line[1] for line in lines} == set(VENUES)
    for venue in VENUES:
        kinds = {line[3] for line in lines if line[1] == venue}
        assert {"trade", "book_snapshot", "book_delta"} <= kinds


def test_when_the_simulation_is_killed_books_go_stale_at_once_and_come_back() -> None:
    with started("demo", "--venues", "binance", "-q") as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        next(line for line in lines if "book_delta" in line)
        [sim] = children(process.pid)
        os.kill(sim, signal.SIGKILL)
        killed = time.monotonic()
        next(line for line in lines if "book_stale" in line)
        assert time.monotonic() - killed < 1.0
        next(line for line in lines if "book_snapshot" in line)
        next(line for line in lines if " trade " in line)
        [again] = children(process.pid)
        assert again != sim
        assert interrupt(process) == 130
        assert not alive(again)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_no_process_stays(sent: signal.Signals) -> None:
    with started("demo", "--plain", "--venues", "binance") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        [sim] = children(process.pid)
        code = interrupt(process, sent)
        assert code == {signal.SIGINT: 130, signal.SIGTERM: 0, signal.SIGKILL: -9}[sent]
        wait_for(lambda: not alive(sim), 3)
        assert process.stderr.read() == ""


def test_a_simulation_that_cannot_start_is_told_in_one_line(tmp_path: object) -> None:
    done = run("demo", "--plain", "--venues", "binanc")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("streamer: error: unknown exchange 'binanc'; did you mean binance")


def test_on_a_terminal_it_shows_live_ladders_and_what_is_stale() -> None:
    main, terminal = pty.openpty()
    process = subprocess.Popen(  # noqa: S603
        [*COMMAND, "demo", "--venues", "binance", "--duration", "8"], cwd=ROOT, stdin=terminal, stdout=terminal, stderr=subprocess.PIPE,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "50"},
    )  # fmt: skip
    os.close(terminal)
    try:
        screen = read_until(main, "binance:BTC/USDT LIVE")
        assert "trades" in screen
        [sim] = children(process.pid)
        os.kill(sim, signal.SIGKILL)
        read_until(main, "STALE")
        read_until(main, "started again 1 times")
        read_until(main, "binance:BTC/USDT LIVE")
        os.kill(process.pid, signal.SIGINT)
        assert read_until(main, "\x1b[?1049l"), "the terminal is given back as it was"
        assert process.wait(10) == 130
    finally:
        process.kill()
        process.wait()
        os.close(main)
        assert process.stderr is not None
        said = process.stderr.read().decode()
        process.stderr.close()
    assert "Traceback" not in said


def read_until(fd: int, words: str) -> str:
    """What the terminal was sent until these words come."""
    text, until = "", time.monotonic() + 10
    while words not in text:
        ready, _, _ = select.select([fd], [], [], max(0.0, until - time.monotonic()))
        assert ready, f"no {words!r} in 10 s; the end was {text[-500:]!r}"
        text += os.read(fd, 65536).decode(errors="replace")
    return text
