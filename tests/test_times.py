"""Times to nanoseconds: every digit counts, and nothing is guessed."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.times import EPOCH, MOST_DAYS, nanoseconds, rfc3339, rfc3339_or_none


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-01-01T00:00:00.000000001Z", 1767225600000000001),
        ("2023-10-04T16:26:30.524394914Z", 1696436790524394914),
        ("2023-09-25T07:49:37.708706Z", 1695628177708706000),
        ("2023-09-25T07:49:37.7Z", 1695628177700000000),
        ("2023-09-25T07:49:37.708Z", 1695628177708000000),
        ("2016-12-31T23:59:60.500Z", 1483228800500000000),
        ("2023-09-25T07:49:37.7087061239999Z", 1695628177708706123),
        ("2023-09-25t07:49:37.7z", 1695628177700000000),
        ("2023-09-25 07:49:37+00:00", 1695628177000000000),
        ("2023-09-25T09:49:37.25+02:00", 1695628177250000000),
        ("2023-09-25T02:19:37.25-05:30", 1695628177250000000),
        ("2016-12-31T23:59:60.5Z", 1483228800500000000),
        ("1969-12-31T23:59:59.5Z", -500000000),
    ],
)
def test_exactly(text: str, ns: int) -> None:
    assert rfc3339(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Z",
        "2023-09-25",
        "2023-09-25T07:49:37",
        "2023-09-25T07:49:37.5",
        "2023-09-25T07:49:37.Z",
        "2023-09-25T07:49:37.1_0Z",
        "2023-09-25T07:49:37.+1Z",
        "2023-09-25T07:49:37. 1Z",
        "2023-09-25T07:49:37.\uff11\uff12Z",
        "2023-09-25T07:49:\uff13\uff17.5Z",
        "2023-W39-1T07:49:37.5Z",
        "2023-W39-1T07:49:37.500Z",
        "2023-W39-1T07:49:37.500000Z",
        "2023-09-25T24:49:37.500Z",
        "2023-13-25T07:49:37.5Z",
        "2023-02-29T07:49:37.5Z",
        "2023-09-25T24:49:37.5Z",
        "2023-09-25T07:49:61.5Z",
        "2023-09-25T07:49:37.5ZZ",
        "2023-09-25T07:49:37.5Z ",
        "1695628177708",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time|seconds|must be in|out of range"):
        rfc3339(text)


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2262, 1, 1)),  # noqa: DTZ001  (made aware below)
    st.integers(-14 * 60, 14 * 60),
)
def test_as_datetime_has_it(naive: datetime, minutes: int) -> None:
    for zone in (UTC, timezone(timedelta(minutes=minutes))):
        when = naive.replace(tzinfo=zone)
        since = when - EPOCH
        expected = ((since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
        assert rfc3339(when.isoformat()) == nanoseconds(when) == expected
        assert rfc3339(when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")) == expected
        in_ms = when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert rfc3339(in_ms) == expected // 1_000_000 * 1_000_000


@pytest.mark.parametrize("year", ["0001", "1677", "2262", "9999"])
def test_what_has_no_place_in_64_bits_is_refused(year: str) -> None:
    for form in ("{}-05-01T00:00:00.000Z", "{}-05-01T00:00:00Z", "{}-05-01T00:00:00.5+99:59", "{}-05-01T00:00:00-99:59"):
        text = form.format(year)
        if year == "1677":  # most of that year has a place
            text = text.replace("-05-", "-01-")
        with pytest.raises(ValueError, match="out of range"):
            rfc3339(text)
    with pytest.raises(ValueError, match="out of range"):
        nanoseconds(datetime(int(year), 1 if year == "1677" else 5, 1, tzinfo=UTC))


def test_what_is_let_through_has_a_place_with_days_to_spare() -> None:
    for days in (MOST_DAYS, -MOST_DAYS):
        text = f"{EPOCH + timedelta(days):%Y-%m-%d}"
        for zone in ("-99:59", "+99:59", "Z"):
            assert abs(rfc3339(f"{text}T23:59:60.999999999{zone}")) + 5 * 86400 * 10**9 < 1 << 63


def test_missing_stays_missing() -> None:
    assert rfc3339_or_none(None) is None
    assert rfc3339_or_none("1970-01-01T00:00:00.000001Z") == 1000


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        nanoseconds(datetime(2026, 1, 1))  # noqa: DTZ001  (that is the point)
