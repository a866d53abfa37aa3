"""docs/kafka.md can be copied: every command in it is run, on the real Kafka of CI or else on librdkafka's mock cluster."""

import ast
import inspect
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka.admin import AdminClient

from streamer.codecs import VERSION
from streamer.daemon.checks import CHECKS
from streamer.daemon.read import load
from streamer.kafka import KafkaStreamer, consume
from streamer.sinks.kafka_client import reason_of
from streamer.sinks.kafka_config import KEPT, KafkaOptions, Link
from tests.kafka_mock import MockKafka
from tests.kafka_real import SERVERS
from tests.simulation import COMMAND, ROOT, wait_for

PAGE = (ROOT / "docs" / "kafka.md").read_text()
BLOCKS = re.findall(r"```(sh|toml|python)\n(.*?)```", PAGE, re.DOTALL)
BROKER, HTTP = "127.0.0.1:19092", "127.0.0.1:9464"


@pytest.fixture
def servers() -> Iterator[str]:
    if SERVERS:
        yield SERVERS
        return
    with MockKafka(1) as kafka:
        yield kafka.servers


def free_port() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def test_what_is_shown_is_all_that_is_shown() -> None:
    """The commands below are those of the page: one that is added there must be run here."""
    commands = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    broker = "packaging/kafka/start-kafka.sh"
    assert [c.split()[0] for c in commands] == [broker, *["streamer"] * 3, *["kcat"] * 3, "python", *[broker] * 3]
    verbs = [c.split()[1] for c in commands if c.startswith(broker)]
    assert verbs == ["start", "kill", "start", "stop"]  # tests/kafka_real.py has these run by other tests
    assert set(verbs) <= set(re.findall(r"^    (\w+)\) ", (ROOT / broker).read_text(), re.MULTILINE))


@pytest.mark.timeout(90)
def test_the_commands_to_copy_work(servers: str, tmp_path: Path) -> None:
    prefix = f"d{os.getpid()}"  # topics of this test only
    ports = {"9000": free_port(), "9464": free_port()}

    def here(text: str) -> str:
        text = text.replace(BROKER, servers).replace("md.", f"{prefix}.")
        return re.sub(r"127\.0\.0\.1:(9000|9464)\b|--port (9000)", lambda m: m[0].replace(m[1] or m[2], ports[m[1] or m[2]]), text)

    sh = [here(text).strip().splitlines() for kind, text in BLOCKS if kind == "sh"]
    toml, python = (next(text for kind, text in BLOCKS if kind == which) for which in ("toml", "python"))
    config = here(toml).replace('type = "kafka"', f'type = "kafka"\ntopic = "{prefix}.{{kind}}"')
    (tmp_path / "streamer.toml").write_text(f'{config}\n[http]\nlisten = "127.0.0.1:{ports["9464"]}"\n[instruments]\ncache = ""\n')
    strategy = here(python).replace("latest_books=", f'topic="{prefix}.{{kind}}", latest_books=')
    (tmp_path / "strategy.py").write_text(strategy)
    _, [sim], [check, run], kcats, [read], *_ = sh
    running: list[subprocess.Popen[bytes]] = []
    try:
        running.append(begin(sim, tmp_path))
        wait_for(lambda: answers(ports["9000"]), 15)
        assert subprocess.run(words(check), cwd=tmp_path, env=env(), capture_output=True, check=False, timeout=20).returncode == 0  # noqa: S603
        running.append(begin(run, tmp_path))
        wait_for(lambda: {f"{prefix}.{kind}" for kind in ("trade", "book", "book.latest")} <= topics(servers), 20)
        strategy_at_work = begin(read, tmp_path)
        running.append(strategy_at_work)
        lines = [strategy_at_work.stdout.readline().decode() for _ in range(5)]  # type: ignore[union-attr]
        assert all(re.match(r"(binance|kraken) (buy|sell) [\d.e-]+ at [\d.]+ book \([\d.]+, [\d.e-]+\) \(", x) for x in lines), lines
        if shutil.which("kcat") is not None:
            listed, trades, books = (subprocess.run(words(k), check=True, capture_output=True, text=True, timeout=20).stdout for k in kcats)  # noqa: S603
            assert f'topic "{prefix}.book.latest"' in listed
            assert re.match(
                rf"(binance:BTC/USDT|kraken:BTC/USD) mid=[0-9a-f]+-[0-9a-f]+,schema=json/(trade|status)/{VERSION},exchange=", trades
            )
            assert [msgspec.json.decode(x.split(" ", 3)[3])["exchange"] in ("binance", "kraken") for x in books.splitlines()] == [True] * 3
        running[1].terminate()
        assert running[1].wait(20) == 0
    finally:
        for process in running:
            process.kill()
            process.communicate()


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed (apt install kcat)")
def test_kcat_is_here() -> None:
    """So that a run says whether a reader that nobody here wrote was tried."""
    assert "kcat" in subprocess.run(["kcat", "-V"], check=True, capture_output=True, text=True).stdout  # noqa: S607


