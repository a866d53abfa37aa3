"""The collector's pauses: what stays is set aside, what is garbage is not kept."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from streamer.daemon.calm import EVERY_S, Calm


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()


class Node:
    """One of a cycle."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_there_is_set_aside_once_an_hour() -> None:
    gc.unfreeze()
    calm = Calm()
    assert calm.look(100.0)
    frozen = gc.get_freeze_count()
    assert frozen > 1000
    more = [[] for _ in range(10_000)]  # type: ignore[var-annotated]
    assert not calm.look(100.0 + EVERY_S - 1)
    assert gc.get_freeze_count() == frozen
    assert calm.look(100.0 + EVERY_S)
    assert gc.get_freeze_count() >= frozen + len(more) // 2


def test_garbage_that_was_set_aside_is_collected_the_next_time() -> None:
    calm = Calm()
    node = Node()
    gone = weakref.ref(node)
    calm.look(0.0)
    del node
    gc.collect()
    assert gone() is not None, "it is set aside, and a cycle"
    calm.again()
    assert calm.look(1.0)
    assert gone() is None
