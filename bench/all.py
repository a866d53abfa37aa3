"""Every benchmark, one after the other, each in a process of its own; in the end one table of what was wanted. `make bench` runs it.

The figures go to bench/results/NAME.json, which are committed: docs/performance.md is made from them (`python -m bench.report`). With
`--quick` nothing is kept.
"""

import argparse
import filecmp
import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import recordings
from bench.peers import columns

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results"
NAMES = ("pipeline", "pipeline-compiled", "sockets", "sockets-compiled", "fanout", "book", "growth", "kafka")
NEEDS = {"kafka": ("confluent_kafka", "pip install 'market-streamer[kafka]'")}
"""What a part cannot do without, and how to have it."""
TWIN = ROOT / "build" / "compiled"
"""Where `make compiled` puts the copy of the tree whose core is compiled."""
SOURCES = ("streamer", "feeds", "normalizers", "bench", "bench/peers")
"""What must be the same in it, for figures of the two to be of one program."""
AS_HERE = {"STREAMER_RECORDINGS": str(recordings.ROOT)}


def there(name: str) -> bool:
    """Can it be run here? Says why not."""
    package, remedy = NEEDS.get(name, ("", ""))
    if package and find_spec(package) is None:
        print(f"{name} is left out, since {package} is not installed: {remedy}")
        return False
    if name.endswith("-compiled") and not current(TWIN):
        print(f"{name} is left out, since {TWIN} is not there, or not of these sources: make compiled")
        return False
    return True


def current(twin: Path) -> bool:
    """Is the compiled copy of the sources that are here?"""
    files = [p.relative_to(ROOT) for package in SOURCES for p in (ROOT / package).glob("*.py")]
    return all((twin / file).exists() and filecmp.cmp(ROOT / file, twin / file, shallow=False) for file in files)


def run(name: str, folder: Path, quick: bool) -> dict[str, Any] | None:
    """One benchmark's figures, None when it failed."""
    file = folder / f"{name}.json"
    more = ["--quick"] if quick else []
    bench, _, twin = name.partition("-")
    if bench == "pipeline" and columns():
        more.append("--peers")
    where: dict[str, Any] = {"cwd": TWIN, "env": os.environ | AS_HERE | {"PYTHONPATH": str(TWIN)}} if twin else {}
    done = subprocess.run([sys.executable, "-m", f"bench.{bench}", "--json", str(file), *more], check=False, **where)  # noqa: S603
    found: dict[str, Any] | None = json.loads(file.read_text()) if done.returncode == 0 else None
    return found


def summary(found: dict[str, dict[str, Any] | None]) -> None:
    """One table."""
    print(f"\n{'what':<90}{'measured':>12}{'wanted':>20}")
    for name, figures in found.items():
        if figures is None:
            print(f"{name:<90}{'FAILED':>12}")
            continue
        for bar in figures["bars"]:
            wanted = f"{'<=' if bar['sense'] == 'most' else '>='} {bar['limit']:.4g}"
            print(f"{name + ': ' + bar['what']:<90}{bar['value']:>12.4g}{wanted:>20}{'' if bar['met'] else '  MISSED'}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.all", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(NAMES), help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="does it run? Nothing is kept")
    options = parser.parse_args()
    if not columns():
        print("no peer is installed, so none is measured: run `make bench-peers` first to compare")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) if options.quick else RESULTS
        folder.mkdir(exist_ok=True)
        found = {name: run(name, folder, options.quick) for name in options.names if there(name)}
    summary(found)
    if not options.quick:
        print("\nThe figures are in bench/results; `python -m bench.report` puts them into docs/performance.md.")
    sys.exit(None in found.values())


if __name__ == "__main__":
    main()
