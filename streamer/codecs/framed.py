"""What Avro and Protobuf share: values begin with a zero byte and the number of their schema in the registry (Confluent's wire format)."""

import struct
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any, ClassVar, Final

import msgspec

from streamer.codecs import BadValue, NotKnown
from streamer.codecs.registry import Registry
from streamer.codecs.schemas import LEVELS, exact, fields_of, full_name
from streamer.types import Tick

HEAD: Final = struct.Struct(">bI")
FAULTS: Final = (msgspec.MsgspecError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, AttributeError, struct.error,
                 RecursionError, AssertionError)  # fmt: skip
"""What readers and writers of other people raise on bytes or values that they cannot take."""


class Framed(ABC):
    """`kind`: what the registry calls the format. `suffix`: of the subject, behind the record's full name, since a subject holds one kind.
    Each format says how a schema and a body are written and read."""

    kind: ClassVar[str]
    suffix: ClassVar[str] = ""

    def __init__(self, decimal: bool, registry: Registry) -> None:
        self._number: Any = Decimal if decimal else float
        self._registry = registry
        self._writers: dict[tuple[type[Tick[Any]], bool], Any] = {}
        self._readers: dict[int, Any] = {}

    def encode(self, tick: Tick[Any]) -> bytes:
        """The framed value. Raises `NotKnown` and `BadValue`."""
        writer = self._writers.get((tick.__class__, exact(tick)))
        if writer is None:
            raise NotKnown(tick)
        try:
            body: bytes = self._write(writer, tick)
        except FAULTS as e:
            raise BadValue(f"it does not fit the schema: {e!r:.200}") from None
        return body

    def decode(self, value: bytes) -> Tick[Any]:
        """Raises `NotKnown` and `BadValue`."""
        if len(value) < HEAD.size or value[0]:
            raise BadValue("no number of a schema in front of it")
        number = HEAD.unpack_from(value)[1]
        reader = self._readers.get(number)
        if reader is None:
            raise NotKnown(number)
        try:
            tick, fields = self._read(reader, value)
            made: Tick[Any] = msgspec.convert(fields, tick[self._number], strict=False)
        except FAULTS as e:
            raise BadValue(f"it is not as schema {number} says: {e!r:.200}") from None
        return made

    async def learn(self, unknown: NotKnown) -> None:
        """Register the schema of a tick, or fetch the one with a number."""
        if isinstance(unknown.what, int):
            kind, text = await self._registry.schema(unknown.what)
            if kind != self.kind:
                raise BadValue(f"schema {unknown.what} is {kind}, not {self.kind}")
            try:
                self._readers[unknown.what] = self._reader(text)
            except FAULTS as e:
                raise BadValue(f"schema {unknown.what} is none of ours: {e!r:.200}") from None
            return
        key = unknown.what.__class__, exact(unknown.what)
        subject = full_name(*key) + self.suffix
        number = await self._registry.register(subject, self.kind, self._schema(*key))
        self._writers[key] = self._writer(number, *key)

    # by format

    @abstractmethod
    def _schema(self, tick: type[Tick[Any]], decimal: bool) -> str:
        """The text that is registered."""

    @abstractmethod
    def _writer(self, number: int, tick: type[Tick[Any]], decimal: bool) -> Any:
        """What `_write` needs for values of this type: `number` is the schema's in the registry."""

    @abstractmethod
    def _reader(self, schema: str) -> Any:
        """What `_read` needs for values written by this schema. Raises one of `FAULTS`, or `BadValue`, for one that is none of ours."""

    @abstractmethod
    def _write(self, writer: Any, tick: Tick[Any]) -> bytes:
        """The framed value."""

    @abstractmethod
    def _read(self, reader: Any, value: bytes) -> tuple[Any, dict[str, Any]]:
        """The type of tick in a framed value, and its fields."""


def level_fields(tick: type[Tick[Any]]) -> frozenset[str]:
    """The names of the fields that hold levels."""
    return frozenset(f.name for f in fields_of(tick) if f.kind == LEVELS)
