"""REST answers of a recording that are those of polled topics: found by their url, read by their own handler, given once."""

from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from streamer.hub import Hub
from streamer.policies import mailbox
from streamer.recorded import RecordedVenue
from streamer.spec import Poll, on
from streamer.types import BookSnapshot, Gap, Instrument, MarkPrice, Ticker, Trade
from tests.kiosk import TOPICS, Kiosk
from tests.world import only

LISTED = [Instrument("kiosk", f"{n[0]}/{n[1]}", None, 0, n, n[0], n[1]) for n in ("AB", "AC")]
BOOK = [[[100.0, 1.0]], [[101.0, 2.0]]]


def recorded(**facts: Any) -> tuple[RecordedVenue, Any]:
    """A recording of the kiosk, and a reader of what comes of it."""
    feed = Kiosk("AB", "AC").feed
    assert feed is not None
    box = mailbox("drop_oldest")
    return RecordedVenue(replace(feed, **facts), Hub(), box, "float", LISTED), box


def answer(venue: RecordedVenue, path: str, body: Any, at: int = 1, host: str = "https://kiosk.test") -> None:
    venue.answer(host + path, orjson.dumps(body), at)


def test_each_answer_goes_to_the_kind_and_instrument_that_its_url_names() -> None:
    venue, box = recorded()
    answer(venue, "/latest", {"AB": 1.0, "AC": 2.0})
    answer(venue, "/book/AC", BOOK)
    ticks = box.drain()
    assert [(t.symbol, t.last) for t in only(ticks, Ticker)] == [("A/B", 1.0), ("A/C", 2.0)]
    assert [t.symbol for t in only(ticks, MarkPrice)] == ["A/B", "A/C"]
    assert [t.symbol for t in only(ticks, BookSnapshot)] == ["A/C"]
    assert venue.tally.frames == 2


def test_pages_go_on_from_one_another_and_holes_are_told() -> None:
    venue, box = recorded()
    for at, page in enumerate(([1, 2], [1, 2], [2, 3], [7, 8])):
        answer(venue, "/trades/AB", page, at)
    ticks = box.drain()
    assert [t.ts_event for t in only(ticks, Trade)] == [3, 7, 8]
    assert [(t.cause, t.ts_from, t.ts_to) for t in only(ticks, Gap)] == [("poll", 2, 3)]


@pytest.mark.parametrize("host", ["https://other.test", "http://127.0.0.1:9000/kiosk", "http://127.0.0.1:9000/a/b"])
def test_hosts_and_what_stands_before_the_path_do_not_count(host: str) -> None:
    venue, box = recorded()
    answer(venue, "/book/AB", BOOK, host=host)
    assert only(box.drain(), BookSnapshot)


@pytest.mark.parametrize("path", ["/book/XX", "/book", "/book/AB/C", "/list", "/latest?of=AB", ""])
def test_other_answers_are_none_of_them(path: str) -> None:
    venue, box = recorded()
    answer(venue, path, BOOK)
    assert (box.drain(), venue.tally.frames, venue.tally.bad) == ([], 0, {})


def test_the_order_of_a_query_and_the_version_of_a_path_do_not_count() -> None:
    poll = Poll(1.0, "https://kiosk.test/api/v1/book?symbol={id}&limit=20", TOPICS["shop", "book"].parse)
    venue, box = recorded(topics={("shop", "book"): poll})
    answer(venue, "/api/v2/book?limit=20&symbol=AB", BOOK)
    answer(venue, "/api/v1/book?limit=50&symbol=AB", BOOK)
    assert len(only(box.drain(), BookSnapshot)) == 1


def test_an_answer_that_several_instruments_share_is_read_once() -> None:
    def prices(m: list[float], ctx: Any, instrument: Instrument) -> Any:
        return [Ticker(ctx.exchange, f"{instrument.base}/{q}", None, ctx.ts_recv, x) for q, x in zip("BC", m, strict=True)]

    venue, box = recorded(topics={("shop", "ticker"): Poll(1.0, "https://kiosk.test/of/{base}", on(list[float], prices))}, book={})
    answer(venue, "/of/A", [1.0, 2.0])
    assert [t.last for t in only(box.drain(), Ticker)] == [1.0, 2.0]


def test_every_interval_is_found() -> None:
    def price(m: float, ctx: Any, instrument: Instrument) -> Any:
        return Ticker(ctx.exchange, instrument.symbol, None, ctx.ts_recv, m)

    poll = Poll(1.0, "https://kiosk.test/{interval}/{id}", on(float, price))
    venue, box = recorded(topics={("shop", "candle"): poll}, intervals={"1m": "60", "1h": "3600"}, book={})
    for path in ("/60/AB", "/3600/AB", "/1/AB"):
        answer(venue, path, 1.0)
    assert len(only(box.drain(), Ticker)) == 2


def test_a_bad_answer_costs_itself_and_is_counted() -> None:
    venue, box = recorded()
    for body in ({"no": "book"}, BOOK):
        answer(venue, "/book/AB", body)
    answer(venue, "/latest", {"XX": 1.0})
    assert len(only(box.drain(), BookSnapshot)) == 1
    assert (venue.tally.bad, venue.tally.unknown_ids) == ({"shape": 1}, {"XX": 1})
