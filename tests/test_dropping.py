"""What is dropped is told, once a run, before the next tick of that stream; a book is made good. (At random: test_policies.)"""

from typing import Any

import pytest

from streamer.errors import UsageError
from streamer.mailbox import LEVEL_BYTES, TICK_BYTES, Mailbox, Policy
from streamer.policies import mailbox
from streamer.types import BookDelta, BookSnapshot, BookStale, Gap, Status, Ticker, Trade
from tests.hubs import START, Desk, Reader, law, market

DROPPING: tuple[Policy, ...] = ("drop_oldest", "drop_newest")


def reader_of(policy: Policy, kinds: tuple[str, ...] = ("trade",), **bounds: int) -> tuple[Desk, Reader, Any]:
    """A reader of streams that are live already, and its box."""
    desk = Desk(market("A/B"), market("C/D"))
    for symbol in desk.listed:
        desk.trade(symbol)
        desk.ticker(symbol)
    reader = Reader(desk, mailbox(policy, **bounds), kinds=kinds)
    return desk, reader, reader.box


def short(tick: Any) -> Any:
    """A tick in a word."""
    if isinstance(tick, Trade):
        return f"{tick.symbol[0]}{tick.id}"
    return f"gap {tick.channel} {tick.symbol[0]} {tick.count}" if isinstance(tick, Gap) else type(tick).__name__


def test_the_oldest_go() -> None:
    desk, reader, box = reader_of("drop_oldest", max_items=3)
    for _ in range(5):
        desk.trade("A/B")
    assert (box.dropped, box.queued) == (2, 3)
    ticks = reader.read()
    assert [short(t) for t in ticks] == ["gap trade A 2", "A4", "A5", "A6"]
    told = ticks[0]
    assert (told.cause, told.recovered, told.proof, told.ts_from, told.ts_to) == ("overflow", None, "count", 5, 6)
    desk.trade("A/B")
    assert [short(t) for t in reader.read()] == ["A7"]
    assert law(box)


def test_the_newest_go() -> None:
    desk, reader, box = reader_of("drop_newest", max_items=3)
    for _ in range(5):
        desk.trade("A/B")
    assert [short(t) for t in reader.read(1)] == ["A2"]
    desk.trade("A/B")  # the mark of the loss takes the room
    assert [short(t) for t in reader.read(2)] == ["A3", "A4"]
    desk.trade("A/B")
    assert [short(t) for t in reader.read()] == ["gap trade A 3", "A8"]
    assert (box.dropped, box.queued) == (3, 0)
    assert law(box)


def test_two_runs_are_told_apart() -> None:
    desk, reader, _ = reader_of("drop_newest", max_items=4)
    for _ in range(6):
        desk.trade("A/B")
    reader.read(2)
    for _ in range(2):
        desk.trade("A/B")  # one fits behind the mark of the first loss, the next does not
    assert [short(t) for t in reader.read()] == ["A4", "A5", "gap trade A 2", "A8", "gap trade A 1"]


def test_each_stream_is_told_of_its_own() -> None:
    desk, reader, _ = reader_of("drop_oldest", ("trade", "ticker"), max_items=2)
    for _ in range(2):
        desk.trade("A/B")
        desk.ticker("A/B")
        desk.trade("C/D")
    assert sorted(short(t) for t in reader.read(3)) == ["gap ticker A 1", "gap trade A 2", "gap trade C 1"]
    assert [short(t) for t in reader.read()] == ["Ticker", "C3"]


@pytest.mark.parametrize("policy", DROPPING)
def test_controls_are_never_dropped(policy: Policy) -> None:
    desk, reader, box = reader_of(policy, max_items=2)
    stream = desk.stream("A/B", "trade")
    for n in range(3):
        desk.trade("A/B")
        stream.lost("reset", 1000 + n)
        desk.trade("A/B")
    ticks = reader.read()
    disconnects = [t for t in ticks if isinstance(t, Gap) and t.cause == "disconnect"]
    assert disconnects[0].ts_from is not None
    assert [t.state for t in ticks if isinstance(t, Status)][-1] == "live"
    assert box.published == box.delivered + box.dropped + box.conflated


