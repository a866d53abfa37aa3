"""Avro, by fastavro."""

import io
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

import fastavro
import msgspec
from msgspec import Struct, structs

from streamer.codecs import Format
from streamer.codecs.framed import HEAD, Framed, level_fields
from streamer.codecs.schemas import BY_NAME, PACKAGE, avro
from streamer.types import Tick


class _Writer(Struct):
    """`head`: the number of the schema as bytes. `texts`: numbers are texts."""

    head: bytes
    schema: Any
    levels: frozenset[str]
    texts: bool


class _Reader(Struct):
    """By the schema that a value was written with, into what our own says."""

    tick: type[Tick[Any]]
    written: Any
    ours: Any
    levels: frozenset[str]


class Avro(Framed):
    """One record a tick."""

    format: ClassVar[Format] = "avro"
    kind: ClassVar[str] = "AVRO"

    def _schema(self, tick: type[Tick[Any]], decimal: bool) -> str:
        return msgspec.json.encode(avro(tick, decimal)).decode()

    def _writer(self, number: int, tick: type[Tick[Any]], decimal: bool) -> _Writer:
        parsed = fastavro.parse_schema(avro(tick, decimal))
        return _Writer(HEAD.pack(0, number), parsed, level_fields(tick), decimal)

    def _reader(self, schema: str) -> _Reader:
        written = msgspec.json.decode(schema, type=dict[str, Any])
        space, name = str(written.get("namespace", "")), str(written["name"])
        if space not in (PACKAGE, f"{PACKAGE}.decimal"):
            raise ValueError(f"record {space}.{name}")
        tick = BY_NAME[name]
        ours = fastavro.parse_schema(avro(tick, space.endswith(".decimal")))
        return _Reader(tick, fastavro.parse_schema(written), ours, level_fields(tick))

    def _write(self, writer: _Writer, tick: Tick[Any]) -> bytes:
        record = structs.asdict(tick)
        text: Callable[[Any], Any] = str if writer.texts else float
        for name in writer.levels:
            record[name] = [{"price": text(price), "size": text(size)} for price, size in record[name]]
        for name, value in record.items():
            if value.__class__ is Decimal:
                record[name] = str(value)
        out = io.BytesIO()
        out.write(writer.head)
        fastavro.schemaless_writer(out, writer.schema, record)
        return out.getvalue()

    def _read(self, reader: _Reader, value: bytes) -> tuple[Any, dict[str, Any]]:
        record: Any = fastavro.schemaless_reader(io.BytesIO(value[HEAD.size :]), reader.written, reader.ours)
        for name in reader.levels:
            record[name] = [(level["price"], level["size"]) for level in record[name]]
        return reader.tick, record
