"""Installed packages with entry points, made up in a temporary folder."""

from pathlib import Path

import pytest


class Packages:
    """`group`: of the entry points."""

    def __init__(self, group: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._group = group
        self._folder = folder
        monkeypatch.syspath_prepend(str(folder))

    def install(self, package: str, points: str, code: str = "") -> None:
        """A package of one module, with lines of ``name = module:object``."""
        info = self._folder / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{self._group}]\n{points}\n")
        (self._folder / f"{package}.py").write_text(code)
