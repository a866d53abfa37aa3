"""Times as venues write them, to integer nanoseconds since 1970 UTC: exact, and fast on what comes thousands of times a second."""

import re
from datetime import UTC, datetime
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MOST_DAYS: Final = 106_740
"""From 1970, both ways (1677 to 2262): what 64 bits hold, less some days for zones, and for what a reader adds or takes away."""
USUAL: Final = len("2026-01-01T09:30:59.123456Z"), len("2026-01-01T09:30:59.123Z")
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


def rfc3339(text: str) -> int:
    """`2026-01-01T09:30:59.123456Z` in ns. Digits beyond the ninth are cut off; a leap second (:60) is the second after it.

    A time without zone is refused: it would have to be guessed. So is one that has no place in 64 bits. Raises `ValueError`.
    """
    if len(text) in USUAL and text[-1] == "Z" and text[7] == "-":
        try:  # 0.3 us; the regular expression takes 1.8 us
            return nanoseconds(datetime.fromisoformat(text))
        except ValueError:
            return _any(text)
    return _any(text)


def nanoseconds(when: datetime) -> int:
    """A time with a zone in ns. Raises `TypeError` for one without: it would have to be guessed; `ValueError` beyond 64 bits."""
    since = when - EPOCH
    days = since.days
    if not -MOST_DAYS <= days <= MOST_DAYS:
        raise ValueError(f"{when} is out of range: its ns have no place in 64 bits")
    return (days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds) * 1000


def rfc3339_or_none(text: str | None) -> int | None:
    """The same for a time that may be missing."""
    return rfc3339(text) if text else None


def _any(text: str) -> int:
    m = _TIME.fullmatch(text)
    if m is None:
        raise ValueError(f"{text!r:.60} is not a time like 2026-01-01T09:30:59.123456Z")
    year, month, day, hour, minute, second = map(int, m.groups()[:6])
    fraction, sign, hours, minutes = m.groups()[6:]
    if second > 60:
        raise ValueError(f"{text!r:.60} has {second} seconds")
    minutes_ns = nanoseconds(datetime(year, month, day, hour, minute, tzinfo=UTC))
    offset = (int(hours) * 60 + int(minutes)) * (-60 if sign == "-" else 60) if sign else 0
    return minutes_ns + (second - offset) * 1_000_000_000 + int((fraction or "")[:9].ljust(9, "0"))
