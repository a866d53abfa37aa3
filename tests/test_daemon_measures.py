"""How late data is, around a sink."""

from collections.abc import Sequence
from typing import Any

from streamer.daemon.measures import Measures
from streamer.sinks import Refused
from streamer.types import Status, Tick, Trade

RECEIVED = 1_700_000_000_000_000_000


class Shelf:
    """A sink that keeps what it is given."""

    name = "shelf"

    def __init__(self) -> None:
        self.ticks: list[Tick[Any]] = []

    async def open(self) -> None: ...

    async def write(self, ticks: Sequence[Tick[Any]]) -> Sequence[Refused]:
        self.ticks += ticks
        return ()

    async def close(self, timeout: float) -> None: ...


def trade(exchange: str, lag_ms: int) -> Trade[Any]:
    return Trade(exchange, "BTC/USDT", RECEIVED - lag_ms * 1_000_000, RECEIVED, 1.0, 1.0, "buy", "1")


async def test_an_exchange_that_never_comes_first_is_measured_too() -> None:
    measures, shelf = Measures(lambda: RECEIVED + 2_000_000), Shelf()
    around = measures.around("shelf", shelf)
    late = Status("okx", "BTC/USDT", None, RECEIVED, "trade", "live", None)
    for _ in range(6):
        await around.write([trade("kraken", 3), trade("binance", 40), late])
    assert len(shelf.ticks) == 18

    def value(name: str, **labels: str) -> float | None:
        return measures.registry.get_sample_value(name, labels)

    assert [value("streamer_event_lag_seconds_count", exchange=e) for e in ("kraken", "binance")] == [2, 2]
    assert value("streamer_event_lag_seconds_bucket", exchange="kraken", le="0.005") == 2
    assert value("streamer_event_lag_seconds_bucket", exchange="binance", le="0.025") == 0
    assert value("streamer_event_lag_seconds_bucket", exchange="binance", le="0.05") == 2
    assert value("streamer_event_lag_seconds_count", exchange="okx") is None, "it tells no time of the exchange's own"
    assert value("streamer_hub_latency_seconds_count", sink="shelf") == 6
    assert value("streamer_sink_write_seconds_count", sink="shelf") == 6
