"""Avro and Protobuf schemas, made from the types of the ticks. docs/schema/ holds them as files, written by `python -m tests.genschema`.

Each type has two schemas: numbers are `double`, or in the flavour `decimal` texts with the exchange's own digits. What is exact in both
modes (an instrument's steps) is text in both. Words out of a closed set are texts too, so that a new word needs no new schema.
"""

from decimal import Decimal
from functools import cache
from typing import Any, Final, get_args

from msgspec import NODEFAULT, Struct, inspect

from streamer import types
from streamer.codecs import VERSION
from streamer.types import Tick

TYPES: Final[tuple[type[Tick[Any]], ...]] = tuple(t.__origin__ for t in get_args(types.AnyTick))
BY_NAME: Final = {t.__name__: t for t in TYPES}
PACKAGE: Final = f"streamer.v{VERSION}"
LEVELS: Final = "levels"


class Field(Struct, frozen=True):
    """One field. `kind`: text, int, bool, number, exact or levels; `number` from 1 on, for Protobuf."""

    name: str
    number: int
    kind: str
    optional: bool
    default: Any = NODEFAULT


@cache
def fields_of(tick: type[Tick[Any]]) -> tuple[Field, ...]:
    """The fields of a type of tick, in their order."""
    info: Any = inspect.type_info(tick[float])  # type: ignore[index]
    return tuple(_field(f, n) for n, f in enumerate(info.fields, 1))


def _field(field: inspect.Field, number: int) -> Field:
    kinds = list(field.type.types) if isinstance(field.type, inspect.UnionType) else [field.type]
    bare = [k for k in kinds if not isinstance(k, inspect.NoneType)]
    if len(bare) != 1:
        raise TypeError(f"{field.name}: schemas have no place for {field.type}")
    return Field(field.name, number, _kind(bare[0]), len(kinds) > 1, field.default)


def _kind(bare: inspect.Type) -> str:
    kinds: dict[type[Any], str] = {
        inspect.StrType: "text", inspect.LiteralType: "text", inspect.IntType: "int", inspect.BoolType: "bool",
        inspect.FloatType: "number", inspect.DecimalType: "exact", inspect.ListType: LEVELS,
    }  # fmt: skip
    return kinds[type(bare)]


def full_name(tick: type[Tick[Any]], decimal: bool) -> str:
    """`streamer.v1.Trade` or `streamer.v1.decimal.Trade`: the record, the message and the subject in the registry."""
    return f"{PACKAGE}{'.decimal' if decimal else ''}.{tick.__name__}"


def exact(tick: Tick[Any]) -> bool:
    """Are its numbers Decimals?"""
    for name, kind in _numbers(tick.__class__):
        value = getattr(tick, name)
        if kind == LEVELS:
            value = value[0][0] if value else None
        if value is not None:
            return isinstance(value, Decimal)
    return False


@cache
def _numbers(tick: type[Tick[Any]]) -> tuple[tuple[str, str], ...]:
    return tuple((f.name, f.kind) for f in fields_of(tick) if f.kind in ("number", LEVELS))


# Avro: https://avro.apache.org/docs/1.11.1/specification/

_AVRO = {"text": "string", "int": "long", "bool": "boolean", "exact": "string"}


def avro(tick: type[Tick[Any]], decimal: bool) -> dict[str, Any]:
    """The schema as JSON has it."""
    number = "string" if decimal else "double"
    namespace, _, name = full_name(tick, decimal).rpartition(".")
    seen: list[bool] = []
    fields = [_avro_field(f, number, seen) for f in fields_of(tick)]
    return {"type": "record", "name": name, "namespace": namespace, "doc": (tick.__doc__ or "").partition("\n")[0], "fields": fields}


def _avro_field(field: Field, number: str, seen: list[bool]) -> dict[str, Any]:
    kind: Any
    if field.kind == LEVELS:
        levels = [{"name": n, "type": number} for n in ("price", "size")]
        kind = {"type": "array", "items": "Level" if seen else {"type": "record", "name": "Level", "fields": levels}}
        seen.append(True)
    else:
        kind = number if field.kind == "number" else _AVRO[field.kind]
    if field.optional:
        return {"name": field.name, "type": ["null", kind], "default": None}
    return {"name": field.name, "type": kind} | ({} if field.default is NODEFAULT else {"default": field.default})


# Protobuf: https://protobuf.dev/reference/protobuf/proto3-spec/

PROTO: Final = {"text": "string", "int": "int64", "bool": "bool", "exact": "string"}


def protobuf(tick: type[Tick[Any]], decimal: bool) -> str:
    """The schema as a .proto file."""
    number = "string" if decimal else "double"
    rows = ['syntax = "proto3";', "", f"package {full_name(tick, decimal).rpartition('.')[0]};", ""]
    rows += [f"// {(tick.__doc__ or '').partition(chr(10))[0]}", f"message {tick.__name__} {{"]
    fields = fields_of(tick)
    for f in fields:
        kind = "repeated Level" if f.kind == LEVELS else number if f.kind == "number" else PROTO[f.kind]
        rows.append(f"  {'optional ' if f.optional else ''}{kind} {f.name} = {f.number};")
    if any(f.kind == LEVELS for f in fields):
        rows += ["", "  message Level {", f"    {number} price = 1;", f"    {number} size = 2;", "  }"]
    return "\n".join([*rows, "}", ""])