def words(line: str) -> list[str]:
    found = shlex.split(line)
    if found[0] == "streamer":
        return [*COMMAND, *found[1:]]
    return [sys.executable, *found[1:]] if found[0] == "python" else found


def env() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def begin(line: str, folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(words(line), cwd=folder, env=env(), stdout=-1, stderr=subprocess.DEVNULL)  # noqa: S603


def topics(servers: str) -> set[str]:
    client = AdminClient({"bootstrap.servers": servers})
    return set(client.list_topics(timeout=5).topics)


def answers(port: str) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", int(port))) == 0


def test_the_way_back_is_documented() -> None:
    """Every method and option is in docs/api.md, and what is called in the documents is there."""
    api = (ROOT / "docs" / "api.md").read_text()
    section = api.partition("## `streamer.kafka.consume(...)`")[2].partition("\n## ")[0]
    known = set(re.findall(r"`(?:s\.|await s\.)?(\w+)", section))
    options = {*inspect.signature(consume).parameters, *(f.name for f in msgspec.structs.fields(Link))} - {"link"}
    methods = {name for name in vars(KafkaStreamer) if not name.startswith("_")}
    assert (options | methods) - known == set()
    for page in (api, PAGE, (ROOT / "README.md").read_text()):
        calls = [c for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL) for c in ast.walk(ast.parse(block))]
        used = {k.arg for c in calls if isinstance(c, ast.Call) and ast.unparse(c.func) == "consume" for k in c.keywords}
        assert used
        assert used <= options


def test_the_configuration_in_the_readme_is_right(tmp_path: Path) -> None:
    [block] = re.findall(r"^```toml\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "streamer.toml").write_text(block)
    assert set(load(tmp_path / "streamer.toml", {}, CHECKS).config.sinks) == {"kafka"}


def test_parameters_reasons_and_settings_are_those_of_the_code() -> None:
    rows = set(re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE))
    assert set(inspect.signature(consume).parameters) - {"servers", "link"} <= rows
    assert set(re.findall(r"\(`(unauthorized|no_topic|too_large)`[,)]", PAGE)) == {"unauthorized", "no_topic", "too_large"}
    assert callable(reason_of)
    told: Any = {"acks": "all", "enable.gapless.guarantee": True, "enable.idempotence": True, "message.timeout.ms": 0}
    assert {k: KEPT[k] for k in told} == told
    options = {f.name for f in msgspec.structs.fields(KafkaOptions)}
    for word in (
        "create_topics",
        "partitions",
        "latest_books",
        "schema_registry",
        "max_message_bytes",
        "timeout_s",
        "properties",
        "sasl_user",
    ):
        assert word in options
        assert f"`{word}" in PAGE or f"{word} =" in PAGE
