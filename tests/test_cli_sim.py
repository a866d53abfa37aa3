"""`streamer sim`: it says where it listens, and ends when it should."""

import signal
import socket
from urllib.parse import urlsplit

import pytest

from tests.simulation import interrupt, run, started


def test_it_prints_each_venue_with_its_url_and_listens_there() -> None:
    with started("sim", "binance", "binanceus") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(2)]
        assert [venue for venue, _ in lines] == ["binance", "binanceus"]
        for venue, url in lines:
            parts = urlsplit(url)
            assert (parts.scheme, parts.hostname, parts.path) == ("http", "127.0.0.1", f"/{venue}")
            socket.create_connection((parts.hostname or "", parts.port or 0), 5).close()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals_end_it_quietly(sent: signal.Signals, code: int) -> None:
    with started("sim", "binance") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        assert interrupt(process, sent) == code
        assert process.stderr.read() == ""


def test_it_ends_with_its_stdin_and_its_port_can_be_taken_again() -> None:
    port = "0"
    for _ in range(2):
        with started("sim", "binance", "--port", port, "--until-stdin-closes") as process:
            assert process.stdin is not None
            assert process.stdout is not None
            url = process.stdout.readline().split()[1]
            assert port in ("0", str(urlsplit(url).port))
            port = str(urlsplit(url).port)
            process.stdin.close()
            process.stdin = None
            assert process.wait(5) == 0


def test_an_unknown_venue_is_refused() -> None:
    done = run("sim", "binanc")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("streamer: error: ")
    assert "did you mean binance" in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--fault", "skip_delta"], "'skip_delta' is not like VENUE=FAULT"),
        (["--fault", "binance=explode"], "no fault is called 'explode'; there are skip_delta, bad_checksum and mute:KIND"),
        (["--fault", "kraken=skip_delta"], "given for kraken, which is not served here"),
        (["--recording", "binance=nosuch.jsonl"], "nosuch.jsonl: No such file"),
    ],
)
def test_what_a_venue_shall_do_is_given_as_venue_and_what(args: list[str], words: str) -> None:
    done = run("sim", "binance", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("streamer: error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
