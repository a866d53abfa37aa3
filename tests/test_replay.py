"""Recordings replayed: a virtual clock, REST answers before and after they are asked for, connections that end without saying so."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from streamer import registry
from streamer.book_stream import BookStream
from streamer.encode import encode_lines
from streamer.errors import BadRecording, UnknownExchange, UsageError
from streamer.recorded import _id_in
from streamer.recording import Line
from streamer.replay import Replayer, Summary, read_all, replay
from streamer.spec import Restart
from streamer.types import BookDelta, BookSnapshot, BookStale, Candle, Quote, Status, Tick, Trade

SECOND = 10**9
T0 = 1_700_000_000 * SECOND
WS = "wss://stream.binance.com:9443/stream"
API = "https://api.binance.com/api/v3"


def message(raw: Any, at: float = 0.0, conn: str = "ws.1#1") -> Line:
    return Line("in", raw if isinstance(raw, str) else orjson.dumps(raw).decode(), WS, ns=T0 + int(at * SECOND), conn=conn)


def http(path: str, body: Any, at: float = 0.0, status: int = 200) -> Line:
    return Line("http", orjson.dumps(body).decode(), API + path, ns=T0 + int(at * SECOND), conn="http.1", status=status)


def listing(*names: str) -> Line:
    rows = [{"symbol": n.replace("/", ""), "status": "TRADING", "baseAsset": n.split("/")[0], "quoteAsset": n.split("/")[1]} for n in names]
    return http("/exchangeInfo", {"symbols": rows})


def trade(number: int, at: float = 0.0, conn: str = "ws.1#1", symbol: str = "AB") -> Line:
    data = {"e": "trade", "s": symbol, "t": number, "p": "1.50", "q": "2", "T": 1, "m": True}
    return message({"stream": f"{symbol.lower()}@trade", "data": data}, at, conn)


def depth(first: int, last: int, at: float = 0.0, conn: str = "ws.1#1", symbol: str = "AB", price: str = "1.1") -> Line:
    data = {"e": "depthUpdate", "E": 1, "s": symbol, "U": first, "u": last, "b": [[price, str(last)]], "a": []}
    return message({"stream": f"{symbol.lower()}@depth@100ms", "data": data}, at, conn)


def snapshot(last: int, at: float = 0.0, symbol: str = "AB", status: int = 200) -> Line:
    return http(f"/depth?symbol={symbol}&limit=1000", {"lastUpdateId": last, "bids": [["1.0", "1"]], "asks": [["2.0", "1"]]}, at, status)


def run(*lines: Line, exchange: str | None = "binance", listed: bool = True, **how: Any) -> tuple[list[Tick[Any]], Summary, Replayer]:
    all_lines = [listing("A/B", "C/D"), *lines] if listed else list(lines)
    replayer = Replayer(lambda: all_lines, exchange=exchange, **how)
    return [t for line in all_lines for t in replayer.feed(line)], replayer.summary(), replayer


def book(replayer: Replayer, symbol: str = "A/B") -> BookStream:
    stream = replayer.hub.book("binance", symbol)
    assert stream is not None
    return stream


def story(ticks: list[Tick[Any]]) -> list[str]:
    """The ticks of the books, in short."""
    return [
        f"snapshot {t.seq}" if isinstance(t, BookSnapshot) else f"delta {t.last}" if isinstance(t, BookDelta) else f"stale {t.reason}"
        for t in ticks
        if isinstance(t, BookSnapshot | BookDelta | BookStale)
    ]


def test_a_snapshot_after_it_was_asked_for() -> None:
    ticks, summary, _ = run(depth(8, 9, 1), depth(10, 11, 2), snapshot(9, 3), depth(12, 12, 4))
    assert story(ticks) == ["snapshot 9", "delta 11", "delta 12"]
    first = next(t for t in ticks if isinstance(t, BookSnapshot))
    assert first.ts_recv == T0 + 3 * SECOND
    assert (summary.live_books, summary.books, summary.frames) == (1, 1, 3)


def test_a_snapshot_before_it_is_asked_for_is_served_when_it_is() -> None:
    ticks, _, _ = run(snapshot(9, 1), depth(8, 9, 2), depth(10, 11, 3))
    assert story(ticks) == ["snapshot 9", "delta 11"]
    assert next(t for t in ticks if isinstance(t, BookSnapshot)).ts_recv == T0 + 2 * SECOND


def test_a_snapshot_that_is_too_old_is_not_used_and_the_next_one_is() -> None:
    ticks, summary, _ = run(depth(8, 9, 1), snapshot(4, 2), depth(10, 11, 3), snapshot(10, 4))
    assert story(ticks) == ["snapshot 10", "delta 11"]
    assert not summary.stale


@pytest.mark.parametrize(
    "bad", [http("/depth?symbol=AB", {"code": -1003, "msg": "too many"}), http("/depth?symbol=AB", {"lastUpdateId": "x"})]
)
def test_an_answer_that_is_no_snapshot_does_not_end_the_waiting(bad: Line) -> None:
    ticks, summary, _ = run(depth(8, 9, 1), bad, snapshot(9, 4), depth(10, 10, 5))
    assert story(ticks) == ["snapshot 9", "delta 10"]
    assert summary.bad == {"rest": 1}


def test_an_answer_with_another_status_is_none() -> None:
    ticks, summary, _ = run(depth(8, 9, 1), snapshot(9, 2, status=429), snapshot(9, 3))
    assert story(ticks) == ["snapshot 9"]
    assert ticks[-1].ts_recv == T0 + 3 * SECOND
    assert not summary.bad
    _, summary, _ = run(replace(listing("A/B"), status=403), trade(1), listed=False)
    assert summary.notes, "an error is no list of instruments either"


def test_a_quiet_book_is_live_from_its_snapshot_alone() -> None:
    ticks, summary, _ = run(trade(1, 1), snapshot(9, 2), trade(2, 3))
    assert story(ticks) == ["snapshot 9"]
    assert summary.live_books == 1
    ticks, _, _ = run(trade(1, 1), snapshot(9, 2), depth(9, 9, 3), depth(10, 10, 4))
    assert story(ticks) == ["snapshot 9", "delta 10"]


def test_the_deltas_of_a_quiet_book_may_come_on_another_line() -> None:
    """Its snapshot was put on the line of the trades. That line's book must not stay, frozen, in front of the one that moves."""
    ticks, _, replayer = run(trade(1, 1), snapshot(9, 2), depth(10, 10, 3, "ws.2#1"), depth(11, 11, 4, "ws.2#1"), trade(2, 5))
    assert story(ticks) == ["snapshot 9", "delta 10", "delta 11"]
    live = book(replayer)
    assert live.book is not None
    assert (live.book.seq, len(live.sources)) == (11, 1)
    ticks, _, _ = run(trade(1, 1), snapshot(9, 2), depth(15, 15, 3, "ws.2#1"), depth(16, 16, 4, "ws.2#1"), snapshot(15, 5))
    assert story(ticks) == ["snapshot 9", "stale gap", "snapshot 15", "delta 16"]


