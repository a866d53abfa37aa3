"""What a simulated venue does wrong on purpose. Every tick passes here on its way out; further faults have their place here."""

from collections import Counter
from typing import Any, Literal, TypeAlias

from streamer.errors import UsageError
from streamer.types import KIND, KINDS, BookDelta, Kind, Tick

Fate: TypeAlias = Literal["send", "lose", "spoil"]
"""`lose`: it is encoded, so that all sequences go on, and not sent. `spoil`: it is sent with a wrong checksum."""
EVERY = 40
"""Book updates of a topic from one fault to the next."""
PERIODIC: dict[str, Fate] = {"skip_delta": "lose", "bad_checksum": "spoil"}


class Faults:
    """`name`: `skip_delta` or `bad_checksum`, which come again and again, or `mute:KIND`; None for a venue that does everything right."""

    def __init__(self, name: str | None = None) -> None:
        what, _, kind = (name or "").partition(":")
        if name is not None and name not in PERIODIC and not (what == "mute" and kind in KINDS):
            raise UsageError(f"no fault is called {name!r}; there are {', '.join(PERIODIC)} and mute:KIND (KIND: {', '.join(KINDS)})")
        self._periodic = PERIODIC.get(what)
        self._muted = kind
        self._deltas: Counter[str] = Counter()

    def muted(self, kind: Kind) -> bool:
        """Is nothing of this kind to be sent?"""
        return kind == self._muted

    def fate(self, topic: str, tick: Tick[Any]) -> Fate:
        """What is to become of a tick of this topic."""
        if self._muted and self.muted(KIND[type(tick)]):
            return "lose"
        if self._periodic is not None and isinstance(tick, BookDelta):
            self._deltas[topic] += 1
            if self._deltas[topic] % EVERY == 0:
                return self._periodic
        return "send"
