"""`/readyz` and what systemd is told, while streams stall and recover, exchanges go and come, and new symbols are listed."""

import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemons import Daemon, Sim, Systemd, config, lines, running, simulation
from tests.simulation import wait_for

BTC = ("binance:BTC/USDT", "kraken:BTC/USD")


@pytest.fixture
def sim() -> Iterator[Sim]:
    with simulation("binance", "kraken", options=("--rate", "50")) as sim:
        yield sim


def reasons(daemon: Daemon) -> str:
    return "; ".join(daemon.get("/readyz")[1]["reasons"])


def seconds(what: Callable[[], object], within: float) -> float:
    began = time.monotonic()
    wait_for(what, within)
    return time.monotonic() - began


def habit(daemon: Daemon, ticks: int = 40) -> None:
    """Wait until every stream has spoken often and for long enough to have a habit."""
    wait_for(lambda: all(s["ticks"] > ticks for s in daemon.get("/streams")[1]["streams"]), 15)
    time.sleep(1.0)


def test_red_within_seconds_of_a_stall_and_green_after(sim: Sim, tmp_path: Path) -> None:
    """The exchange stands still with all sockets open, as behind a broken link: nothing is closed, nothing comes."""
    with running(tmp_path / "streamer.toml", config(sim, tmp_path, *BTC)) as daemon:
        daemon.until_ready()
        habit(daemon)
        sim.send(signal.SIGSTOP)
        try:
            assert seconds(lambda: not daemon.is_ready(), 10) < 6
            wait_for(lambda: len(re.findall(r"is silent for \d+ s", reasons(daemon))) == 4, 5)
            assert daemon.metric("streamer_ready") == 0
            assert daemon.metric("streamer_stream_age_seconds", exchange="kraken", kind="book") > 1
            assert daemon.get("/healthz")[0] == 200, "the process is well: nobody should kill it"
            wait_for(lambda: daemon.logged("^not ready: [0-3] of 4"))
        finally:
            sim.send(signal.SIGCONT)
        assert seconds(daemon.is_ready, 10) < 5


def test_one_muted_channel_is_red_and_names_itself(sim: Sim, tmp_path: Path) -> None:
    """The exchange comes back without trades: connected, subscribed, its books live, and yet not whole."""
    with running(tmp_path / "streamer.toml", config(sim, tmp_path, *BTC)) as daemon:
        daemon.until_ready()
        habit(daemon)
        sim.stop()
        sim.start("--rate", "50", "--fault", "kraken=mute:trade")
        wait_for(lambda: re.fullmatch(r"kraken:BTC/USD trade is silent for \d+ s", reasons(daemon)), 20)
        assert daemon.get("/readyz")[0] == 503
        assert daemon.metric("streamer_streams_fresh") == 3
        assert daemon.metric("streamer_reconnects_total", exchange="kraken") > 0
        gaps = daemon.get("/gaps")[1]
        assert {(g["exchange"], g["channel"], g["cause"]) for g in gaps["ended"]} >= {(v, "book", "disconnect") for v in sim.venues}
        assert all(g["ts_to"] > g["ts_from"] for g in gaps["ended"])
        assert daemon.metric("streamer_gaps_total", cause="disconnect", kind="book") >= 2
        assert daemon.metric("streamer_gap_seconds_total", kind="book") > 0
        sim.stop()
        sim.start()
        daemon.until_ready()


def test_a_share_may_be_enough(sim: Sim, tmp_path: Path) -> None:
    text = config(sim, tmp_path, "kraken:BTC/USD", "kraken:NO/SUCH").replace("stale_s = 1.0", "stale_s = 1.0\nshare = 0.5")
    with running(tmp_path / "streamer.toml", text) as daemon:
        daemon.until_ready()
        assert daemon.get("/readyz")[1]["streams"] == {"wanted": 4, "fresh": 2}
        assert "kraken:NO/SUCH trade is refused: kraken lists no 'NO/SUCH'" in reasons(daemon)
        daemon.reload(text.replace("share = 0.5", "share = 0.9"))
        wait_for(lambda: not daemon.is_ready())


