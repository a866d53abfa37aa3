"""Ticks as bytes and back: every type, both flavours of numbers, every format; bytes that are none; schemas and their registry."""

import io
import shutil
import subprocess
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import NODEFAULT
from msgspec.structs import replace

from streamer.codecs import FORMATS, VERSION, BadValue, NotKnown, codec_of, stamp
from streamer.codecs.avro import Avro
from streamer.codecs.framed import HEAD, Framed
from streamer.codecs.registry import Registry
from streamer.codecs.schemas import TYPES, avro, exact, fields_of, full_name
from streamer.errors import IoFailure, UsageError
from streamer.types import BookDelta, BookSnapshot, Instrument, Status, Trade
from tests import genschema
from tests.schema_registry import SchemaRegistry

NUMBERS: dict[bool, Any] = {False: 1.25, True: Decimal("1.250")}


def full(tick: type[Any], decimal: bool) -> Any:
    """One with every field set."""
    number = NUMBERS[decimal]
    values = {
        "text": "BTC/USDT", "int": 1_700_000_000_123_456_789, "bool": False, "number": number, "exact": Decimal("0.010"),
        "levels": [(number, number), (number + 1, number - number)],
    }  # fmt: skip
    words = {"side": "sell", "source": "book", "kind": "swap", "size_unit": "contracts", "option_type": "put"}
    return tick(**{f.name: words.get(f.name, values[f.kind]) for f in fields_of(tick)})


def bare(tick: type[Any], decimal: bool) -> Any:
    """One with nothing that may be absent."""
    whole = full(tick, decimal)
    absent = {f.name: None if f.default is NODEFAULT else f.default for f in fields_of(tick) if f.optional}
    return replace(whole, **absent)


@pytest.fixture
async def registry() -> AsyncIterator[SchemaRegistry]:
    async with SchemaRegistry() as server:
        yield server


async def encoded(codec: Any, tick: Any) -> bytes:
    try:
        return codec.encode(tick)  # type: ignore[no-any-return]
    except NotKnown as e:
        await codec.learn(e)
        return codec.encode(tick)  # type: ignore[no-any-return]


async def decoded(codec: Any, value: bytes) -> Any:
    try:
        return codec.decode(value)
    except NotKnown as e:
        await codec.learn(e)
        return codec.decode(value)


@pytest.mark.parametrize("decimal", [False, True], ids=["float", "decimal"])
@pytest.mark.parametrize("format", FORMATS)
async def test_every_type_comes_back_as_it_was(registry: SchemaRegistry, format: str, decimal: bool) -> None:
    client = Registry(registry.url)
    writer, reader = (codec_of(format, decimal=decimal, registry=client) for _ in range(2))
    for tick in TYPES:
        for one in (full(tick, decimal), bare(tick, decimal)):
            back = await decoded(reader, await encoded(writer, one))
            assert back == one
            assert type(back) is tick
            digits = [str(getattr(back, f.name)) == str(getattr(one, f.name)) for f in fields_of(tick) if f.kind in ("number", "exact")]
            assert all(digits), "1.250 is not 1.25"


@pytest.mark.parametrize("format", FORMATS)
async def test_a_reader_has_the_numbers_that_it_wants(registry: SchemaRegistry, format: str) -> None:
    client = Registry(registry.url)
    for decimal in (False, True):
        value = await encoded(codec_of(format, registry=client), full(Trade, decimal))
        for wanted in (False, True):
            back = await decoded(codec_of(format, decimal=wanted, registry=client), value)
            assert (type(back.price), back.price) == (type(NUMBERS[wanted]), NUMBERS[wanted])