@pytest.mark.parametrize("policy", DROPPING)
def test_a_book_that_lost_a_delta_is_made_good(policy: Policy) -> None:
    desk, reader, box = reader_of(policy, ("book", "ticker"), max_items=4)
    desk.snapshot("A/B")
    reader.read()
    for n in range(6):
        desk.delta("A/B", [(100.0, 5.0 + n)])
        desk.ticker("C/D")
    ticks = reader.read()
    (told,) = [t for t in ticks if isinstance(t, Gap) and t.channel == "book"]
    assert (told.recovered, told.cause) == ("snapshot", "overflow")
    after = ticks[ticks.index(told) + 1]
    assert isinstance(after, BookSnapshot)
    assert after.bids[0] == (100.0, 10.0)
    desk.delta("A/B", [(100.0, 1.0)])
    assert [type(t) for t in reader.read() if not isinstance(t, Ticker)] == [BookDelta]
    assert box.published == box.delivered + box.dropped + box.conflated


@pytest.mark.parametrize("policy", DROPPING)
def test_a_book_that_fell_meanwhile_is_told_as_stale(policy: Policy) -> None:
    desk, reader, _ = reader_of(policy, ("book",), max_items=2)
    desk.snapshot("A/B")
    reader.read()
    for n in range(5):
        desk.delta("A/B", [(100.0, 5.0 + n)])
    desk.lose()
    last = [t for t in reader.read() if not isinstance(t, Status)][-2:]
    assert [type(t) for t in last] == [Gap, BookStale]
    assert (last[0].recovered, last[1].reason) == (None, "overflow")


@pytest.mark.parametrize("policy", DROPPING)
def test_a_book_that_never_fits_is_always_made_good(policy: Policy) -> None:
    desk, reader, box = reader_of(policy, ("book",), max_bytes=TICK_BYTES + 2 * LEVEL_BYTES)
    desk.snapshot("A/B")
    for n in range(4):
        desk.delta("A/B", [(100.0 - i, 5.0 + n) for i in range(4)])
        assert box.held_bytes <= box.max_bytes
        assert isinstance([t for t in reader.read() if not isinstance(t, Status)][-1], BookSnapshot)
        assert law(box)


def test_a_delta_between_the_gap_and_its_snapshot_comes_after_both() -> None:
    for policy in DROPPING:
        desk, reader, _ = reader_of(policy, ("book",), max_items=3)
        desk.snapshot("A/B")
        for n in range(8):
            desk.delta("A/B", [(100.0, 5.0 + n)])
        taken: list[Any] = []
        while not (taken and isinstance(taken[-1], Gap)):
            taken += reader.read(1)
        desk.delta("A/B", [(99.0, 42.0)])
        rest = reader.read()
        assert isinstance(rest[0], BookSnapshot)
        assert [t.last for t in rest if isinstance(t, BookDelta)] == [desk.seq["A/B"]]


def test_one_book_lost_leaves_the_others_alone() -> None:
    desk, reader, _ = reader_of("drop_oldest", ("book",), max_items=6)
    desk.snapshot("A/B")
    desk.snapshot("C/D")
    reader.read()
    desk.delta("A/B", [(100.0, 2.0)])
    for n in range(6):
        desk.delta("C/D", [(100.0, 2.0 + n)])
    ticks = reader.read()
    assert [short(t) for t in ticks if t.symbol == "A/B"] == ["gap book A 1", "BookSnapshot"]
    assert [short(t) for t in ticks if t.symbol == "C/D"] == ["BookDelta"] * 6


def test_the_times_of_a_loss_span_all_of_it() -> None:
    """Deltas still queued when the book broke are older than the one that broke it."""
    desk, reader, _ = reader_of("drop_oldest", ("book",), max_bytes=TICK_BYTES * 3 + LEVEL_BYTES * 3)
    desk.snapshot("A/B", ([(100.0, 1.0)], []))
    reader.read()
    first = desk.now + 1
    desk.delta("A/B", [(99.0, 1.0)])
    desk.delta("A/B", START[0] * 3)  # will never fit
    (told, _) = reader.read()
    assert (told.ts_from, told.ts_to, told.count) == (first, first + 1, 2)


def test_memory_is_flat_however_much_is_lost() -> None:
    for policy in DROPPING:
        desk, _, box = reader_of(policy, ("book", "trade", "ticker"), max_items=5)
        desk.snapshot("A/B")
        for _ in range(500):
            for symbol in desk.listed:
                desk.trade(symbol)
                desk.ticker(symbol)
                desk.delta(symbol, [(99.0, 1.0)])
        assert len(box._buf) <= 5
        assert len(box._lost) + len(box._controls) <= 12
        assert law(box)


def test_a_policy_of_another_box_is_refused() -> None:
    with pytest.raises(UsageError, match="is none of"):
        type(mailbox("drop_oldest"))("drop_newest")
    assert isinstance(mailbox("drop_newest"), Mailbox)
