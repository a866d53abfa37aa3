"""Ticks as bytes and back, for what stores and carries them: JSON, MessagePack, Avro and Protobuf.

    codec = codec_of("avro", registry=Registry("http://127.0.0.1:8081"))
    try: value = codec.encode(tick)
    except NotKnown as e: await codec.learn(e); value = codec.encode(tick)

`encode` and `decode` never wait. Where a schema has to be fetched or registered first they raise `NotKnown`, and `learn` does that.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, TypeAlias

from streamer.errors import StreamerError, UsageError
from streamer.types import Tick

if TYPE_CHECKING:
    from streamer.codecs.registry import Registry

Format: TypeAlias = Literal["json", "msgpack", "avro", "protobuf"]
FORMATS: Final[tuple[Format, ...]] = ("json", "msgpack", "avro", "protobuf")
VERSION: Final = 1
"""Of the schemas. Fields may be added at the end, with a default, without a new one; everything else makes a new one."""


class BadValue(StreamerError):
    """Bytes that are no tick, or a tick that this format has no place for."""


class NotKnown(StreamerError):
    """A schema must be learnt first. `what`: a tick to be written, or the number of a schema to read by."""

    def __init__(self, what: Tick[Any] | int) -> None:
        super().__init__(f"the schema of {what!r:.40} is not known yet")
        self.what = what


class Codec(Protocol):
    """One format."""

    format: ClassVar[Format]

    def encode(self, tick: Tick[Any]) -> bytes:
        """A tick as bytes. Raises `NotKnown` and `BadValue`."""

    def decode(self, value: bytes) -> Tick[Any]:
        """The tick. Raises `NotKnown` and `BadValue`."""

    async def learn(self, unknown: NotKnown) -> None:
        """Register or fetch the schema. Raises `IoFailure`, and `UsageError` when the registry refuses it."""


def codec_of(format: str, *, decimal: bool = False, registry: "Registry | None" = None) -> Codec:
    """The codec of a format. `decimal`: numbers are decoded to Decimals. `registry`: wanted for avro and protobuf."""
    if format in ("json", "msgpack"):
        from streamer.codecs.plain import Json, MsgPack

        return Json(decimal) if format == "json" else MsgPack(decimal)
    if format not in FORMATS:
        raise UsageError(f"format {format!r} is none of {', '.join(FORMATS)}")
    if registry is None:
        raise UsageError(f"format {format!r} wants a Schema Registry; say schema_registry = URL")
    if format == "avro":
        from streamer.codecs.avro import Avro

        return Avro(decimal, registry)
    from streamer.codecs.protobuf import Protobuf

    return Protobuf(decimal, registry)


def stamp(format: Format, tick: type[Tick[Any]]) -> bytes:
    """What a message's header `schema` says: ``json/trade/1``."""
    return f"{format}/{tick.__struct_config__.tag}/{VERSION}".encode()
