"""What is peculiar to CoinSpot: prices that are no numbers, orders in any order, pages that begin with the newest."""

from decimal import Decimal
from typing import Any

import orjson
import pytest

from feeds.coinspot import FEED
from normalizers.coinspot import BOOK, INSTRUMENTS, TICKERS, TRADES
from streamer.catalog import Catalog, parse_instruments
from streamer.decode import rest
from streamer.errors import BadFrame
from streamer.spec import Ctx, On, Poll, fill
from tests.captures import recorded

LATEST = b'{"status":"ok","message":"ok","prices":{"btc":{"bid":"1","ask":"2","last":"1.5"},"btc_usdt":{"bid":"1","ask":"2","last":"1.5"}}}'


def answered(parse: On, body: bytes, num: Any = float, symbol: str | None = None) -> Any:
    catalog = Catalog(FEED)
    catalog.update(parse_instruments(FEED, LATEST, 0))
    ctx: Ctx[Any] = Ctx("coinspot", "spot", catalog.tables["spot"], num)
    return rest(parse, num)(body, ctx, None if symbol is None else catalog.find(symbol))


def test_urls_name_coins_and_markets() -> None:
    listed = {i.symbol: i for i in parse_instruments(FEED, LATEST, 0)}
    assert {s: i.id for s, i in listed.items()} == {"BTC/AUD": "btc", "BTC/USDT": "btc/usdt"}
    polls = {kind: topic.url for (_, kind), topic in FEED.topics.items() if isinstance(topic, Poll)}
    assert fill(polls["book"], listed["BTC/USDT"]) == "https://www.coinspot.com.au/pubapi/v2/orders/open/btc/usdt"
    assert fill(polls["trade"], listed["BTC/AUD"]) == "https://www.coinspot.com.au/pubapi/v2/orders/summary/completed/btc"
    assert fill(polls["ticker"], listed["BTC/AUD"]) == fill(polls["ticker"], listed["BTC/USDT"])


@pytest.mark.parametrize("nothing", [b'"NaN"', b'""', b"null", b"0", b'"0"', b'"0.00"'])
def test_a_price_that_is_none(nothing: bytes) -> None:
    body = LATEST.replace(b'"bid":"1"', b'"bid":' + nothing, 1)
    first, second = answered(TICKERS, body)
    assert (first.bid, first.ask, second.bid) == (None, 2.0, 1.0)


def test_bare_numbers_keep_their_digits() -> None:
    first, _ = answered(TICKERS, LATEST.replace(b'"1.5"', b"0.12345678", 1), Decimal)
    assert str(first.last) == "0.12345678"
    body = b'{"status":"ok","buyorders":[{"amount":0.30,"rate":51970.00000001}],"sellorders":[]}'
    assert str(answered(BOOK, body, Decimal, "BTC/AUD").bids) == "[(Decimal('51970.00000001'), Decimal('0.30'))]"


def test_a_coin_that_is_not_listed_yet_costs_nobody_else() -> None:
    body = LATEST.replace(b'{"btc":', b'{"new":{"bid":"1","ask":"2","last":"1.5"},"btc":')
    assert [t.symbol for t in answered(TICKERS, body)] == ["BTC/AUD", "BTC/USDT"]


@pytest.mark.parametrize("parse", [TICKERS, BOOK, TRADES, INSTRUMENTS])
def test_an_error_is_no_empty_answer(parse: On) -> None:
    with pytest.raises(BadFrame):
        answered(parse, b'{"status":"error","message":"x","prices":{},"buyorders":[],"sellorders":[],"orders":[]}', symbol="BTC/AUD")


def test_orders_of_one_rate_are_one_level() -> None:
    rows = [{"rate": rate, "amount": amount} for rate, amount in ((99.0, 1), (100.0, 2), (99.0, 0.5))]
    book = answered(BOOK, orjson.dumps({"status": "ok", "buyorders": rows, "sellorders": rows}), symbol="BTC/AUD")
    assert (book.bids, book.asks) == ([(100.0, 2.0), (99.0, 1.5)], [(99.0, 1.5), (100.0, 2.0)])


@pytest.mark.parametrize("days", [(1, 2, 2, 3), (3, 2, 2, 1), (1,), ()])
def test_the_oldest_trade_comes_first(days: tuple[int, ...]) -> None:
    """Of two at once the order is that of the page, turned round with it."""
    rows = [{"rate": 1.0, "amount": i + 1, "solddate": f"2026-01-0{day}T00:00:00.000Z"} for i, day in enumerate(days)]
    page = answered(TRADES, orjson.dumps({"status": "ok", "orders": rows}), symbol="BTC/AUD")
    assert [t.ts_event for t in page.trades] == sorted(t.ts_event for t in page.trades)
    assert [t.size for t in page.trades] == (list(range(1, len(days) + 1)) if days != (3, 2, 2, 1) else [4, 3, 2, 1])
    assert page.symbol == "BTC/AUD"


def test_what_others_noted_down_is_understood() -> None:
    prices = [line.payload() for line in recorded("coinspot/ccxtdoc-1") if b'"prices"' in line.payload()]
    listed = [(i.symbol, [t.last for t in answered(TICKERS, body)]) for body in prices for i in parse_instruments(FEED, body, 0)]
    assert listed == [("BTC/AUD", [53284.03]), ("BTC/AUD", [25234.0]), ("LTC/AUD", [25234.0])]
