"""Instruments: differences only, raw ids by market, lists in pages and lists that fail, and the cache on disk."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec import Struct
from msgspec.structs import replace

from feeds.binance import FEED as BINANCE
from feeds.okx import FEED as OKX
from streamer import catalog as module
from streamer.catalog import Cache, Catalog, fetch_instruments, parse_instruments, summary
from streamer.errors import BadFrame, IoFailure, UnknownSymbol
from streamer.gates import Gates
from streamer.io import Response
from streamer.spec import Ctx, Feed, Instruments, Limits, UnknownId, on
from streamer.types import Instrument
from tests.world import EPOCH, Exchange, ScriptedIo, virtual


def listed(symbol: str, id: str = "", **facts: Any) -> Instrument:
    base, _, quote = symbol.partition("/")
    return Instrument("binance", symbol, None, facts.pop("ts_recv", EPOCH), id or base + quote, base, quote, **facts)


def test_only_what_changed_comes_back() -> None:
    c = Catalog(BINANCE)
    one, two = listed("A/B"), listed("C/D", price_step=Decimal("0.1"))
    assert c.update([one, two]) == [one, two]
    assert c.update([listed("A/B", ts_recv=EPOCH + 9), two]) == [], "the time of reading is no difference"
    finer = replace(two, price_step=Decimal("0.01"))
    new = listed("E/F")
    assert c.update([one, finer, new]) == [finer, new]
    assert c.tables["spot"]["CD"] is finer


def test_what_is_gone_is_told_once_and_comes_back() -> None:
    c = Catalog(BINANCE)
    one, two = listed("A/B"), listed("C/D")
    c.update([one, two])
    assert c.update([one]) == [replace(two, active=False)]
    assert c.update([one]) == []
    assert not c.find("C/D").active
    assert c.tables["spot"]["CD"].symbol == "C/D", "its last frames are still understood"
    assert c.update([one, two]) == [two]
    assert c.find("C/D").active


def test_a_list_that_is_not_whole_takes_nothing_away() -> None:
    c = Catalog(BINANCE)
    one, two = listed("A/B"), listed("C/D")
    c.update([one, two])
    three = listed("E/F")
    assert c.update([three], whole=False) == [three]
    assert c.find("A/B").active


def test_an_id_goes_to_the_instrument_that_is_traded() -> None:
    c = Catalog(BINANCE)
    old, new = listed("LUNA/USDT", "LUNAUSDT", active=False), listed("LUNA2/USDT", "LUNAUSDT")
    c.update([new, old])
    assert c.tables["spot"]["LUNAUSDT"] is new
    c.update([old, new])
    assert c.tables["spot"]["LUNAUSDT"] is new


def test_the_same_id_means_two_things_in_two_markets() -> None:
    topics: Any = {("spot", "trade"): "{id}", ("linear", "trade"): "{id}"}
    feed = replace(BINANCE, endpoints={"spot": "wss://a", "linear": "wss://b"}, topics=topics,
                   market=lambda i, kind: "spot" if i.kind == "spot" else "linear" if i.kind == "swap" else "")  # fmt: skip
    c = Catalog(feed)
    spot, swap = listed("BTC/USDT", "BTCUSDT"), replace(listed("BTC/USDT", "BTCUSDT"), symbol="BTC/USDT:USDT", kind="swap")
    option = replace(listed("BTC/USDT", "OPT"), symbol="BTC/USDT:USDT-260327-1-C", kind="option")
    c.update([spot, swap, option])
    assert (c.tables["spot"]["BTCUSDT"], c.tables["linear"]["BTCUSDT"]) == (spot, swap)
    assert c.find(option.symbol) is option
    assert "OPT" not in c.tables["spot"]
    with pytest.raises(UnknownId):
        c.tables["linear"]["OPT"]


def test_an_unknown_symbol_names_the_nearest() -> None:
    c = Catalog(BINANCE)
    c.update([listed("BTC/USDT"), listed("ETH/BTC")])
    with pytest.raises(UnknownSymbol, match=r"binance lists no 'BTC/USTD'; did you mean BTC/USDT\?"):
        c.find("BTC/USTD")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"<html>", b'{"symbols":[{"symbol":"A"}]}', b'{"symbols":' + b"[" * 10_000])
def test_a_bad_list_is_a_bad_frame(body: bytes) -> None:
    with pytest.raises(BadFrame):
        parse_instruments(BINANCE, body, 0)


def test_a_strike_of_a_gigabyte_is_refused() -> None:
    row = {"instType": "OPTION", "instId": "BTC-USD-260327-1E999999999-C", "stk": "1E+999999999", "state": "live"}
    row |= dict.fromkeys(("baseCcy", "quoteCcy", "ruleType"), "") | {
        "settleCcy": "BTC",
        "ctVal": "0.01",
        "ctMult": "1",
        "ctType": "",
        "optType": "C",
    }
    row |= {
        "uly": "BTC-USD",
        "instFamily": "BTC-USD",
        "ctValCcy": "BTC",
        "expTime": "1774598400000",
        "tickSz": "1",
        "lotSz": "1",
        "minSz": "1",
    }
    body = orjson.dumps({"code": "0", "msg": "", "data": [row]})
    with pytest.raises(BadFrame, match="is no strike"):
        parse_instruments(OKX, body, 0)
    assert parse_instruments(OKX, body.replace(b'"1E+999999999"', b'"100000"'), 0)[0].strike == 100000


class Listing(Struct):
    names: list[str]
    next: str | None = None


def parse(m: Listing, ctx: Ctx[Any]) -> list[Instrument]:
    return [listed(f"{n}/USD", ts_recv=ctx.ts_recv) for n in m.names]


class Venue(Exchange):
    hosts = ("h",)

    def __init__(self, **pages: Any) -> None:
        super().__init__()
        self.pages = pages

    def rest(self, path: str) -> Any:
        return self.pages[path.strip("/")]


def paged(*urls: str, more: Any = None) -> Feed:
    return replace(BINANCE, instruments=Instruments([f"https://h/{u}" for u in urls], on(Listing, parse), more))


async def fetch(feed: Feed, venue: Venue) -> tuple[list[str], bool]:
    io = ScriptedIo(venue)
    found, whole = await fetch_instruments(feed, Gates(io, Limits()), io)
    assert all(i.ts_recv >= EPOCH for i in found)
    return [i.base for i in found], whole


@virtual
async def test_one_list_of_several_failing_costs_its_own() -> None:
    venue = Venue(spot={"names": ["A"]}, swap={"names": ["B"]}, bad="<html>")
    assert await fetch(paged("spot", "swap"), venue) == (["A", "B"], True)
    assert await fetch(paged("spot", "bad", "swap"), venue) == (["A", "B"], False)
    venue.fault = lambda path: Response(500, {}, b"") if path == "/spot" else None
    assert await fetch(paged("spot", "swap"), venue) == (["B"], False)
    with pytest.raises(IoFailure, match="answered 500"):
        await fetch(paged("spot"), venue)
    with pytest.raises(IoFailure, match="not understood") as e:
        await fetch(paged("bad"), venue)
    assert e.value.reason == "bad_answer"


@virtual
async def test_an_empty_list_is_not_believed_to_be_whole() -> None:
    assert await fetch(paged("spot"), Venue(spot={"names": []})) == ([], False)


@virtual
async def test_pages(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def more(message: Any, url: str) -> str | None:
        return f"https://h/{message['next']}" if message["next"] else None

    venue = Venue(a={"names": ["A"], "next": "b"}, b={"names": ["B"], "next": None}, c={"names": ["C"]}, d={"names": ["D"], "next": "d"})
    feed = paged("a", more=more)
    assert await fetch(feed, venue) == (["A", "B"], True)
    assert await fetch(paged("c", more=more), venue) == (["C"], False), "it does not say whether there is more"
    monkeypatch.setattr(module, "MOST_PAGES", 2)
    caplog.clear()
    assert await fetch(feed, venue) == (["A", "B"], True)
    assert not caplog.records
    names, _ = await fetch(paged("d", more=more), venue)
    assert names == ["D", "D"]
    assert "goes on after 2 pages" in caplog.text


def test_the_cache(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "deep" / "er")
    assert cache.read("binance", 0) == []
    full = listed("A/B", price_step=Decimal("0.10"), strike=Decimal("1E+3"), expiry=5, kind="option", option_type="put", settle="B")
    cache.write("binance", [full, listed("C/D", active=False)])
    assert cache.read("binance", 0) == [full, listed("C/D", active=False)]
    assert str(cache.read("binance", 0)[0].price_step) == "0.10"
    assert cache.read("binance", EPOCH) != []
    assert cache.read("binance", EPOCH + 1) == [], "too old"
    assert cache.read("kraken", 0) == []
    cache.write("binance", [])
    assert cache.read("binance", 0) != [], "nothing is not kept in place of something"
    assert [p.name for p in (tmp_path / "deep" / "er").iterdir()] == ["binance.json"]


@pytest.mark.parametrize("body", [b"", b"[", b"{}", b"[{}]", b"\xff\xfe", b'[{"type":"trade"}]', b'["\xff"]', b"[" * 100_000, b"null"])
def test_a_spoilt_cache_counts_as_none(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "binance.json").write_bytes(body)
    cache = Cache(tmp_path)
    assert cache.read("binance", 0) == []
    cache.write("binance", [listed("A/B")])
    assert len(cache.read("binance", 0)) == 1


def test_bytes_that_are_no_text_inside_a_cached_name(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.write("binance", [listed("A/B")])
    path = tmp_path / "binance.json"
    path.write_bytes(path.read_bytes().replace(b"A/B", b"\xff\xff\xff"))
    assert cache.read("binance", 0) == []


def test_a_disk_that_refuses_is_only_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    Cache(tmp_path / "file").write("binance", [listed("A/B")])
    assert "cannot be written" in caplog.text
    assert Cache(tmp_path / "file").read("binance", 0) == []
    Cache(None).write("binance", [listed("A/B")])
    assert Cache(None).read("binance", 0) == []


def test_counts_as_text() -> None:
    assert summary({"b": 1, "a": 3, "c": 1}) == "a 3, b 1, c 1"
    assert summary({}) == ""
