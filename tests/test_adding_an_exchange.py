"""docs/adding-an-exchange.md, followed to the letter, in a copy of the project."""

import os
import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

REPO = Path(__file__).parent.parent
GUIDE = REPO / "docs/adding-an-exchange.md"
FILE = re.compile(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILES = dict(FILE.findall(GUIDE.read_text()))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the files of the guide; what is not written to is linked. The other exchanges stay at home."""
    root = tmp_path_factory.mktemp("project with spaces")
    compiled = (path.name for path in REPO.glob("*__mypyc.*"))  # what a compiled core has beside it
    for name in ("streamer", "pyproject.toml", *compiled):
        (root / name).symlink_to(REPO / name)
    for package in ("feeds", "normalizers", "tests"):
        (root / package).mkdir()
    for file in (
        "feeds/__init__.py",
        "normalizers/__init__.py",
        *(f"tests/{n}.py" for n in ("__init__", "sessions", "gendocs", "test_exchanges")),
    ):
        (root / file).symlink_to(REPO / file)
    (root / "docs").mkdir()
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def python(project: Path, *args: str) -> str:
    """Run the project's Python there. What it writes, when it ends well."""
    run = [sys.executable, *args]
    done = subprocess.run(run, cwd=project, env=os.environ | {"PYTHONPATH": str(project)}, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, f"{args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_guide_has_three_files() -> None:
    assert list(FILES) == ["normalizers/acme.py", "feeds/acme.py", "tests/exchanges/acme/session.jsonl"]


def test_following_the_guide(project: Path) -> None:
    """Its commands in its order. The generic tests are those of all exchanges."""
    summary = python(project, "-m", "tests.sessions", "acme")
    assert "books: 1 of 1 live at the end" in summary
    assert "bad frames: none" in summary
    tests = python(project, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/test_exchanges.py", "-k", "acme")
    assert re.search(r"^1[0-9] passed, [0-9]+ deselected in|^1[0-9] passed in", tests, re.MULTILINE), tests
    python(project, "-m", "tests.gendocs")
    assert "| acme spot | snapshot in the stream, rule `counted` | every lost delta | 2 | 1 |" in (project / "docs/coverage.md").read_text()


def test_the_ticks_are_those_that_the_session_means(project: Path) -> None:
    rows = [orjson.loads(row) for row in python(project, "-m", "streamer", "replay", "tests/exchanges/acme/session.jsonl").splitlines()]
    data = [row for row in rows if row["type"] != "status"]
    assert [row["type"] for row in data] == ["book_snapshot", "book_delta", "trade", "book_delta"]
    assert {(row["exchange"], row["symbol"]) for row in rows} == {("acme", "BTC/EUR")}
    snapshot, _, trade, last = data
    assert (snapshot["bids"], snapshot["asks"], snapshot["seq"]) == ([[60000.1, 0.5]], [[60000.9, 1.25]], 7)
    assert (trade["price"], trade["size"], trade["side"], trade["id"]) == (60000.2, 0.1, "sell", "42")
    assert trade["ts_event"] == 1767225604990000000
    assert (last["bids"], last["first"], last["last"]) == ([[60000.2, 0.0]], 9, 9)


def test_it_is_listed(project: Path) -> None:
    code = "from streamer import registry; print(registry.built(), registry.load('acme').kinds())"
    assert python(project, "-c", code).strip() == "('acme',) ['trade', 'book']"


def test_the_files_pass_our_own_checks(project: Path) -> None:
    files = [name for name in FILES if name.endswith(".py")]
    for check in ("check", "format --check"):
        python(project, "-m", "ruff", *check.split(), "--no-cache", *files)
