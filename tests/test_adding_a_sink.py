"""docs/adding-a-sink.md, followed to the letter: written down, installed, tested and used."""

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.simulation import simulated

REPO = Path(__file__).parent.parent
GUIDE = REPO / "docs/adding-a-sink.md"
FILE = re.compile(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILES = dict(FILE.findall(GUIDE.read_text()))


def python(folder: Path, *args: str) -> str:
    """Run the project's Python there, with what was installed. What it writes, when it ends well."""
    paths = os.pathsep.join((str(folder / "site"), str(REPO)))
    run = [sys.executable, *args]
    done = subprocess.run(run, cwd=folder, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, f"{args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, installed into a folder of its own (`pip install .`, without the network)."""
    root = tmp_path_factory.mktemp("a sink")
    for name, text in FILES.items():
        (root / name).write_text(text)
    pip = "-m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --no-index --target site ."
    python(root, *pip.split())
    return root


def test_the_guide_has_its_files() -> None:
    assert list(FILES) == ["tick_sqlite.py", "pyproject.toml", "test_tick_sqlite.py", "streamer.toml", "program.py"]
    assert "    pip install .\n" in GUIDE.read_text()


def test_its_test(project: Path) -> None:
    assert "2 passed" in python(project, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "test_tick_sqlite.py")


def test_it_is_a_sink_by_name(project: Path) -> None:
    code = "from streamer.sinks import registry; print(registry.names(), registry.options_of('sqlite').__struct_fields__)"
    assert "'sqlite'" in python(project, "-c", code)


def test_the_configuration_is_accepted(project: Path) -> None:
    python(project, "-m", "streamer", "run", "-c", "streamer.toml", "--check")


def test_the_program(project: Path) -> None:
    with simulated("binance") as (_, url):
        out = python(project, "program.py", url.partition("=")[2])
    assert "state='closed'" in out
    with closing(sqlite3.connect(project / "trades.db")) as db:
        found = db.execute("SELECT exchange, symbol, id FROM trade").fetchall()
    assert len(found) > 3
    assert {row[:2] for row in found} == {("binance", "BTC/USDT")}
    assert len({row[2] for row in found}) == len(found)


def test_the_files_pass_our_own_checks(project: Path) -> None:
    files = [name for name in FILES if name.endswith(".py")]
    for check in (["check", "--ignore", "S101,F841"], ["format", "--check"]):
        python(project, "-m", "ruff", *check, "--no-cache", "--config", str(REPO / "pyproject.toml"), *files)
