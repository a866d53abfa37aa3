"""The buffer itself: its bounds, the slots reserved for controls, `block` and `disconnect`. (All policies at random: test_policies.)"""

from typing import Any

import pytest

from streamer.errors import SlowConsumer, UsageError
from streamer.mailbox import LEVEL_BYTES, TICK_BYTES, Mailbox, control_key, key_of, newest_control, weight
from streamer.types import BookDelta, BookSnapshot, BookStale, Candle, Gap, Instrument, Status, Ticker, Trade
from tests.hubs import law

HEAD: tuple[str, str, None, int] = ("toy", "A/B", None, 1)


def trade(n: int, symbol: str = "A/B") -> Trade[Any]:
    return Trade("toy", symbol, None, n, 100.0, 1.0, "buy", str(n))


def delta(levels: int) -> BookDelta[Any]:
    return BookDelta(*HEAD, [(float(i), 1.0) for i in range(1, levels + 1)], [])


def status(state: str, channel: str = "trade", symbol: str = "A/B") -> Status[Any]:
    return Status("toy", symbol, None, 1, channel, state)


def gap(ts_from: int | None, ts_to: int | None, count: int | None = None, channel: str = "trade") -> Gap[Any]:
    return Gap(*HEAD, channel, "disconnect", ts_from, ts_to, count)


def box_of(policy: Any = "disconnect", **bounds: int) -> Mailbox:
    return Mailbox(policy, **bounds)


@pytest.mark.parametrize(
    ("tick", "key"),
    [
        (trade(1), ("toy", "A/B", "trade", "")),
        (delta(1), ("toy", "A/B", "book", "")),
        (BookStale(*HEAD, "gap"), ("toy", "A/B", "book", "")),
        (Candle(*HEAD, "5m", 0, 1.0, 1.0, 1.0, 1.0), ("toy", "A/B", "candle", "5m")),
        (Ticker(*HEAD), ("toy", "A/B", "ticker", "")),
        (status("live", "quote"), ("toy", "A/B", "quote", "")),
        (gap(1, 2, channel="mark"), ("toy", "A/B", "mark", "")),
        (Instrument(*HEAD, "AB", "A", "B"), ("toy", "A/B", "instrument", "")),
    ],
)
def test_the_stream_of_a_tick(tick: Any, key: tuple[str, ...]) -> None:
    assert key_of(tick) == key


def test_pop_and_drain_give_the_same_order() -> None:
    box = box_of()
    ticks = [trade(1), delta(2), status("live"), trade(2), delta(1)]
    for tick in ticks:
        box.offer_book(tick, weight(tick)) if isinstance(tick, BookDelta) else box.offer(tick)
    assert box.held_bytes == 5 * TICK_BYTES + 3 * LEVEL_BYTES
    assert [box.pop(), *box.drain(2), *box.drain(0), *box.drain()] == ticks
    assert (box.held_bytes, box.delivered, len(box)) == (0, 5, 0)
    with pytest.raises(IndexError):
        box.pop()
    assert law(box)


def test_wake_comes_once_until_it_sleeps_again() -> None:
    woken = []
    box = box_of()
    box.wake = lambda: woken.append(len(box))
    box.offer(trade(1))
    assert woken == []
    box.asleep = True
    for n in (2, 3):
        box.offer(trade(n))
    tick = delta(1)
    box.offer_book(tick, weight(tick))
    assert woken == [2]


def test_block_takes_everything_and_says_when_it_is_full() -> None:
    box = box_of("block", max_items=3)
    full = []
    for n in range(5):
        box.offer(trade(n))
        full.append(box.full)
    assert full == [False, False, True, True, True]
    assert [int(t.id) for t in box.drain(3)] == [0, 1, 2]
    assert not box.full
    assert law(box)


def test_bytes_bound_as_items_do() -> None:
    box = box_of(max_bytes=4 * TICK_BYTES)
    assert box.max_items == 4
    heavy = delta(5)
    box.offer_book(heavy, weight(heavy))  # 816 of 1024 bytes
    assert not box.full or box.max_bytes - box.held_bytes < TICK_BYTES
    box.offer(trade(1))
    assert isinstance(box.error, SlowConsumer)
    assert (box.closed, box.dropped, box.queued, box.held_bytes) == (True, 2, 0, 0)
    assert law(box)


