"""Which streams are meant, and which sink gets them."""

from types import SimpleNamespace
from typing import Any

import pytest

from streamer.daemon.config import Config, Sink, Streams
from streamer.daemon.lanes import Plan, groups, plan
from streamer.daemon.patterns import choose, pattern, problem
from streamer.errors import BadSymbol, UnknownExchange

KNOWN = ("binance", "binanceus", "kraken", "okx")


def listed(*symbols: str, gone: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(by_symbol={s: SimpleNamespace(active=s not in gone) for s in (*symbols, *gone)})


BINANCE = listed("BTC/USDT", "ETH/USDT", "ETH/BTC", "BTC/USDT:USDT", "BTC/USD:BTC-240628", gone=("OLD/USDT",))


def chosen(exchange: str, *match: str, exclude: tuple[str, ...] = (), of: Any = BINANCE) -> list[str]:
    return choose([pattern(m, KNOWN) for m in match], [pattern(x, KNOWN) for x in exclude], exchange, of)


@pytest.mark.parametrize(
    ("match", "means"),
    [
        ("binance:*/USDT", ["BTC/USDT", "ETH/USDT"]),
        ("*:BTC/USD*", ["BTC/USD:BTC-240628", "BTC/USDT", "BTC/USDT:USDT"]),
        ("binance:*:*", ["BTC/USD:BTC-240628", "BTC/USDT:USDT"]),
        ("binance:[BE]TH/???", ["ETH/BTC"]),
        ("binance:BTC/USDT", ["BTC/USDT"]),
        ("bin*:ETH/BTC", ["ETH/BTC"]),
        ("binance:btc/*", []),
        ("kraken:*", []),
        ("binance:NEW/USDT", ["NEW/USDT"]),
        ("*:NEW/USDT", []),
        ("binance:OLD/USDT", []),
        ("binance:OLD/*", []),
    ],
)
def test_what_a_pattern_means(match: str, means: list[str]) -> None:
    """What is named in full is kept when it is not listed, so that it is told; what is delisted is left out however it is named."""
    assert chosen("binance", match) == means


def test_exclusion_and_order() -> None:
    assert chosen("binance", "binance:ETH/USDT", "binance:*/USDT", exclude=("*:BTC/*",)) == ["ETH/USDT"]
    assert chosen("binance", "binance:ETH/USDT", "binance:*/USDT") == ["ETH/USDT", "BTC/USDT"]


@pytest.mark.parametrize("text", ["", "x", ":", "binance:", ":BTC/USD", "binance:BTCUSD", "binance:B\x07/*", "binance:* *"])
def test_no_patterns(text: str) -> None:
    with pytest.raises(BadSymbol):
        pattern(text, KNOWN)
    assert problem(text, KNOWN)


def test_exchanges_of_a_pattern() -> None:
    assert pattern("*:BTC/USD", KNOWN).exchanges(KNOWN) == list(KNOWN)
    assert pattern("binance*:*", KNOWN).exchanges(KNOWN) == ["binance", "binanceus"]
    for text in ("binanse:*", "b?:*"):
        with pytest.raises(UnknownExchange):
            pattern(text, KNOWN)


def planned(*streams: Streams, has: Any = lambda *of: True, lists: dict[str, Any] | None = None) -> Plan:
    config = Config(streams=list(streams), sinks={"a": Sink(type="stdout"), "b": Sink(type="stdout")})
    return plan(groups(config, KNOWN), KNOWN, {"binance": BINANCE, "kraken": listed("BTC/USD")} if lists is None else lists, has)


def shown(p: Plan) -> dict[tuple[str, tuple[str, ...]], list[str]]:
    return {(lane.sink, lane.kinds): list(streams) for lane, streams in p.lanes.items()}


def test_a_group_is_a_lane_of_each_of_its_sinks() -> None:
    p = planned(Streams(match=["binance:*/USDT", "kraken:BTC/USD"], sinks=["a", "b"], kinds=["trade", "book"]))
    want = ["binance:BTC/USDT", "binance:ETH/USDT", "kraken:BTC/USD"]
    assert shown(p) == {(s, ("trade", "book")): want for s in "ab"}


def test_groups_that_are_alike_share_a_lane() -> None:
    """So that moving a symbol from one to the other changes nothing."""
    one = planned(Streams(match=["binance:BTC/USDT"], sinks=["a"]), Streams(match=["binance:ETH/USDT"], sinks=["a"]))
    two = planned(Streams(match=["binance:BTC/USDT", "binance:ETH/USDT"], sinks=["a"]))
    assert one.lanes == two.lanes


def test_a_stream_belongs_to_the_first_group_with_that_kind() -> None:
    p = planned(
        Streams(match=["binance:BTC/USDT"], sinks=["a"], kinds=["trade", "book"]),
        Streams(match=["binance:*/USDT"], sinks=["a"], kinds=["trade", "quote"]),
    )
    assert shown(p) == {
        ("a", ("trade", "book")): ["binance:BTC/USDT"],
        ("a", ("quote",)): ["binance:BTC/USDT"],
        ("a", ("trade", "quote")): ["binance:ETH/USDT"],
    }


def test_candles_of_two_intervals_are_two_streams() -> None:
    p = planned(*(Streams(match=["binance:BTC/USDT"], sinks=["a"], kinds=["candle"], interval=i) for i in ("1m", "5m", "1m")))
    assert [(lane.interval, list(s)) for lane, s in p.lanes.items()] == [("1m", ["binance:BTC/USDT"]), ("5m", ["binance:BTC/USDT"])]


def test_a_kind_that_an_instrument_has_not_is_left_out() -> None:
    has = lambda exchange, symbol, kind, interval: kind != "funding" or ":" in symbol  # noqa: E731
    p = planned(Streams(match=["binance:BTC/USDT*"], sinks=["a"], kinds=["trade", "funding"]), has=has)
    assert shown(p) == {("a", ("trade",)): ["binance:BTC/USDT"], ("a", ("trade", "funding")): ["binance:BTC/USDT:USDT"]}


def test_too_many_are_cut_and_told() -> None:
    p = planned(Streams(match=["binance:*", "kraken:*"], sinks=["a"], max_streams=2))
    assert (list(shown(p).values()), p.cut) == ([["binance:BTC/USD:BTC-240628", "binance:BTC/USDT"]], {"streams[0]": 4})


def test_what_is_not_loaded_waits_and_what_matches_nothing_is_told() -> None:
    group = Streams(match=["okx:BTC/USDT", "binance:XYZ/*", "*:ETH/EUR"], sinks=["a"])
    assert (planned(group).lanes, planned(group).empty) == ({}, ("binance:XYZ/*",))
    every = {name: listed() for name in KNOWN}
    assert planned(group, lists=every).empty == ("binance:XYZ/*", "*:ETH/EUR")
