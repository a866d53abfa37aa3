"""One stream and its sources: health told once a change, trades told apart by id, history after a reconnect."""

from typing import Any

import pytest

from streamer.mailbox import Mailbox
from streamer.policies import mailbox
from streamer.spec import History
from streamer.streams import OVERLAP_NS, RECENT_IDS, TradeStream
from streamer.types import Gap, Status, Ticker, Trade
from tests.hubs import Desk, market


def trade(n: int, ts_event: int | None = None, ts: int = 1, size: float = 1.0, named: bool = True) -> Trade[Any]:
    return Trade("toy", "A/B", ts_event, ts, 100.0, size, "buy", str(n) if named else None)


def trades() -> tuple[Desk, TradeStream, Mailbox]:
    """A desk, its trades, and who listens to them."""
    desk = Desk(market("A/B"))
    stream = desk.stream("A/B", "trade")
    assert isinstance(stream, TradeStream)
    box = mailbox("drop_oldest")
    stream.attach(box)
    return desk, stream, box


def ids(box: Mailbox) -> list[int]:
    return [int(t.id or 0) for t in box.drain() if isinstance(t, Trade)]


def test_a_change_of_health_is_told_once() -> None:
    desk, stream, box = trades()
    changes = []
    stream.on_state = lambda: changes.append(stream.state)
    for ts in (1, 2):
        stream.alive(ts)
    for ts in (3, 4):
        stream.lost("reset", ts)
    for ts in (5, 6):
        stream.status("down", "refused", ts)
    for ts in (7, 8):
        stream.status("rejected", "no such symbol", ts)
    told = [(t.state, t.ts_recv) for t in box.drain() if isinstance(t, Status)]
    assert told == [("live", 1), ("stale", 3), ("down", 5), ("rejected", 7), ("rejected", 8)]
    assert changes == ["live", "stale", "down", "rejected", "rejected"]
    assert desk.hub.ledger.total == 1


@pytest.mark.parametrize(
    ("reason", "cause"),
    [("reset", "disconnect"), ("quiet", "disconnect"), ("stall", "stall"), ("gap", "sequence"), ("checksum", "checksum")],
)
def test_a_gap_names_its_cause(reason: str, cause: str) -> None:
    _, stream, box = trades()
    stream.alive(1)
    stream.lost(reason, 2)
    assert [t.cause for t in box.drain() if isinstance(t, Gap)] == [cause]


@pytest.mark.parametrize("state", ["stale", "down", "rejected"])
def test_a_late_subscriber_is_told_what_ails_the_stream(state: str) -> None:
    _, stream, _ = trades()
    stream.status(state, "why", 5)
    late = mailbox("drop_oldest")
    stream.attach(late)
    stream.attach(late)
    assert late.drain() == [Status("toy", "A/B", None, 5, "trade", state, "why")]


def test_a_late_subscriber_of_a_stream_that_is_well_is_told_nothing() -> None:
    desk, stream, _ = trades()
    for _ in range(2):
        late = mailbox("drop_oldest")
        stream.attach(late)
        assert late.drain() == []
        desk.trade("A/B")


def test_trades_without_size_are_refused_and_counted() -> None:
    desk, stream, box = trades()
    for size in (0.0, -1.0, float("nan")):
        desk.push(trade(1, size=size))
    assert (ids(box), stream.rejected, stream.live) == ([], 3, False)


def test_trades_of_two_connections_come_once() -> None:
    desk, stream, box = trades()
    desk.push(trade(1))
    desk.connect("next")
    for n, line in ((2, "next"), (2, "line"), (3, "line"), (4, "line"), (3, "next"), (4, "next"), (1, "next"), (5, "next")):
        desk.push(trade(n), line)
    assert ids(box) == [1, 2, 3, 4, 5]
    assert stream.duplicates == 4


def test_the_first_trade_ever_may_come_on_two_connections() -> None:
    desk, _, box = trades()
    desk.connect("next")
    desk.push(trade(1))
    desk.push(trade(1), "next")
    assert ids(box) == [1]


def test_trades_without_ids_come_from_the_leader_alone() -> None:
    desk, _, box = trades()
    desk.push(trade(0, named=False))
    desk.connect("next")
    desk.push(trade(0, named=False), "next")
    desk.push(trade(0, named=False))
    desk.lose()
    desk.push(trade(0, named=False), "next")
    assert len([t for t in box.drain() if isinstance(t, Trade)]) == 3


