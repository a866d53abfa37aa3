"""Eight simulated exchanges through `streamer run` into Kafka, and the proof that what lies in the topics is what they sent."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson

from streamer.types import BookDelta, Trade
from tests import kafka_reading
from tests.daemons import Daemon, SimInside
from tests.kafka_reading import first_times

EIGHT = {
    "binance": "BTC/USDT", "binanceus": "BTC/USDT", "bitfinex": "BTC/USD", "bybit": "BTC/USDT", "coinbaseexchange": "BTC/USD",
    "kraken": "BTC/USD", "kucoin": "BTC/USDT", "okx": "BTC/USDT",
}  # fmt: skip
KEYS = {f"{exchange}:{symbol}" for exchange, symbol in EIGHT.items()}
NEAR = 10
"""Levels of a book that are compared. Where an exchange tells a hundred only, what lay beyond them is not known when the market moves."""
MOST_OF_A_STEP = 12
"""Bitfinex tells each level by itself: so many of them may have come of the step in which all ended."""


def simulated() -> Iterator[SimInside]:
    """The simulation, which remembers all that it sent. For a fixture."""
    sim = SimInside(*EIGHT).start("--keep", "1000000")
    yield sim
    assert not sim.server.clock.errors
    sim.stop()


def config(sim: SimInside, servers: str, folder: Path, deadline: float = 10.0, more: str = "") -> str:
    """Trades and books of all eight into Kafka. `more`: options of the sink."""
    match = ", ".join(f'"{key}"' for key in sorted(KEYS))
    return (
        f'[[streams]]\nmatch = [{match}]\nkinds = ["trade", "book"]\nsinks = ["kafka"]\n'
        f'[sinks.kafka]\ntype = "kafka"\nservers = "{servers}"\n{more}[sinks.kafka.spool]\npath = "{folder}/spool"\n'
        f'[http]\nlisten = "127.0.0.1:0"\n[instruments]\ncache = ""\n[shutdown]\ndeadline_s = {deadline}\n{sim.exchanges()}'
    )


def confirmed(daemon: Daemon) -> float:
    """Ticks that Kafka has acknowledged."""
    return daemon.metric("streamer_sink_confirmed_total", sink="kafka")


def read(servers: str, topic: str) -> dict[str, list[dict[str, Any]]]:
    """All that is in a topic by key, in order, each message that came twice only once."""
    found: dict[str, list[dict[str, Any]]] = {}
    for r in first_times(kafka_reading.read(servers, topic)):
        value = orjson.loads(r.value or b"")
        assert r.key == f"{value['exchange']}:{value['symbol']}"
        found.setdefault(r.key, []).append(value)
    return found


def assert_whole(sim: SimInside, servers: str) -> int:
    """In the topics each stream's trades are a run without a hole of what the simulation sent, in its order, and each book goes through
    every state of the simulation's, in their order. How many trades and states."""
    trades, books = read(servers, "md.trade"), read(servers, "md.book")
    assert set(trades) == set(books) == KEYS
    total = 0
    for key in KEYS:
        sent = [tick for _, tick, _ in sim.server.sent(key.partition(":")[0])]
        told = [(float(t.price), float(t.size)) for t in sent if isinstance(t, Trade)]
        got = [(v["price"], v["size"]) for v in _data(trades[key], "trade")]
        assert len(got) > 10, key
        start = told.index(got[0])
        assert got == told[start : start + len(got)], key
        states = _states(_data(books[key], "book_snapshot", "book_delta"), [t for t in sent if isinstance(t, BookDelta)])
        assert states > 10, f"the book {key} is not what was sent"
        total += len(got) + states
    return total


def _data(values: Sequence[dict[str, Any]], *types: str) -> list[dict[str, Any]]:
    """Those of these types; beside them there is only what says that all is well, and in the end that the daemon was stopped."""
    data = [n for n, v in enumerate(values) if v["type"] in types]
    around, goodbye = values[: data[-1]], [(v["type"], v.get("reason", v.get("cause"))) for v in values[data[-1] + 1 :]]
    assert [v for v in around if v["type"] not in types and (v["type"] != "status" or v["state"] != "live")] == []
    assert goodbye in ([], [("gap" if "trade" in types else "book_stale", "shutdown"), ("status", "shutdown")])
    return [values[n] for n in data]


class Book:
    """Sizes by price, the bids' negative."""

    def __init__(self, sizes: dict[float, float]) -> None:
        self.sizes = sizes

    def change(self, bids: Sequence[Any], asks: Sequence[Any]) -> None:
        """Levels with their new size, 0 for none."""
        for sign, levels in ((-1, bids), (1, asks)):
            self.sizes.update({sign * float(price): float(size) for price, size in levels})

    def near(self) -> list[list[tuple[float, float]]]:
        """The best levels of each side."""
        there = sorted((price, size) for price, size in self.sizes.items() if size)
        return [[x for x in there if x[0] < 0][:NEAR], [x for x in there if x[0] > 0][:NEAR]]


def _states(values: Sequence[dict[str, Any]], sent: Sequence[BookDelta[Any]]) -> int:
    """How many states of the simulation's book this one goes through: each, in their order, and nothing else; 0 if that is not so."""
    at = total = 0
    for begin, end in pairwise([*(n for n, v in enumerate(values) if v["type"] == "book_snapshot"), len(values)]):
        snapshot, *deltas = values[begin:end]
        since = deltas[0]["ts_event"] if deltas and not begin else None
        near = [n for n, t in enumerate(sent) if (abs(n - at) < 20 if since is None else abs((t.ts_event or 0) - since) < 500_000_000)]
        found = {n: _passed(snapshot, deltas, sent[n:]) for n in near}  # a snapshot may hold some of the changes behind it already
        start = max(near, key=lambda n: found[n])
        if not found[start]:
            return 0
        at, total = start + found[start], total + found[start]
    return total


def _passed(snapshot: dict[str, Any], deltas: Sequence[dict[str, Any]], sent: Sequence[BookDelta[Any]]) -> int:
    ours, true = Book({}), Book({})
    for book in (ours, true):
        book.change(snapshot["bids"], snapshot["asks"])
    passed = behind = 0
    coming: Any = None
    for delta in deltas:
        ours.change(delta["bids"], delta["asks"])
        behind += 1
        while passed < len(sent):
            if coming is None:
                true.change(sent[passed].bids, sent[passed].asks)
                coming = true.near()
            if ours.near() != coming:
                break
            passed, behind, coming = passed + 1, 0, None
    return passed if behind <= MOST_OF_A_STEP else 0
