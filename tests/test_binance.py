"""What is peculiar to Binance: the announced shutdown, empty sides, trades of two kinds, and the sibling."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from feeds.binance import FEED
from feeds.binanceus import FEED as US
from streamer.catalog import Catalog, parse_instruments
from streamer.errors import BadFrame
from streamer.spec import Ack, Ctx, Reject, Restart, Unknown
from streamer.types import Quote, Ticker, Trade

SESSION = Path(__file__).parent / "exchanges/binance/session.jsonl"
ROWS = [orjson.loads(row) for row in SESSION.read_bytes().splitlines()]
LISTED = Catalog(FEED)
LISTED.update(i for row in ROWS if "exchangeInfo" in row["url"] for i in parse_instruments(FEED, row["raw"].encode(), 0))
EITHER = pytest.mark.parametrize("num", [float, Decimal])


def wire(message: object, num: type[float] | type[Decimal] = float) -> Any:
    """What the normalizer makes of a message."""
    ctx: Ctx[Any] = Ctx("binance", "spot", LISTED.tables["spot"], num)
    return FEED.normalize.compile(num)(orjson.dumps(message), ctx)


def told(stream: str, data: dict[str, Any], num: type[float] | type[Decimal] = float) -> Any:
    """The same of a message of this stream of BTC/USDT."""
    return wire({"stream": f"btcusdt@{stream}", "data": {"s": "BTCUSDT", "E": 1767225600000} | data}, num)


SHUTDOWN = {"e": "serverShutdown", "E": 1770123456789}


@pytest.mark.parametrize("message", [SHUTDOWN, {"event": SHUTDOWN}, {"stream": "serverShutdown", "data": SHUTDOWN}])
def test_an_announced_shutdown_is_a_planned_restart(message: dict[str, Any]) -> None:
    assert wire(message) == Restart("server shutdown", planned=True)


@EITHER
def test_an_empty_side_is_none(num: type[float] | type[Decimal]) -> None:
    sides = {"b": "0.00000000", "B": "0.00000000", "a": "88000.10", "A": "0.5"}
    quote = told("bookTicker", sides, num)
    assert isinstance(quote, Quote)
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (None, None, num("88000.10"), num("0.5"))
    ticker = told("ticker", sides | dict.fromkeys("cohlvq", "1"), num)
    assert isinstance(ticker, Ticker)
    assert (ticker.bid, ticker.bid_size, ticker.ask, ticker.ask_size) == (None, None, num("88000.10"), num("0.5"))


@pytest.mark.parametrize(
    ("stream", "ids", "id"), [("trade", {"t": 0, "a": 9, "b": 8}, "0"), ("aggTrade", {"a": 5}, "5"), ("trade", {}, None)]
)
def test_the_id_of_a_trade(stream: str, ids: dict[str, int], id: str | None) -> None:
    """Old @trade messages have the buyer's and seller's orders as b and a."""
    tick = told(stream, {"p": "88000.1", "q": "0.5", "T": 1767225600001, "m": True} | ids)
    assert isinstance(tick, Trade)
    assert (tick.id, tick.side, tick.ts_event) == (id, "sell", 1767225600001000000)


def test_answers() -> None:
    assert wire({"result": None, "id": 3}) == Ack(3)
    says = "Invalid request: invalid stream"
    assert wire({"error": {"code": 2, "msg": says}, "id": 4}) == Reject(4, says, fatal=True)
    assert wire({"code": 1, "msg": "Invalid value type", "id": 5}) == Reject(5, "Invalid value type")
    assert wire({"code": 3, "msg": "Invalid JSON", "id": None}) == Unknown("Invalid JSON")  # it could not read what it answers to
    for id in (2**64 - 1, "x", [1]):
        with pytest.raises(BadFrame):
            wire({"result": None, "id": id})
    assert told("avgPrice", {"w": "1"}) == Unknown("avgPrice")


def test_binanceus_is_binance_at_other_addresses() -> None:
    assert US.normalize is FEED.normalize
    assert US.topics == FEED.topics
    urls = [*US.endpoints.values(), *US.instruments.urls, *(b.url for b in US.book.values())]  # type: ignore[union-attr]
    assert all("binance.us" in str(url) for url in urls)
