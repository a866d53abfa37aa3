"""Which version this is."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _installed() -> str:
    try:
        return version("market-streamer")
    except PackageNotFoundError:  # run from a source tree
        return "0"


USER_AGENT: Final = f"market-streamer/{_installed()}"
"""How we introduce ourselves to exchanges."""
