"""How venues write numbers and times. A bare JSON number is a Decimal; these are the others."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

MS = 1_000_000


def decimals(places: int, x: Decimal | None) -> Any:
    """Text with so many decimals: `0.01200000`. (Any: wire types have numbers there.)"""
    return "" if x is None else f"{x:.{places}f}"


def short(x: Decimal | None) -> Any:
    """Text as short as it can be: `88000`, `0.5`; "" for nothing."""
    if x is None:
        return ""
    text = f"{x:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def ms(ns: int | None) -> int:
    """Milliseconds."""
    return (ns or 0) // MS


def ms_text(ns: int | None) -> Any:
    """Milliseconds as text."""
    return str((ns or 0) // MS)


def iso(ns: int | None) -> str:
    """`2026-01-01T00:00:00.123456Z`."""
    return datetime.fromtimestamp((ns or 0) // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{(ns or 0) // 1000 % 1_000_000:06d}Z"