@given(
    price=st.floats(allow_nan=False, allow_infinity=False), event=st.none() | st.integers(-(2**63), 2**63 - 1),
    id=st.none() | st.text(st.characters(exclude_categories=["Cs"])), side=st.sampled_from(["buy", "sell", None]),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_any_trade_in_plain_formats(price: float, event: int | None, id: str | None, side: Any) -> None:
    tick = Trade("binance", "BTC/USDT", event, 1, price, 1.0, side, id)
    for format in ("json", "msgpack"):
        codec = codec_of(format)
        assert codec.decode(codec.encode(tick)) == tick


@given(value=st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_bytes_that_are_no_tick_are_refused_as_such(value: bytes) -> None:
    for format in ("json", "msgpack"):
        with pytest.raises(BadValue):
            codec_of(format).decode(value)


@pytest.mark.parametrize("format", ["avro", "protobuf"])
async def test_framed_bytes_that_are_no_tick_are_refused_as_such(registry: SchemaRegistry, format: str) -> None:
    client = Registry(registry.url)
    codec = codec_of(format, registry=client)
    for tick in (full(Trade, False), full(BookDelta, True), full(Instrument, False)):
        value = await encoded(codec, tick)
        await decoded(codec, value)
        for cut in range(len(value)):
            if format == "avro" or cut < 6:
                with pytest.raises((BadValue, NotKnown)):
                    codec.decode(value[:cut])
        for at in range(5, len(value)):
            broken = value[:at] + bytes([value[at] ^ 0xFF]) + value[at + 1 :]
            try:
                codec.decode(broken)
            except BadValue:
                continue  # either it is noticed or it is another tick, but nothing else happens
    for value in (b"", b"{}", b"\x01\x00\x00\x00\x01x"):
        with pytest.raises(BadValue):
            codec.decode(value)


@pytest.mark.parametrize("format", FORMATS)
async def test_what_a_format_has_no_place_for_is_refused(registry: SchemaRegistry, format: str) -> None:
    codec = codec_of(format, registry=Registry(registry.url))
    for tick in (
        Trade("binance", "BTC/USDT", None, 1, 1.0, 1.0, "buy", "\ud800"),
        BookSnapshot("binance", "BTC/USDT", None, 1, [], [], 1 << 64),
    ):
        if format == "json" and tick.__class__ is BookSnapshot:
            continue  # JSON has no bounds
        with pytest.raises(BadValue):
            await encoded(codec, tick)


def test_the_flavour_is_that_of_the_first_number() -> None:
    assert [exact(full(Trade, d)) for d in (False, True)] == [False, True]
    assert [exact(full(BookDelta, d)) for d in (False, True)] == [False, True]
    assert not exact(full(Instrument, True)), "its steps are exact in both modes"
    assert not exact(Status("a", "b", None, 1, "trade", "live"))
    assert not exact(bare(Trade, False))


def test_what_a_codec_wants() -> None:
    with pytest.raises(UsageError, match="'xml' is none of json, msgpack, avro, protobuf"):
        codec_of("xml")
    for format in ("avro", "protobuf"):
        with pytest.raises(UsageError, match="schema_registry = URL"):
            codec_of(format)
    assert stamp("avro", BookDelta) == f"avro/book_delta/{VERSION}".encode()


# the registry


@pytest.mark.parametrize("forgotten", sorted(Framed.__abstractmethods__))
def test_a_format_that_leaves_something_out_cannot_be_made(forgotten: str) -> None:
    there = {name: getattr(Avro, name) for name in Framed.__abstractmethods__ - {forgotten}}
    with pytest.raises(TypeError, match=forgotten):
        type("Half", (Framed,), there)(False, Registry("http://127.0.0.1:1"))


async def test_subjects_rules_and_logins(registry: SchemaRegistry) -> None:
    for format, suffix in (("avro", ""), ("protobuf", "-protobuf")):
        client = Registry(registry.url + "/", "me:secret")
        codec = codec_of(format, registry=client)
        for decimal in (False, True):
            await encoded(codec, full(Trade, decimal))
            assert full_name(Trade, decimal) + suffix in registry.subjects
    assert set(registry.configs.values()) == {"FULL_TRANSITIVE"}
    assert set(registry.logins) == {"Basic bWU6c2VjcmV0"}


async def test_what_was_learnt_is_not_asked_again(registry: SchemaRegistry) -> None:
    client = Registry(registry.url)
    for _ in range(3):
        codec = codec_of("avro", registry=client)
        await decoded(codec, await encoded(codec, full(Trade, False)))
    assert registry.requests == 3, "the rule, the schema, and the number"


async def test_a_registry_that_refuses_fails_or_talks_nonsense(registry: SchemaRegistry) -> None:
    codec = codec_of("avro", registry=Registry(registry.url))
    for answer, error, told in (
        ((409, b'{"error_code":409,"message":"incompatible\\n"}'), UsageError, "refuses PUT .*incompatible"),
        ((500, b"<html>"), IoFailure, "answers 500"),
        ((200, b"\xff"), IoFailure, "no JSON object"),
        ((200, b"[" * 100_000), IoFailure, "no JSON object"),
        ((200, b'{"id": "x"}'), IoFailure, "gives no id"),
        ((302, b""), IoFailure, "answers 302"),
    ):
        registry.answer = answer
        with pytest.raises(error, match=told) as e:
            await encoded(codec, full(Trade, False))
        assert str(e.value).isprintable()
    registry.answer = None
    with pytest.raises(UsageError, match="Schema not found"):
        await codec.learn(NotKnown(99))
    with pytest.raises(IoFailure, match=r"schema registry http://127\.0\.0\.1:1"):
        await codec_of("avro", registry=Registry("http://127.0.0.1:1")).learn(NotKnown(1))


async def test_schemas_that_are_not_ours_are_refused(registry: SchemaRegistry) -> None:
    registry.schemas += [
        ("AVRO", '{"type":"record","name":"Trade","namespace":"other","fields":[]}'),
        ("AVRO", '"string"'), ("PROTOBUF", 'syntax = "proto3";'),
        ("JSON", "{}"), ("AVRO", '{"type":"record","name":"Nothing","namespace":"streamer.v1","fields":[]}'),
    ]  # fmt: skip
    for format in ("avro", "protobuf"):
        codec = codec_of(format, registry=Registry(registry.url))
        for number in range(1, len(registry.schemas) + 1):
            with pytest.raises(BadValue):
                await decoded(codec, HEAD.pack(0, number) + b"\x00")


async def test_a_reader_of_this_version_reads_what_a_later_one_writes(registry: SchemaRegistry) -> None:
    """A field was added, with a default."""
    later = avro(Trade, False)
    later["fields"].append({"name": "liquidity", "type": ["null", "string"], "default": None})
    registry.schemas.append(("AVRO", msgspec.json.encode(later).decode()))
    tick = full(Trade, False)
    out = io.BytesIO(HEAD.pack(0, 1))
    out.seek(HEAD.size)
    fastavro.schemaless_writer(out, later, msgspec.structs.asdict(tick) | {"liquidity": "maker"})
    assert await decoded(codec_of("avro", registry=Registry(registry.url)), out.getvalue()) == tick


# the files


def test_the_files_are_what_the_types_give() -> None:
    found = {p for p in genschema.FOLDER.rglob("*.*") if p.is_file()}
    assert found == {path for path, _ in genschema.files()}, "run `python -m tests.genschema`, read the difference, commit"
    for path, text in genschema.files():
        assert path.read_text() == text, f"{path.name}: run `python -m tests.genschema`, read the difference, commit"


def test_a_change_that_old_readers_cannot_read_is_not_written() -> None:
    old = avro(Trade, False)
    added = {"name": "new", "type": ["null", "string"], "default": None}
    assert genschema.broken(old, old) == []
    assert genschema.broken(old, old | {"fields": [*old["fields"], added]}) == []
    assert genschema.broken(old, old | {"fields": [added, *old["fields"]]})
    assert genschema.broken(old, old | {"fields": old["fields"][:-1]}) == ["id: gone"]
    assert genschema.broken(old, old | {"fields": [*old["fields"], {"name": "new", "type": "string"}]}) == ["new: no default"]
    assert genschema.broken(old, old | {"name": "Deal"})


@pytest.mark.parametrize("decimal", [False, True], ids=["float", "decimal"])
async def test_others_read_avro_by_the_file(registry: SchemaRegistry, decimal: bool) -> None:
    codec = codec_of("avro", registry=Registry(registry.url))
    for tick in TYPES:
        file = genschema.FOLDER / ("decimal" if decimal else "") / f"{tick.__struct_config__.tag}.avsc"
        value = await encoded(codec, full(tick, decimal))
        schema = fastavro.parse_schema(msgspec.json.decode(file.read_bytes()))
        record: Any = fastavro.schemaless_reader(io.BytesIO(value[HEAD.size :]), schema, None)
        assert record["symbol"] == "BTC/USDT"
        assert list(record) == [f.name for f in fields_of(tick)]


@pytest.mark.skipif(shutil.which("protoc") is None, reason="protoc is not installed (apt install protobuf-compiler)")
@pytest.mark.parametrize("decimal", [False, True], ids=["float", "decimal"])
async def test_others_read_protobuf_by_the_file(registry: SchemaRegistry, decimal: bool) -> None:
    """protoc knows nothing of our code."""
    codec = codec_of("protobuf", registry=Registry(registry.url))
    for tick in TYPES:
        file = genschema.FOLDER / ("decimal" if decimal else "") / f"{tick.__struct_config__.tag}.proto"
        value = await encoded(codec, full(tick, decimal))
        command = ["protoc", f"--decode={full_name(tick, decimal)}", f"--proto_path={file.parent}", file.name]
        done = subprocess.run(command, input=value[HEAD.size + 1 :], capture_output=True, check=True)  # noqa: S603
        text = done.stdout.decode()
        assert 'symbol: "BTC/USDT"' in text
        shown = {line.split(":")[0].split(" ")[0] for line in text.splitlines() if not line.startswith((" ", "}"))}
        falsy = {f.name for f in fields_of(tick) if f.kind == "bool"}  # proto3 does not send what is false
        assert shown | falsy == {f.name for f in fields_of(tick)}
