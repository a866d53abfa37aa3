"""Which mailbox serves which policy."""

from typing import Final

from streamer.conflate import Conflate
from streamer.dropping import DropNewest, DropOldest
from streamer.errors import UsageError
from streamer.mailbox import Mailbox, Policy

BOXES: Final[tuple[type[Mailbox], ...]] = (DropOldest, DropNewest, Conflate, Mailbox)


def mailbox(policy: Policy, max_items: int = 10_000, max_bytes: int = 64 << 20) -> Mailbox:
    """The mailbox for a policy. Raises `UsageError` for an unknown one, and for bounds that leave no room."""
    for box in BOXES:
        if policy in box.serves:
            return box(policy, max_items, max_bytes)
    raise UsageError(f"policy {policy!r} is none of {', '.join(p for box in BOXES for p in box.serves)}")
