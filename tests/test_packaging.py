"""packaging/: what it says of streamer is true of streamer. Linters run where they are installed; packaging/README.md has all results."""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import Metric

from streamer.daemon.checks import CHECKS
from streamer.daemon.metrics import Metrics, Process, Supervision
from streamer.daemon.read import load
from streamer.daemon.service import Service
from tests import simulation

yaml = pytest.importorskip("yaml", reason="YAML files are not looked at: pip install pyyaml")

PACKAGING = Path(__file__).parent.parent / "packaging"
CONFIGS = sorted(PACKAGING.rglob("*.toml"))
YAMLS = sorted(p for p in PACKAGING.rglob("*.y*ml") if "kafka" not in p.relative_to(PACKAGING).parts)
DASHBOARD = json.loads((PACKAGING / "grafana/streamer.json").read_text())
RULES = yaml.safe_load((PACKAGING / "prometheus/streamer.rules.yml").read_text())["groups"][0]["rules"]
UNIT = (PACKAGING / "systemd/streamer.service").read_text()
FROM_SCRAPING = {"instance", "job"}
METRIC = re.compile(r"\b((?:streamer|process)_\w+|up)\b(?:\{([^}]*)\})?")
HARDENED = """
Type=notify
NotifyAccess=main
WatchdogSec=30
Restart=on-failure
RestartSec=2s
RestartSteps=6
RestartMaxDelaySec=60s
TimeoutStopSec=20
KillSignal=SIGTERM
RestartPreventExitStatus=2 78
DynamicUser=yes
StateDirectory=streamer
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProcSubset=pid
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
UMask=0077
LimitNOFILE=65536
LimitCORE=0
MemoryHigh=1500M
MemoryMax=2G
TasksMax=256
"""
"""What RELIABILITY.md section 4 wants of the unit."""


def run(*command: str | Path) -> str:
    """What a linter says when it finds nothing wrong; skips where it is not installed."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=50, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def expressions() -> Iterator[tuple[str, str, str]]:
    """(where, PromQL, legend) of the dashboard and the alerts."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]
    for note in DASHBOARD["annotations"]["list"]:
        yield note["name"], note["expr"], ""
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert asked is not None, variable["query"]
            yield variable["name"], f"sum by ({asked[2]}) ({asked[1]})", ""
    for rule in RULES:
        yield rule["alert"], rule["expr"], " ".join(rule["annotations"].values())


EXPRESSIONS = list(expressions())


@pytest.fixture
async def labels_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mapping[str, set[str]]:
    """The labels of every series that a daemon has, by name, as its own collectors say."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    metrics = Metrics(Service(load(PACKAGING / "streamer.example.toml", {}, CHECKS).config, {}), Supervision(), lambda: 1.0)
    found: dict[str, set[str]] = {"up": set()}
    for family in metrics.collect():
        found[series(family)] = set(family._labelnames)  # type: ignore[attr-defined]
    measures = metrics._service.measures
    for histogram in (measures.event_lag, measures.hub_latency, measures.write):
        found[f"{histogram._name}_bucket"] = {*histogram._labelnames, "le"}
    for line in metrics.text().decode().splitlines():
        if line.startswith("process_"):
            found[line.split()[0]] = set()
    return found


def series(family: Metric) -> str:
    """As it is called when it is scraped."""
    return f"{family.name}_total" if family.type == "counter" else family.name


async def test_every_metric_and_label_that_is_shown_or_alerted_on_exists(labels_of: Mapping[str, set[str]]) -> None:
    for where, expr, legend in EXPRESSIONS:
        used = [(m[1], re.findall(r"(\w+)\s*[=!]", m[2] or "")) for m in METRIC.finditer(expr)]
        assert used, where
        for name, matched in used:
            assert name in labels_of, f"{where}: there is no {name}"
            assert set(matched) <= labels_of[name] | FROM_SCRAPING, f"{where}: {name} has only {labels_of[name]}"
        carried = FROM_SCRAPING.union(*(labels_of[name] for name, _ in used))
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expr):
            assert set(group.split(", ")) <= carried, f"{where}: grouped by {group}, there is {carried}"
        kept = [set(group.split(", ")) for group in re.findall(r"\bby \(([^)]*)\)", expr)]
        shown = {x.removeprefix("$labels.") for x in re.findall(r"\{\{-? *(?:with )?(\$labels\.\w+|[a-z]\w*) *\}\}", legend)}
        assert shown - {"else", "end"} <= (set.intersection(*kept) if kept else carried), f"{where}: {legend}"


def test_the_process_is_measured_where_the_unit_hides_proc_stat(tmp_path: Path) -> None:
    """`ProcSubset=pid` leaves of /proc only the processes. The alert on memory rests on it."""
    (tmp_path / "self").symlink_to("/proc/self")
    found = {m.name: m.samples[0].value for m in Process(proc=str(tmp_path), registry=None).collect()}
    assert found["process_resident_memory_bytes"] > 1e6
    whole = {m.name: m.samples[0].value for m in Process(registry=None).collect()}
    assert found.keys() == whole.keys()
    assert abs(found["process_start_time_seconds"] - whole["process_start_time_seconds"]) < 2


async def test_every_metric_of_sinks_streams_and_gaps_is_on_the_dashboard(labels_of: Mapping[str, set[str]]) -> None:
    """A metric that nobody sees is found out when it is too late. Those that one has to ask for are not there."""
    shown = {m[1] for _, expr, _ in EXPRESSIONS for m in METRIC.finditer(expr)}
    asked_for = {"streamer_symbol_age_seconds", "up"}
    assert {n for n in labels_of if n.startswith("streamer_")} - shown <= asked_for


def test_the_expressions_are_promql(tmp_path: Path) -> None:
    variables = {"$__rate_interval": "1m", "$__range": "1h", "$instance": ".*", "$exchange": ".*", "$job": ".*"}
    rules = []
    for n, (_, expr, _) in enumerate(EXPRESSIONS):
        for name, value in variables.items():
            expr = expr.replace(name, value)
        assert "$" not in expr
        rules.append({"record": f"expression_{n}", "expr": expr})
    file = tmp_path / "dashboard.rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run("promtool", "check", "rules", file)


def test_the_alerts_fire_when_they_should() -> None:
    assert "SUCCESS" in run("promtool", "check", "rules", PACKAGING / "prometheus/streamer.rules.yml")
    assert "SUCCESS" in run("promtool", "test", "rules", PACKAGING / "prometheus/streamer.rules.test.yml")
    assert "SUCCESS" in run("promtool", "check", "config", "--syntax-only", PACKAGING / "prometheus/prometheus.yml")


def test_panels_do_not_lie_on_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]
    ids = [p["id"] for p in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(PACKAGING)))
def test_the_configurations_are_right(path: Path) -> None:
    result = simulation.run("run", "-c", str(path), "--check")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{path}: all right\n", "")


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: str(p.relative_to(PACKAGING)))
def test_yaml_says_no_key_twice(path: Path) -> None:
    """A parser takes the last of two, and says nothing."""

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        keys = [k.value for k, _ in node.value]
        assert len(keys) == len(set(keys)), f"{path}: line {node.start_mark.line + 1}: {keys}"
        loader.flatten_mapping(node)
        return {loader.construct_object(k): loader.construct_object(v, deep=True) for k, v in node.value}

    strict = type("Strict", (yaml.SafeLoader,), {})
    strict.add_constructor("tag:yaml.org,2002:map", mapping)  # type: ignore[attr-defined]
    assert [d for d in yaml.load_all(path.read_text(), strict) if d]


def test_the_unit_is_hardened() -> None:
    lines = UNIT.splitlines()
    assert [line for line in HARDENED.split("\n") if line not in lines] == []


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """Of this machine's version. `systemd-analyze` wants the program to be there; keys of a newer systemd are ignored with a message."""
    program = tmp_path / "streamer"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "streamer.service"
    unit.write_text(UNIT.replace("/opt/streamer/bin/streamer", str(program)))
    complaints = [x for x in run("systemd-analyze", "verify", "--man=no", unit).splitlines() if str(unit) in x or "streamer.service" in x]
    assert [x for x in complaints if "RestartSteps" not in x and "RestartMaxDelaySec" not in x] == []
    verdict = run("systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20", unit)  # 2.0; above it fails
    assert "Overall exposure level" in verdict


