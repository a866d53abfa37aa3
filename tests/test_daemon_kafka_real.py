"""`streamer run` with eight simulated exchanges into a real Apache Kafka: whole and in order for each stream, also over a broker that is
killed and started again under load; and back out of it by `streamer.kafka.consume`."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka", reason="no Kafka client here: pip install 'market-streamer[kafka]'")

from streamer.kafka import consume
from streamer.types import BookSnapshot, Trade
from tests import eight
from tests.daemons import Daemon, SimInside, running
from tests.eight import EIGHT, KEYS, assert_whole, config, confirmed
from tests.kafka_real import PASSWORD, TLS, USER, OwnBroker, needs_kafka, servers_of
from tests.simulation import wait_for
from tests.test_e2e import same

pytestmark = [needs_kafka, pytest.mark.timeout(150)]
MORE = f"""
create_topics = true
partitions = 3
replication = 1
latest_books = "md.latest"
latest_every_s = 0.5
security = "sasl_ssl"
sasl_user = "{USER}"
sasl_password_env = "KAFKA_PASSWORD"
ssl_ca = "{TLS}/ca.pem"
"""


@pytest.fixture
def sim() -> Iterator[SimInside]:
    yield from eight.simulated()


@pytest.fixture
def broker() -> Iterator[OwnBroker]:
    broker = OwnBroker("daemon")
    broker("wipe")  # of a run that was killed
    broker("start")
    yield broker
    broker("wipe")


def test_eight_exchanges_over_a_broker_that_is_killed_under_load(sim: SimInside, broker: OwnBroker, tmp_path: Path) -> None:
    """It writes with a password over TLS, as it would to a broker elsewhere."""
    text = config(sim, servers_of("sasl_ssl", servers=broker.servers), tmp_path, more=MORE)
    with running(tmp_path / "s.toml", text, {"KAFKA_PASSWORD": PASSWORD}) as daemon:
        daemon.until_ready(30)
        wait_for(lambda: confirmed(daemon) > 1000, 30)
        assert_nothing_missing(daemon)
        assert daemon.metric("streamer_spool_ticks") == 0, "a broker that works needs no spool"
        broker("kill")
        killed = time.monotonic()
        wait_for(lambda: daemon.metric("streamer_spool_ticks", sink="kafka") > 300, 30)
        status, told = daemon.get("/readyz")
        assert status == 503
        assert any(r.startswith("sink kafka is down") for r in told["reasons"]), told
        wait_for(lambda: time.monotonic() > killed + 3.0)
        broker("start")
        wait_for(lambda: daemon.metric("streamer_spool_ticks", sink="kafka") == 0, 40)
        daemon.until_ready(30)
        before = confirmed(daemon)
        wait_for(lambda: confirmed(daemon) > before + 300, 20)
        asyncio.run(assert_true_books(sim, broker.servers))
        assert_nothing_missing(daemon)
        assert daemon.end(signal.SIGTERM) == 0
        account = daemon.logged("^sink kafka: .* accepted")[-1]["event"]
    assert " + 0 spooled + 0 lost" in account
    assert PASSWORD not in str(daemon.records)
    assert assert_whole(sim, broker.servers) > 2000


def assert_nothing_missing(daemon: Daemon) -> None:
    assert daemon.metric("streamer_sink_lost_total") == daemon.metric("streamer_dropped_total") == 0


async def assert_true_books(sim: SimInside, servers: str) -> None:
    """A reader that comes now has all eight books at once, and those are the simulated markets' when they stand still."""
    async with consume(servers, latest_books="md.latest") as s:
        sub = s.subscribe(*KEYS, kinds=("trade", "book"))
        await s.ready(sub, timeout=20)
        seen: Counter[tuple[str, type]] = Counter()
        async with asyncio.timeout(20):
            while min(seen[exchange, kind] for exchange in EIGHT for kind in (Trade, BookSnapshot)) == 0:
                tick = await anext(sub)
                seen[tick.exchange, type(tick)] += 1
        sim.server.clock.paused = True
        different = list(EIGHT)
        async with asyncio.timeout(20):
            while different:
                sub.take()
                await asyncio.sleep(0.05)
                books = {e: s.book(f"{e}:{symbol}") for e, symbol in EIGHT.items()}
                different = [e for e, book in books.items() if book is None or not same(book, sim.server.market(e, EIGHT[e]).book())]
        sim.server.clock.paused = False
