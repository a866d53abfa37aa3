"""`streamer run` against the simulation: what it answers over HTTP, reloads, signals."""

import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemons import Daemon, SimInside, before_the_end, config, lines, running
from tests.simulation import COMMAND, ROOT, run, wait_for


@pytest.fixture(scope="module")
def sim() -> Iterator[SimInside]:
    sim = SimInside("binance", "kraken", "okx").start()
    yield sim
    sim.stop()


@pytest.fixture
def own() -> Iterator[SimInside]:
    """One to which nobody else is connected."""
    sim = SimInside("binance", "kraken", "okx").start()
    yield sim
    sim.stop()


BTC = ("binance:BTC/USDT", "kraken:BTC/USD")
BOTH = {(s, k) for s in BTC for k in ("trade", "book")}


@pytest.fixture(scope="module")
def daemon(sim: SimInside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One for the tests that only look."""
    folder = tmp_path_factory.mktemp("daemon")
    with running(folder / "streamer.toml", config(sim, folder, *BTC, more="[metrics]\nsymbols = true\n")) as daemon:
        daemon.until_ready()
        yield daemon


def test_it_is_ready_and_alive(daemon: Daemon) -> None:
    assert daemon.get("/readyz") == (200, {"ready": True, "reasons": [], "streams": {"wanted": 4, "fresh": 4}})
    status, health = daemon.get("/healthz")
    assert (status, health["alive"]) == (200, True)
    assert daemon.get("/")[1]["paths"] == ["/metrics", "/healthz", "/readyz", "/streams", "/gaps"]


def test_streams_and_connections_are_listed(daemon: Daemon) -> None:
    wait_for(lambda: all(s["ticks"] for s in daemon.get("/streams")[1]["streams"]))
    shown = daemon.get("/streams")[1]
    assert {(s["stream"], s["kind"]) for s in shown["streams"]} == BOTH
    assert all(s["state"] == "live" and s["fresh"] and s["age_s"] < 5 and s["ails"] is None for s in shown["streams"])
    assert {c["id"] for c in shown["connections"]} == {"binance/spot#1", "kraken/spot#1"}
    assert {i for s in shown["streams"] for i in s["connections"]} == {"binance/spot#1", "kraken/spot#1"}
    assert (shown["not_listed"], shown["matching_nothing"]) == ({}, [])


def test_metrics_count_what_is_written(daemon: Daemon) -> None:
    first = daemon.metric("streamer_sink_confirmed_total", sink="files")
    wait_for(lambda: daemon.metric("streamer_sink_confirmed_total", sink="files") > first)
    wait_for(lambda: daemon.metric("streamer_events_total", exchange="kraken", kind="trade") > 0)
    assert daemon.metric("streamer_messages_total", exchange="binance") > 0
    assert daemon.metric("streamer_ready") == daemon.metric("streamer_sink_up") == 1
    assert daemon.metric("streamer_connections", state="up") == 2
    wait_for(lambda: daemon.metric("streamer_event_lag_seconds_count", exchange="binance") > 0)
    assert daemon.metric("streamer_symbol_age_seconds", symbol="BTC/USDT", kind="book") < 5
    assert daemon.metric("process_resident_memory_bytes") > 1e6
    text = daemon.get("/metrics")[1]
    for why in ("spool_full", "spool_error", "spool_corrupt", "too_large", "shutdown", "failed"):
        assert f'streamer_sink_lost_total{{reason="{why}",sink="files"}} 0.0' in text, "there before it happens, so that increase() sees it"
    assert "streamer_spool_max_bytes{" not in text, "it has no spool"


def test_labels_are_a_closed_set(daemon: Daemon) -> None:
    """No symbol, unless asked for: as many series as symbols would be too many."""
    text = daemon.get("/metrics")[1]
    named = set(re.findall(r"^(streamer_\w+)\{[^}]*symbol=", text, re.MULTILINE))
    assert named == {"streamer_symbol_age_seconds"}
    labels = {label for line in text.splitlines() if line.startswith("streamer_") for label in re.findall(r'(\w+)="', line)}
    assert labels <= {"exchange", "kind", "state", "reason", "sink", "cause", "recovered", "result", "version", "le", "symbol"}


def test_it_listens_on_loopback_only_and_takes_no_commands(daemon: Daemon) -> None:
    port = int(daemon.url.rpartition(":")[2])
    own = [row.split()[1] for row in Path("/proc/net/tcp").read_text().splitlines() if f":{port:04X} 00000000:0000 0A" in row]
    assert own == [f"0100007F:{port:04X}"]
    with socket.create_connection(("127.0.0.1", port), 5) as raw:
        raw.sendall(b"POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 405")


def test_logs_are_json_and_say_when_it_is_ready(daemon: Daemon) -> None:
    assert all({"ts", "level", "logger", "event"} <= set(r) for r in daemon.records)
    wait_for(lambda: daemon.logged("^ready: 4 of 4"))


def test_a_symbol_comes_and_goes_and_nobody_else_notices(own: SimInside, tmp_path: Path) -> None:
    """Proved by ids, reconnect counters, and by the simulation, at which no other websocket was opened."""
    with running(tmp_path / "streamer.toml", config(own, tmp_path, *BTC)) as daemon:
        daemon.until_ready()
        before, there = daemon.connections(), own.numbers()
        assert [len(there[v]) for v in own.venues] == [1, 1, 0]
        counted = daemon.metric("streamer_sink_accepted_total")
        daemon.reload(config(own, tmp_path, *BTC, "binance:ETH/USDT"))
        more = BOTH | {("binance:ETH/USDT", k) for k in ("trade", "book")}
        wait_for(lambda: daemon.streams() == more, 5)
        assert (daemon.connections(), own.numbers()) == (before, there)
        daemon.reload(config(own, tmp_path, "kraken:BTC/USD", "binance:ETH/USDT"))
        wait_for(lambda: daemon.streams() == more - {("binance:BTC/USDT", k) for k in ("trade", "book")}, 5)
        assert (daemon.connections(), own.numbers()) == (before, there)
        assert daemon.metric("streamer_config_reloads_total", result="ok") == 2
        assert daemon.metric("streamer_sink_accepted_total") > counted, "the sink went on counting: it was not made anew"
        assert daemon.end() == 0
    ticks = before_the_end(lines(tmp_path))
    kraken = [t for t in ticks if t["exchange"] == "kraken"]
    assert sorted((t["channel"], t["state"]) for t in kraken if t["type"] == "status") == [("book", "live"), ("trade", "live")]
    assert not [t for t in kraken if t["type"] in ("gap", "book_stale")]
    assert len([t for t in kraken if t["type"] == "book_snapshot"]) == 1, "the book of kraken was never begun anew"


def test_another_exchange_and_another_sink_join(own: SimInside, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with running(tmp_path / "streamer.toml", config(own, tmp_path, *BTC)) as daemon:
        daemon.until_ready()
        there = own.numbers()
        group = f'[[streams]]\nmatch = ["okx:BTC/USDT"]\nsinks = ["b"]\n[sinks.b]\ntype = "files"\npath = "{other}/t.ndjson"\n'
        daemon.reload(group + config(own, tmp_path, *BTC))
        wait_for(lambda: ("okx:BTC/USDT", "trade") in daemon.streams(), 5)
        assert there | {"okx": own.numbers()["okx"]} == own.numbers()
        wait_for(lambda: daemon.metric("streamer_sink_confirmed_total", sink="b") > 0)
        daemon.reload(config(own, tmp_path, *BTC))
        wait_for(lambda: daemon.streams() == BOTH)
        assert own.numbers() == there
        assert daemon.logged(r"sink b: \d+ accepted = \d+ confirmed \+ 0 spooled \+ 0 lost")
    assert {t["exchange"] for t in lines(other)} == {"okx"}


def test_a_changed_sink_is_made_anew_and_loses_nothing(own: SimInside, tmp_path: Path) -> None:
    """All trades of one exchange, in order and whole, over both folders."""
    with running(tmp_path / "streamer.toml", config(own, tmp_path / "one", BTC[1], kinds='["trade"]')) as daemon:
        daemon.until_ready()
        wait_for(lambda: daemon.metric("streamer_sink_confirmed_total") > 20)
        there = own.numbers()
        daemon.reload(config(own, tmp_path / "two", BTC[1], kinds='["trade"]'))
        wait_for(lambda: daemon.metric("streamer_sink_confirmed_total") > 20)
        assert own.numbers() == there
        assert daemon.end() == 0
    one, two = ([int(t["id"]) for t in lines(tmp_path / f) if t["type"] == "trade"] for f in ("one", "two"))
    assert one
    assert two
    assert one + two == list(range(one[0], one[0] + len(one) + len(two)))


def test_a_group_that_wants_more_kinds_misses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """The trades of a stream that moves from one queue to another, under load."""
    busy = SimInside("binance", "kraken").start("--rate", "500")
    try:
        with running(tmp_path / "streamer.toml", config(busy, tmp_path, BTC[0], kinds='["trade"]')) as daemon:
            daemon.until_ready()
            there = busy.numbers()
            for kinds in ('["trade", "quote"]', '["quote", "trade", "ticker"]', '["trade"]', '["trade", "book"]'):
                before = daemon.metric("streamer_sink_confirmed_total")
                wait_for(lambda before=before: daemon.metric("streamer_sink_confirmed_total") > before + 100)  # type: ignore[misc]
                daemon.reload(config(busy, tmp_path, BTC[0], kinds=kinds))
            wait_for(lambda: daemon.streams() == {(BTC[0], "trade"), (BTC[0], "book")})
            assert busy.numbers() == there
            assert daemon.end() == 0
    finally:
        busy.stop()
    ids = [int(t["id"]) for t in lines(tmp_path) if t["type"] == "trade"]
    assert len(ids) > 100
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_a_bad_configuration_is_refused_and_the_old_one_stays(own: SimInside, tmp_path: Path) -> None:
    with running(tmp_path / "streamer.toml", config(own, tmp_path, *BTC)) as daemon:
        daemon.until_ready()
        before, there = daemon.connections(), own.numbers()
        daemon.reload(config(own, tmp_path, "binanc:BTC/USDT") + "[loog]\n")
        assert [r["event"].partition("streamer.toml: ")[2] for r in daemon.logged("streamer.toml: ")] == [
            "streams[0].match[0]: there is no exchange 'binanc'; did you mean binance, binanceus, binanceusdm?",
            "loog: there is no such key; did you mean log?",
        ]
        daemon.reload("this is no TOML")
        assert daemon.metric("streamer_config_reloads_total", result="rejected") == 2
        assert (daemon.connections(), own.numbers(), daemon.streams()) == (before, there, BOTH)
        assert daemon.is_ready()
        daemon.reload(config(own, tmp_path, BTC[1]))
        wait_for(lambda: daemon.streams() == {s for s in BOTH if s[0] == BTC[1]})


def test_http_moves_when_it_is_told_to(sim: SimInside, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running(tmp_path / "streamer.toml", config(sim, tmp_path, *BTC)) as daemon:
        old = daemon.url
        daemon.until_ready()
        daemon.reload(config(sim, tmp_path, *BTC).replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        wait_for(lambda: daemon.url == f"http://127.0.0.1:{port}" != old)
        assert daemon.is_ready()
        daemon.reload(config(sim, tmp_path, *BTC).replace("127.0.0.1:0", f"localhost:{port}"))
        wait_for(lambda: len(daemon.logged("listening")) == 3)
        assert daemon.is_ready(), "the same port, by another name"
        taken = sim.port
        daemon.reload(config(sim, tmp_path, *BTC).replace("127.0.0.1:0", f"127.0.0.1:{taken}"))
        assert daemon.logged(f"http.listen: 127.0.0.1:{taken} cannot be listened on")
        assert daemon.is_ready(), "it listens where it did"


def test_an_address_that_is_taken_is_told(sim: SimInside, tmp_path: Path, daemon: Daemon) -> None:
    taken = daemon.url.removeprefix("http://")
    with running(tmp_path / "streamer.toml", config(sim, tmp_path, *BTC).replace("127.0.0.1:0", taken)) as second:
        assert second.process.wait(10) == 78
        assert second.logged(f"http.listen: {taken} cannot be listened on")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_drain_and_end(sim: SimInside, tmp_path: Path, sent: signal.Signals, code: int) -> None:
    with running(tmp_path / "streamer.toml", config(sim, tmp_path, *BTC)) as daemon:
        daemon.until_ready()
        began = time.monotonic()
        assert daemon.end(sent) == code
        assert time.monotonic() - began < 5
        last = daemon.logged(r"sink files: ")[-1]["event"]
    counts = re.search(r"(\d+) accepted = (\d+) confirmed \+ 0 spooled \+ 0 lost", last)
    assert counts is not None
    assert counts[1] == counts[2] == str(len(lines(tmp_path))), "what was accepted is in the files, and nothing else"
    assert not list(tmp_path.glob("*.part"))


def test_usr1_tells_the_state_of_everything(sim: SimInside, tmp_path: Path) -> None:
    with running(tmp_path / "streamer.toml", config(sim, tmp_path, *BTC, "kraken:NO/SUCH")) as daemon:
        wait_for(lambda: len(daemon.streams()) == 4, 10)
        wait_for(lambda: daemon.metric("streamer_sink_accepted_total") > 0)
        daemon.send(signal.SIGUSR1)
        wait_for(lambda: daemon.logged("^state of tasks"))
        assert daemon.logged("^state$")[0]["summary"].startswith("4 of 6 streams fresh; kraken:NO/SUCH trade is refused")
        assert {r["id"] for r in daemon.logged("^state of connection")} == {"binance/spot#1", "kraken/spot#1"}
        assert daemon.logged("^state of sink files")[0]["accepted"] > 0
        assert daemon.logged("^state of stream kraken:NO/SUCH book")[0]["ails"].startswith("is refused: kraken lists no 'NO/SUCH'")
        assert "sink files" in daemon.logged("^state of tasks")[0]["names"]
        assert daemon.process.poll() is None


def test_check_says_all_right_and_starts_nothing(sim: SimInside, tmp_path: Path) -> None:
    path = tmp_path / "streamer.toml"
    path.write_text(config(sim, tmp_path / "ticks", *BTC))
    done = run("run", "-c", str(path), "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}: all right\n", "")
    assert not (tmp_path / "ticks").exists()


def test_check_and_run_tell_every_error_at_once_with_78(tmp_path: Path) -> None:
    path = tmp_path / "streamer.toml"
    path.write_text(
        '[[streams]]\nmatch = ["binanc:BTC/USDT"]\nkinds = ["trades"]\nsinks = ["kafk"]\n[sinks.kafka]\ntype = "files"\nx = 1\n'
    )
    for args in (["--check"], []):
        done = run("run", "-c", str(path), *args)
        assert (done.returncode, done.stdout) == (78, "")
        errors = [line.removeprefix(f"streamer: error: {path}: ") for line in done.stderr.splitlines()]
        assert [e.partition(":")[0] for e in errors] == [
            "streams[0].kinds[0]", "streams[0].match[0]", "streams[0].sinks[0]", "sinks.kafka.x", "sinks.kafka.path",
        ]  # fmt: skip
    assert run("run", "-c", str(tmp_path / "none.toml")).stderr == f"streamer: error: {tmp_path}/none.toml: No such file or directory\n"


def test_stdout_is_a_sink_of_clean_ndjson(sim: SimInside, tmp_path: Path) -> None:
    path = tmp_path / "streamer.toml"
    path.write_text(config(sim, tmp_path, *BTC).replace('type = "files"', 'type = "stdout"').replace(f'path = "{tmp_path}/t.ndjson"', ""))
    with subprocess.Popen([*COMMAND, "run", "-c", str(path)], cwd=ROOT, text=True, stdout=-1, stderr=-1) as process:  # noqa: S603
        assert process.stdout is not None
        ticks = [json.loads(process.stdout.readline()) for _ in range(50)]
        process.stdout.close()  # nobody reads any more: there is nothing left to do
        assert process.wait(10) == 0
        process.stdout = None
    assert {t["exchange"] for t in ticks} == {"binance", "kraken"}
