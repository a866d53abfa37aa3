"""Backoff and gates: never more than the venue allows in any window, and silence when it orders silence."""

import asyncio
from itertools import islice, pairwise
from pathlib import Path

import pytest

from streamer.errors import IoFailure, RateLimited
from streamer.gates import Gate, Gates, backoff
from streamer.io import Response
from streamer.silence import Silence
from streamer.spec import Limits
from tests.world import Exchange, ScriptedIo, clock, virtual


def test_backoff_doubles_its_bound_and_is_never_nothing() -> None:
    for _ in range(50):
        for delay, bound in zip(islice(backoff(0.5, 60.0), 12), [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60], strict=True):
            assert 0.125 <= delay <= bound
    late = [d for _ in range(50) for d in islice(backoff(), 10, 30)]
    assert max(late) > 50
    assert min(late) < 10, "full jitter: spread over the whole range"


def most_in_any(seconds: float, passed: list[tuple[float, int]]) -> int:
    return max(sum(w for t, w in passed if start <= t < start + seconds - 1e-6) for start, _ in passed)


@virtual
async def test_no_window_holds_more_than_it_may() -> None:
    """A leaky bucket would let 10 through at once and 10 more in the second after."""
    gate, passed = Gate(10, 1.0), []
    began = clock()

    async def one(weight: int) -> None:
        await gate.acquire(weight)
        passed.append((clock(), weight))

    await asyncio.gather(*(one(1 + i % 3) for i in range(60)))
    assert most_in_any(1.0, passed) <= 10
    assert clock() - began < 15, "and no slower than need be"
    assert [w for _, w in passed] == [1 + i % 3 for i in range(60)], "first come, first served"


@virtual
async def test_one_that_gives_up_waiting_costs_nothing() -> None:
    gate = Gate(1, 10.0)
    await gate.acquire()
    began = clock()
    waiting = [asyncio.create_task(gate.acquire()) for _ in range(3)]
    await asyncio.sleep(1)
    waiting[0].cancel()
    await waiting[1]
    assert clock() - began == pytest.approx(10, abs=0.01)
    await waiting[2]
    assert clock() - began == pytest.approx(20, abs=0.01)
    await gate.acquire(1000)


class Venue(Exchange):
    hosts = ("h",)

    def rest(self, path: str) -> object:
        return {"path": path}


def gates(venue: Exchange, limits: Limits = Limits()) -> Gates:  # noqa: B008  (frozen)
    return Gates(ScriptedIo(venue), limits)


@virtual
async def test_fetch_and_its_failures() -> None:
    venue = Venue()
    g = gates(venue)
    assert await g.fetch("GET", "https://h/x?y=1") == b'{"path":"/x?y=1"}'
    venue.fault = lambda path: Response(451, {}, b"<html>\x1b[2J not in your country" + b"x" * 500)
    with pytest.raises(IoFailure, match="https://h/x answered 451") as e:
        await g.fetch("GET", "https://h/x")
    assert e.value.reason == "http_451"
    assert "\x1b" not in str(e.value)
    assert len(str(e.value)) < 300
    venue.fault = lambda path: IoFailure("refused", "refused")
    with pytest.raises(IoFailure, match="refused"):
        await g.fetch("GET", "https://h/x")


@virtual
async def test_rest_and_connects_keep_to_the_venues_pace() -> None:
    venue = Venue()
    g = gates(venue, Limits(rest=(10, 1.0), connects=(2, 5.0)))
    await asyncio.gather(*(g.fetch("GET", "https://h/x", weight=4) for _ in range(10)))
    assert most_in_any(1.0, [(t, 4) for t, _ in venue.requests]) <= 10
    await g.fetch("GET", "https://h/x", weight=10_000)
    began = clock()
    for _ in range(5):
        await g.connect()
    assert clock() - began == pytest.approx(10, abs=0.01)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [(429, "7", 7), (429, None, 10), (418, None, 120), (418, "3600", 3600), (429, "0", 1), (429, "-5", 1), (429, "1e99", 3 * 86400),
     (429, "nan", 10), (418, "inf", 120), (429, "Wed, 21 Oct 2026 07:28:00 GMT", 10)],
)  # fmt: skip
def test_silence_is_kept(status: int, header: str | None, seconds: float) -> None:
    @virtual
    async def run() -> None:
        venue = Venue()
        g = gates(venue)
        venue.fault = lambda path: Response(status, {} if header is None else {"retry-after": header}, b"")
        with pytest.raises(RateLimited, match=f"answered {status}: no request for") as e:
            await g.fetch("GET", "https://h/x")
        assert e.value.retry_after == pytest.approx(seconds)
        ordered = clock()
        venue.fault = lambda path: None
        await asyncio.gather(g.fetch("GET", "https://h/y"), g.connect())
        assert venue.asked("/y")[0] - ordered == pytest.approx(seconds, abs=0.1)

    run()


