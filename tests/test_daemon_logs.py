"""Logs: one line a record whatever is in it, never a secret, and nobody waits for who reads them. And what systemd hears."""

import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.daemon.logs import MOST_WAITING, Json, Logs, Repeats, Text
from streamer.daemon.notify import Notifier
from tests.daemons import SimInside, config, running
from tests.simulation import COMMAND, ROOT, wait_for

EVIL = "a\r\nb\x1b[31m\u202e\x00\ud800"


def record(text: str, *args: object, name: str = "streamer.venue", level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord(name, level, "", 0, text, args, None)
    made.__dict__.update(extra)
    return made


@pytest.mark.parametrize("formatter", [Json(), Text()])
def test_one_record_is_one_line(formatter: logging.Formatter) -> None:
    line = formatter.format(record("%s", EVIL, data={"more": EVIL}))
    assert line.isascii()
    assert line.isprintable()


def test_json_has_the_fields() -> None:
    line = json.loads(Json().format(record("x %d", 1, data={"url": "u"})))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["ts"])
    assert (line["level"], line["logger"], line["event"], line["url"]) == ("info", "streamer.venue", "x 1", "u")


def test_an_error_has_its_traceback_in_the_line() -> None:
    try:
        raise ValueError(EVIL)
    except ValueError as e:
        failed = record("it failed")
        failed.exc_info = (ValueError, e, e.__traceback__)
    assert "test_daemon_logs.py" in json.loads(Json().format(failed))["err"]
    assert Text().format(failed).isprintable()


def test_repeats_are_counted() -> None:
    repeats = Repeats()
    lines = [record("no connection to %s", host) for host in "aabaa"]
    assert [repeats.filter(r) for r in lines] == [True, False, True, False, False]
    later = record("no connection to %s", "a")
    later.created += 61
    assert repeats.filter(later)
    assert json.loads(Json().format(later))["repeated"] == 3
    own = [record("refused", name="streamer.daemon.supervisor") for _ in range(3)]
    assert all(repeats.filter(r) for r in own), "what we say of ourselves is so again"


class Stuck(io.StringIO):
    """Somebody who does not read."""

    def write(self, text: str) -> int:
        time.sleep(0.5)
        return super().write(text)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    ours, root = logging.getLogger("streamer"), logging.getLogger()
    before = ours.handlers[:], ours.propagate, ours.level, root.handlers[:], root.level, logging.raiseExceptions
    yield logging.getLogger("streamer.daemon.test")
    ours.handlers[:], ours.propagate, root.handlers[:], logging.raiseExceptions = before[0], before[1], before[3], before[5]
    ours.setLevel(before[2])
    root.setLevel(before[4])


def test_who_does_not_read_holds_up_nobody(logger: logging.Logger) -> None:
    logs = Logs(Stuck())
    logs.configure("json", "info")
    began = time.monotonic()
    for n in range(MOST_WAITING + 500):
        logger.info("%d", n)
    assert time.monotonic() - began < 2.0
    assert 0 < logs.lost <= 500
    logs.end()
    assert time.monotonic() - began < 4.0


def test_levels_and_libraries(logger: logging.Logger) -> None:
    out = io.StringIO()
    logs = Logs(out)
    logs.configure("text", "warning")
    logger.info("not told")
    logger.warning("told")
    logging.getLogger("aiohttp.server").info("not told")
    logging.getLogger("asyncio").error("a library's")
    logger.warning("a bad message: %d", "x")
    logs.end()
    assert [line.split(" ", 3)[1:] for line in out.getvalue().splitlines()] == [
        ["WARNING", "streamer.daemon.test", "told"],
        ["ERROR", "asyncio", "a library's"],
    ]


def test_a_full_disk_under_stderr_stops_nothing(tmp_path: Path) -> None:
    sim = SimInside("binance", "kraken").start()
    path = tmp_path / "streamer.toml"
    path.write_text(config(sim, tmp_path, "binance:BTC/USDT"))
    try:
        with open("/dev/full", "w") as full:
            process = subprocess.Popen([*COMMAND, "run", "-c", str(path)], cwd=ROOT, stderr=full)  # noqa: S603
        wait_for(lambda: any(p.stat().st_size > 10_000 for p in tmp_path.glob("*.part")), 15)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        sim.stop()


def test_a_secret_is_in_no_output(tmp_path: Path) -> None:
    """At level debug, with a broker that is not there, an order to reload, and the state dumped."""
    pytest.importorskip("confluent_kafka")
    canary = "S3CR3T-CANARY"
    kafka = '[sinks.kafka]\ntype = "kafka"\nservers = "127.0.0.1:9"\nsecurity = "sasl_plaintext"\n'
    kafka += 'sasl_user = "u"\nsasl_password_env = "CANARY"\n[shutdown]\ndeadline_s = 1.0\n'
    proxy = '[network]\nproxy_env = "PROXY"\n'
    sim = SimInside("binance", "kraken").start()
    text = config(sim, tmp_path, "binance:BTC/USDT", more=f'{kafka}{proxy}[log]\nlevel = "debug"\n').replace(
        '["files"]', '["files", "kafka"]'
    )
    environ = {"CANARY": canary, "PROXY": f"http://u:{canary}@127.0.0.1:9"}
    try:
        with running(tmp_path / "streamer.toml", text, environ) as daemon:
            wait_for(lambda: "kafka" in str(daemon.get("/readyz")[1]["reasons"]), 15)
            daemon.send(signal.SIGUSR1)
            wait_for(lambda: daemon.logged("^state of tasks"))
            daemon.reload(text + "[oops]\n")
            answers = [daemon.get(path)[1] for path in ("/metrics", "/streams", "/readyz", "/gaps", "/healthz")]
            daemon.end(within=30)
            everything = json.dumps([daemon.records, answers])
    finally:
        sim.stop()
    assert "oops" in everything
    assert canary not in everything


def test_notifier_speaks_as_systemd_expects(tmp_path: Path) -> None:
    for address in (str(tmp_path / "s"), f"@streamer-test-{os.getpid()}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
            there.bind("\0" + address[1:] if address.startswith("@") else address)
            there.settimeout(5)
            notifier = Notifier({"NOTIFY_SOCKET": address})
            notifier.send(READY=1, STATUS="4 of 4\nMAINPID=1")
            assert there.recv(1000) == b"READY=1\nSTATUS=4 of 4 MAINPID=1", "no line of its own out of what came from outside"
            notifier.close()
            notifier.send(READY=1)


def test_notifier_without_systemd_or_after_it_went(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    Notifier({}).send(READY=1)
    lost = Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")})
    lost.send(WATCHDOG=1)
    lost.send(WATCHDOG=1)
    assert [r.message for r in caplog.records] == ["systemd cannot be told WATCHDOG: No such file or directory"]
    lost.close()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_of_the_environment(environ: dict[str, str], seconds: float | None) -> None:
    assert Notifier(environ).watchdog_s == seconds
