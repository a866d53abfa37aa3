"""JSON, as `streamer stream` prints it, and MessagePack. Both name the tick's type in the field `type`, and need no registry."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from streamer import types
from streamer.codecs import BadValue, Format, NotKnown
from streamer.encode import encode
from streamer.types import Tick

_NUMBERS = msgspec.json.Encoder(decimal_format="number").encode
_E, _SIGNS = ord("E"), b"+-"
_FAULTS = (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError)


def _union(decimal: bool) -> Any:
    union: Any = types.AnyTick
    return union[Decimal] if decimal else union[float]


class _Plain:
    """What both share. `called`: the format's name, for people."""

    called: ClassVar[str]
    _decode: Callable[[bytes], Any]

    def decode(self, value: bytes) -> Tick[Any]:
        """Raises `BadValue`."""
        try:
            tick: Tick[Any] = self._decode(value)
        except _FAULTS as e:
            raise BadValue(f"no tick in {self.called}: {e}") from None
        return tick

    async def learn(self, unknown: NotKnown) -> None:
        """There is nothing to learn."""


class Json(_Plain):
    """Numbers are numbers; Decimals are written with their digits, and read with them."""

    format: ClassVar[Format] = "json"
    called = "JSON"

    def __init__(self, decimal: bool = False) -> None:
        self._decode = msgspec.json.Decoder(_union(decimal)).decode

    def encode(self, tick: Tick[Any]) -> bytes:
        """JSON in UTF-8."""
        try:
            text = _NUMBERS(tick)
            at = text.find(_E)
            while at >= 0:
                if text[at + 1] in _SIGNS:
                    return encode(tick)  # a Decimal with an exponent, which would lose its digits; rare, and dear to look for
                at = text.find(_E, at + 1)
            return text
        except _FAULTS as e:
            raise BadValue(f"no JSON can be made of it: {e}") from None


class MsgPack(_Plain):
    """Decimals are texts here."""

    format: ClassVar[Format] = "msgpack"
    called = "MessagePack"

    def __init__(self, decimal: bool = False) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_union(decimal), strict=False).decode

    def encode(self, tick: Tick[Any]) -> bytes:
        """MessagePack: a map with the fields' names."""
        try:
            return self._encode(tick)
        except _FAULTS as e:
            raise BadValue(f"no MessagePack can be made of it: {e}") from None