def seconds(text: str) -> float:
    """Of `20`, `20s`."""
    return float(text.removesuffix("s"))


def test_who_stops_it_waits_longer_than_it_drains() -> None:
    def needed(config: str) -> float:
        return float(load(PACKAGING / config, {}, CHECKS).config.shutdown.deadline_s) + 5

    stop = re.search(r"^TimeoutStopSec=(.*)$", UNIT, re.MULTILINE)
    assert stop is not None
    assert seconds(stop[1]) >= needed("streamer.example.toml")
    compose = yaml.safe_load((PACKAGING / "compose/compose.yaml").read_text())["services"]["streamer"]
    assert seconds(compose["stop_grace_period"]) >= needed("compose/streamer.toml")
    pod = yaml.safe_load((PACKAGING / "kubernetes/statefulset.yaml").read_text())["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= needed("kubernetes/streamer.toml")


def test_what_a_configuration_writes_to_is_what_is_writable() -> None:
    writable = ("/var/lib/streamer/", "/var/cache/streamer")
    mounts = yaml.safe_load((PACKAGING / "kubernetes/statefulset.yaml").read_text())["spec"]["template"]["spec"]["containers"][0]
    assert {m["mountPath"] for m in mounts["volumeMounts"] if not m.get("readOnly")} == {"/tmp", *(w.rstrip("/") for w in writable)}
    compose = yaml.safe_load((PACKAGING / "compose/compose.yaml").read_text())["services"]["streamer"]
    assert {v.split(":")[1] for v in compose["volumes"] if not v.endswith(":ro")} == {w.rstrip("/") for w in writable}
    for path in CONFIGS:
        document = tomllib.loads(path.read_text())
        written = [document["instruments"]["cache"], *(s["spool"]["path"] for s in document["sinks"].values() if "spool" in s)]
        assert all(w.startswith(writable) for w in written), path


def test_the_cluster_lets_it_reach_every_exchange() -> None:
    egress = yaml.safe_load((PACKAGING / "kubernetes/networkpolicy.yaml").read_text())["spec"]["egress"]
    allowed = {p["port"] for rule in egress for p in rule["ports"] if any("ipBlock" in to for to in rule["to"])}
    sources = (p.read_text() for p in (PACKAGING.parent / "feeds").glob("*.py"))
    named = {int(port) for text in sources for port in re.findall(r"(?:wss|https)://[\w.-]+:(\d+)", text)}
    assert named
    assert {443, *named} == allowed


def test_the_image_copies_what_is_there_and_runs_as_nobody() -> None:
    text = (PACKAGING / "Containerfile").read_text()
    copied = [w for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for w in line.split()[:-1]]
    assert copied
    assert all((PACKAGING.parent / w).exists() for w in copied)
    ignored = (PACKAGING / "Containerfile.dockerignore").read_text().split("\n")
    assert {f"!{w}" for w in copied} <= set(ignored)
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "10001:10001"
