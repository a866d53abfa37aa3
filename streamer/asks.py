"""What a subscriber may ask for, wherever its ticks come from."""

from collections.abc import Sequence

from streamer.errors import UsageError, nearest
from streamer.mailbox import POLICIES
from streamer.types import KINDS


def check_kinds(kinds: Sequence[str]) -> None:
    """Raise `UsageError` for a kind that is none."""
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"there is no kind {kind!r}{nearest(kind, KINDS)} Kinds: {', '.join(KINDS)}")
    if not kinds:
        raise UsageError(f"no kinds were asked for; choose from {', '.join(KINDS)}")


def check(kinds: Sequence[str], depth: int | None, policy: str) -> None:
    """Raise `UsageError` for what no subscription can have."""
    if policy not in POLICIES:
        raise UsageError(f"policy {policy!r} is none of {', '.join(POLICIES)}")
    if policy == "conflate" and "trade" in kinds:
        raise UsageError("policy 'conflate' would lose trades: subscribe to them with another policy")
    check_kinds(kinds)
    if depth is not None and depth < 1:
        raise UsageError(f"depth={depth} is less than one level")
