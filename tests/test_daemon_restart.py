"""A run that was killed: whoever reads behind a sink is told, by the next one, of which streams something may be missing, and where."""

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer.daemon import config as daemon_config
from streamer.daemon.marks import Mark, mark_of, restart_gaps
from streamer.types import KIND, BookStale, Gap, Status
from tests.daemons import Daemon, SimInside, before_the_end, config, lines, running
from tests.simulation import wait_for

BTC = ("binance:BTC/USDT", "kraken:BTC/USD")
KEYS = [(*name.split(":", 1), kind, "") for name in BTC for kind in ("book", "trade")]


@pytest.fixture
def sim() -> Iterator[SimInside]:
    sim = SimInside("binance", "kraken").start("--rate", "100")
    yield sim
    sim.stop()


def until_written(daemon: Daemon, ticks: int = 100) -> None:
    daemon.until_ready()
    wait_for(lambda: daemon.metric("streamer_sink_confirmed_total") > ticks)


def told(ticks: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return sorted((t["exchange"], t["symbol"], t["channel"]) for t in ticks if t["type"] == "gap" and t["cause"] == "process_restart")


@pytest.mark.parametrize("where", ["spool", "state"])
def test_after_kills_every_stream_is_told_at_its_place(sim: SimInside, tmp_path: Path, where: str) -> None:
    """Nothing is missing but where a gap says so, and the book is stale there until its snapshot."""
    more = {"spool": f'[sinks.files.spool]\npath = "{tmp_path}/spool"\n', "state": f'[state]\npath = "{tmp_path}/state"\n'}[where]
    text = config(sim, tmp_path / "ticks", *BTC, more=more)
    for kills in range(2):
        with running(tmp_path / "s.toml", text) as daemon:
            until_written(daemon)
            assert len(daemon.logged("the run before was killed; what 4 streams may have lost")) == (kills > 0)
            assert daemon.end(signal.SIGKILL) == -signal.SIGKILL
    for _ in range(2):  # the second start follows an end that was none of a kill
        with running(tmp_path / "s.toml", text) as daemon:
            until_written(daemon)
            assert daemon.end() == 0
    ticks = before_the_end(lines(tmp_path / "ticks"))
    assert told(ticks) == sorted(2 * [key[:3] for key in KEYS]), "once for each kill, and not for the others"
    for exchange, symbol in (name.split(":", 1) for name in BTC):
        mine = [t for t in ticks if (t["exchange"], t["symbol"]) == (exchange, symbol)]
        for kill in [n for n, t in enumerate(mine) if t["type"] == "gap" and t["channel"] == "book"]:
            assert mine[kill + 1] | {"type": "book_stale", "reason": "process_restart"} == mine[kill + 1]
            assert next(t["type"] for t in mine[kill + 2 :] if t["type"].startswith("book_")) == "book_snapshot"
            assert max(t["ts_recv"] for t in mine[:kill]) <= mine[kill]["ts_to"] <= min(t["ts_recv"] for t in mine[kill + 1 :])
        runs: list[list[int]] = [[]]
        for t in mine:
            if t["type"] == "gap" and t["channel"] == "trade":
                runs.append([])
            elif t["type"] == "trade":
                runs[-1].append(int(t["id"]))
        assert len(runs) == 3
        assert all(run == list(range(run[0], run[0] + len(run))) for run in runs[:2])


def test_what_was_spooled_comes_before_the_gap(sim: SimInside, tmp_path: Path) -> None:
    """Its folder is a file: all that the killed run took is in the spool, where the sink finds it."""
    (tmp_path / "ticks").write_text("")
    text = config(sim, tmp_path / "ticks", BTC[1], kinds='["trade"]', more=f'[sinks.files.spool]\npath = "{tmp_path}/spool"\n')
    with running(tmp_path / "s.toml", text) as daemon:
        wait_for(lambda: daemon.metric("streamer_spool_ticks") > 50)
        daemon.end(signal.SIGKILL)
    (tmp_path / "ticks").unlink()
    with running(tmp_path / "s.toml", text) as daemon:
        until_written(daemon, 150)
        assert daemon.end() == 0
    ticks = before_the_end(lines(tmp_path / "ticks"))
    (gap,) = [n for n, t in enumerate(ticks) if t["type"] == "gap"]
    before = [int(t["id"]) for t in ticks[:gap] if t["type"] == "trade"]
    assert len(before) >= 50
    assert before == list(range(before[0], before[0] + len(before)))
    assert min(int(t["id"]) for t in ticks[gap:] if t["type"] == "trade") > before[-1]


def test_a_stream_that_is_not_wanted_any_more_is_told_all_the_same(sim: SimInside, tmp_path: Path) -> None:
    """Of an exchange that the new run does not even know; and one that is new has nothing to tell."""
    more = f'[state]\npath = "{tmp_path}/state"\n'
    with running(tmp_path / "s.toml", config(sim, tmp_path / "ticks", BTC[0], kinds='["trade"]', more=more)) as daemon:
        until_written(daemon, 10)
        daemon.reload(config(sim, tmp_path / "ticks", *BTC, kinds='["trade"]', more=more))
        wait_for(lambda: len(daemon.streams()) == 2)
        daemon.reload(config(sim, tmp_path / "ticks", BTC[0], kinds='["trade"]', more=more))
        wait_for(lambda: len(daemon.streams()) == 1)
        daemon.end(signal.SIGKILL)
    with running(tmp_path / "s.toml", config(sim, tmp_path / "ticks", BTC[1], kinds='["trade"]', more=more)) as daemon:
        until_written(daemon, 10)
        assert daemon.end() == 0
    assert told(lines(tmp_path / "ticks")) == [("binance", "BTC/USDT", "trade")]
    assert list((tmp_path / "state").iterdir()) == []


def test_a_sink_that_is_made_anew_was_not_killed(sim: SimInside, tmp_path: Path) -> None:
    """A reload gives it another option: the same mark, by another runner, and a kill is told after that too."""
    environ = {"STATE_DIRECTORY": f"{tmp_path}/state:{tmp_path}/other"}
    text = config(sim, tmp_path / "ticks", *BTC)
    with running(tmp_path / "s.toml", text, environ) as daemon:
        until_written(daemon)
        daemon.reload(text.replace('type = "files"', 'type = "files"\nrotate_s = 3599'))
        until_written(daemon)
        assert json.loads((tmp_path / "state" / "files.streams.json").read_text()) == [list(k) for k in sorted(KEYS)]
        daemon.end(signal.SIGKILL)
    assert told(lines(tmp_path / "ticks")) == []
    with running(tmp_path / "s.toml", text, environ) as daemon:
        until_written(daemon)
        assert daemon.end() == 0
    assert told(lines(tmp_path / "ticks")) == sorted(key[:3] for key in KEYS)


async def test_out_of_kafka_a_kill_is_a_gap_like_others(sim: SimInside, tmp_path: Path) -> None:
    """Told at its place, in the reader's ledger; its book comes again with the snapshot behind it, until the stop, which is told too."""
    pytest.importorskip("confluent_kafka", reason="no Kafka client here: pip install 'market-streamer[kafka]'")
    from streamer.kafka import consume
    from tests.kafka_mock import MockKafka

    with MockKafka() as kafka:
        text = config(sim, tmp_path, BTC[1], more=f'[sinks.files.spool]\npath = "{tmp_path}/spool"\n')
        text = re.sub(r'type = "files"\npath = .*\n', f'type = "kafka"\nservers = "{kafka.servers}"\n', text)
        for end in (signal.SIGKILL, signal.SIGTERM):
            with running(tmp_path / "s.toml", text) as daemon:
                until_written(daemon)
                daemon.end(end)
        async with consume(kafka.servers, start="earliest") as s:
            sub = s.subscribe(BTC[1], kinds=("trade", "book"))
            types: dict[str, list[str]] = {"trade": [], "book": []}
            async with asyncio.timeout(10):
                async for tick in sub:
                    channel = tick.channel if isinstance(tick, Gap | Status) else KIND.get(tick.__class__, "")
                    what = tick.cause if isinstance(tick, Gap) else tick.__class__.__name__
                    if channel and types[channel][-1:] != [what]:
                        types[channel].append(what)
                    if all("process_restart" in of[:-1] for of in types.values()):
                        break
            async with asyncio.timeout(10):  # it was stopped: nobody keeps the book
                while s.book(BTC[1]) is not None:
                    await asyncio.sleep(0.01)
            assert {e.channel for e in s.ledger.entries() if e.cause == "process_restart"} == {"trade", "book"}
    assert types["trade"][:4] == ["Status", "Trade", "process_restart", "Trade"]
    assert types["book"][:5] == ["Status", "BookSnapshot", "BookDelta", "process_restart", "BookSnapshot"]


# the mark by itself

KEY = ("binance", "BTC/USDT", "candle", "1m")


def test_what_was_not_told_yet_stays_through_a_second_kill(tmp_path: Path) -> None:
    first = Mark(tmp_path / "a" / "m.json")
    assert first.begin() == []
    first.write([KEY])
    second = Mark(first.path)
    assert second.begin() == [KEY]
    second.write([])  # no list of instruments has come yet
    third = Mark(first.path)
    assert third.begin() == [KEY]
    third.clear()
    assert Mark(first.path).begin() == []
    third.write([])
    assert Mark(first.path).begin() == [], "what was told is not told again"


@pytest.mark.parametrize("content", [b"", b"[", b'[["a"]]', b"\xff\xff", b'{"a": 1}', b"[" * 100_000])
def test_a_mark_that_cannot_be_read_costs_only_itself(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(content)
    mark = Mark(path)
    assert mark.begin() == []
    assert "cannot be read, so nobody is told what the run before may have lost" in caplog.text
    mark.write([KEY])
    assert Mark(path).begin() == [KEY]


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    mark = Mark(tmp_path / "file" / "m.json")
    mark.begin()
    mark.write([KEY])
    mark.write([KEY])
    mark.clear()
    assert len([r for r in caplog.records if "cannot be written" in r.message]) == 1


def test_where_marks_are(tmp_path: Path) -> None:
    spool = daemon_config.Sink("files", daemon_config.Spool(path="/x/spool"))
    assert mark_of("a", spool, tmp_path).path == Path("/x/spool/streams.json")
    assert mark_of("../a b", daemon_config.Sink("files"), tmp_path).path == tmp_path / "..%2Fa%20b.streams.json"
    assert mark_of("a", daemon_config.Sink("files"), None).path is None
    assert Mark(None).begin() == []


def test_candles_of_two_intervals_are_one_channel() -> None:
    ticks = restart_gaps([KEY, (*KEY[:3], "1h"), ("okx", "BTC/USDT", "book", "")], 7)
    assert ticks == [
        Gap("binance", "BTC/USDT", None, 7, "candle", "process_restart", None, 7, None, None, "none"),
        Gap("okx", "BTC/USDT", None, 7, "book", "process_restart", None, 7, None, None, "none"),
        BookStale("okx", "BTC/USDT", None, 7, "process_restart"),
    ]