def test_other_ticks_come_from_the_leader_alone() -> None:
    desk = Desk(market("A/B"))
    box = mailbox("drop_oldest")
    desk.stream("A/B", "ticker").attach(box)
    desk.ticker("A/B")
    desk.connect("next")
    desk.push(Ticker("toy", "A/B", None, 5, last=9.0), "next")
    desk.ticker("A/B")
    desk.lose()
    desk.push(Ticker("toy", "A/B", None, 6, last=10.0), "next")
    assert [t.last for t in box.drain() if isinstance(t, Ticker)] == [1.0, 2.0, 10.0]


def test_repeated_trades_after_a_reconnect_are_dropped() -> None:
    desk, _, box = trades()
    for n in range(1, 6):
        desk.push(trade(n))
    desk.lose()
    desk.connect("line")
    for n in range(3, 9):
        desk.push(trade(n))
    assert ids(box) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_ids_are_looked_at_for_a_minute_only() -> None:
    desk, stream, box = trades()
    desk.push(trade(1))
    desk.lose()
    desk.connect("line")
    desk.push(trade(2, ts=10))
    desk.push(trade(3, ts=10 + OVERLAP_NS + 1))
    assert stream.seen is None
    desk.push(trade(3, ts=10 + OVERLAP_NS + 2))  # nobody looks any more
    assert ids(box) == [1, 2, 3, 3]


def test_what_is_remembered_is_bounded() -> None:
    desk, stream, _ = trades()
    desk.push(trade(0))
    desk.connect("next")
    for n in range(5 * RECENT_IDS):
        desk.push(trade(n))
    assert len(stream.recent) == RECENT_IDS
    assert len(stream.seen or ()) <= 2 * RECENT_IDS + 1


# history


def test_history_at_the_first_subscription_is_dropped() -> None:
    desk, stream, box = trades()
    desk.push(History([trade(n, n * 10) for n in range(5)]))
    desk.push(trade(5, 50))
    desk.push(History([trade(n, n * 10) for n in range(9)]))
    assert ids(box) == [5]
    assert stream.duplicates == 0


def test_history_after_a_reconnect_brings_what_was_missed_oldest_first() -> None:
    desk, _, box = trades()
    for n in (1, 2, 3):
        desk.push(trade(n, n * 10))
    desk.lose()
    desk.connect("line")
    desk.push(History([trade(n, n * 10) for n in (6, 5, 4, 3, 2)]))
    desk.push(trade(6, 60))
    desk.push(trade(7, 70))
    assert ids(box) == [1, 2, 3, 4, 5, 6, 7]


def test_history_behind_the_first_new_trade_still_counts() -> None:
    """Data may come before the answer to the subscription."""
    desk, _, box = trades()
    desk.push(trade(1, 10))
    desk.lose()
    desk.connect("line")
    desk.push(trade(4, 40))
    desk.push(History([trade(n, n * 10) for n in (1, 2, 3, 4)]))
    assert ids(box) == [1, 4, 2, 3]


def test_history_without_ids_cannot_be_told_apart() -> None:
    desk, _, box = trades()
    desk.push(trade(1, 10))
    desk.lose()
    desk.connect("line")
    desk.push(History([trade(2, 20, named=False), trade(3, None)]))
    assert ids(box) == [1]


def test_a_hole_in_the_venues_numbers_is_told_and_noted_but_the_stream_lives() -> None:
    desk, stream, box = trades()
    desk.push(trade(1))
    hole: Gap[Any] = Gap("toy", "A/B", None, 5, "trade", "sequence", 1, 5, 3, None, "sequence")
    assert desk.push(hole) == []
    assert [t for t in box.drain() if isinstance(t, Gap)] == [hole]
    assert stream.live
    [entry] = desk.hub.ledger.entries()
    assert (entry.cause, entry.count, entry.ts_from, entry.ts_to, entry.proof) == ("sequence", 3, 1, 5, "sequence")
    assert desk.hub.ledger.open() == []
    desk.connect("other")
    desk.hub.carry(desk.carriers["other"], stream)
    assert desk.push(hole, "other") == []
    assert [t for t in box.drain() if isinstance(t, Gap)] == [], "of a connection that does not lead"
