"""Every error that `streamer` raises on purpose.

StreamerError                   something `streamer` can name; str() is one clear line with the remedy
 +-- UsageError                 the caller asked for what is not there: exit code 2
 |    +-- UnknownExchange
 |    +-- UnknownSymbol
 |    +-- UnsupportedKind       the exchange does not stream (or we have not built) that kind
 |    +-- BadSymbol             not in ccxt's grammar
 +-- NotReady                   `ready()` ran out of time; names every stream that is not live: exit code 69
 +-- BookNotLive                a held book was read while it is not known to be right
 +-- SlowConsumer               policy "disconnect": this subscriber's buffer was full
 +-- IoFailure                  the network: refused, reset, timed out, TLS, a status that is not 200
 |    +-- RateLimited           429 or 418, with the time until which to keep silent
 +-- BadFrame                   a frame that cannot be understood; costs that frame
 |    +-- BadNumber             nan, inf, or a number out of all reason
 +-- BadRecording               a recording line that cannot be read: names file and line
 +-- BadFeed                    a `feeds` or `normalizers` package or declaration that cannot be used
"""

import difflib
from collections.abc import Iterable, Sequence


class StreamerError(Exception):
    """Base of all. `exit_code` is what the command ends with (conventions of sysexits.h)."""

    exit_code = 1


class UsageError(StreamerError):
    """The caller asked for something that is not there."""

    exit_code = 2


class UnknownExchange(UsageError):
    """No such exchange id."""


class UnknownSymbol(UsageError):
    """The exchange lists no such instrument."""


class UnsupportedKind(UsageError):
    """The exchange has no such kind of data, or none for this market."""


class BadSymbol(UsageError):
    """A symbol that is not in ccxt's grammar."""


class NotReady(StreamerError):
    """Not every stream came live in time."""

    exit_code = 69


def not_ready(seconds: float, waiting: Sequence[str]) -> NotReady:
    """That after so many seconds these, each with its state, are not live."""
    more = f" and {len(waiting) - 10} more" if len(waiting) > 10 else ""
    return NotReady(f"not live after {seconds:g} s: {', '.join(waiting[:10])}{more}")


class BookNotLive(StreamerError):
    """The book is not known to be right at this moment; wait for the next snapshot."""


class SlowConsumer(StreamerError):
    """This subscriber did not keep up and had asked to be disconnected then."""


class IoFailure(StreamerError):
    """The network failed. `reason` is one of a closed set of words, for metrics."""

    exit_code = 69

    def __init__(self, message: str, reason: str = "io") -> None:
        super().__init__(message)
        self.reason = reason


class RateLimited(IoFailure):
    """The venue asked for silence of `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message, "rate_limited")
        self.retry_after = retry_after


class BadFrame(StreamerError):
    """A frame that cannot be understood. `reason` is one of a closed set of words; `unknown_id` the name that no instrument has, if it is
    that."""

    def __init__(self, message: str, reason: str = "shape", unknown_id: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.unknown_id = unknown_id


class BadNumber(BadFrame):
    """A number that is not finite, or out of all reason."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "number")


class BadRecording(StreamerError):
    """A recording that cannot be read."""

    exit_code = 2


class BadFeed(StreamerError):
    """A feed declaration that cannot be used."""


def nearest(word: str, known: Iterable[str], n: int = 3) -> str:
    """`"; did you mean a, b?"` for the known words nearest to `word`, or an empty string."""
    lower = {k.lower(): k for k in known}
    hits = difflib.get_close_matches(word.lower(), lower, n=n, cutoff=0.5)
    return f"; did you mean {', '.join(lower[h] for h in hits)}?" if hits else ""