def test_a_sink_that_does_not_accept_is_red_and_the_spool_fills(sim: Sim, tmp_path: Path) -> None:
    """Its folder is a file."""
    (tmp_path / "ticks").write_text("")
    spool = f'[sinks.files.spool]\npath = "{tmp_path}/spool"\n'
    with running(tmp_path / "streamer.toml", config(sim, tmp_path / "ticks", *BTC, more=spool)) as daemon:
        wait_for(lambda: len(daemon.streams()) == 4, 10)
        wait_for(lambda: "sink files is down" in reasons(daemon))
        assert daemon.get("/readyz")[0] == 503
        wait_for(lambda: daemon.metric("streamer_spool_ticks", sink="files") > 0)
        assert daemon.metric("streamer_sink_up", sink="files") == 0
        assert 0 < daemon.metric("streamer_spool_bytes", sink="files") < daemon.metric("streamer_spool_max_bytes", sink="files") == 1 << 30
        (tmp_path / "ticks").unlink()
        daemon.until_ready(40)
        assert daemon.end() == 0
    ids = [int(t["id"]) for t in lines(tmp_path / "ticks") if t["type"] == "trade" and t["exchange"] == "kraken"]
    assert ids == list(range(ids[0], ids[0] + len(ids))), "all of them, in order, those of the spool first"


def test_an_exchange_that_is_not_there_is_red_and_the_others_run(sim: Sim, tmp_path: Path) -> None:
    text = config(sim, tmp_path, *BTC).replace(f"{sim.port}/binance", "9/binance")
    with running(tmp_path / "streamer.toml", text) as daemon:
        wait_for(lambda: ("kraken:BTC/USD", "book") in daemon.streams(), 10)
        assert daemon.get("/readyz")[0] == 503
        assert re.search("binance: .*127.0.0.1:9", reasons(daemon))


def spoken(daemon: Daemon) -> set[str]:
    """The streams that have brought something."""
    return {s["stream"] for s in daemon.get("/streams")[1]["streams"] if s["ticks"]}


def test_new_listings_join_and_delisted_ones_leave(sim: Sim, tmp_path: Path) -> None:
    """The exchange lists three more pairs, then one less. SIGHUP reads its list at once; else it is done by itself."""
    with running(tmp_path / "streamer.toml", config(sim, tmp_path, "binance:S*/USDT", "kraken:BTC/USD", kinds='["trade"]')) as daemon:
        daemon.until_ready()
        assert {s for s, _ in daemon.streams()} == {"binance:SOL/USDT", "kraken:BTC/USD"}
        for symbols in (3, 2):
            sim.stop()
            sim.start("--symbols", str(symbols))
            wait_for(lambda: {"binance:SOL/USDT", "kraken:BTC/USD"} <= {s for s, _ in daemon.streams()}, 20)
            daemon.send(signal.SIGHUP)
            new = {f"binance:S{n:04}/USDT" for n in range(symbols)}
            wait_for(lambda new=new: spoken(daemon) == {"binance:SOL/USDT", "kraken:BTC/USD"} | new, 10)  # type: ignore[misc]
        daemon.until_ready()
        assert daemon.get("/readyz")[1]["streams"]["wanted"] == 4, "what left is not missed"
        assert daemon.end() == 0
    assert {t["symbol"] for t in lines(tmp_path) if t["type"] == "trade"} >= {f"S{n:04}/USDT" for n in range(3)}


def test_systemd_is_told_ready_only_after_data(tmp_path: Path) -> None:
    sim = Sim("binance", "kraken").start()
    sim.stop()  # its port is known now, and nobody listens there
    systemd = Systemd(tmp_path / "notify")
    with running(tmp_path / "streamer.toml", config(sim, tmp_path, *BTC), systemd.environ) as daemon:
        systemd.wait("EXTEND_TIMEOUT_USEC")
        time.sleep(1.0)
        assert systemd.times("READY") == []
        assert re.match("starting: 0 of 0 streams fresh; (sink files is opening|binance: )", systemd.values("STATUS")[0])
        sim.start()
        try:
            systemd.wait("READY", 30)
            status, shown = daemon.get("/streams")
            assert sum(s["ticks"] for s in shown["streams"]) > 0, status
            wait_for(lambda: "4 of 4 streams fresh" in systemd.values("STATUS"), 15)
            assert daemon.end() == 0
        finally:
            sim.stop()
    assert systemd.values("STOPPING") == ["1"]
    systemd.close()


