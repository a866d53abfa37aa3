"""`streamer run` with eight simulated exchanges into Kafka (librdkafka's mock brokers over TCP): what the simulation sent is in the topics,
whole and in order for each stream, also when brokers come and go and when the daemon is stopped meanwhile."""

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("confluent_kafka", reason="no Kafka client here: pip install 'market-streamer[kafka]'")

from tests import kafka_reading
from tests.daemons import Daemon, SimInside, running
from tests.kafka_mock import MockKafka
from tests.kafka_reading import first_times
from tests.simulation import wait_for

EIGHT = {
    "binance": "BTC/USDT", "binanceus": "BTC/USDT", "bitfinex": "BTC/USD", "bybit": "BTC/USDT", "coinbaseexchange": "BTC/USD",
    "kraken": "BTC/USD", "kucoin": "BTC/USDT", "okx": "BTC/USDT",
}  # fmt: skip


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with MockKafka() as kafka:
        yield kafka


@pytest.fixture
def sim() -> Iterator[SimInside]:
    sim = SimInside(*EIGHT).start("--keep", "1000000")
    yield sim
    sim.stop()


def text(sim: SimInside, kafka: MockKafka, folder: Path, deadline: float = 10.0) -> str:
    match = ", ".join(f'"{exchange}:{symbol}"' for exchange, symbol in EIGHT.items())
    return (
        f'[[streams]]\nmatch = [{match}]\nkinds = ["trade", "book"]\nsinks = ["kafka"]\n'
        f'[sinks.kafka]\ntype = "kafka"\nservers = "{kafka.servers}"\n[sinks.kafka.spool]\npath = "{folder}/spool"\n'
        f'[http]\nlisten = "127.0.0.1:0"\n[instruments]\ncache = ""\n[shutdown]\ndeadline_s = {deadline}\n{sim.exchanges()}'
    )


def read(kafka: MockKafka, topic: str) -> list[tuple[str, dict[str, Any]]]:
    """(key, value) of all that is in a topic, each message that came twice only once."""
    return [(r.key, json.loads(r.value or b"")) for r in first_times(kafka_reading.read(kafka.servers, topic))]


def assert_whole(sim: SimInside, kafka: MockKafka) -> int:
    """Every stream's trades in the topic are a run without a hole of what the simulation sent. How many in all."""
    trades: dict[str, list[Any]] = {f"{e}:{s}": [] for e, s in EIGHT.items()}
    for key, value in read(kafka, "md.trade"):
        assert key == f"{value['exchange']}:{value['symbol']}"
        if value["type"] == "trade":
            trades[key].append((value["price"], value["size"], value["id"]))
        else:
            assert value["type"] == "status", value
    for key, got in trades.items():
        exchange = key.partition(":")[0]
        sent = [t for _, t, _ in sim.server.sent(exchange) if type(t).__name__ == "Trade"]
        told = [(float(t.price), float(t.size)) for t in sent]
        assert len(got) > 10, key
        start = told.index(got[0][:2])
        assert [g[:2] for g in got] == told[start : start + len(got)], key
    return sum(map(len, trades.values()))


def confirmed(daemon: Daemon) -> float:
    return daemon.metric("streamer_sink_confirmed_total", sink="kafka")


def test_eight_exchanges_whole_and_in_order(sim: SimInside, kafka: MockKafka, tmp_path: Path) -> None:
    with running(tmp_path / "s.toml", text(sim, kafka, tmp_path)) as daemon:
        daemon.until_ready(20)
        wait_for(lambda: confirmed(daemon) > 1500, 20)
        assert daemon.metric("streamer_sink_lost_total") == daemon.metric("streamer_dropped_total") == 0
        assert daemon.end() == 0
    assert assert_whole(sim, kafka) > 200
    books = read(kafka, "md.book")
    assert {key for key, _ in books} == {f"{e}:{s}" for e, s in EIGHT.items()}
    first = {key: value["type"] for key, value in reversed(books) if value["type"] != "status"}
    assert set(first.values()) == {"book_snapshot"}, "every book begins with a snapshot"


def test_brokers_that_come_and_go_cost_nothing(sim: SimInside, kafka: MockKafka, tmp_path: Path) -> None:
    with running(tmp_path / "s.toml", text(sim, kafka, tmp_path)) as daemon:
        daemon.until_ready(20)
        wait_for(lambda: confirmed(daemon) > 300, 20)
        kafka.down()
        wait_for(lambda: daemon.metric("streamer_spool_ticks", sink="kafka") > 300, 25)
        assert daemon.get("/readyz")[0] == 503
        assert any(r.startswith("sink kafka is down") for r in daemon.get("/readyz")[1]["reasons"])
        kafka.up()
        wait_for(lambda: daemon.metric("streamer_spool_ticks", sink="kafka") == 0, 40)
        daemon.until_ready()
        assert daemon.metric("streamer_sink_lost_total") == 0
        assert daemon.end() == 0
    assert_whole(sim, kafka)


def test_sigterm_with_all_brokers_down_and_the_next_start(sim: SimInside, kafka: MockKafka, tmp_path: Path) -> None:
    """Ends within its deadline with 0, the spool holds the rest, the next start delivers it in front of what is new."""
    with running(tmp_path / "s.toml", text(sim, kafka, tmp_path, deadline=4.0)) as daemon:
        daemon.until_ready(20)
        wait_for(lambda: confirmed(daemon) > 300, 20)
        kafka.down()
        time.sleep(1.5)
        began = time.monotonic()
        assert daemon.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < 5.0
        last = daemon.logged("^sink kafka: ")[-1]["event"]
    counts = re.search(r"(\d+) accepted = (\d+) confirmed \+ (\d+) spooled \+ 0 lost", last)
    assert counts is not None
    assert int(counts[1]) == int(counts[2]) + int(counts[3])
    assert int(counts[3]) > 0
    kafka.up()
    with running(tmp_path / "s.toml", text(sim, kafka, tmp_path)) as daemon:
        wait_for(lambda: daemon.logged(f"{counts[3]} ticks of an earlier run are in the spool"))
        wait_for(lambda: confirmed(daemon) >= int(counts[3]), 20)
        assert daemon.end() == 0
    keys = {key for key, _ in read(kafka, "md.trade")}
    assert keys == {f"{e}:{s}" for e, s in EIGHT.items()}
