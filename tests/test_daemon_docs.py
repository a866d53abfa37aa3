"""What the documents say of the daemon is so: the example is right, the file of keys is current, the commands to copy run."""

import os
import re
import shutil
import socket
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamer.daemon.checks import CHECKS
from streamer.daemon.config import Config, Table
from streamer.daemon.read import load
from tests import genconfig
from tests.daemons import Daemon, SimInside, config, running
from tests.simulation import COMMAND, ROOT, run, wait_for

DAEMON = (ROOT / "docs" / "daemon.md").read_text()
EXAMPLE = ROOT / "packaging" / "streamer.example.toml"


def test_the_page_of_keys_is_current() -> None:
    assert genconfig.PAGE.read_text() == genconfig.text(), "run `python -m tests.genconfig`, read the difference, commit"


def test_every_table_is_on_the_page() -> None:
    inner = {t for f in msgspec.structs.fields(Config) for t in [type(f.default)] if isinstance(f.default, Table)}
    assert inner <= set(genconfig.TABLES.values())
    assert set(CHECKS) <= set(genconfig.TABLES.values())


def test_the_example_is_right_and_uses_what_there_is(tmp_path: Path) -> None:
    pytest.importorskip("confluent_kafka", reason="the example has a Kafka sink")
    loaded = load(EXAMPLE, {}, CHECKS)
    assert loaded.warnings == []
    assert {s.type for s in loaded.config.sinks.values()} == {"kafka", "files"}
    assert run("run", "-c", str(EXAMPLE), "--check").returncode == 0
    for line in re.findall(r"^# (\w+ = .*)$", EXAMPLE.read_text(), re.MULTILINE):
        assert tomllib.loads(line), "what is commented out is TOML too"


def test_what_the_example_comments_out_is_right_too(tmp_path: Path) -> None:
    pytest.importorskip("confluent_kafka", reason="the example has a Kafka sink")
    secret = tmp_path / "kafka_password"
    secret.write_text("S3CR3T-CANARY\n")
    secret.chmod(0o600)
    text = re.sub(r"^# (\w+ = )", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)
    path = tmp_path / "streamer.toml"
    path.write_text(text.replace("/run/credentials/streamer.service/kafka_password", str(secret)))
    found: Any = load(path, {}, CHECKS).config
    assert found.sinks["kafka"].options.sasl_password == "S3CR3T-CANARY"
    assert "CANARY" not in repr(found)


def test_every_signal_path_and_metric_is_documented(tmp_path: Path) -> None:
    sim = SimInside("binance", "kraken").start()
    try:
        with running(
            tmp_path / "s.toml", config(sim, tmp_path, "binance:BTC/USDT", "kraken:BTC/USD", more="[metrics]\nsymbols = true\n")
        ) as d:
            d.until_ready()
            wait_for(lambda: d.metric("streamer_event_lag_seconds_count") > 0)
            shown = set(re.findall(r"^# TYPE (streamer_\w+)", d.get("/metrics")[1], re.MULTILINE))
            labels = measured_labels(d)
            paths = d.get("/")[1]["paths"]
    finally:
        sim.stop()
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in DAEMON.splitlines() if line.startswith("| `streamer_")]
    told = {name: set(of.split(", ")) - {""} for names, of in rows for name in re.findall(r"`(\w+)`", names)}
    assert shown == set(told)
    assert {n: of for n, of in labels.items() if of != told[n]} == {}
    assert all(f"`{path}`" in DAEMON for path in paths)
    assert all(f"SIG{name}" in DAEMON for name in ("TERM", "INT", "HUP", "USR1"))


def measured_labels(daemon: Daemon) -> dict[str, set[str]]:
    """The labels of every metric that has series."""
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(streamer_\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? \S+$", daemon.get("/metrics")[1], re.MULTILINE):
        found.setdefault(name, set()).update(set(re.findall(r'(\w+)="', labels)) - {"le"})
    return found


def test_alert_rules_and_dashboards_use_metrics_that_there_are() -> None:
    told = set(re.findall(r"`(streamer_\w+)`", DAEMON))
    known = told | {f"{name}_{part}" for name in told for part in ("bucket", "sum", "count")}
    rules = [p for p in (ROOT / "packaging").rglob("*.y*ml") if "rules" in p.name]
    files = rules + [p for p in (ROOT / "packaging").rglob("*.json") if "grafana" in p.parts]
    used = {name for p in files for name in re.findall(r"\bstreamer_[a-z_]+", p.read_text())}
    assert {u for u in used if u.endswith(("_total", "_seconds", "_bytes", "_ready", "_up", "_fresh", "_wanted"))} <= known


def test_the_commands_to_copy_work(tmp_path: Path) -> None:
    """Every line of the shell blocks, with another port."""
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    blocks = re.findall(r"```(sh|toml)\n(.*?)```", DAEMON, re.DOTALL)
    sims, toml, daemon = (text.strip() for _, text in blocks[:3])
    ports = {"9000": free_port(), "9464": free_port()}
    here = {
        name: re.sub(r"\b(9000|9464)\b", lambda m: ports[m[1]], text) for name, text in (("sim", sims), ("toml", toml), ("run", daemon))
    }
    (tmp_path / "streamer.toml").write_text(here["toml"] + f'\n[http]\nlisten = "127.0.0.1:{ports["9464"]}"\n[instruments]\ncache = ""\n')
    check, start, *curls = here["run"].splitlines()
    running_: list[subprocess.Popen[bytes]] = []
    try:
        running_.append(begin(here["sim"], tmp_path))
        assert subprocess.run(words(check), cwd=tmp_path, env=env(), capture_output=True, check=False, timeout=20).returncode == 0  # noqa: S603
        running_.append(begin(start, tmp_path))
        for line in curls:
            wait_for(lambda line=line: answer(line).startswith((b'{"ready":true', b"# HELP")), 15)  # type: ignore[misc]
        running_[1].terminate()
        assert running_[1].wait(10) == 0
    finally:
        for process in running_:
            process.kill()
            process.wait()
    assert list((tmp_path / "ticks").glob("ticks-*.ndjson"))


def words(line: str) -> list[str]:
    """`streamer` is the one of these sources."""
    first, *rest = line.split()
    return [*COMMAND, *rest] if first == "streamer" else [first, *rest]


def env() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def begin(line: str, folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(words(line), cwd=folder, env=env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603


def answer(line: str) -> bytes:
    return subprocess.run([*words(line), "-s"], capture_output=True, check=False, timeout=10).stdout  # noqa: S603


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])