def test_an_answer_for_a_book_that_lives_elsewhere_opens_no_second_one() -> None:
    """A late answer while the book is live on another line than the market's first."""
    lines = [trade(1, 1), depth(8, 9, 2, "ws.2#1"), snapshot(9, 3), snapshot(9, 4), depth(15, 15, 5, "ws.2#1")]
    ticks, summary, replayer = run(*lines)
    assert story(ticks) == ["snapshot 9", "stale gap"]
    assert (summary.live_books, len(book(replayer).sources)) == (0, 1)


def test_a_new_connection_means_that_the_old_one_was_lost() -> None:
    ticks, summary, _ = run(depth(8, 9, 1), snapshot(9, 2), trade(1, 3), trade(2, 4, "ws.1#2"), depth(10, 10, 5, "ws.1#2"), snapshot(9, 6))
    assert story(ticks) == ["snapshot 9", "stale disconnect", "snapshot 9", "delta 10"]
    fell = next(i for i, t in enumerate(ticks) if isinstance(t, BookStale))
    after = [t for t in ticks[fell:] if isinstance(t, Trade)]
    assert [t.id for t in after] == ["2"], "told before anything of the new connection"
    assert summary.stale == {"disconnect": 1}


def test_an_answer_asked_for_on_a_lost_connection_is_not_served_to_it() -> None:
    lines = [depth(8, 9, 1), trade(1, 2, "ws.1#2"), snapshot(9, 3), depth(10, 10, 4, "ws.1#2"), depth(11, 11, 5, "ws.1#2")]
    ticks, _, replayer = run(*lines)
    live = book(replayer)
    assert live.book is not None
    assert (live.book.seq, len(live.sources)) == (11, 1)
    assert story(ticks) == ["snapshot 9", "delta 10", "delta 11"]


