"""Puts the figures of bench/results into docs/performance.md, between its markers: `python -m bench.report`.

tests/test_bench.py asserts that the page holds what this makes of the committed figures (not that they are what a machine measures today).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.all import NAMES, RESULTS
from bench.table import PACKAGES, cell

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
BEGIN = "<!-- figures: made by `python -m bench.report` from bench/results; do not edit -->\n"
END = "<!-- end of the figures -->\n"


def results(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Those that there are, in order."""
    return [json.loads(path.read_text()) for name in NAMES if (path := folder / f"{name}.json").exists()]


def text(found: list[dict[str, Any]]) -> str:
    """The page's generated part."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: list[dict[str, Any]]) -> Iterator[str]:
    if not found:
        yield "\nNot measured yet.\n"
        return
    yield "\n### What was wanted\n"
    yield "| what | measured | wanted | |\n|---|--:|--:|---|"
    for bar in (b for r in found for b in r["bars"]):
        yield f"| {bar['what']} | {bar['value']:.4g} | at {bar['sense']} {bar['limit']:.4g} | {'met' if bar['met'] else '**missed**'} |"
    for section in (s for r in found for s in r["sections"]):
        yield from _section(section)
    yield "\n### On what\n"
    yield from (_machine(r) for r in found)
    yield ""


def _section(section: dict[str, Any]) -> Iterator[str]:
    columns = section["columns"]
    yield f"\n### {section['title'][0].upper()}{section['title'][1:]}\n"
    yield "| " + " | ".join(c["title"] for c in columns) + " |"
    yield "|---" + "|--:" * (len(columns) - 1) + "|"
    for row in section["rows"]:
        yield "| " + " | ".join(cell(row.get(c["key"]), c["spec"]) for c in columns) + " |"
    notes = [f"- {c['title']}: {c['note']}" for c in columns if c["note"]]
    yield from ["", *notes] if notes else []


def _machine(result: dict[str, Any]) -> str:
    on = result["on"]
    packages = ", ".join(f"{name} {on[name]}" for name in PACKAGES if name in on)
    machine = f"{on['cores']} cores of {on['cpu']}, {on['system']}, Python {on['python']}, {packages}"
    took = f"{result['rounds']} rounds, {on['seconds']} s, load {on['load']:.1f} before and {on['load_after']:.1f} after"
    return f"- {result['bench']}: {on['date']} UTC, commit {on['commit']}, {took}; {machine}"


def renewed(page: str, found: list[dict[str, Any]]) -> str:
    """The page with these figures."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} lacks the markers between which the figures stand")
    return head + begin + text(found) + end + tail


def main() -> None:
    PAGE.write_text(renewed(PAGE.read_text(), results()))
    print(f"{PAGE} holds the figures of {', '.join(r['bench'] for r in results()) or 'nothing yet'}")


if __name__ == "__main__":
    main()
