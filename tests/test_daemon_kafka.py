"""`streamer run` with eight simulated exchanges into Kafka (librdkafka's mock brokers over TCP): what the simulation sent is in the topics,
whole and in order for each stream, also when brokers come and go and when the daemon is stopped meanwhile."""

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka", reason="no Kafka client here: pip install 'market-streamer[kafka]'")

from streamer.types import Trade
from tests import eight
from tests.daemons import SimInside, running
from tests.eight import assert_whole, config, confirmed
from tests.kafka_mock import MockKafka
from tests.simulation import wait_for


@pytest.fixture
def kafka() -> Iterator[MockKafka]:
    with MockKafka() as kafka:
        yield kafka


@pytest.fixture
def sim() -> Iterator[SimInside]:
    yield from eight.simulated()


def test_eight_exchanges_whole_and_in_order(sim: SimInside, kafka: MockKafka, tmp_path: Path) -> None:
    with running(tmp_path / "s.toml", config(sim, kafka.servers, tmp_path)) as daemon:
        daemon.until_ready(20)
        wait_for(lambda: confirmed(daemon) > 1500, 20)
        assert daemon.metric("streamer_sink_lost_total") == daemon.metric("streamer_dropped_total") == 0
        assert daemon.end() == 0
    assert assert_whole(sim, kafka.servers) > 1000


def test_brokers_that_come_and_go_cost_nothing(sim: SimInside, kafka: MockKafka, tmp_path: Path) -> None:
    with running(tmp_path / "s.toml", config(sim, kafka.servers, tmp_path)) as daemon:
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
    assert_whole(sim, kafka.servers)


def test_sigterm_with_all_brokers_down_and_the_next_start(sim: SimInside, kafka: MockKafka, tmp_path: Path) -> None:
    """Ends within its deadline with 0, the spool holds the rest, the next start delivers it in front of what is new."""
    with running(tmp_path / "s.toml", config(sim, kafka.servers, tmp_path, deadline=4.0)) as daemon:
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
    with running(tmp_path / "s.toml", config(sim, kafka.servers, tmp_path)) as daemon:
        wait_for(lambda: daemon.logged(f"{counts[3]} ticks of an earlier run are in the spool"))
        wait_for(lambda: confirmed(daemon) >= int(counts[3]), 20)
        assert daemon.end() == 0
    trades, books = eight.read(kafka.servers, "md.trade"), eight.read(kafka.servers, "md.book")
    assert set(trades) == set(books) == eight.KEYS
    written = [value for values in (*trades.values(), *books.values()) for value in values]
    assert len(written) >= int(counts[1]) - len(eight.KEYS), "all that the first run took but instruments, and what the second did"
    for key, values in trades.items():
        sent = [(float(t.price), float(t.size)) for _, t, _ in sim.server.sent(key.partition(":")[0]) if isinstance(t, Trade)]
        assert breaks([(v["price"], v["size"]) for v in values if v["type"] == "trade"], sent) <= 1


def breaks(got: list[tuple[float, float]], sent: list[tuple[float, float]]) -> int:
    """How often something is missing. Raises ValueError when something comes that was not sent, or not in this order."""
    at = sent.index(got[0])
    found = 0
    for trade in got[1:]:
        at += 1
        if sent[at] != trade:
            at, found = sent.index(trade, at), found + 1
    return found