def test_a_snapshot_from_before_a_disconnect_is_not_kept_for_after_it() -> None:
    ticks, _, replayer = run(depth(8, 9, 1), snapshot(9, 2), snapshot(9, 3), depth(10, 10, 4, "ws.1#2"))
    assert story(ticks) == ["snapshot 9", "stale disconnect"]
    assert not book(replayer).live


def test_a_line_that_was_handed_over_does_not_lead_for_ever() -> None:
    """Our recordings do not say when the old line of a hand-over was closed."""
    lines = [depth(8, 9, 1), snapshot(9, 2), depth(10, 10, 3), depth(10, 10, 3, "ws.2#1"), snapshot(9, 4)]
    lines += [depth(11 + i, 11 + i, 5 + i, "ws.2#1") for i in range(60)]
    ticks, _, replayer = run(*lines)
    live = book(replayer)
    assert live.book is not None
    assert (live.book.seq, live.ts_book, len(live.sources)) == (70, lines[-1].ns, 1)
    assert "stale disconnect" not in story(ticks)


def test_a_silent_line_whose_streams_come_on_no_other_stays() -> None:
    lines = [depth(8, 9, 1), snapshot(9, 2), *(trade(i, 5 + 40 * i, "ws.2#1") for i in range(5)), depth(10, 10, 300)]
    ticks, summary, _ = run(*lines)
    assert story(ticks) == ["snapshot 9", "delta 10"]
    assert summary.live_books == 1


