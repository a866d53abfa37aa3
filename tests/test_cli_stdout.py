"""Writing to stdout from a loop that must never wait for its reader."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

STUCK = """
import asyncio, os, sys
from streamer.cli.stdout import Stdout
async def main():
    os.set_blocking(1, sys.argv[1] != "nonblocking")
    out = Stdout()
    write = asyncio.ensure_future(out.write(b"x" * 10_000_000))
    turns = 0
    for _ in range(50):
        await asyncio.sleep(0.002)
        turns += 1
    print(turns, write.done(), file=sys.stderr, flush=True)
    if sys.argv[1] == "leave":
        out.close(timeout=0.1)
        return
    await write
    await out.write(b"end")
    out.close()
asyncio.run(main())
"""


def start(what: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", STUCK, what], cwd=ROOT, stdout=-1, stderr=-1)  # noqa: S603


@pytest.mark.parametrize("how", ["wait", "nonblocking"])
def test_the_loop_turns_while_the_reader_does_not_read_and_nothing_is_lost(how: str) -> None:
    with start(how) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline() == b"50 False\n"
        assert process.stdout.read() == b"x" * 10_000_000 + b"end"
        assert process.wait(10) == 0


def test_a_reader_who_never_reads_does_not_hold_up_the_end() -> None:
    with start("leave") as process:
        assert process.wait(10) == 0


def test_a_reader_who_went_away_is_told_to_the_writer() -> None:
    with start("wait") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stderr.readline()
        process.stdout.close()
        assert b"BrokenPipeError" in process.stderr.read()
