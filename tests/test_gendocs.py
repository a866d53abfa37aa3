"""The generated documents are those that the code gives."""

import pytest

from streamer import registry
from tests import gendocs


@pytest.mark.parametrize("name", list(gendocs.DOCS))
def test_generated_document_is_current(name: str) -> None:
    assert (gendocs.REPO / "docs" / name).read_text() == gendocs.text(name), "run `python -m tests.gendocs`, read the difference, commit"


def test_every_doubt_says_what_settles_it() -> None:
    doubts = [row for row in gendocs.doubts() if row.startswith("- ")]
    assert doubts
    assert [row for row in doubts if "settled by" not in row] == []


def test_no_pair_is_too_long() -> None:
    assert {e: sum(gendocs.lines_of(e)) for e in registry.built() if sum(gendocs.lines_of(e)) > 200} == {}
