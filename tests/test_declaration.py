"""What is refused in a declaration, and what a book method proves."""

from typing import Any

import pytest
from msgspec.structs import replace

from feeds.binance import FEED
from normalizers.binance import BOOK_REST, INSTRUMENTS
from streamer.checksum import Crc32, shortest
from streamer.declaration import FIELDS, check, proof, prove
from streamer.errors import BadFeed
from streamer.rules import chained, overlap, rising, unnumbered
from streamer.spec import UNHEARD, FromRest, FromStream, FullRefresh, Instruments, Limits, Ping, Poll, fill, unspoken
from streamer.types import Instrument

SPOT = FEED.book["spot"]
REST = FEED.topics["spot", "trade"]


def topics(**templates: Any) -> dict[str, Any]:
    """The feed's topics with some replaced."""
    return {"topics": {**FEED.topics} | {("spot", kind): template for kind, template in templates.items()}}


POLL = Poll(1.0, "https://a.b/{id}", BOOK_REST)
SILENT: dict[str, Any] = {"subscribe": unspoken, "unsubscribe": unspoken, "normalize": UNHEARD}
FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"name": "other"}, "name is 'other' but it was loaded as 'binance'"),
    ({"endpoints": {}}, "endpoints is empty"),
    ({"endpoints": {"spot": "wss://a.b", "swap": "wss://c.d"}}, "endpoints has 2 markets; give market="),
    ({"endpoints": {"spot": "https://a.b"}}, r"endpoints\['spot'\] is 'https://a.b'; it must begin with wss://"),
    ({"instruments": Instruments([], FEED.instruments.parse)}, "instruments.urls is empty"),
    ({"topics": {}, "book": {}}, "topics is empty"),
    ({"topics": {("swap", "trade"): "t"}, "book": {}}, r"topics\['swap', 'trade'\]: market 'swap' is not in endpoints \(spot\)"),
    (topics(trades="x"), r"topics\['spot', 'trades'\]: no such kind; one of trade, "),
    (topics(trade="{symbol}@trade"), r"\{symbol\} in '\{symbol\}@trade' is none of \{id\} \{lower\} \{base\}"),
    (topics(trade='{"channel":"trade"}'), "is none of|write literal braces twice"),
    (topics(trade="{id"), "is no template .*; write literal braces twice"),
    (topics(trade="{lower}@{interval}"), r"\{interval\} is for candles only"),
    ({"intervals": {}}, r"topics\['spot', 'candle'\]: candles need intervals"),
    (topics(candle="{lower}@kline"), r"16 intervals but no \{interval\}"),
    (topics(book="{lower}@depth{depth}"), r"\{depth\} needs a book method with depths="),
    ({"book": {}}, r"topics\['spot', 'book'\]: no book method for that market; give book\['spot'\]"),
    ({"book": {"spot": SPOT, "swap": FullRefresh()}}, r"book\['swap'\]: topics has no \('swap', 'book'\)"),
    ({"book": {"spot": FromRest("https://a.b/{pair}", BOOK_REST, overlap)}}, r"book\['spot'\].url: \{pair\} in"),
    ({"book": {"spot": FromStream(rising, reach=200)}}, r"book\['spot'\].reach is for snapshots that come again by themselves"),
    ({"book": {"spot": FullRefresh(depths=(20, 5))}}, r"book\['spot'\].depths is \[20, 5\]; write them ascending"),
    ({"limits": Limits(connects=(0, 1.0))}, r"limits.connects is \(0, 1.0\); it is \(how many, per how many seconds\)"),
    ({"limits": Limits(topics_per_command=0)}, "limits.topics_per_command must be at least 1"),
    ({"quiet_s": 0.0}, "quiet_s is 0.0; it must be more than 0"),
    ({"ping": Ping(-1.0)}, "ping.every is -1.0"),
    (topics(ticker=Poll(0.0, "https://a.b/{id}", BOOK_REST)), r"topics\['spot', 'ticker'\].every is 0.0"),
    (topics(ticker=Poll(1.0, "https://a.b/{pair}", BOOK_REST)), r"topics\['spot', 'ticker'\]: \{pair\} in"),
    (topics(ticker=Poll(1.0, "wss://a.b/{id}", BOOK_REST)), r"topics\['spot', 'ticker'\]: the url of a Poll is 'wss://a.b/\{id\}'"),
    (topics(ticker=POLL, mark=Poll(1.0, POLL.url, INSTRUMENTS)), r"topics\['spot', 'mark'\]: another kind asks for .*; give both the same"),
    (topics(ticker=POLL, mark=Poll(2.0, POLL.url, BOOK_REST)), r"topics\['spot', 'mark'\]: another kind asks for .*; give both the same"),
    ({"subscribe": unspoken}, r"topics\['spot', 'trade'\] is no Poll: give subscribe=, unsubscribe= and normalize="),
    ({"normalize": UNHEARD}, r"topics\['spot', 'trade'\] is no Poll: give subscribe="),
]


@pytest.mark.parametrize(("change", "said"), FAULTS, ids=[s[:40] for _, s in FAULTS])
def test_a_fault_is_named_with_its_field(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadFeed, match=f"^feed '.*': .*({said})"):
        check(replace(FEED, **change), "binance")


def test_what_is_no_feed_is_refused() -> None:
    with pytest.raises(BadFeed, match="x: FEED is NoneType; it must be a"):
        check(None, "x")


@pytest.mark.parametrize(
    "change",
    [
        {},
        topics(trade='{{"channel":"trade","id":"{id}"}}'),
        {"intervals": {"1m": "60"}} | topics(candle="{lower}@kline"),
        {"book": {"spot": FullRefresh(depths=(5, 20))}} | topics(book="{lower}@depth{depth}"),
        topics(ticker=POLL, mark=POLL),
        {"endpoints": {"spot": ""}, "topics": {("spot", "trade"): POLL, ("spot", "mark"): POLL}, "book": {}} | SILENT,
    ],
)
def test_what_is_sound_passes(change: dict[str, Any]) -> None:
    feed = replace(FEED, **change)
    assert check(feed, "binance") is feed


def test_what_each_book_method_proves() -> None:
    crc = Crc32(10, "asks_bids", shortest)
    assert prove(FromStream(chained)) == "sequence"
    assert prove(FromStream(unnumbered, crc)) == "checksum"
    assert prove(FromStream(chained, crc)) == "sequence+checksum"
    assert prove(FromStream(unnumbered)) == prove(FromStream(rising, repeats=True)) == "none"
    assert prove(FromStream(by_id=True)) == "ids"
    assert prove(FromRest("https://a.b", BOOK_REST, overlap)) == "sequence"
    assert prove(FromRest("https://a.b", BOOK_REST, unnumbered)) == "none"
    assert prove(FullRefresh()) == "full refresh"
    assert proof(FEED) == {"spot": "sequence"}


def test_the_fields_of_a_template_are_those_that_fill_knows() -> None:
    instrument = Instrument("binance", "BTC/USDT", None, 0, "BTCUSDT", "BTC", "USDT")
    filled = fill(" ".join(f"{{{f}}}" for f in FIELDS), instrument, "1m", 20)
    assert filled == "BTCUSDT btcusdt BTC USDT spot 1m 20"
