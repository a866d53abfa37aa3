"""`streamer` and `streamer sim` as processes, for the tests of the command."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "streamer"]
PATIENCE_S = 20.0


def run(*args: str, **kwargs: object) -> "subprocess.CompletedProcess[str]":
    """The command, to its end."""
    return subprocess.run([*COMMAND, *args], cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE_S, **kwargs)  # type: ignore[call-overload,no-any-return]  # noqa: S603


@contextmanager
def started(*args: str) -> Iterator["subprocess.Popen[str]"]:
    """The command, while inside."""
    process = subprocess.Popen([*COMMAND, *args], cwd=ROOT, text=True, stdin=-1, stdout=-1, stderr=-1)  # noqa: S603
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def left_alone(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit code and what it complains of, when its reader goes away after a line."""
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    wait_for(lambda: process.poll() is not None, 10)
    process.stdout = None  # so that nobody reads what is closed
    return process.returncode, process.stderr.read()


@contextmanager
def simulated(*venues: str) -> Iterator[list[str]]:
    """`--url` options that lead to a running simulation of these venues."""
    with started("sim", "--until-stdin-closes", *venues) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in venues]
        yield [word for venue, url in lines for word in ("--url", f"{venue}={url}")]


def children(pid: int) -> Sequence[int]:
    """The processes that this one started."""
    return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Does it still run? A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(what: Callable[[], object], within: float = 5.0) -> None:
    """Wait until it is so."""
    until = time.monotonic() + within
    while not what():
        assert time.monotonic() < until, f"not so within {within} s"
        time.sleep(0.02)


def interrupt(process: "subprocess.Popen[str]", sent: signal.Signals = signal.SIGINT) -> int:
    """Send a signal; the exit code."""
    os.kill(process.pid, sent)
    return process.wait(PATIENCE_S)
