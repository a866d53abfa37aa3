"""The blocking iterator on real threads, against a simulated exchange on real sockets: whoever leaves it leaves no thread behind."""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from streamer.errors import SlowConsumer, UnknownExchange, UsageError
from streamer.sim import SimServer
from streamer.streamer import ticks
from streamer.types import BookSnapshot, Trade


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    """Where a simulated binance is, served from a thread."""
    begun: list[Any] = []
    up = threading.Event()

    async def serve() -> None:
        over = asyncio.Event()
        async with SimServer(["binance"], rate=200.0) as sim:
            begun[:] = [asyncio.get_running_loop(), over, sim.url("binance")]
            up.set()
            await over.wait()

    server = threading.Thread(target=asyncio.run, args=(serve(),), name="exchange")
    server.start()
    assert up.wait(10)
    loop, over, url = begun
    yield {"binance": url}
    loop.call_soon_threadsafe(over.set)
    server.join(10)
    assert not server.is_alive()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [t.name for t in threading.enumerate() if t.name == "streamer"] == []


def trades(coming: Iterator[Any]) -> Iterator[Trade[Any]]:
    return (t for t in coming if isinstance(t, Trade))


def test_break_ends_it(urls: dict[str, str]) -> None:
    taken = []
    for tick in ticks("binance:BTC/USDT", urls=urls):
        if isinstance(tick, Trade):
            taken.append(int(tick.id or 0))
        if len(taken) == 30:
            break
    assert taken == list(range(taken[0], taken[0] + 30))


def test_closing_ends_it_in_the_middle_of_a_batch(urls: dict[str, str]) -> None:
    coming = ticks("binance:BTC/USDT", urls=urls, kinds=("trade", "book"), numbers="decimal")
    first = next(t for t in coming if isinstance(t, BookSnapshot))
    assert first.bids[0][0].__class__.__name__ == "Decimal"
    coming.close()  # type: ignore[attr-defined]
    with pytest.raises(StopIteration):
        next(coming)


def test_two_at_once(urls: dict[str, str]) -> None:
    one, two = ticks("binance:BTC/USDT", urls=urls), ticks("binance:ETH/USDT", urls=urls)
    assert {t.symbol for t in itertools.islice(trades(one), 3)} == {"BTC/USDT"}
    assert {t.symbol for t in itertools.islice(trades(two), 3)} == {"ETH/USDT"}
    for coming in (one, two):
        coming.close()  # type: ignore[attr-defined]


def test_it_ends_after_so_long_without_a_tick(urls: dict[str, str]) -> None:
    assert [t for t in ticks(urls=urls, timeout=0.01)] == []  # noqa: C416
    assert list(ticks("binance:BTC/USDT", urls=urls, timeout=1e-6)) == []


def test_what_is_wrong_is_raised_to_the_reader(urls: dict[str, str]) -> None:
    with pytest.raises(UnknownExchange):
        next(ticks("binanc:BTC/USDT", urls=urls))
    with pytest.raises(UsageError, match="policy 'newest'"):
        next(ticks("binance:BTC/USDT", urls=urls, policy="newest"))
    with pytest.raises(UsageError, match="needs room"):
        next(ticks("binance:BTC/USDT", urls=urls, max_items=0))
    with pytest.raises(UsageError, match="neither 'float' nor 'decimal'"):
        next(ticks("binance:BTC/USDT", urls=urls, numbers="int"))  # type: ignore[arg-type]


def test_a_slow_reader_is_told(urls: dict[str, str]) -> None:
    coming = ticks("binance:BTC/USDT", urls=urls, policy="disconnect", max_items=1)
    with pytest.raises(SlowConsumer):  # noqa: PT012
        for _ in coming:
            threading.Event().wait(0.2)


def test_an_error_in_the_loop_ends_it(urls: dict[str, str]) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        for tick in ticks("binance:BTC/USDT", urls=urls):
            _ = 1 / 0 if isinstance(tick, Trade) else 0
