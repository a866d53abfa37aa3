"""When silence is too long: learned from each stream, told within seconds, and wrong seldom."""

import random

import pytest

from streamer.daemon.pulse import MOST_PATIENCE, Pulse

LEAST = 5.0
EVERY = 0.5


class Stream:
    """A pulse that is looked at twice a second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0
        self.pulse = Pulse(0.0, 0)
        self.late = 0

    def go(self, seconds: float, rate: float = 0.0, live: bool = True) -> "Stream":
        """So many seconds in which `rate` ticks a second come, at random moments."""
        until = self.now + seconds
        while self.now < until:
            self.now += EVERY
            self.count += sum(random.random() < rate * EVERY / 20 for _ in range(20))
            before = self.pulse.late
            self.pulse.beat(self.now, self.count, live, LEAST)
            self.late += self.pulse.late and not before
        return self


def test_a_busy_stream_is_late_after_the_least() -> None:
    s = Stream().go(60, rate=20)
    assert not s.pulse.late
    assert not s.go(4.5).pulse.late
    assert s.go(1.5).pulse.late
    assert not s.go(1, rate=20).pulse.late


@pytest.mark.parametrize("rate", [20, 2, 0.5, 0.1])
def test_an_hour_of_random_arrivals_raises_hardly_an_alarm(rate: float) -> None:
    random.seed(7)
    s = Stream().go(3600, rate=rate)
    assert s.late <= 1


def test_a_seldom_one_is_given_more() -> None:
    random.seed(3)
    s = Stream().go(1200, rate=0.2)
    assert 15 * 3 < s.pulse.limit(LEAST) < 300
    assert s.go(400).pulse.late


def test_one_without_a_habit_is_never_late() -> None:
    """Liquidations: nothing for hours, and nothing is wrong."""
    assert not Stream().go(7200).pulse.late
    s = Stream()
    s.count += 500  # many at once are no habit either
    assert not s.go(7200).pulse.late


def test_a_false_alarm_makes_patient_and_that_is_forgotten() -> None:
    random.seed(1)
    s = Stream().go(60, rate=20)
    least = s.pulse.limit(LEAST)
    s.go(8).go(30, rate=20)
    assert s.late == 1
    assert s.pulse.limit(LEAST) == pytest.approx(2 * least, rel=0.3)
    s.go(8).go(5, rate=20)
    assert s.late == 1, "the same silence again is no alarm"
    for _ in range(20):
        s.go(s.pulse.limit(LEAST) + 2).go(10, rate=20)
    assert s.pulse.limit(LEAST) <= MOST_PATIENCE * 2 * least
    s.go(8000, rate=20)
    assert s.pulse.limit(LEAST) == pytest.approx(least, rel=0.3)


def test_an_outage_does_not_make_patient() -> None:
    """It was not live meanwhile: the alarm was right."""
    s = Stream().go(60, rate=20)
    least = s.pulse.limit(LEAST)
    s.go(60).go(1, live=False).go(30, rate=20)
    assert s.pulse.limit(LEAST) == pytest.approx(least, rel=0.3)


def test_not_live_and_never_live() -> None:
    s = Stream()
    assert (s.pulse.lived, s.pulse.not_live) == (False, 0.0)
    s.go(1, rate=20)
    assert (s.pulse.lived, s.pulse.not_live) == (True, None)
    s.go(1, live=False)
    assert (s.pulse.lived, s.pulse.not_live) == (True, 1.5)
