"""Ticks as JSON: `type` first, numbers as numbers, Decimals with the digits they came with."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from streamer.types import Tick

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_EXPONENT = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?E[+-]?\d+')
"""A string, which is skipped, or a number in the form that Decimal writes small and large ones in."""


def encode(value: Any) -> bytes:
    """One tick (or one value of a tick) as JSON."""
    return _plain(_ENCODER.encode(value))


def encode_lines(ticks: Sequence[Tick[Any]]) -> bytes:
    """One JSON object a line."""
    return _plain(_ENCODER.encode_lines(ticks))


def _plain(text: bytes) -> bytes:
    """Write out `0E-8` as `0.00000000`: Decimal's exponent form would lose the digits as the exchange wrote them."""
    if b"E-" not in text and b"E+" not in text:
        return text
    return _EXPONENT.sub(lambda m: m[0] if m[0][:1] == b'"' else format(Decimal(m[0].decode()), "f").encode(), text)