@virtual
async def test_those_who_wait_at_the_gate_hear_of_the_silence_too() -> None:
    """The order comes while ten others wait for room; none of them may go before it is over."""
    venue = Venue()
    g = gates(venue, Limits(rest=(1, 1.0)))
    venue.fault = lambda path: Response(418, {"retry-after": "300"}, b"") if path == "/0" else None
    began = clock()
    answers = await asyncio.gather(*(g.fetch("GET", f"https://h/{i}") for i in range(10)), return_exceptions=True)
    assert isinstance(answers[0], RateLimited)
    assert all(isinstance(a, bytes) for a in answers[1:])
    times = sorted(t - began for t, path in venue.requests if path != "/0")
    assert times[0] >= 300
    assert all(b - a >= 0.999 for a, b in pairwise(times)), "nor all at once when it is over"


@virtual
async def test_a_silence_that_is_prolonged_is_kept_to_its_end() -> None:
    venue = Venue()
    g = gates(venue)
    g.silent_until = clock() + 10
    began = clock()
    waiting = asyncio.create_task(g.fetch("GET", "https://h/x"))
    await asyncio.sleep(5)
    g.silent_until = clock() + 100
    await waiting
    assert venue.requests[0][0] - began == pytest.approx(105, abs=0.1)


@virtual
async def test_a_ban_outlives_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    venue = Venue()
    venue.fault = lambda path: Response(418, {"retry-after": "600"}, b"")
    ordered = clock()
    with pytest.raises(RateLimited):
        await Gates(ScriptedIo(venue), Limits(), Silence(tmp_path, "h")).fetch("GET", "https://h/x")
    venue.fault = lambda path: None
    await asyncio.sleep(100)
    again, other = (Gates(ScriptedIo(venue), Limits(), Silence(tmp_path, name)) for name in ("h", "i"))
    assert "h ordered silence before this start: no request for another 500 s" in caplog.text
    await other.fetch("GET", "https://h/other")
    await asyncio.gather(again.connect(), again.fetch("GET", "https://h/y"))
    assert (venue.asked("/other")[0] - ordered, venue.asked("/y")[0] - ordered) == pytest.approx((100, 600), abs=0.1)
    assert not Gates(ScriptedIo(venue), Limits(), Silence(tmp_path, "h")).silent


@virtual
async def test_a_shorter_order_does_not_end_a_longer_one_after_a_restart(tmp_path: Path) -> None:
    g = Gates(ScriptedIo(Venue()), Limits(), Silence(tmp_path, "h"))
    g.refused("http_418")
    g.refused("http_429")
    await asyncio.sleep(20)
    assert Gates(ScriptedIo(Venue()), Limits(), Silence(tmp_path, "h")).silent_until - clock() == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 0), ("soon", 0), ("9" * 5000, 0), ("9" * 4000, 3 * 86400), ("-" + "9" * 4000, 0), ("1", 0)]
)
def test_what_stands_in_the_file_is_not_believed_beyond_reason(tmp_path: Path, text: str, seconds: float) -> None:
    @virtual
    async def run() -> None:
        (tmp_path / "h.silent").write_text(text)
        g = Gates(ScriptedIo(Venue()), Limits(), Silence(tmp_path, "h"))
        assert max(0.0, g.silent_until - clock()) == pytest.approx(seconds)

    run()


@virtual
async def test_a_disk_that_refuses_is_noted_and_the_silence_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    g = Gates(ScriptedIo(Venue()), Limits(), Silence(tmp_path / "file", "h"))
    g.refused("http_418")
    await asyncio.sleep(1)
    assert g.silent
    assert "h ordered silence, which cannot be noted" in caplog.text
