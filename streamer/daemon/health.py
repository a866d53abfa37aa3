"""Are the streams fresh and do the sinks accept? What `/readyz`, systemd and the metrics are told. Pure but for what it reads."""

from collections import Counter
from typing import Any

from msgspec import Struct

from streamer.daemon.pulse import Pulse
from streamer.daemon.service import Service
from streamer.errors import StreamerError
from streamer.mailbox import StreamKey
from streamer.streams import Stream

MOST_REASONS = 20


class Verdict(Struct, frozen=True):
    """`reasons`: what is not as it should be, even where that is not enough to be not ready. `wanted` and `fresh` by exchange and kind;
    `states` also by the state of the stream."""

    ready: bool
    reasons: list[str]
    wanted: Counter[tuple[str, str]]
    fresh: Counter[tuple[str, str]]
    states: Counter[tuple[str, str, str]]

    def summary(self) -> str:
        """One line."""
        words = f"{self.fresh.total()} of {self.wanted.total()} streams fresh"
        return words if not self.reasons else f"{words}; {self.reasons[0]}"


def judge(service: Service, now: float) -> Verdict:
    """How it is at `now` (monotonic seconds), as of the survey's last look."""
    rules = service.config.ready
    wanted, fresh, states = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str, str]]()
    reasons = [f"{exchange}: {what}" for exchange, what in service.lists.problems.items()]
    unlisted = len(reasons)
    for key, served in service.wanted().items():
        exchange, _, kind, _ = key
        wanted[exchange, kind] += 1
        states[exchange, kind, served.state if isinstance(served, Stream) else "rejected" if served is not None else "connecting"] += 1
        what = ailment(served, service.survey.pulses.get(key), now, rules.stale_s)
        if what is None:
            fresh[exchange, kind] += 1
        else:
            reasons.append(f"{name(key)} {what}")
    enough = wanted.total() > 0 and not unlisted and fresh.total() >= rules.share * wanted.total()
    sinks = [f"sink {n} is {o.runner.state}{why(o.runner)}" for n, o in service.outlets.by_name.items() if not o.runner.ready]
    if not wanted and not unlisted:
        reasons.append("nothing that is traded matches what is asked for")
    short = service.memory.reason()
    if short is not None:
        held = service.outlets.held_back
        reasons.insert(0, f"{short} ({held} do)" if held else short)
    if service.stopping:
        reasons.insert(0, "shutting down")
    ready = enough and not (sinks and rules.sinks) and not service.stopping and short is None
    return Verdict(ready, cut([*sinks, *reasons]), wanted, fresh, states)


def ailment(served: Stream | StreamerError | None, pulse: Pulse | None, now: float, stale_s: float) -> str | None:
    """What ails a stream; None for one that is fresh."""
    if isinstance(served, StreamerError):
        return f"is refused: {served}"
    if served is None or pulse is None:
        return "is not subscribed yet"
    if served.state == "rejected" or not pulse.lived:
        return f"is {served.state}{f': {served.reason}' if served.reason else ''}"
    if pulse.not_live is not None and now - pulse.not_live > stale_s:
        return f"is {served.state} for {now - pulse.not_live:.0f} s{f': {served.reason}' if served.reason else ''}"
    if pulse.late:
        return f"is silent for {now - pulse.last:.0f} s"
    return None


def data_flows(service: Service, now: float) -> bool:
    """Does anything at all come in? Where nothing has a habit of speaking often, silence proves nothing."""
    most = service.config.watchdog.data_s
    survey = service.survey
    if not most or survey.spoke is None:
        return True
    habits = [limit for p in survey.pulses.values() if (limit := p.limit(most)) != float("inf")]
    return not habits or now - survey.spoke <= max(most, min(habits))


def name(key: StreamKey) -> str:
    """A stream with its kind."""
    exchange, symbol, kind, interval = key
    return f"{exchange}:{symbol} {kind}{f' {interval}' if interval else ''}"


def why(runner: Any) -> str:
    """What a sink says of itself, as the end of a sentence."""
    reason = runner.stats().reason
    return f": {reason}" if reason else ""


def cut(reasons: list[str]) -> list[str]:
    """Not more than anybody reads."""
    if len(reasons) <= MOST_REASONS:
        return reasons
    return [*reasons[:MOST_REASONS], f"and {len(reasons) - MOST_REASONS} more"]
