"""Two typed forms of a normalizer, `union` and `keyed`: bytes to a wire Struct to its handler, in one decode. (The third is in `channels`.)

Both are generic in the number type: exact mode is another decoder, not other code. What neither form knows (acks, errors,
heartbeats, surprises) goes a slow road: parsed as plain JSON and given to `other`, which answers or says `Unknown`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, NamedTuple, TypeAlias, Union

import msgspec
import orjson
from msgspec import Meta

from streamer.answers import several
from streamer.errors import BadFrame, BadNumber
from streamer.spec import BOUND, Checked, Ctx, Decode, Handler, History, Normalizer, On, Out, Page, Unknown, UnknownId
from streamer.types import BookSnapshot, Tick

FLOAT = Annotated[float, Meta(ge=-BOUND, le=BOUND)]
"""Lax mode lets nan and inf through; the bounds do not (about a fifth more on a 40-level message)."""
HANDLER_ERRORS = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError)
"""What a handler may raise over a message of an unexpected shape."""
REST_ERRORS = (msgspec.MsgspecError, RecursionError, *HANDLER_ERRORS)
NUMBER_ERRORS = ("Expected `float`", "Expected `decimal`", "Invalid decimal", "out of range")
"""How msgspec names a bad number."""
KEYS_KEPT = 1024
"""Keys resolved through a `*` entry and remembered."""
KEY_BYTES = 256
"""The longest of them."""
_UNDERSCORED = re.compile(rb"_(?<=[0-9]_)(?=[0-9])")


class After(NamedTuple):
    """Where the key stands: behind the first `mark`, or where there is none behind one of `also`, up to the next `until`. `steady`: mostly
    at the same place, and as long as the last one."""

    mark: bytes
    until: bytes
    also: Sequence[bytes] = ()
    steady: bool = False


def after(mark: bytes, until: bytes = b'"', also: Sequence[bytes] = (), *, steady: bool = False) -> After:
    """The key is what follows `mark`, up to `until`. `also`: other marks, in this order, for messages without it. `steady`: the venue's
    messages begin with it, and most of them are of one kind: it is looked for first where the last one stood, which takes half as long as
    searching (and a third longer where that fails)."""
    return After(mark, until, also, steady)


def decoder(wire: Any, num: type[float] | type[Decimal]) -> Callable[[bytes], Any]:
    """A lax JSON decoder of `wire`, with the number type filled in where it is generic."""
    return _strict(lambda number: _concrete(wire, number), num)


def _strict(of: Callable[[Any], Any], num: type[float] | type[Decimal]) -> Callable[[bytes], Any]:
    """The decoder of the type that `of` makes for a number type.

    `Decimal` takes "1_000" and full-width digits. Where a message may hold such, the float decoder, which does not, reads it first.
    """
    as_float = msgspec.json.Decoder(of(FLOAT), strict=False).decode
    if num is float:
        return as_float
    as_decimal = msgspec.json.Decoder(of(Decimal), strict=False, float_hook=_literal).decode

    def decode(data: bytes) -> Any:
        if not data.isascii() or b"\\" in data or (b"_" in data and _UNDERSCORED.search(data) is not None):
            as_float(data)
        return as_decimal(data)

    return decode


def _literal(text: str) -> Decimal:
    """A number of a plain row, where nothing says its type. (The time that `int` takes for 1E+9999999 is anybody's.)"""
    number = Decimal(text)
    if not _sane(number):
        raise msgspec.ValidationError(f"{text:.40} is out of range")
    return number


def _concrete(wire: Any, number: Any) -> Any:
    parameters = getattr(wire, "__parameters__", ())
    return wire[(number,) * len(parameters)] if parameters else wire


def union(*ons: On, other: Handler, envelope: Any = None) -> Normalizer:
    """The payload's own tag names the handler: the wire types are tagged Structs of one msgspec union.

    With `envelope`, a Struct generic in the type of its field `data`, the payload is that field.
    """

    def compile_(num: type[float] | type[Decimal]) -> Decode:
        def of(number: Any) -> Any:
            payload: Any = Union[tuple(_concrete(o.wire, number) for o in ons)]  # noqa: UP007  (built at run time)
            return envelope[payload] if envelope else payload

        decode = _strict(of, num)
        table = {o.wire: o.handle for o in ons}
        tags = {o.wire.__struct_config__.tag for o in ons}
        tag_field = ons[0].wire.__struct_config__.tag_field

        def road(data: bytes, ctx: Ctx[Any]) -> Out[Any]:
            try:
                message = decode(data)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
                tag = _tag_of(plain(data), tag_field, envelope is not None)
                return slow(data, ctx, other, e if tag in tags else None)  # of another tag it is none of ours, and no bad one
            if envelope:
                message = message.data
            answer: Out[Any] = table[message.__class__](message, ctx)
            return answer

        return road

    return Normalizer(compile_, ons)


def _tag_of(message: Any, field: str, enveloped: bool) -> str | int | None:
    if enveloped:
        message = message.get("data") if isinstance(message, dict) else None
    tag = message.get(field) if isinstance(message, dict) else message[0] if isinstance(message, list) and message else None
    return tag if isinstance(tag, str | int) else None


def keyed(key: After, table: Mapping[bytes, On], *, other: Handler) -> Normalizer:
    """A key found in the bytes picks decoder and handler. In a table entry `*` stands for anything; the first entry that fits counts."""
    mark, until, also, steady = key

    def elsewhere(data: bytes) -> bytes:
        return next((behind for m in also for _, found, behind in (data.partition(m),) if found), b"")

    def compile_(num: type[float] | type[Decimal]) -> Decode:
        keys = Keys({k: (decoder(o.wire, num), o.handle) for k, o in table.items()})
        get, resolve, known = keys.exact.get, keys.resolve, keys.spots.get
        start = stop = 0

        def road(data: bytes, ctx: Ctx[Any]) -> Out[Any]:
            nonlocal start, stop
            hit = known(data[start:stop]) if steady else None
            if hit is None:
                before, found, behind = data.partition(mark)  # (`find` takes twice as long, though it copies nothing)
                key, end, _ = (behind if found else elsewhere(data)).partition(until)
                hit = (get(key) or resolve(key)) if end else None
                if hit is None:
                    return slow(data, ctx, other, None)
                if steady and found:  # behind one of `also` it has no place
                    start, stop = len(before), len(before) + len(mark) + len(key) + len(until)
                    keys.stood(data[start:stop], hit)
            decode, handle = hit
            try:
                message = decode(data)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
                return slow(data, ctx, other, e)
            return handle(message, ctx)

        return road

    return Normalizer(compile_, tuple(table.values()))


Reader: TypeAlias = tuple[Callable[[bytes], Any], Callable[..., Out[Any]]]
"""A typed decoder, and the handler of what it makes."""


class Keys:
    """How the frames of a key are read: `exact` keys, and entries with a `*`, which are resolved once and remembered, within bounds.
    `spots`: the same of steady ones, by the key with its mark and its end."""

    __slots__ = ("_starred", "exact", "spots")

    def __init__(self, table: Mapping[bytes, Reader]) -> None:
        self.exact = {key: reader for key, reader in table.items() if b"*" not in key}
        self.spots: dict[bytes, Reader] = {}
        self._starred = [(_fits(entry), reader) for entry, reader in table.items() if b"*" in entry]

    def resolve(self, key: bytes) -> Reader | None:
        """What the first entry that fits makes of a key that is not in `exact` yet."""
        for fits, reader in self._starred:
            if fits(key):
                _keep(self.exact, key, reader)
                return reader
        return None

    def stood(self, spot: bytes, reader: Reader) -> None:
        """A steady key, which stood between these bytes."""
        _keep(self.spots, spot, reader)


def _keep(kept: dict[bytes, Reader], key: bytes, reader: Reader) -> None:
    if len(kept) < KEYS_KEPT and len(key) <= KEY_BYTES:
        kept[key] = reader


def _fits(entry: bytes) -> Callable[[bytes], object]:
    return re.compile(b".*".join(map(re.escape, entry.split(b"*"))), re.DOTALL).fullmatch


def plain(data: bytes) -> Any:
    """Plain JSON. Raises `BadFrame` (reason `json`)."""
    try:
        return orjson.loads(data)
    except (orjson.JSONDecodeError, RecursionError):
        raise BadFrame("not JSON", "json") from None


def slow(data: bytes, ctx: Ctx[Any], other: Handler, error: Exception | None) -> Out[Any]:
    """Plain JSON for `other`. A frame that failed its typed decode and that `other` does not know (None, `Unknown`) is bad; an empty answer
    says that it is known and tells nothing."""
    message = plain(data)
    try:
        answer = other(message, ctx)
    except UnknownId:
        raise
    except HANDLER_ERRORS as e:
        if error is None:
            raise BadFrame(f"{type(e).__name__}: {e}", "shape") from None
        answer = None
    if error is not None and (answer is None or isinstance(answer, Unknown)):
        raise BadFrame(str(error), "number" if any(words in str(error) for words in NUMBER_ERRORS) else "shape")
    return answer


READERS: Final[dict[Any, Callable[..., Any]]] = {}
"""Those that `rest` made: making a decoder takes as long as reading a snapshot of a thousand levels."""


def rest(spec: On, num: type[float] | type[Decimal]) -> Callable[..., Any]:
    """A reader of REST bodies: ``read(body, ctx, *more)`` decodes and hands to the function. Raises `BadFrame` for a bad body.

    Its Decimals are checked in both number modes: an instrument's steps are always exact.
    """
    if (spec, num) in READERS:
        return READERS[spec, num]
    decode, handle = decoder(spec.wire, num), spec.handle

    def read(body: bytes, ctx: Ctx[Any], *more: Any) -> Any:
        try:
            out = handle(decode(body), ctx, *more)
        except UnknownId as e:
            name = str(e.args[0])
            raise BadFrame(f"REST answer names {name:.40}, which the list does not hold", "unknown_id", name) from e
        except REST_ERRORS as e:
            raise BadFrame(f"REST answer not understood: {type(e).__name__}: {e}", "shape") from None
        if num is Decimal or not isinstance(out, BookSnapshot):
            check_decimals(several(out))
        return out

    READERS[spec, num] = read
    return read


MOST = Decimal(BOUND)
LEAST = -60
"""The smallest exponent of a Decimal that is believed."""


def _sane(x: Decimal) -> bool:
    if not x.is_finite() or x.copy_abs() > MOST:  # abs() would round, and overflow
        return False
    exponent = x.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= LEAST


def checked(decode: Decode) -> Decode:
    """The normalizer with its answers checked, for exact mode: `check_decimals`."""

    def road(data: bytes, ctx: Ctx[Any]) -> Out[Any]:
        out = decode(data, ctx)
        check_decimals(several(out))
        return out

    return road


def check_decimals(answers: Sequence[Any]) -> None:
    """Raise `BadNumber` unless every Decimal in the ticks of these answers is finite and within reason: `Decimal` itself takes "nan" and
    "1E+999999"."""
    for answer in answers:
        if isinstance(answer, Tick):
            _check_tick(answer)
        elif isinstance(answer, Checked):
            check_decimals((answer.tick,))
        elif isinstance(answer, History | Page):
            check_decimals(answer.trades)


def _check_tick(tick: Tick[Any]) -> None:
    for name in tick.__struct_fields__:
        value = getattr(tick, name)
        if isinstance(value, Decimal):
            if not _sane(value):
                raise BadNumber(f"{name} of {tick.symbol} is {value!s:.40}")
        elif name in ("bids", "asks") and not all(_sane(x) for level in value for x in level if isinstance(x, Decimal)):
            raise BadNumber(f"a level of {tick.symbol} is not a number within reason")
