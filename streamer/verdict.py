"""What a probe found of an exchange, and whether it passes: plain facts in, reasons out. Times in seconds."""

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct

from streamer.types import Kind

Verdict = Literal["came", "quiet", "missing", "refused", "down"]
"""Of one stream. `quiet`: nothing came, and nothing need have come."""
QUIET: Mapping[Kind, str] = {
    "liquidation": "nobody need be liquidated in so short a time",
    "funding": "some exchanges tell it hourly, or at the settlement only",
}
"""Kinds that may rightly be silent, and why. All others are states or happen all the time."""
SELDOM_TRADED = ("future", "option")
"""Kinds of instruments that nobody need trade in so short a time."""
POLLS = 3
"""So many answers are waited for before a polled kind counts as silent: the first page of trades is history."""


class Skew(Struct, frozen=True):
    """`ts_recv - ts_event`: the way here, and how far the two clocks are apart."""

    median: float
    least: float
    most: float


class Seen(Struct, frozen=True, kw_only=True):
    """One stream. `first`: after so many seconds; `listened`: since it was live; `lost`: reasons for which it was not live any more, with
    their count; `one_sided`: quotes without bid or ask; `bar_closed`: an interval of candles ended while it listened."""

    symbol: str
    kind: Kind
    instrument: str
    market: str
    state: str = "connecting"
    reason: str | None = None
    count: int = 0
    first: float | None = None
    listened: float = 0.0
    rate: float = 0.0
    skew: Skew | None = None
    lost: Mapping[str, int] = {}
    gaps: Mapping[str, int] = {}
    one_sided: int = 0
    every: float | None = None
    bar_closed: bool = False
    verdict: Verdict = "missing"
    why: str = ""


class Book(Struct, frozen=True, kw_only=True):
    """One book. `proof` as `streamer exchanges` tells it; `numbered`: updates that carried the venue's numbers; `numbers_lines`: the venue
    counts the connection's messages instead; `applied` and `checksums` by the state machine; `stale`: reasons with their count."""

    symbol: str
    market: str
    proof: str
    numbers_lines: bool = False
    live_s: float | None = None
    snapshots: int = 0
    deltas: int = 0
    numbered: int = 0
    applied: int = 0
    dropped: int = 0
    checksums: int = 0
    stale: Mapping[str, int] = {}


class Doubt(Struct, frozen=True):
    """A DOUBT of the sources, and what was seen that bears on it."""

    where: str
    text: str
    seen: tuple[str, ...] = ()


class Report(Struct, kw_only=True):
    """A probe. `where`: the base url, if it was not the exchange's own; `listed`: active instruments by kind; `unreached`: what is declared
    and no active instrument has."""

    exchange: str
    where: str | None = None
    seconds: float = 0.0
    verdict: Literal["pass", "fail", "unreachable"] = "fail"
    reasons: list[str] = []
    remarks: list[str] = []
    connections: int = 0
    reconnects: int = 0
    stalls: int = 0
    frames: int = 0
    listed: dict[str, int] = {}
    streams: list[Seen] = []
    books: list[Book] = []
    bad: dict[str, int] = {}
    samples: dict[str, str] = {}
    unknown: dict[str, int] = {}
    unknown_ids: dict[str, int] = {}
    unreached: list[tuple[str, Kind]] = []
    doubts: list[Doubt] = []


def of_stream(s: Seen, traded: bool) -> tuple[Verdict, str]:
    """The verdict on one stream, and why. `traded`: trades of its symbol came."""
    if s.count:
        return "came", ""
    if s.state == "rejected":
        return "refused", s.reason or "without a word"
    if s.listened <= 0:
        if s.state == "connecting":
            return "missing", "it was subscribed, and neither an answer nor data came"
        return "down", f"{s.state}{': ' if s.reason else ''}{s.reason or ''}"
    excuse = _excuse(s, traded)
    return ("quiet", excuse) if excuse else ("missing", f"subscribed for {s.listened:.0f} s, and nothing came")