def test_systemd_is_told_of_reloads(sim: Sim, tmp_path: Path) -> None:
    systemd = Systemd(tmp_path / "notify")
    with running(tmp_path / "streamer.toml", config(sim, tmp_path, *BTC), systemd.environ) as daemon:
        systemd.wait("READY")
        daemon.reload(config(sim, tmp_path, *BTC, "binance:ETH/USDT"))
        systemd.wait("READY", more_than=1)
        told = [f for _, f in systemd.heard if "RELOADING" in f or "READY" in f]
        assert [("RELOADING" in f, f["STATUS"]) for f in told[1:]] == [(True, "reloading"), (False, "configuration reloaded")]
        assert abs(int(told[1]["MONOTONIC_USEC"]) / 1e6 - time.monotonic()) < 10
        daemon.reload("[oops]")
        systemd.wait("READY", more_than=2)
        assert systemd.values("STATUS")[-1].startswith("configuration refused, the old one stays: ")
    systemd.close()


def beats(systemd: Systemd, since: float) -> int:
    return len([at for at in systemd.times("WATCHDOG") if at > since])


def test_the_watchdog_is_withheld_while_no_data_comes(sim: Sim, tmp_path: Path) -> None:
    systemd = Systemd(tmp_path / "notify")
    text = config(sim, tmp_path, *BTC, more="[watchdog]\ndata_s = 1.0\n")
    with running(tmp_path / "streamer.toml", text, systemd.environ | {"WATCHDOG_USEC": "1500000"}) as daemon:
        systemd.wait("READY")
        habit(daemon)
        assert beats(systemd, time.monotonic() - 2) >= 2
        sim.send(signal.SIGSTOP)
        wait_for(lambda: not beats(systemd, time.monotonic() - 2.5), 15)  # the silence is longer than usual by now
        since = time.monotonic()
        time.sleep(1.5)
        assert beats(systemd, since) == 0
        assert daemon.get("/healthz")[0] == 200
        sim.send(signal.SIGCONT)
        wait_for(lambda: beats(systemd, since) > 1)
    systemd.close()


BLOCKING = '''
import pathlib, time
class Blocking:
    """A sink with a fault: it holds up the event loop while a file is there."""
    name = "blocking"
    def __init__(self, trigger): self.trigger = pathlib.Path(trigger)
    async def open(self): pass
    async def write(self, ticks):
        while self.trigger.exists():
            time.sleep(0.05)
        return ()
    async def close(self, timeout): pass
def make(options): return Blocking(options["trigger"])
'''


def foreign(folder: Path, source: str) -> dict[str, str]:
    """Somebody else's package with a sink, installed: the environment that finds it."""
    (folder / "blocking_sink.py").write_text(source)
    info = folder / "blocking_sink-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: blocking-sink\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[streamer.sinks]\nblocking = blocking_sink:make\n")
    return {"PYTHONPATH": str(folder)}


@pytest.mark.skipif(sys.platform == "win32", reason="signals and unix sockets")
def test_the_watchdog_is_withheld_while_the_loop_stands_still(sim: Sim, tmp_path: Path) -> None:
    trigger, systemd = tmp_path / "stop", Systemd(tmp_path / "notify")
    text = config(sim, tmp_path, *BTC, more="[watchdog]\nloop_s = 0.5\n")
    text = re.sub(r'type = "files"\npath = .*', f'type = "blocking"\ntrigger = "{trigger}"', text)
    environ = foreign(tmp_path, BLOCKING) | systemd.environ | {"WATCHDOG_USEC": "1500000"}
    with running(tmp_path / "streamer.toml", text, environ) as daemon:
        systemd.wait("WATCHDOG")
        trigger.touch()
        time.sleep(0.3)
        since = time.monotonic()
        wait_for(lambda: daemon.logged("the event loop stands still"), 5)
        time.sleep(1.5)
        assert beats(systemd, since) == 0
        assert "blocking_sink.py" in daemon.logged("the event loop stands still")[0]["stack"]
        trigger.unlink()
        wait_for(lambda: beats(systemd, since) > 0)
        assert daemon.metric("streamer_loop_stalls_total") == 1
        assert daemon.metric("streamer_loop_lag_seconds") > 1
    systemd.close()


