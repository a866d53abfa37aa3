"""Framings: the bytes of one websocket frame to the messages inside. Pure, and capped: what inflates beyond all reason is refused.

A framing is ``framing(bytes) -> sequence of bytes``. `None` in a feed means that a frame is one JSON message as it stands.
"""

import zlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

from streamer.errors import BadFrame

Framing: TypeAlias = Callable[[bytes], Sequence[bytes]]
MAX_INFLATED = 64 * 1024 * 1024
"""Bytes that one frame may inflate to."""


def inflate(data: bytes, wbits: int, limit: int = MAX_INFLATED) -> bytes:
    """Inflate at most `limit` bytes. Raises `BadFrame` (reason `inflate`) on a broken, cut or oversized stream."""
    unzip = zlib.decompressobj(wbits)
    try:
        out = unzip.decompress(data, limit + 1)
    except zlib.error as e:
        raise BadFrame(f"compressed frame cannot be read: {e}", "inflate") from None
    if len(out) > limit:
        raise BadFrame(f"compressed frame holds more than {limit} bytes", "inflate")
    if unzip.unused_data:
        raise BadFrame("compressed frame has something behind its end", "inflate")
    if not unzip.eof:
        raise BadFrame("compressed frame ends too early", "inflate")
    return out


def gzip(data: bytes) -> Sequence[bytes]:
    """One gzip member (htx, bingx, bitrue). Plain text passes: those venues send some frames uncompressed."""
    return (inflate(data, 31),) if data[:2] == b"\x1f\x8b" else (data,)


def deflate_raw(data: bytes) -> Sequence[bytes]:
    """Raw deflate without header (bitmart, okx before v5). JSON text passes as it is."""
    return (inflate(data, -15),) if data[:1] not in (b"{", b"[") else (data,)


def lines(data: bytes) -> Sequence[bytes]:
    """Several JSON messages in one frame, one a line."""
    return [line for line in data.splitlines() if line.strip()]
