"""Trades that come as pages of the latest ones: which of a page are new? Pure.

Where trades have ids the ids tell. Where they have none, a trade is told by its time, price, size and side, and two equal ones only by
their place: pages are laid over each other where they agree.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from streamer.types import Trade


class Laid(NamedTuple):
    """A page laid over the one before: the places in it of what is `new`; whether the two `meet` (if not, trades between them may be
    missing); whether it is `late`, an older page than the one before, out of a cache that lags."""

    new: Sequence[int]
    meet: bool = True
    late: bool = False


def mark(trade: Trade[Any]) -> Any:
    """What a trade is recognised by on the next page."""
    return trade.id if trade.id is not None else (trade.ts_event, trade.price, trade.size, trade.side)


def lay(before: Sequence[Any], now: Sequence[Any]) -> Laid:
    """Lay the page `now` over the page `before` (marks, oldest first).

    The longest fit is taken: of equal trades at once it may hide some, and repeats none. Where nothing fits (a venue that writes late
    trades between older ones) the marks are counted instead, and what stands before the first known one is old.
    """
    if not before or not now:
        return Laid(range(len(now)), late=bool(before))
    for shift in _shifts(before, now):
        end = shift + len(now)  # `now` covers these places of `before`, and what follows them
        if before[max(0, shift) : end] == now[max(0, -shift) : len(before) - shift]:
            return Laid(range(len(before) - shift, len(now)), late=end < len(before))
    known = Counter(before)
    new: list[int] = []
    found = 0
    for i, one in enumerate(now):
        if known[one] > 0:
            known[one] -= 1
            found += 1
        elif found:
            new.append(i)
    return Laid(new) if found else Laid(range(len(now)), meet=False)


def _shifts(before: Sequence[Any], now: Sequence[Any]) -> list[int]:
    """How far `now` may begin after `before` (less than 0: sooner), those of the longest overlap first."""
    later = [i for i, one in enumerate(before) if one == now[0]]
    sooner = [-i for i, one in enumerate(now) if i and one == before[0]]

    def overlap(shift: int) -> int:
        return min(len(before), shift + len(now)) - max(0, shift)

    return sorted(later + sooner, key=overlap, reverse=True)
