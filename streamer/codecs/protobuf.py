"""Protobuf, by Google's library. The messages are made from the same fields as the .proto files, so no generated code is needed."""

from functools import cache
from typing import Any, ClassVar

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory
from msgspec import Struct

from streamer.codecs import BadValue, Format
from streamer.codecs.framed import HEAD, Framed
from streamer.codecs.schemas import LEVELS, PACKAGE, TYPES, Field, fields_of, full_name, protobuf
from streamer.types import Tick

_F = descriptor_pb2.FieldDescriptorProto
_KINDS = {"text": _F.TYPE_STRING, "int": _F.TYPE_INT64, "bool": _F.TYPE_BOOL, "exact": _F.TYPE_STRING}
_FIRST = b"\x00"
"""Which message of the .proto it is: the first (Confluent's message indexes)."""


class _Form(Struct):
    """`fields` as (name, kind, texts): are numbers texts?"""

    tick: type[Tick[Any]]
    made: Any
    fields: tuple[Field, ...]
    texts: bool
    head: bytes = b""


class Protobuf(Framed):
    """One message a tick."""

    format: ClassVar[Format] = "protobuf"
    kind: ClassVar[str] = "PROTOBUF"
    suffix: ClassVar[str] = "-protobuf"

    def _schema(self, tick: type[Tick[Any]], decimal: bool) -> str:
        return protobuf(tick, decimal)

    def _writer(self, number: int, tick: type[Tick[Any]], decimal: bool) -> _Form:
        return _Form(tick, _message(tick, decimal), fields_of(tick), decimal, HEAD.pack(0, number) + _FIRST)

    def _reader(self, schema: str) -> _Form:
        for tick in TYPES:
            for decimal in (False, True):
                package, _, name = full_name(tick, decimal).rpartition(".")
                if f"package {package};" in schema and f"message {name} {{" in schema:
                    return _Form(tick, _message(tick, decimal), fields_of(tick), decimal)
        raise ValueError(f"no message of {PACKAGE}")

    def _write(self, writer: _Form, tick: Tick[Any]) -> bytes:
        out = writer.made()
        for field in writer.fields:
            value = getattr(tick, field.name)
            if value is None:
                continue
            if field.kind == LEVELS:
                add = getattr(out, field.name).add
                for price, size in value:
                    add(price=str(price), size=str(size)) if writer.texts else add(price=price, size=size)
            else:
                setattr(out, field.name, str(value) if field.kind == "exact" or (writer.texts and field.kind == "number") else value)
        body: bytes = out.SerializeToString()
        return writer.head + body

    def _read(self, reader: _Form, value: bytes) -> tuple[Any, dict[str, Any]]:
        got = reader.made()
        if value[HEAD.size : HEAD.size + 1] != _FIRST:
            raise BadValue("not the first message of its schema")
        try:
            got.ParseFromString(value[HEAD.size + 1 :])
        except message.DecodeError as e:
            raise BadValue(f"no Protobuf: {e}") from None
        found: dict[str, Any] = {}
        for field in reader.fields:
            value_of = getattr(got, field.name)
            if field.kind == LEVELS:
                found[field.name] = [(level.price, level.size) for level in value_of]
            elif not field.optional or got.HasField(field.name):
                found[field.name] = value_of
            else:
                found[field.name] = None
        return reader.tick, found


@cache
def _message(tick: type[Tick[Any]], decimal: bool) -> Any:
    """The class of the message."""
    number = _F.TYPE_STRING if decimal else _F.TYPE_DOUBLE
    package, _, name = full_name(tick, decimal).rpartition(".")
    file = descriptor_pb2.FileDescriptorProto(name=f"{full_name(tick, decimal)}.proto", package=package, syntax="proto3")
    made = file.message_type.add(name=name)
    for field in fields_of(tick):
        _add(made, field, number, full_name(tick, decimal))
    if any(f.kind == LEVELS for f in fields_of(tick)):
        level = made.nested_type.add(name="Level")
        for n, part in enumerate(("price", "size"), 1):
            level.field.add(name=part, number=n, type=number, label=_F.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(full_name(tick, decimal)))


def _add(made: Any, field: Field, number: Any, name: str) -> None:
    if field.kind == LEVELS:
        made.field.add(
            name=field.name, number=field.number, type=_F.TYPE_MESSAGE, label=_F.LABEL_REPEATED, type_name=f".{name}.Level"
        )  # fmt: skip
        return
    kind = number if field.kind == "number" else _KINDS[field.kind]
    row = made.field.add(name=field.name, number=field.number, type=kind, label=_F.LABEL_OPTIONAL)
    if field.optional:  # presence in proto3: a oneof of its own
        row.proto3_optional = True
        row.oneof_index = len(made.oneof_decl)
        made.oneof_decl.add(name=f"_{field.name}")
