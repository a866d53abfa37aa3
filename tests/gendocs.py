"""The documents that are made from the code: docs/coverage.md and docs/doubts.md. `python -m tests.gendocs` writes them anew.

tests/test_gendocs.py asserts that what is committed is what this gives.
"""

import ast
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from streamer import registry
from streamer.doubts import read as read_doubts
from streamer.line import proof_of
from streamer.rules import unnumbered
from streamer.spec import BookMethod, Feed, FromRequest, FromRest, FromStream, Poll
from tests import sessions

REPO = Path(__file__).parent.parent
PROOF = {
    "sequence": "every lost delta",
    "checksum": "a lost delta once the checksum of the top {depth} levels differs; deeper ones only when they rise into them",
    "refresh": "nothing to lose: every message is the whole book",
    "ids": "a lost insertion or deletion, once that level is told of again; a lost change of size is not noticed",
    "none": "nothing: a lost delta is not noticed",
}


LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def code_lines(path: Path) -> int:
    """Lines of code: no blank lines, comments or docstrings."""
    with path.open() as file:
        rows = {n for t in tokenize.generate_tokens(file.readline) if t.type not in LAYOUT for n in range(t.start[0], t.end[0] + 1)}
    texts = [x for x in ast.walk(ast.parse(path.read_text())) if isinstance(x, ast.Expr) and isinstance(x.value, ast.Constant)]
    return len(rows - {n for text in texts for n in range(text.lineno, (text.end_lineno or text.lineno) + 1)})


def lines_of(exchange: str) -> tuple[int, int]:
    """(feed, normalizer) lines of code of an exchange; 0 for a normalizer shared with another."""
    feed, normalizer = REPO / "feeds" / f"{exchange}.py", REPO / "normalizers" / f"{exchange}.py"
    return code_lines(feed), code_lines(normalizer) if normalizer.exists() else 0


def all_lines(exchange: str) -> int:
    """Lines of both files, blank ones, comments and docstrings too."""
    files = [REPO / folder / f"{exchange}.py" for folder in ("feeds", "normalizers")]
    return sum(len(f.read_text().splitlines()) for f in files if f.exists())


def book_row(method: BookMethod) -> str:
    """How a book is kept, in a few words."""
    if isinstance(method, FromRest | FromRequest):
        return f"{'REST snapshot' if isinstance(method, FromRest) else 'snapshot on request'}, rule `{method.rule.__name__}`"
    if isinstance(method, FromStream):
        numbered = f"rule `{method.rule.__name__}`" if method.rule is not unnumbered else ""
        counted = "all messages of the connection counted" if method.line_counted else ""
        summed = f"CRC32 of {method.checksum.depth} levels" if method.checksum is not None else ""
        depths = f"depths {', '.join(map(str, method.depths))}" if method.depths else ""
        return ", ".join(x for x in ("snapshot in the stream", numbered, counted, summed, depths) if x)
    return "every message is the whole book"


def coverage() -> Iterator[str]:
    """docs/coverage.md."""
    yield "# What is covered, and what each exchange can prove\n"
    yield "Made by `python -m tests.gendocs` from the feeds and their sessions; do not edit.\n"
    feeds = {e: registry.load(e) for e in registry.built()}
    yield "| exchange | markets | kinds | by REST only | lines of code: feed + normalizer (all lines) |\n|---|---|---|---|---|"
    sizes = {e: lines_of(e) for e in feeds}
    for e, feed in feeds.items():
        polled = [k for (_, k), t in feed.topics.items() if isinstance(t, Poll)]
        kinds = ", ".join(k for k in feed.kinds() if k not in polled)
        yield f"| {e} | {', '.join(feed.endpoints)} | {kinds} | {', '.join(polled)} | {sizes[e][0]} + {sizes[e][1]} ({all_lines(e)}) |"
    yield "\nLines of code: without blank lines, comments and docstrings; 0 where the normalizer is another exchange's."
    yield f"Median pair: {median(sum(s) for s in sizes.values()):g} lines; largest: {max(sum(s) for s in sizes.values())}.\n"
    yield "## Books\n"
    yield "What the missing-delta drill found: each delta of the session left out in turn.\n"
    yield "| exchange | book | what shows a loss | drilled | noticed | right where the proof reaches | last of its book | not provable |"
    yield "|---|---|---|---|---|---|---|---|"
    for e, feed in feeds.items():
        yield from book_rows(e, feed)
    yield ""
    yield "A delta that is the last of its book cannot be missed by anything that follows; the watch on silence is what remains."


def book_rows(exchange: str, feed: Feed) -> Iterator[str]:
    """The rows of one exchange, one for each market with a book."""
    outcomes = Counter(o for p in sessions.paths() if p.parent.name == exchange for _, _, o in sessions.drill(p))
    for market, method in feed.book.items():
        depth = method.checksum.depth if isinstance(method, FromStream) and method.checksum is not None else ""
        counted = isinstance(method, FromStream) and method.line_counted
        shows = PROOF["sequence" if counted else proof_of(method)].format(depth=depth)
        counts = " | ".join(str(outcomes[o]) for o in ("stale", "equal", "last", "unproved"))
        yield f"| {exchange} {market} | {book_row(method)} | {shows} | {outcomes.total()} | {counts} |"


def doubts() -> Iterator[str]:
    """docs/doubts.md: every `# DOUBT:` comment, with the comment lines that go on."""
    yield "# Doubts\n"
    yield "Every `# DOUBT:` in the code: what is believed, from where, and what would settle it.\n"
    yield "Made by `python -m tests.gendocs`; do not edit.\n"
    files = sorted(p for folder in ("feeds", "normalizers", "streamer") for p in (REPO / folder).rglob("*.py"))
    for doubt in read_doubts(files):
        yield f"- `{doubt.where.partition(':')[0]}` {doubt.text}"


DOCS = {"coverage.md": coverage, "doubts.md": doubts}


def text(name: str) -> str:
    """What docs/<name> must hold."""
    return "\n".join(DOCS[name]()) + "\n"


if __name__ == "__main__":
    for made in DOCS:
        (REPO / "docs" / made).write_text(text(made))
