"""Records of a spool: length, CRC32 of length and body, body. The body is one tick as MessagePack, so that any sink can be given it again.

    file    8 bytes MAGIC, then records
    record  uint32 length, uint32 crc32(length bytes + body), both little-endian; then the body

Numbers come back as they were: floats as floats, Decimals (written as text) with their digits.
"""

import struct
import zlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Struct

from streamer import types
from streamer.types import Tick

MAGIC: Final = b"TICKS\x00\x00\x01"
MAX_BODY: Final = 64 << 20
"""Bytes. A longer length is a flipped bit."""
HEAD: Final = struct.Struct("<II")
_LENGTH: Final = struct.Struct("<I")

_ENCODE: Final = msgspec.msgpack.Encoder().encode
_NUMBER: Any = float | Decimal
_UNION: Any = types.AnyTick
_DECODE: Final = msgspec.msgpack.Decoder(_UNION[_NUMBER]).decode


def pack(tick: Tick[Any]) -> bytes:
    """One tick as a record."""
    body = _ENCODE(tick)
    length = _LENGTH.pack(len(body))
    return length + _LENGTH.pack(zlib.crc32(body, zlib.crc32(length))) + body


class Parsed(Struct):
    """What some bytes held: `ticks` of consecutive records up to offset `end`. `bad`: the next record there is damaged; `bad_end` is where
    the one behind it begins, or None where that cannot be told."""

    ticks: list[Tick[Any]]
    end: int
    bad: bool = False
    bad_end: int | None = None


def parse(data: bytes, most: int, *, whole: bool) -> Parsed:
    """Read up to `most` records from the beginning. `whole`: nothing follows these bytes, so a record that is cut off is damaged."""
    found: list[Tick[Any]] = []
    at = 0
    while len(found) < most and at < len(data):
        end = _end(data, at)
        if end is not None and end > len(data) and not whole:
            break
        if end is None and len(data) - at < HEAD.size and not whole:
            break
        tick = _tick(data, at, end) if end is not None and end <= len(data) else None
        if tick is None:
            return Parsed(found, at, True, end if end is not None and _stands(data, end) else None)
        found.append(tick)
        at = end or at
    return Parsed(found, at)


def _end(data: bytes, at: int) -> int | None:
    """Where the record says that it ends; None when that cannot be."""
    if at + HEAD.size > len(data):
        return None
    length = HEAD.unpack_from(data, at)[0]
    return at + HEAD.size + length if 0 < length <= MAX_BODY else None


def _body(data: bytes, at: int, end: int) -> bytes | None:
    _, crc = HEAD.unpack_from(data, at)
    body = data[at + HEAD.size : end]
    return body if crc == zlib.crc32(body, zlib.crc32(data[at : at + _LENGTH.size])) else None


def _tick(data: bytes, at: int, end: int) -> Tick[Any] | None:
    body = _body(data, at, end)
    if body is None:
        return None
    try:
        tick: Tick[Any] = _DECODE(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # whole, but not of this version's types
        return None
    return tick


def _stands(data: bytes, at: int) -> bool:
    """Is there a sound record, or exactly the end?"""
    end = _end(data, at)
    return at == len(data) or (end is not None and end <= len(data) and _body(data, at, end) is not None)


def size_of(records: Sequence[bytes]) -> int:
    """Bytes of them all."""
    return sum(map(len, records))