def _excuse(s: Seen, traded: bool) -> str | None:
    if s.every is not None and s.listened < POLLS * s.every:
        return f"it is asked for every {s.every:g} s, and needs {POLLS} answers"
    if s.kind == "trade" and s.instrument in SELDOM_TRADED:
        return f"nobody need trade this {s.instrument} in so short a time"
    if s.kind == "candle" and not traded:
        return "without a trade there need be no candle"
    if s.kind == "candle" and not s.bar_closed:
        return "no bar closed meanwhile, and some exchanges tell those only"
    return QUIET.get(s.kind)


def judge(report: Report) -> None:
    """Fill in `verdict`, `reasons` and `remarks`."""
    report.reasons, report.remarks = list(_faults(report)), list(_remarks(report))
    if report.frames == 0 and not any(s.count or s.verdict == "refused" for s in report.streams):
        report.verdict = "unreachable"
    else:
        report.verdict = "fail" if report.reasons else "pass"


def _faults(report: Report) -> Iterator[str]:
    if not report.streams:
        yield "there is nothing to subscribe to: no active instrument has any of the declared kinds"
    for s in report.streams:
        yield from _stream_faults(s)
    for b in report.books:
        yield from _book_faults(b)
    for reason, n in report.bad.items():
        yield f"{n} frames were not understood ({reason}), such as {report.samples.get(reason, '')}"
    if report.reconnects:
        yield f"the connection was lost and made again {report.reconnects} times: {_told(_why_lost(report)) or 'before anything was live'}"
    for market, kind in report.unreached:
        yield f"{kind} is declared for {market!r}, and no active instrument has it"


def _stream_faults(s: Seen) -> Iterator[str]:
    name = f"{s.kind} of {s.symbol}"
    if s.verdict == "missing":
        yield f"missing channel: {name}: {s.why}"
    elif s.verdict == "refused":
        yield f"{name} was refused: {s.why}"
    elif s.verdict == "down":
        yield f"{name} never came live: {s.why}"
    if s.gaps.get("sequence"):
        yield f"wrong sequence: {name} had {s.gaps['sequence']} gaps"


def _book_faults(b: Book) -> Iterator[str]:
    if b.live_s is None:
        return  # told of its stream
    for reason, n in b.stale.items():
        what = {"gap": "wrong sequence", "checksum": "wrong checksum", "crossed": "crossed book"}.get(reason, "stale book")
        yield f"{what}: the book of {b.symbol} fell {n} times ({reason})"
    if "checksum" in b.proof and not b.checksums:
        yield f"the book of {b.symbol} is to be proved by checksums, and none came"
    if "sequence" in b.proof and not b.numbers_lines and b.deltas and not b.numbered:
        yield f"the book of {b.symbol} is to be proved by its sequence, and no update was numbered"


def _remarks(report: Report) -> Iterator[str]:
    for b in report.books:
        if b.live_s is not None and not b.deltas and b.snapshots <= 1:
            yield f"the book of {b.symbol} was never changed: its updates remain to be seen"
    if report.unknown:
        yield f"messages of the exchange that nobody asked for: {_told(report.unknown)}"
    if report.unknown_ids:
        yield f"ids that its list does not hold: {_told(report.unknown_ids)}"
    if report.stalls:
        yield f"{report.stalls} times a stream fell silent for longer than it used to"
    early = [s for s in report.streams if s.skew is not None and s.skew.median < -0.05]
    if early:
        yield f"{', '.join(f'{s.kind} of {s.symbol}' for s in early)} came before their time: this machine's clock is late, or theirs early"


def _why_lost(report: Report) -> dict[str, int]:
    why: dict[str, int] = {}
    for s in report.streams:
        for reason, n in s.lost.items():
            why[reason] = max(n, why.get(reason, 0))
    return why


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{ascii(name)[1:-1]} {n}" for name, n in sorted(counts.items(), key=lambda x: -x[1])[:10])
