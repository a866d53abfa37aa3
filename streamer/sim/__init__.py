"""Simulated exchanges, each in its own protocol: `SimServer` serves those in `VENUES`. docs/sim.md."""

import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamer.sim.server import SimServer as SimServer

VENUES: tuple[str, ...] = tuple(sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent / "venues")]) if m.name[0] != "_"))
"""The ids that have a declaration: the modules in `streamer/sim/venues`. None of them is imported here."""


def __getattr__(name: str) -> Any:
    """`SimServer`, and with it the web server, are imported when they are used."""
    if name != "SimServer":
        raise AttributeError(name)
    from streamer.sim.server import SimServer

    return SimServer
