"""The doubts about an exchange: the DOUBT comments of its sources, and what a probe saw that bears on each.

What is seen is put beside a doubt because of the words that the doubt is told in. It is for a person to say whether that settles it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from streamer.verdict import Book, Doubt, Report

MARK = "# " + "DOUBT:"  # not in one piece: this line is no doubt


def read(sources: Sequence[Path]) -> list[Doubt]:
    """Every doubt in these files, in order."""
    return [doubt for path in sources for doubt in _of(path)]


def _of(path: Path) -> Iterator[Doubt]:
    rows = path.read_text("utf-8").splitlines()
    for i, row in enumerate(rows):
        _, mark, text = row.partition(MARK)
        if not mark:
            continue
        for more in rows[i + 1 :]:
            if not more.strip().startswith("# ") or MARK in more:
                break
            text += " " + more.strip().removeprefix("# ")
        yield Doubt(f"{path.parent.name}/{path.name}:{i + 1}", text.strip())


def observed(doubts: Sequence[Doubt], report: Report) -> list[Doubt]:
    """The doubts with what this report can say of each."""
    return [Doubt(d.where, d.text, tuple(_seen(d.text, report))) for d in doubts]


def _seen(text: str, report: Report) -> Iterator[str]:
    for words, tell in SUBJECTS:
        if words.search(text):
            yield from tell(report)
    for kind, words in KINDS_AS_TOLD.items():
        if words.search(text):
            yield from _kind(kind, report)


def _kind(kind: str, report: Report) -> Iterator[str]:
    streams = [s for s in report.streams if s.kind == kind]
    if streams:
        yield f"{kind}: " + ", ".join(f"{s.count} of {s.symbol}" for s in streams)


def _load(report: Report) -> Iterator[str]:
    refused = sum(s.verdict == "refused" for s in report.streams)
    yield (
        f"{len(report.streams)} streams on {report.connections} connections: {refused} refused, {report.reconnects} reconnects"
        f" ({report.frames} frames in {report.seconds:.0f} s)"
    )


def _books(tell: Callable[[Book], str | None]) -> Callable[[Report], Iterator[str]]:
    def told(report: Report) -> Iterator[str]:
        all_ = [f"{b.symbol} {words}" for b in report.books if (words := tell(b)) is not None]
        if all_:
            yield f"books: {'; '.join(all_)}"

    return told


def _snapshots(b: Book) -> str:
    live = "never live" if b.live_s is None else f"live after {b.live_s:.1f} s"
    return f"{live}, {b.snapshots} snapshots, {b.deltas} updates"


def _sequence(b: Book) -> str | None:
    return f"{b.numbered} of {b.deltas} updates numbered, {b.stale.get('gap', 0)} gaps" if b.deltas else None


def _checksums(b: Book) -> str | None:
    return f"{b.checksums} checksums compared, {b.stale.get('checksum', 0)} wrong" if "checksum" in b.proof else None


def _one_sided(report: Report) -> Iterator[str]:
    quotes = [s for s in report.streams if s.kind == "quote" and s.count]
    if quotes:
        yield f"{sum(s.one_sided for s in quotes)} of {sum(s.count for s in quotes)} quotes had an empty side"


def _listed(report: Report) -> Iterator[str]:
    yield "listed: " + ", ".join(f"{n} {kind}" for kind, n in report.listed.items())


def _about(words: str) -> re.Pattern[str]:
    return re.compile(words, re.IGNORECASE)


SUBJECTS: Sequence[tuple[re.Pattern[str], Callable[[Report], Iterator[str]]]] = (
    (_about(r"\blimit|refus|\b429\b|commands|at once|channels|connects?\b|requests:|24 h.* connection"), _load),
    (_about(r"snapshot|wholes?\b|resync|\blevels\b"), _books(_snapshots)),
    (_about(r"\bcounts by\b|sequence|\bgaps?\b|\bchain"), _books(_sequence)),
    (_about(r"checksum|decimals"), _books(_checksums)),
    (_about(r"empty side|without bids"), _one_sided),
    (_about(r"\blisted|renames?\b|list today"), _listed),
)
"""What a doubt is about, by the words it is told in, and what a report says of that."""
KINDS_AS_TOLD = {
    "trade": _about(r"\btrades?\b"),
    "candle": _about(r"\bcandles?\b|\bbars?\b|interval"),
    "funding": _about(r"funding"),
    "liquidation": _about(r"liquidat|acquired"),
    "open_interest": _about(r"open.?interest|its interest"),
    "ticker": _about(r"\bticker|24 h figures|turnover"),
    "index": _about(r"\bindex\b"),
    "mark": _about(r"\bmark\b"),
}
"""The kinds of ticks, by the words doubts have for them."""
