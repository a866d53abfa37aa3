"""What is peculiar to Coinbase Exchange: the maker's side, trades numbered by one, answers that list everything, refusals by product."""

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from feeds.coinbaseexchange import FEED
from streamer.catalog import Catalog, parse_instruments
from streamer.encode import encode
from streamer.errors import BadFrame
from streamer.spec import Ack, History, Reject, Unknown
from streamer.types import BookDelta, BookSnapshot, Gap, Ticker, Trade
from tests import wires
from tests.captures import recorded, replayed

SESSION = Path(__file__).parent / "exchanges/coinbaseexchange/session.jsonl"
LIST = json.loads(SESSION.read_text().splitlines()[0])["raw"]
TRADE = {"type": "match", "trade_id": 7, "side": "sell", "size": "0.25", "price": "88000.10", "product_id": "BTC-USD", "sequence": 50}
TRADE |= {"time": "2026-01-01T00:00:00.5Z"}
DAY = {"type": "ticker", "product_id": "BTC-USD", "price": "3", "open_24h": "2", "volume_24h": "9", "low_24h": "1", "high_24h": "4"}
DAY |= {"best_bid": "2.9", "best_ask": "3.1", "time": "2026-01-01T00:00:00.5Z"}


class Wire(wires.Wire):
    def __init__(self, num: type[float] | type[Decimal] = float) -> None:
        listed = Catalog(FEED)
        listed.update(parse_instruments(FEED, LIST.encode(), 0))
        super().__init__(listed, "spot", num)

    def __call__(self, message: object) -> Any:
        self.ctx.ts_recv += 1
        return super().__call__(message)


@pytest.mark.parametrize(("maker", "taker"), [("sell", "buy"), ("buy", "sell")])
def test_the_side_is_the_makers(maker: str, taker: str) -> None:
    tick = Wire(Decimal)(TRADE | {"side": maker})
    assert isinstance(tick, Trade)
    assert (tick.side, tick.id, str(tick.price), tick.ts_event) == (taker, "7", "88000.10", 1767225600500000000)


def test_the_last_match_at_subscribing_is_history() -> None:
    past = Wire()(TRADE | {"type": "last_match"})
    assert isinstance(past, History)
    assert [t.id for t in past.trades] == ["7"]


def test_lost_matches_are_counted() -> None:
    """`sequence` runs on with every order of the product, so it has holes for us: the ids have none."""
    wire = Wire()
    assert isinstance(wire(TRADE | {"sequence": 50}), Trade)
    assert isinstance(wire(TRADE | {"trade_id": 8, "sequence": 90}), Trade)
    gap, trade = wire(TRADE | {"trade_id": 11})
    assert isinstance(gap, Gap)
    assert (gap.symbol, gap.channel, gap.cause, gap.count, gap.proof) == ("BTC/USD", "trade", "sequence", 2, "sequence")
    assert (gap.ts_from, gap.ts_to, trade.id) == (2, 3, "11")
    assert isinstance(wire(TRADE | {"trade_id": 10}), Trade), "one that came late"
    assert isinstance(wire(TRADE | {"trade_id": 12}), Trade)
    assert isinstance(wire(TRADE | {"product_id": "ETH-EUR", "trade_id": 500}), Trade), "each product counts for itself"


def test_a_pair_with_another_name_is_not_its_namesake() -> None:
    """BTCAUCTION-USD says that it is BTC in USD."""
    listed = parse_instruments(FEED, LIST.encode(), 0)
    assert {i.symbol: i.active for i in listed} == {"BTC/USD": True, "ETH/EUR": True, "BTCAUCTION/USD": False, "REP/USD": False}
    assert (listed[0].price_step, listed[0].size_step) == (Decimal("0.01"), Decimal("0.00000001"))
    with pytest.raises(BadFrame):
        parse_instruments(FEED, b'{"message":"Public rate limit exceeded"}', 0)


def test_an_answer_lists_all_that_is_subscribed() -> None:
    channels = [{"name": "level2_50", "product_ids": ["BTC-USD"], "account_ids": None}, {"name": "matches", "product_ids": ["A-B", "C-D"]}]
    answer = Wire()({"type": "subscriptions", "channels": channels})
    assert answer == [Ack("level2_batch:BTC-USD"), Ack("matches:A-B"), Ack("matches:C-D")]
    assert Wire()({"type": "subscriptions", "channels": []}) == []


