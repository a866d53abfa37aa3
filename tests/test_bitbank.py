"""What is peculiar to bitbank: two rooms for one book, wholes that come late and again, auctions, newest trades first, no answers."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import astuple

from feeds.bitbank import FEED
from streamer import Streamer
from streamer.catalog import Catalog, parse_instruments
from streamer.errors import BadFrame
from streamer.hub import Carrier, Hub
from streamer.line import Line, Tally, proof_of, sync_of
from streamer.mailbox import Mailbox
from streamer.recording import read as lines
from streamer.sim import SimServer
from streamer.sim.venues import bitbank as simulated
from streamer.spec import Ctx, Symbols, fill
from streamer.types import BookDelta, BookSnapshot, BookStale, Gap, Instrument, Status, Ticker, Trade
from tests.captures import ROOT, capture
from tests.test_e2e import live, same, until

HERE = Path(__file__).parent
ROWS = [json.loads(row) for row in (HERE / "exchanges/bitbank/session.jsonl").read_text().splitlines()]
LISTED = Catalog(FEED)
LISTED.update([i for row in ROWS if row["dir"] == "http" for i in parse_instruments(FEED, row["raw"].encode(), 0)])
TS = 1767225600000


class AnyId(Symbols):
    """Every id is known."""

    def __missing__(self, raw: str) -> Instrument:
        base, quote = raw.upper().split("_")
        return Instrument("bitbank", f"{base}/{quote}", None, 0, raw, base, quote)


def read(frame: str, num: type[float] | type[Decimal] = float) -> Any:
    """A frame's ticks."""
    assert FEED.framing is not None
    (message,) = FEED.framing(frame.encode())
    return FEED.normalize.compile(num)(message, Ctx("bitbank", "spot", AnyId(), num))


def frame(room: str, data: Any) -> str:
    return "42" + orjson.dumps(["message", {"room_name": room, "message": {"data": data}}]).decode()


def whole(seq: int, bids: list[Any], asks: list[Any]) -> str:
    return frame("depth_whole_btc_jpy", {"asks": asks, "bids": bids, "timestamp": TS, "sequenceId": str(seq)})


def diff(seq: int, bids: list[Any], asks: list[Any]) -> str:
    return frame("depth_diff_btc_jpy", {"a": asks, "b": bids, "t": TS, "s": str(seq)})


def test_instruments() -> None:
    btc, dead = LISTED.find("BTC/JPY"), LISTED.find("XRP/BTC")
    assert (btc.id, btc.base, btc.quote, btc.kind, btc.active) == ("btc_jpy", "BTC", "JPY", "spot", True)
    assert (btc.price_step, btc.size_step) == (Decimal(1), Decimal("0.0001"))
    assert (dead.price_step, dead.size_step, dead.active) == (Decimal("0.00000001"), Decimal("0.0001"), False)


@pytest.mark.parametrize("body", [b'{"success":0,"data":{"code":10000}}', b'{"success":1,"data":{"pairs":[{"name":"btc_jpy"}]}}'])
def test_a_list_that_is_an_error_is_no_list(body: bytes) -> None:
    with pytest.raises(BadFrame):
        parse_instruments(FEED, body, 0)


def test_a_book_is_two_rooms_the_differences_first() -> None:
    template = FEED.topics["spot", "book"]
    assert isinstance(template, str)
    topic = fill(template, LISTED.find("BTC/JPY"))
    assert FEED.subscribe([topic, "ticker_btc_jpy"], 7) == [
        '42["join-room","depth_diff_btc_jpy"]',
        '42["join-room","depth_whole_btc_jpy"]',
        '42["join-room","ticker_btc_jpy"]',
    ]
    assert FEED.unsubscribe([topic], 8) == ['42["leave-room","depth_diff_btc_jpy"]', '42["leave-room","depth_whole_btc_jpy"]']


class Kept:
    """One book on one line."""

    def __init__(self) -> None:
        hub, self.carrier, btc = Hub(), Carrier("test"), LISTED.find("BTC/JPY")
        self.stream = hub.stream(btc, "book")
        self.sync = sync_of(FEED.book["spot"], btc, None)
        hub.carry(self.carrier, self.stream, self.sync)
        self.line = Line(FEED, "spot", LISTED.tables["spot"], "float", self.carrier, Tally())
        self.stream.proof = proof_of(FEED.book["spot"])  # type: ignore[attr-defined]
        self.box = Mailbox("block", 1 << 20, 1 << 30)
        self.stream.attach(self.box)

    def take(self, text: str, at_s: float = 0.0) -> list[Any]:
        self.line.on_frame(text.encode(), int(at_s * 1e9))
        return [t for t in self.box.drain() if not isinstance(t, Status)]


def test_in_an_auction_the_book_is_crossed_and_right() -> None:
    kept = Kept()
    kept.take(whole(10, [["101", "1"], ["100", "1"]], [["99", "2"], ["100", "2"]]))
    for second in range(1, 600):
        kept.take(diff(10 + second, [["101", str(second)]], []), second)
    assert kept.sync.live
    assert kept.sync.book.best_bid == (101.0, 599.0)


def test_numbers_of_one_pair_have_holes_and_prove_nothing() -> None:
    kept = Kept()
    kept.take(whole(10, [["100", "1"]], [["102", "1"]]))
    (tick,) = kept.take(diff(5000, [["100", "2"]], []))
    assert isinstance(tick, BookDelta)
    assert kept.take(diff(5000, [["100", "3"]], [])) == []
    assert kept.take(diff(4999, [["100", "4"]], [])) == []


