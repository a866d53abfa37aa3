"""What is traded reaches every sink: the instrument of each stream before its ticks, once, whether there from the start or joined."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemons import Sim, SimInside, config, lines, running, simulation
from tests.simulation import wait_for

BTC = ("binance:BTC/USDT", "kraken:BTC/USD")


@pytest.fixture
def sim() -> Iterator[SimInside]:
    sim = SimInside("binance", "kraken").start("--rate", "50")
    yield sim
    sim.stop()


def name(tick: dict[str, Any]) -> str:
    return f"{tick['exchange']}:{tick['symbol']}"


def assert_in_front(ticks: list[dict[str, Any]]) -> Counter[str]:
    """The instruments by stream; each came before all else of its stream."""
    known: Counter[str] = Counter()
    for tick in ticks:
        known[name(tick)] += tick["type"] == "instrument"
        assert known[name(tick)], f"{tick['type']} of {name(tick)}, of which nothing is known"
    return known


def test_each_stream_begins_with_its_instrument(sim: SimInside, tmp_path: Path) -> None:
    with running(tmp_path / "s.toml", config(sim, tmp_path / "a", *BTC)) as daemon:
        daemon.until_ready()
        daemon.reload(config(sim, tmp_path / "a", *BTC, "binance:ETH/USDT"))
        wait_for(lambda: len(daemon.streams()) == 6)
        daemon.reload(config(sim, tmp_path / "a", *BTC, kinds='["trade"]'))  # a stream that only moves to another queue
        wait_for(lambda: len(daemon.streams()) == 2)
        daemon.reload(config(sim, tmp_path / "a", *BTC, "binance:ETH/USDT", kinds='["trade"]'))
        wait_for(lambda: len(daemon.streams()) == 3)
        other = '[[streams]]\nmatch = ["binance:*/USDT"]\nsinks = ["b"]\n[sinks.b]\ntype = "files"\n' + f'path = "{tmp_path}/b/t.ndjson"\n'
        daemon.reload(other + config(sim, tmp_path / "a", *BTC, kinds='["trade"]'))
        wait_for(lambda: daemon.metric("streamer_sink_confirmed_total", sink="b") > 100)
        assert daemon.end() == 0
    assert assert_in_front(lines(tmp_path / "a")) == {BTC[0]: 1, BTC[1]: 1, "binance:ETH/USDT": 2}, "it left, and came again"
    found = assert_in_front(lines(tmp_path / "b"))
    assert set(found.values()) == {1}
    assert found.keys() >= {BTC[0], "binance:ETH/USDT", "binance:SOL/USDT"}


def test_one_that_is_listed_later_joins_with_its_instrument(tmp_path: Path) -> None:
    with simulation("binance", options=("--rate", "50")) as sim, running(tmp_path / "s.toml", soon(sim, tmp_path)) as daemon:
        daemon.until_ready()
        sim.stop()
        sim.start("--symbols", "1")
        wait_for(lambda: ("binance:SOL/USDT", "trade") in daemon.streams(), 20)
        daemon.reload(soon(sim, tmp_path))
        wait_for(lambda: ("binance:S0000/USDT", "trade") in daemon.streams(), 10)
        assert daemon.end() == 0
    assert "binance:S0000/USDT" in assert_in_front(lines(tmp_path))


def soon(sim: Sim, folder: Path) -> str:
    return config(sim, folder, "binance:S*/USDT", kinds='["trade"]')


def test_a_sink_may_do_without(tmp_path: Path) -> None:
    """Neither those of its streams nor what changes in the list."""
    with simulation("binance", options=("--rate", "50")) as sim:
        text = soon(sim, tmp_path).replace('type = "files"', 'type = "files"\ninstruments = false')
        with running(tmp_path / "s.toml", text) as daemon:
            daemon.until_ready()
            sim.stop()
            sim.start("--symbols", "1")
            wait_for(lambda: ("binance:SOL/USDT", "trade") in daemon.streams(), 20)
            daemon.reload(text)
            wait_for(lambda: ("binance:S0000/USDT", "trade") in daemon.streams(), 10)
            assert daemon.end() == 0
            last = daemon.logged("^sink files: ")[-1]["event"]
    ticks = lines(tmp_path)
    assert {t["type"] for t in ticks} == {"trade", "status", "gap"}, "a gap, for the exchange was away"
    counts = re.search(r"(\d+) accepted = (\d+) confirmed \+ 0 spooled \+ 0 lost", last)
    assert counts is not None
    assert counts[1] == counts[2] == str(len(ticks))


async def test_out_of_kafka_the_list_is_complete(sim: SimInside, tmp_path: Path) -> None:
    """As far as it is streamed: `consume(...).instruments()` knows every stream, with its facts."""
    pytest.importorskip("confluent_kafka", reason="no Kafka client here: pip install 'market-streamer[kafka]'")
    from streamer.kafka import consume
    from tests.kafka_mock import MockKafka

    with MockKafka() as kafka:
        sink = f'type = "kafka"\nservers = "{kafka.servers}"\n'
        text = re.sub(r'type = "files"\npath = .*\n', sink, config(sim, tmp_path, BTC[1], "binance:*/USDT", kinds='["trade"]'))
        with running(tmp_path / "s.toml", text) as daemon:
            daemon.until_ready()
            wait_for(lambda: daemon.metric("streamer_sink_confirmed_total") > 100)
            wanted = {s["stream"] for s in daemon.get("/streams")[1]["streams"]}
            assert daemon.end() == 0
        async with consume(kafka.servers) as s:
            found = [i for exchange in ("binance", "kraken") for i in await s.instruments(exchange)]
    assert {f"{i.exchange}:{i.symbol}" for i in found} == wanted
    assert len(found) == len(wanted) > 2
    assert all(i.active and i.price_step and i.size_step for i in found)
