"""A user's base url in place of a venue's hosts."""

from typing import Any

import pytest
from msgspec.structs import replace

from feeds.binance import FEED as BINANCE
from feeds.okx import FEED as OKX
from streamer.errors import UsageError
from streamer.spec import Endpoint, FromRest, Poll, on
from streamer.urls import check_base, market_of_url, rebase, rebase_endpoint, rebase_feed


@pytest.mark.parametrize("base", ["https://h/x", "wss://h", "http://127.0.0.1:9000/binance", "ws://localhost:1", "http://[::1]:9000"])
def test_secure_or_on_this_machine(base: str) -> None:
    check_base("binance", base)


@pytest.mark.parametrize(
    ("base", "says"),
    [("http://example.org", "is not encrypted"), ("ws://10.0.0.1", "is not encrypted"), ("http://127.0.0.1.evil.org", "is not encrypted"),
     ("ftp://h", "give one like"), ("file:///etc/passwd", "give one like"), ("example.org", "give one like"), ("", "give one like"),
     ("https://", "give one like"), ("https://[::1", "give one like"), ("https://h:port", "give one like"), ("https://h:99999",
     "give one like")],
)  # fmt: skip
def test_other_addresses_are_refused(base: str, says: str) -> None:
    with pytest.raises(UsageError, match=f"the url given for binance .*{says}"):
        check_base("binance", base)


@pytest.mark.parametrize(
    ("url", "base", "there"),
    [
        ("wss://stream.binance.com:9443/stream", "http://127.0.0.1:9000/binance/", "ws://127.0.0.1:9000/binance/stream"),
        ("https://api.binance.com/api/v3/depth?symbol={id}&limit=1", "wss://h", "https://h/api/v3/depth?symbol={id}&limit=1"),
        ("wss://h/a?x=1", "https://k/b", "wss://k/b/a?x=1"),
    ],
)
def test_path_and_query_stay(url: str, base: str, there: str) -> None:
    assert rebase(url, base) == there


def test_every_address_of_a_feed_moves() -> None:
    async def fetched(fetch: Any) -> Endpoint:
        return Endpoint("wss://token.example/ws")

    feed = replace(
        BINANCE,
        endpoints={"a": "wss://a.example/a", "b": Endpoint("wss://b.example/b", ping_every=3.0), "c": fetched},
        topics={("a", "open_interest"): Poll(5.0, "https://rest.example/oi?s={id}", on(dict, print))},
    )
    moved = rebase_feed(feed, "http://127.0.0.1:9000/x")
    assert moved.endpoints == {
        "a": "ws://127.0.0.1:9000/x/a",
        "b": Endpoint("ws://127.0.0.1:9000/x/b", ping_every=3.0),
        "c": fetched,
    }
    assert list(moved.instruments.urls) == ["http://127.0.0.1:9000/x/api/v3/exchangeInfo"]
    book = moved.book["spot"]
    assert isinstance(book, FromRest)
    assert book.url.startswith("http://127.0.0.1:9000/x/api/v3/depth?symbol={id}")
    poll = moved.topics["a", "open_interest"]
    assert isinstance(poll, Poll)
    assert poll.url == "http://127.0.0.1:9000/x/oi?s={id}"
    assert rebase_endpoint(Endpoint("wss://t/ws"), None).url == "wss://t/ws"
    with pytest.raises(UsageError):
        rebase_feed(BINANCE, "http://example.org")


def test_the_market_of_an_address() -> None:
    assert market_of_url(OKX, "wss://ws.okx.com:8443/ws/v5/business") == "business"
    assert market_of_url(OKX, "wss://ws.okex.com:8443/ws/v5/public?x=1") == "public"
    assert market_of_url(OKX, "ws://127.0.0.1:9000/okx/other") == "public"
    assert market_of_url(OKX, None) == "public"