def test_a_frame_that_cannot_be_read_may_have_been_a_difference() -> None:
    kept = Kept()
    kept.take(whole(10, [["100", "1"]], [["102", "1"]]))
    (stale,) = kept.take("42[")
    assert isinstance(stale, BookStale)
    (again,) = kept.take(whole(11, [["100", "1"]], [["102", "1"]]))
    assert isinstance(again, BookSnapshot)


def test_only_the_best_200_levels_are_known() -> None:
    kept = Kept()
    kept.take(whole(10, [[str(1000 - i), "1"] for i in range(200)], [["2000", "1"]]))
    (tick,) = kept.take(diff(11, [["1001", "1"], ["790", "1"]], []))
    assert isinstance(tick, BookDelta)
    assert sorted(tick.bids) == [(790.0, 0.0), (801.0, 0.0), (1001.0, 1.0)]
    kept.take(diff(12, [["1001", "0"], ["801", "5"]], []))
    assert len(kept.sync.book.bids.sizes) == 199
    assert kept.sync.book.bids.worst == 802.0


@pytest.mark.parametrize(("every", "late"), [(0.2, 0.1), (0.05, 0.02)])
async def test_wholes_that_come_late_and_often_leave_the_book_true(monkeypatch: pytest.MonkeyPatch, every: float, late: float) -> None:
    monkeypatch.setattr(simulated, "WHOLE_EVERY_S", every)
    monkeypatch.setattr(simulated, "LATE_S", late)
    async with SimServer(["bitbank"], rate=100) as sim, Streamer(urls={"bitbank": sim.url("bitbank")}, cache=None) as s:
        sub = s.subscribe("bitbank:BTC/JPY", kinds=("book", "quote"))
        await s.ready(sub)
        ticks: list[Any] = []
        market, btc = sim.market("bitbank", "BTC/JPY"), (await s.instruments("bitbank"))[0]
        for _ in range(12):
            await asyncio.sleep(0.05)
            ticks += sub.take()
            book = live(s, "bitbank", btc)
            assert book.seq is not None
            assert same(book, market.book(book.seq))
        sim.clock.paused = True
        await until(lambda: same(live(s, "bitbank", btc), market.book()), lambda: "not the book")
        assert not [t for t in ticks if isinstance(t, BookStale | Gap)]
        seqs = [t.seq if isinstance(t, BookSnapshot) else t.last for t in ticks if isinstance(t, BookSnapshot | BookDelta)]
        assert seqs == sorted(seqs)
        assert len([t for t in ticks if isinstance(t, BookSnapshot)]) > 2
        assert not sim.clock.errors


# what others saw


def sample(name: str) -> Any:
    path = ROOT.parent / "samples" / "bitbank" / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no samples at {path.parent}; set STREAMER_RECORDINGS to the folder beside them")
    return json.loads(path.read_text())


def captured(name: str) -> str:
    """The frame of a sample, which is kept without its prefix."""
    return "42" + orjson.dumps(sample(name)).decode()


def levels(side: list[Any]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(price), Decimal(size)) for price, size in side]


@pytest.mark.parametrize(("name", "count"), [("trades", 5), ("trades_2026", 1)])
def test_captured_trades(name: str, count: int) -> None:
    rows = sample(name)[1]["message"]["data"]["transactions"]
    ticks = read(captured(name), Decimal)
    assert all(isinstance(t, Trade) for t in ticks)
    told = [(t.id, t.side, str(t.price), str(t.size), t.ts_event) for t in reversed(ticks)]
    assert told == [(str(r["transaction_id"]), r["side"], r["price"], r["amount"], r["executed_at"] * 10**6) for r in rows]
    assert [t.ts_event for t in ticks] == sorted(t.ts_event for t in ticks)
    assert len(ticks) == count


def test_captured_books_and_tickers() -> None:
    data = sample("book_diff")[1]["message"]["data"]
    tick = read(captured("book_diff"), Decimal)
    assert tick == BookDelta(
        "bitbank", "BTC/JPY", data["t"] * 10**6, 0, levels(data["b"]), levels(data["a"]), int(data["s"]), int(data["s"])
    )
    data = sample("book_whole")[1]["message"]["data"]
    tick = read(captured("book_whole"), Decimal)
    at = data["timestamp"] * 10**6
    assert tick == BookSnapshot("bitbank", "BTC/JPY", at, 0, levels(data["bids"]), levels(data["asks"]), int(data["sequenceId"]))
    data = sample("ticker")[1]["message"]["data"]
    tick = read(captured("ticker"), Decimal)
    assert isinstance(tick, Ticker)
    names = (*("last", "open", "high", "low", "vol"), None, "buy", None, "sell", None)
    assert [None if x is None else str(x) for x in astuple(tick)[4:]] == [name and data[name] for name in names]


def test_the_documented_shapes() -> None:
    """Those of the page with numbers in them; ``"string"`` stands for the others."""
    path = capture("bitbank/docs-bitbankinc_bitbank-api-docs-1")
    kinds = [type(read("42" + line.raw)).__name__ for line in lines(path) if line.dir == "in" and "string" not in line.raw]
    assert kinds == ["BookDelta", "BookSnapshot"]
