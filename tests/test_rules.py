"""Sequence rules, from the venues' own numbered steps."""

from typing import Any

import pytest

from streamer.rules import APPLY, DROP, GAP, Verdict, aligned, chained, counted, overlap, rising, straddled_chain, unnumbered
from streamer.types import BookDelta

FRESH, GOING = True, False


def delta(first: int | None, last: int | None, prev: int | None = None) -> BookDelta[Any]:
    return BookDelta("x", "A/B", None, 0, [], [], first, last, prev)


@pytest.mark.parametrize(
    ("first", "last", "verdict"),
    [
        (90, 99, DROP),  # step 4: u is at most lastUpdateId: older than the snapshot
        (95, 100, DROP),
        (95, 101, APPLY),  # step 5: U <= lastUpdateId + 1 <= u
        (101, 101, APPLY),
        (101, 150, APPLY),
        (50, 500, APPLY),
        (102, 102, GAP),  # step 6: U lies beyond the previous u + 1
        (103, 150, GAP),
    ],
)
@pytest.mark.parametrize("fresh", [FRESH, GOING])
def test_overlap_as_binance_spot_numbers_its_steps(first: int, last: int, verdict: Verdict, fresh: bool) -> None:
    assert overlap(100, delta(first, last), fresh) is verdict


@pytest.mark.parametrize(
    ("first", "last", "prev", "fresh", "verdict"),
    [
        (90, 99, 89, FRESH, DROP),  # step 4: u < lastUpdateId
        (95, 100, 94, FRESH, APPLY),  # step 5: U <= lastUpdateId <= u
        (100, 110, 94, FRESH, APPLY),
        (103, 110, 100, FRESH, APPLY),  # the snapshot ends where the last event ended
        (103, 110, 102, FRESH, GAP),
        (103, 110, 100, GOING, APPLY),  # step 6: pu is the last u, whatever U is
        (101, 110, 99, GOING, GAP),
        (95, 110, 94, GOING, GAP),
        (95, 100, 94, GOING, DROP),  # the one before once more
        (80, 90, 70, GOING, DROP),
        (101, 110, None, GOING, GAP),  # without pu nothing is proved
    ],
)
def test_straddled_chain_as_binance_futures_numbers_its_steps(
    first: int, last: int, prev: int | None, fresh: bool, verdict: Verdict
) -> None:
    assert straddled_chain(100, delta(first, last, prev), fresh) is verdict


@pytest.mark.parametrize(
    ("seq", "prev", "last", "verdict"),
    [
        (10, 10, 15, APPLY),  # OKX's example: normal
        (15, 15, 15, APPLY),  # no change for a minute
        (15, 15, 3, APPLY),  # reset for maintenance
        (3, 3, 5, APPLY),
        (15, 10, 15, DROP),  # the one before once more
        (15, 3, 5, GAP),  # after a reset that was missed: lower, and yet no repetition
        (15, 16, 18, GAP),
        (15, 14, 18, GAP),
        (15, None, 99, APPLY),  # not chained: proved by its checksum, or by nothing
    ],
)
@pytest.mark.parametrize("fresh", [FRESH, GOING])
def test_chained_as_okx_documents_it(seq: int, prev: int | None, last: int, verdict: Verdict, fresh: bool) -> None:
    assert chained(seq, delta(None, last, prev), fresh) is verdict


@pytest.mark.parametrize(
    ("prev", "last", "verdict", "fresh_verdict"),
    [
        (100, 107, APPLY, APPLY),  # HTX's step 2: its prevSeqNum is the seqNum of the answer
        (100, 100, APPLY, DROP),  # nothing changed
        (90, 95, GAP, DROP),  # the answer is ahead of the stream
        (95, 100, DROP, DROP),
        (98, 103, GAP, GAP),  # what changed and changed back on both sides of the answer is in neither
        (102, 107, GAP, GAP),
    ],
)
def test_aligned_to_a_snapshot_asked_for_apart(prev: int, last: int, verdict: Verdict, fresh_verdict: Verdict) -> None:
    assert aligned(100, delta(None, last, prev), GOING) is verdict
    assert aligned(100, delta(None, last, prev), FRESH) is fresh_verdict


@pytest.mark.parametrize(
    ("last", "verdict", "fresh_verdict"),
    [(101, APPLY, APPLY), (102, GAP, GAP), (100, DROP, DROP), (99, GAP, DROP), (1, GAP, DROP)],
)
def test_counted_one_by_one(last: int, verdict: Verdict, fresh_verdict: Verdict) -> None:
    """Lower numbers are in the snapshot, or, once deltas were applied, begun anew."""
    assert counted(100, delta(None, last), GOING) is verdict
    assert counted(100, delta(None, last), FRESH) is fresh_verdict


@pytest.mark.parametrize("rule", [overlap, straddled_chain, chained, aligned, counted, rising, unnumbered])
@pytest.mark.parametrize("fresh", [FRESH, GOING])
def test_without_numbers_everything_passes(rule: Any, fresh: bool) -> None:
    assert rule(None, delta(5, 6, 4), fresh) is APPLY
    assert rule(5, delta(None, None), fresh) is APPLY


@pytest.mark.parametrize(("last", "verdict"), [(101, APPLY), (5000, APPLY), (100, DROP), (1, DROP)])
@pytest.mark.parametrize("fresh", [FRESH, GOING])
def test_rising_numbers_may_leave_any_out(last: int, verdict: Verdict, fresh: bool) -> None:
    assert rising(100, delta(last, last), fresh) is verdict


def test_unnumbered_looks_at_no_number() -> None:
    assert unnumbered(100, delta(500, 600, 400), GOING) is APPLY