def test_disconnect_tells_and_forgets() -> None:
    box = box_of(max_items=2)
    woken = []
    box.wake = lambda: woken.append(1)
    for n in range(2):
        box.offer(trade(n))
    box.asleep = True
    box.offer(trade(2))
    assert woken == [1]
    box.offer(trade(3))
    tick = delta(1)
    box.offer_book(tick, weight(tick))
    assert (len(box), box.published, box.dropped) == (0, 3, 3)
    assert law(box)


def test_controls_wait_in_reserved_slots_in_order_one_of_a_type_and_stream() -> None:
    box = box_of(max_items=2)
    box.offer(trade(1))
    box.offer(trade(2))
    for tick in (status("stale"), gap(1, 2, 3), BookStale(*HEAD, "gap"), status("stale", symbol="C/D"), status("live"), gap(5, 6, 1)):
        box.offer(tick)
    assert (box.queued, box.conflated, box.dropped) == (6, 2, 0)
    assert law(box)
    got = box.drain()
    assert got[2:] == [BookStale(*HEAD, "gap"), status("stale", symbol="C/D"), status("live"), gap(1, 6, 4)]
    assert law(box)


def test_reserved_controls_join_the_queue_as_far_as_there_is_room() -> None:
    box = box_of(max_items=3)
    for n in range(3):
        box.offer(trade(n))
    for channel in ("a", "b", "c"):
        box.offer(status("stale", channel))
    box.drain(2)
    box.offer(status("stale", "d"))
    assert len(box._buf) == 3  # not five
    assert [t.id if isinstance(t, Trade) else t.channel for t in box.drain()] == ["2", "a", "b", "c", "d"]
    box.offer(trade(9))
    assert box.pop() == trade(9)
    assert law(box)


@pytest.mark.parametrize(
    ("old", "new", "both"),
    [
        (gap(1, 2, 3), gap(4, 5, 6), gap(1, 5, 9)),
        (gap(1, 2, None), gap(4, 5, 6), gap(1, 5, None)),
        (gap(None, 2, 3), gap(4, None, 6), gap(None, None, 9)),
        (status("stale"), status("live"), status("live")),
        (BookStale(*HEAD, "gap"), BookStale(*HEAD, "crossed"), BookStale(*HEAD, "crossed")),
    ],
)
def test_one_control_for_two(old: Any, new: Any, both: Any) -> None:
    assert control_key(old) == control_key(new)
    assert newest_control(old, new) == both


def test_close_counts_what_is_forgotten_and_finish_forgets_nothing() -> None:
    closed, finished = box_of(max_items=2), box_of(max_items=2)
    for box in (closed, finished):
        for tick in (trade(1), trade(2), status("stale")):
            box.offer(tick)
    closed.close()
    finished.finish()
    for box in (closed, finished):
        box.offer(trade(3))
        assert law(box)
    assert (closed.dropped, closed.drain(), closed.published) == (3, [], 3)
    assert finished.drain() == [trade(1), trade(2), status("stale")]


def test_a_policy_of_another_box_is_refused() -> None:
    with pytest.raises(UsageError, match="policy 'conflate' is none of block, disconnect"):
        box_of("conflate")


def test_a_snapshot_weighs_its_levels() -> None:
    assert weight(BookSnapshot(*HEAD, [(1.0, 1.0)] * 3, [(2.0, 1.0)] * 2)) == 5 * LEVEL_BYTES


def test_less_room_and_more_again() -> None:
    box = Mailbox("disconnect", max_items=10, max_bytes=1 << 20)
    box.offer_book(delta(1), LEVEL_BYTES)
    box.limit(10, 3 * TICK_BYTES)
    assert box.max_items == 3
    assert not box.full
    box.offer_book(delta(4), 4 * LEVEL_BYTES)
    assert isinstance(box.error, SlowConsumer), "one more tick has room, its levels have not"
    box = Mailbox("disconnect", max_items=1)
    box.limit(2, 1 << 20)
    box.offer(trade(1))
    box.offer(trade(2))
    assert (box.error, box.queued) == (None, 2)
    with pytest.raises(UsageError):
        box.limit(0, 1 << 20)
