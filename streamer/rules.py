"""Sequence rules: may this delta be applied to a book whose last number is `seq`?

A rule is a pure function ``rule(seq, delta, fresh) -> Verdict``. Normalizers only rename what the venue sends (U/u, pu,
prevSeqId/seqId, sequenceStart/End ...) to `first`, `last` and `prev`, so a rule knows no exchange. `fresh` means that no delta was
applied since the snapshot. A delta without numbers passes: what then proves the book is a checksum, or nothing.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeAlias

from streamer.types import BookDelta


class Verdict(Enum):
    """What a rule answers: apply the delta, drop it as already contained, or a gap lies before it."""

    APPLY = "apply"
    DROP = "drop"
    GAP = "gap"


APPLY, DROP, GAP = Verdict.APPLY, Verdict.DROP, Verdict.GAP
Rule: TypeAlias = Callable[[int | None, BookDelta[Any], bool], Verdict]


def overlap(seq: int | None, delta: BookDelta[Any], fresh: bool) -> Verdict:
    """Numbers run on without holes; a delta may reach back over what is known. Binance spot, gate, mexc.

    Binance's numbered steps ("How to manage a local order book correctly"): drop events with u <= lastUpdateId; the first one
    applied has U <= lastUpdateId + 1 <= u; after it each U must not lie beyond the previous u + 1.
    """
    first, last = delta.first, delta.last
    if seq is None or first is None or last is None:
        return APPLY
    if last <= seq:
        return DROP
    return APPLY if first <= seq + 1 else GAP


def straddled_chain(seq: int | None, delta: BookDelta[Any], fresh: bool) -> Verdict:
    """The first delta straddles the snapshot (U <= seq <= u), from then on each `prev` is the `last` before it. Binance futures."""
    first, last, prev = delta.first, delta.last, delta.prev
    if seq is None or first is None or last is None:
        return APPLY
    if fresh:
        if last < seq:
            return DROP
        return APPLY if first <= seq or prev == seq else GAP
    if prev == seq:
        return APPLY
    return DROP if last <= seq else GAP


def chained(seq: int | None, delta: BookDelta[Any], fresh: bool) -> Verdict:
    """Each delta names the one before it: `prev` must be the number we have. OKX, deribit, bitget.

    A repeated delta (same `last`, older `prev`) is dropped. A venue that resets its numbers still chains: only `prev` is compared.
    """
    if seq is None or delta.prev is None:
        return APPLY
    if delta.prev == seq:
        return APPLY
    return DROP if delta.last == seq and delta.prev < seq else GAP


def aligned(seq: int | None, delta: BookDelta[Any], fresh: bool) -> Verdict:
    """As `chained`, where the snapshot is asked for apart from the stream and may be ahead of it: what it contains already is dropped, and
    the first delta after it must name it. HTX spot.
    """
    if fresh and seq is not None and delta.last is not None and delta.last <= seq:
        return DROP
    return chained(seq, delta, fresh)


def counted(seq: int | None, delta: BookDelta[Any], fresh: bool) -> Verdict:
    """Each delta's number is one more than the last. Bybit, coinbase, hitbtc.

    A repeated delta is dropped. Numbers that went back further, once deltas were applied, were begun anew: nothing is known of what came
    between.
    """
    if seq is None or delta.last is None:
        return APPLY
    if delta.last == seq + 1:
        return APPLY
    return DROP if delta.last == seq or (fresh and delta.last < seq) else GAP


def rising(seq: int | None, delta: BookDelta[Any], fresh: bool) -> Verdict:
    """Numbers that only rise, because they count other things too: they tell what a snapshot contains, but show no loss. Bitbank."""
    if seq is None or delta.last is None:
        return APPLY
    return APPLY if delta.last > seq else DROP


def unnumbered(seq: int | None, delta: BookDelta[Any], fresh: bool) -> Verdict:
    """The venue numbers nothing: every delta is applied, and only a checksum, if any, can prove the book."""
    return APPLY


PROVE_NOTHING: Final[tuple[Rule, ...]] = (unnumbered, rising)
"""The rules that cannot show a loss."""