SLOW = BLOCKING.replace("time.sleep(0.05)", "await asyncio.sleep(0.05)").replace("import pathlib, time", "import asyncio, pathlib")


def test_a_sink_that_hangs_does_not_hold_up_the_end(sim: Sim, tmp_path: Path) -> None:
    """SIGTERM: its deadline, then the rest is lost and said to be: 143."""
    mark = tmp_path / "state" / "files.streams.json"
    code, took, last = end_while_hanging(sim, tmp_path, 1, more=f'[state]\npath = "{mark.parent}"\n')
    assert mark.exists(), "the next start tells of it"
    assert (code, 0.5 < took < 3.0) == (143, True)
    assert re.search(r"\d+ accepted = \d+ confirmed \+ 0 spooled \+ [1-9]\d* lost \(shutdown \d+\)", last)


def test_the_second_signal_is_immediate(sim: Sim, tmp_path: Path) -> None:
    for sent, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        folder = tmp_path / sent.name
        folder.mkdir()
        got, took, _ = end_while_hanging(sim, folder, 60, second=sent)
        assert (got, took < 3.0) == (code, True)


def test_with_a_spool_a_sink_that_hangs_costs_nothing(sim: Sim, tmp_path: Path) -> None:
    """SIGTERM while nothing is confirmed: what waits is on the disk, exit code 0; the next start delivers it."""
    spool = f'[sinks.files.spool]\npath = "{tmp_path}/spool"\n'
    code, took, last = end_while_hanging(sim, tmp_path, 2, more=spool)
    assert (code, took < 5.0) == (0, True)
    assert not (tmp_path / "spool" / "streams.json").exists(), "nothing was lost, so nothing is to be told"
    counts = re.search(r"(\d+) accepted = (\d+) confirmed \+ (\d+) spooled \+ 0 lost", last)
    assert counts is not None
    assert int(counts[3]) > 0
    with running(tmp_path / "streamer.toml", (tmp_path / "streamer.toml").read_text(), foreign_again(tmp_path)) as daemon:
        wait_for(lambda: daemon.logged(f"{counts[3]} ticks of an earlier run are in the spool"))
        wait_for(lambda: daemon.metric("streamer_sink_confirmed_total") >= int(counts[3]))
        assert daemon.end() == 0


def foreign_again(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(folder)}


def end_while_hanging(
    sim: Sim, folder: Path, deadline: float, second: signal.Signals | None = None, more: str = ""
) -> tuple[int, float, str]:
    """Exit code, seconds until the end, the last word on the sink."""
    trigger = folder / "stop"
    text = config(sim, folder, *BTC, more=f"{more}[shutdown]\ndeadline_s = {deadline}\n")
    text = re.sub(r'type = "files"\npath = .*', f'type = "blocking"\ntrigger = "{trigger}"', text)
    with running(folder / "streamer.toml", text, foreign(folder, SLOW)) as daemon:
        daemon.until_ready()
        wait_for(lambda: daemon.metric("streamer_sink_confirmed_total") > 0)
        trigger.touch()
        time.sleep(0.5)
        began = time.monotonic()
        daemon.send(signal.SIGTERM)
        if second is not None:
            wait_for(lambda: daemon.logged("draining"))
            time.sleep(0.3)
            daemon.send(second)
        code = daemon.process.wait(20)
        took = time.monotonic() - began
        wait_for(lambda: daemon.logged("^sink files: |not drained"))
        last = str(daemon.logged("^sink files: |not drained")[-1]["event"])
    trigger.unlink()
    return code, took, last