def test_a_refusal_is_of_a_product() -> None:
    reason = "NOSUCH-USD is not a valid product"
    answer = Wire()({"type": "error", "message": "Failed to subscribe", "reason": reason})
    assert answer == [Reject(f"{name}:NOSUCH-USD", reason, fatal=True) for name in ("matches", "level2_batch", "ticker")]
    assert Wire()({"type": "error", "message": "Malformed JSON"}) == Unknown("Malformed JSON")
    login = "level2, level3, and full channels now require authentication. https://docs.cloud.coinbase.com/exchange/docs/websocket-auth"
    assert Wire()({"type": "error", "message": "Failed to subscribe", "reason": login}) == Unknown(login)


def test_a_refused_product_takes_no_other_with_it() -> None:
    frames = [json.loads(frame) for frame in FEED.subscribe(["matches:A-B", "ticker:NOSUCH-USD", "level2_batch:A-B"], 1)]
    named = [{product for channel in frame["channels"] for product in channel["product_ids"]} for frame in frames]
    assert named == [{"A-B"}, {"NOSUCH-USD"}]
    assert [c["name"] for c in frames[0]["channels"]] == ["matches", "level2_batch"]


def test_the_ticker_of_a_pair_without_trades() -> None:
    """The sizes of the best prices came later than the rest: in 2021 there were none."""
    day = Wire()(DAY)
    assert isinstance(day, Ticker)
    assert (day.last, day.open, day.high, day.low, day.volume, day.quote_volume) == (3.0, 2.0, 4.0, 1.0, 9.0, None)
    assert (day.bid, day.bid_size, day.ask, day.ask_size) == (2.9, None, 3.1, None)
    day = Wire()(DAY | {"price": "0", "open_24h": "", "volume_24h": "0", "best_bid": "0", "best_bid_size": "0.00", "best_ask_size": "1.5"})
    assert (day.last, day.open, day.volume, day.bid, day.bid_size, day.ask_size) == (None, None, 0.0, None, None, 1.5)


def test_a_recording() -> None:
    """All of it is understood; books and trades are those that plain JSON gives, digit by digit; and the same bytes come twice."""
    lines = recorded("coinbaseexchange/cryptofeed-1")
    rows = [json.loads(line.payload()) for line in lines if line.dir == "in"]
    ticks, replayer = replayed("coinbaseexchange", lines, numbers="decimal")
    again, _ = replayed("coinbaseexchange", lines, numbers="decimal")
    summary = replayer.summary()
    assert b"".join(map(encode, ticks)) == b"".join(map(encode, again))
    assert (summary.bad, summary.unknown, summary.unknown_ids, summary.stale) == ({}, {}, {}, {})
    assert (summary.live_books, summary.books) == (10, 10)
    count = Counter(type(t) for t in ticks)
    sent = Counter(m["type"] for m in rows)
    assert (count[Trade], count[Ticker], count[BookSnapshot], count[BookDelta]) == (97, sent["ticker"], 10, sent["l2update"])
    assert count[Gap] == 0
    matches = [m for m in rows if m["type"] == "match"]
    swapped = {"buy": "sell", "sell": "buy"}
    told = [(t.symbol, t.id, f"{t.price:f}", f"{t.size:f}", t.side) for t in ticks if isinstance(t, Trade)]
    assert told == [(m["product_id"].replace("-", "/"), str(m["trade_id"]), m["price"], m["size"], swapped[m["side"]]) for m in matches]
    books: dict[str, dict[str, dict[Decimal, str]]] = {}
    for m in rows:
        if m["type"] == "snapshot":
            books[m["product_id"]] = {side: {Decimal(p): s for p, s in m[side + "s"]} for side in ("bid", "ask")}
        elif m["type"] == "l2update":
            for way, price, size in m["changes"]:
                side = books[m["product_id"]]["bid" if way == "buy" else "ask"]
                side[Decimal(price)] = size
                if not Decimal(size):
                    del side[Decimal(price)]
    for product, sides in books.items():
        stream = replayer.hub.book("coinbaseexchange", product.replace("-", "/"))
        assert stream is not None
        book = stream.book
        assert book is not None
        for ours, theirs in ((book.bids, sides["bid"]), (book.asks, sides["ask"])):
            assert {p: f"{s:f}" for p, s in ours.sizes.items()} == theirs
