"""The benchmarks: what they share, the made-up venue, and the page that is made from the committed figures."""

import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import bench.all
from bench import growth, report, venue
from bench.recordings import FILES, ROOT, load
from bench.table import ROUNDS, Bar, Spread, cell, paired, ratio, spread
from streamer.hub import Carrier, Hub
from streamer.line import Line, Tally, sync_of
from streamer.policies import mailbox
from streamer.spec import Symbols
from streamer.types import Kind

RESULTS = sorted(report.RESULTS.glob("*.json"))


def test_sides_of_a_comparison_take_turns() -> None:
    order: list[str] = []
    found = paired(2, {name: lambda name=name: float(len(order.append(name) or order)) for name in ("a", "b")})  # type: ignore[misc, func-returns-value]
    assert order == ["a", "b", "b", "a", "a", "b"]  # the first round does not count
    assert found == {"a": [4.0, 5.0], "b": [3.0, 6.0]}


def test_a_ratio_is_that_of_each_round() -> None:
    assert ratio([2.0, 9.0, 4.0], [1.0, 3.0, 1.0]) == Spread(3.0, 2.0, 4.0)
    assert cell(spread([1.0, 2.0, 4.0]), ".1f") == "2.0 (1.0-4.0)"
    assert cell({"median": 2.0, "least": 1.0, "most": 4.0}, ".1f") == "2.0 (1.0-4.0)"
    assert cell(None, ".1f") == ""


def test_bars() -> None:
    assert [Bar("x", value, 3.0).met for value in (2.9, 3.0, 3.1)] == [True, True, False]
    assert [Bar("x", value, 3.0, "least").met for value in (2.9, 3.0, 3.1)] == [False, True, True]


@pytest.mark.parametrize(("kind", "size", "within"), [("trade", 150, 0), ("book", 500, 30), ("book", 5000, 30)])
def test_messages_of_the_made_up_venue_have_the_size_asked_for(kind: Kind, size: int, within: int) -> None:
    sizes = {len(m) for m in venue.messages(kind, venue.raw(0), size)}
    assert max(sizes) <= size
    assert min(sizes) >= size - within


def test_deltas_of_the_made_up_venue_go_round_without_a_gap() -> None:
    feed, [instrument] = venue.feed("ws://127.0.0.1:1/"), venue.instruments(1, 0)
    hub, carrier, tally, box = Hub(), Carrier("bench"), Tally(), mailbox("drop_oldest", 10_000, 1 << 30)
    stream = hub.stream(instrument, "book")
    stream.attach(box)
    hub.carry(carrier, stream, sync_of(feed.book["spot"], instrument, None))
    line = Line(feed, "spot", Symbols({instrument.id: instrument}), "float", carrier, tally)
    deltas = venue.messages("book", instrument.id, 500)
    line.on_frame(venue.first("book", instrument.id) or b"", 1)
    for n, delta in enumerate([*deltas, *deltas]):
        line.on_frame(delta, n + 2)
    assert tally.bad == {}
    assert Counter(type(t).__name__ for t in box.drain()) == {"Status": 1, "BookSnapshot": 1, "BookDelta": 2 * len(deltas)}


def test_a_servers_frame_says_its_length() -> None:
    assert venue.frame(b"x" * 125) == b"\x81\x7d" + b"x" * 125
    assert venue.frame(b"x" * 126) == b"\x81\x7e\x00\x7e" + b"x" * 126
    assert venue.frame(b"x" * 65536)[:10] == b"\x81\x7f" + (65536).to_bytes(8, "big")


def test_what_a_gate_allows() -> None:
    assert [growth.gated(count, 3, 2.0) for count in (1, 3, 4, 6, 7)] == [0.0, 0.0, 2.0, 2.0, 4.0]
    assert growth.allowed("okx", ["book"], 2000) == 6.0  # 20 connections, 3 in a second; then one command each
    assert growth.allowed("binance", ["book"], 2000) > 60  # the weights of its REST snapshots


@pytest.mark.parametrize("exchange", FILES)
def test_steps_are_frames_and_snapshots(exchange: str) -> None:
    if not ROOT.exists():
        pytest.skip(f"no recordings at {ROOT}: set STREAMER_RECORDINGS")
    recording = load(exchange)
    snapshots = [s for s in recording.steps if not s.frame]
    assert recording.lists
    assert len(snapshots) == {"binance": 4, "binanceus": 4, "binanceusdm": 4, "kucoin": 9}.get(exchange, 0)
    assert all("symbol=" in (s.url or "") for s in snapshots)


def test_a_part_that_lacks_a_package_is_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert all(find_spec(f"bench.{name.partition('-')[0]}") for name in bench.all.NAMES)
    assert set(bench.all.NEEDS) <= set(bench.all.NAMES)
    monkeypatch.setitem(bench.all.NEEDS, "kafka", ("no_such_package", "pip install it"))
    monkeypatch.setattr(bench.all, "current", lambda twin: True)
    assert [name for name in bench.all.NAMES if not bench.all.there(name)] == ["kafka"]
    assert capsys.readouterr().out == "kafka is left out, since no_such_package is not installed: pip install it\n"


# the page


def result(**more: Any) -> dict[str, Any]:
    on = {"date": "2026-01-01 00:00", "commit": "abc", "cpu": "a processor", "cores": 2, "system": "Linux", "python": "3.11.7"}
    columns = [{"key": "n", "title": "levels", "spec": "", "note": ""}, {"key": "us", "title": "CPU us", "spec": ".2f", "note": "read"}]
    rows = [{"n": 100, "us": {"median": 1.0, "least": 0.5, "most": 2.0}}, {"n": 200}]
    made = {"bench": "book", "quick": False, "rounds": 7, "on": on | {"load": 0.1, "load_after": 1.0, "seconds": 9}}
    bars = [{"what": "us", "value": 1.0, "limit": 0.5, "sense": "most", "met": False}]
    return made | {"sections": [{"title": "book", "columns": columns, "rows": rows}], "bars": bars} | more


def test_the_page_shows_figures_and_what_was_missed() -> None:
    text = report.text([result()])
    assert "| us | 1 | at most 0.5 | **missed** |" in text
    assert "| 100 | 1.00 (0.50-2.00) |\n| 200 |  |\n\n- CPU us: read" in text
    assert "- book: 2026-01-01 00:00 UTC, commit abc, 7 rounds, 9 s, load 0.1 before and 1.0 after" in text


def test_renewing_the_page_leaves_the_rest_alone() -> None:
    page = f"before\n{report.BEGIN}old\n{report.END}after\n"
    assert report.renewed(page, []) == f"before\n{report.BEGIN}{report.text([])}{report.END}after\n"
    with pytest.raises(SystemExit, match="markers"):
        report.renewed("no markers", [])


def test_the_page_holds_the_committed_figures() -> None:
    """In form: what is committed is what the page says, whatever a machine would measure today."""
    page = report.PAGE.read_text()
    assert report.renewed(page, report.results()) == page, "run `python -m bench.report`"


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.stem)
def test_committed_figures_are_of_whole_runs(path: Path) -> None:
    figures = json.loads(path.read_text())
    assert not figures["quick"]
    assert figures["rounds"] >= ROUNDS
    assert figures["bench"] == path.stem
    assert {row_key for s in figures["sections"] for row in s["rows"] for row_key in row} != set()
