"""How a book is kept right: where its snapshot comes from, and what numbers or proves its changes."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from msgspec import Struct

from streamer.checksum import Crc32
from streamer.handlers import On
from streamer.rules import Rule, unnumbered


class FromStream(Struct, frozen=True):
    """The book's snapshot comes in the stream, after subscribing.

    `depths`: those that the venue offers, ascending; empty if there is no choice. `truncate`: the venue counts on us to cut the book
    to the subscribed depth. `line_counted`: the venue counts all messages of a connection, and a hole is answered with `Restart`.
    `repeats`: snapshots come again and again, unasked and maybe late; each replaces the book, and later deltas are applied to it once more.
    `reach`, for those: snapshots and deltas tell of so many levels a side, the best, and what lies beyond is not known.
    `by_id`: levels have ids, and a change of one that is not there is answered with `Broken`.
    """

    rule: Rule = unnumbered
    checksum: Crc32 | None = None
    depths: Sequence[int] = ()
    truncate: bool = False
    line_counted: bool = False
    repeats: bool = False
    reach: int | None = None
    by_id: bool = False
    grace_s: float = 1.0


class FromRest(Struct, frozen=True):
    """The snapshot comes by REST: `url` is a template ({id} {lower} {base} {quote} {depth}), `parse` ``(message, ctx, instrument)``
    to a `BookSnapshot`. `weight` counts against `Limits.rest`; `delay` seconds pass between the first delta held and the request. `reach`:
    it has so many levels a side at most, and what lies beyond is not known; when half of them are gone another is asked for."""

    url: str
    parse: On
    rule: Rule
    weight: int = 1
    delay: float = 0.0
    depths: Sequence[int] = ()
    grace_s: float = 1.0
    reach: int | None = None


class FromRequest(Struct, frozen=True):
    """The snapshot is asked for on the same socket: ``request(topic, n) -> frame``; its answer comes like any message. Deltas are held
    until then."""

    request: Callable[[str, int], str]
    rule: Rule
    depths: Sequence[int] = ()
    grace_s: float = 1.0


class FullRefresh(Struct, frozen=True):
    """Every message is the whole book (to its depth): nothing to sequence."""

    depths: Sequence[int] = ()
    grace_s: float = 1.0


BookMethod: TypeAlias = FromStream | FromRest | FromRequest | FullRefresh