def test_a_restart_that_a_handler_asks_for_ends_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole in a sequence that counts the connection: no book of it is to be trusted."""
    feed = registry.load("binance")

    def compile_(num: Any) -> Any:
        decode = feed.normalize.compile(num)
        controls = {b"hole": Restart("sequence"), b"soon": Restart("notice", planned=True)}
        return lambda data, ctx: controls.get(data) or decode(data, ctx)

    monkeypatch.setattr(registry, "load", lambda name: replace(feed, normalize=replace(feed.normalize, compile=compile_)))
    start = depth(8, 9, 1), snapshot(9, 2)
    ticks, _, _ = run(*start, message("soon", 3), depth(10, 10, 4), message("hole", 5), depth(11, 11, 6), snapshot(10, 7))
    assert story(ticks) == ["snapshot 9", "delta 10", "stale disconnect", "snapshot 10", "delta 11"]


def test_every_interval_of_candles_is_a_stream_of_its_own() -> None:
    def bar(interval: str) -> Line:
        k = {"t": 1, "i": interval, "o": "1", "h": "1", "l": "1", "c": "1", "v": "1", "q": "1", "n": 1, "x": False}
        return message({"stream": f"ab@kline_{interval}", "data": {"e": "kline", "E": 1, "s": "AB", "k": k}})

    ticks, _, _ = run(bar("1m"), bar("5m"), bar("1m"), bar("1h"))
    assert [t.interval for t in ticks if isinstance(t, Candle)] == ["1m", "5m", "1m", "1h"]


def test_without_instruments_ids_are_symbols() -> None:
    ticks, summary, _ = run(snapshot(9, 1), depth(8, 9, 2), trade(1, 3), listed=False)
    assert {t.symbol for t in ticks} == {"AB"}
    assert story(ticks) == ["snapshot 9"]
    assert any("no instruments of binance" in note for note in summary.notes)
    assert "note: no instruments of binance" in "\n".join(summary.lines())


def test_unknown_ids_and_bad_frames_are_summed_up() -> None:
    _, summary, _ = run(trade(1, symbol="XY"), message("{"), message({"stream": "ab@news", "data": {}}))
    assert (summary.unknown_ids, summary.bad, summary.unknown) == ({"XY": 1}, {"json": 1}, {"news": 1})
    text = "\n".join(summary.lines())
    assert "unknown ids: XY 1" in text
    assert "bad frames: json 1" in text


def test_of_which_exchange_must_be_told() -> None:
    with pytest.raises(UsageError, match="give --exchange ID"):
        run(trade(1), exchange=None)
    with pytest.raises(UnknownExchange, match="did you mean binance"):
        run(trade(1), exchange="binanse")
    ticks, _, _ = run(replace(trade(1), exchange="binanceus"), exchange="binance")
    assert ticks[-1].exchange == "binanceus", "what a line says itself counts more"


@pytest.mark.parametrize("at", [5, 3])
def test_the_clock_is_the_files(at: float) -> None:
    _, _, replayer = run(trade(1, 4), trade(2, at))
    assert replayer.now == T0 + at * SECOND
    ticks, _, _ = run(trade(1, 4), replace(trade(2), ns=None))
    assert ticks[-1].ts_recv == T0 + 4 * SECOND, "a line without time has that of the one before"


def write(path: Path, lines: list[Line]) -> Path:
    rows = [{"dir": x.dir, "raw": x.raw, "url": x.url, "ns": x.ns, "conn": x.conn} for x in lines]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return path


def collect(files: list[Path], **how: Any) -> tuple[bytes, Summary]:
    out: list[bytes] = []
    return_value = replay(files, exchange="binance", write=lambda ticks: out.append(encode_lines(ticks)), **how)
    return b"".join(out), return_value


def test_files_one_after_the_other(tmp_path: Path) -> None:
    one = write(tmp_path / "1.jsonl", [listing("A/B"), depth(8, 9, 1), snapshot(9, 2), trade(1, 3)])
    two = write(tmp_path / "2.jsonl", [trade(2, 9), depth(10, 10, 10)])
    assert [line.conn for line in read_all([one, two])] == ["http.1", "ws.1#1", "http.1", "ws.1#1", "ws.1#1#1", "ws.1#1#1"]
    text, summary = collect([one, two])
    assert summary.stale == {"disconnect": 1}, "a connection does not go on from one file into the next"
    assert collect([one, two])[0] == text
    assert b'"id":"2"' in text


def test_instruments_of_another_file(tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.jsonl", [trade(1, 1)])
    listed = write(tmp_path / "listed.jsonl", [listing("A/B")])
    text, summary = collect([bare], instruments=listed)
    assert b'"symbol":"A/B"' in text
    assert not summary.notes
    assert b'"symbol":"AB"' in collect([bare])[0]


@pytest.mark.parametrize(("speed", "slept"), [(0.0, []), (1.0, [2.0, 0.5]), (10.0, [0.2, 0.05])])
def test_speed(tmp_path: Path, speed: float, slept: list[float]) -> None:
    file = write(tmp_path / "x.jsonl", [trade(1, 1), trade(2, 3), trade(3, 3), trade(4, 2.5), trade(5, 3)])
    pauses: list[float] = []
    fast, _ = collect([file])
    slow, _ = collect([file], speed=speed, sleep=pauses.append)
    assert pauses == pytest.approx(slept)
    assert slow == fast


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match=r"none\.jsonl"):
        collect([tmp_path / "none.jsonl"])


def test_numbers_and_sizes(tmp_path: Path) -> None:
    file = write(tmp_path / "x.jsonl", [trade(1, 1)])
    assert b'"price":1.5,' in collect([file])[0]
    assert b'"price":1.50,' in collect([file], numbers="decimal")[0]
    assert b'"price":1.50,' in collect([file], numbers="decimal", sizes="venue")[0]


@pytest.mark.parametrize(
    ("template", "url", "id_"),
    [
        (API + "/depth?symbol={id}&limit=1000", "https://www.binance.com/api/v1/depth?symbol=BTCUSDT&limit=5000", "BTCUSDT"),
        (API + "/depth?symbol={id}", "http://127.0.0.1:9000/binance/api/v3/depth?limit=5&symbol=BTCUSDT", "BTCUSDT"),
        (API + "/depth?symbol={id}", "https://h/api/v3/trades?symbol=BTCUSDT", None),
        (API + "/depth?symbol={id}", "https://h/api/v3/depth?limit=5", None),
        ("https://h/v2/book/{id}", "https://k/sim/v1/book/btcusd", "btcusd"),
        ("https://h/v2/book/{id}/full", "https://h/v2/book/btcusd/full", "btcusd"),
        ("https://h/v2/book/{id}/full", "https://h/v2/book/btcusd", None),
        ("https://h/v2/book/{id}", "https://h/v2/book/btcusd/full", None),
        ("https://h/v2/book/{id}", "https://h/v2/book/", None),
        (API + "/level2_100?symbol={id}", "https://h/api/v3/level2?symbol=BTC-USDT", "BTC-USDT"),
        (API + "/level2_100?symbol={id}", "https://h/api/v3/level3_100?symbol=BTC-USDT", None),
    ],
)
def test_whose_snapshot_an_address_is(template: str, url: str, id_: str | None) -> None:
    assert _id_in(template, url) == id_


def test_quotes_and_states_come_along() -> None:
    data = {"u": 1, "s": "AB", "b": "1", "B": "1", "a": "2", "A": "1"}
    ticks, summary, _ = run(message({"stream": "ab@bookTicker", "data": data}))
    assert [type(t) for t in ticks] == [Status, Quote]
    assert summary.ticks == {"status": 1, "quote": 1}
