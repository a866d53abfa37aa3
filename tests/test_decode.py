"""The two typed forms: digits kept, numbers within reason, and nothing that cannot be understood passes."""

import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Generic

import pytest
from msgspec import Struct

from streamer import decode as module
from streamer.decode import KEY_BYTES, KEYS_KEPT, Keys, after, check_decimals, keyed, rest, union
from streamer.errors import BadFrame, BadNumber
from streamer.spec import Ack, Checked, Ctx, History, Page, Symbols, Unknown, UnknownId, bounded, exact, on
from streamer.types import BookDelta, Instrument, Level, N, Trade

HANDLED = (BadFrame, *module.HANDLER_ERRORS)


class Deal(Struct, Generic[N], tag_field="e", tag="trade"):
    p: N
    q: N


class Depth(Struct, Generic[N], tag_field="e", tag="depth"):
    b: Sequence[Level[N]]
    note: str = ""


class Envelope(Struct, Generic[N]):
    data: N  # type: ignore[valid-type]


def deal(m: Deal[N], ctx: Ctx[N]) -> Any:
    return Trade("x", "A/B", None, ctx.ts_recv, m.p, m.q)


def depth(m: Depth[N], ctx: Ctx[N]) -> Any:
    return BookDelta("x", "A/B", None, ctx.ts_recv, m.b, [])


def other(m: Any, ctx: Ctx[Any]) -> Any:
    if "ack" in m:
        return Ack(m["ack"])
    if "id" in m:
        return ctx.sym[m["id"]]
    return {"none": None, "empty": []}.get(m.get("say"), Unknown("?"))


UNION = union(on(Deal, deal), on(Depth, depth), other=other)
TABLE = {b"trade": on(Deal, deal), b"depth": on(Depth, depth), b"depth_*": on(Depth, depth)}
KEYED = keyed(after(b'"e":"'), TABLE, other=other)
forms = pytest.mark.parametrize("form", [UNION, KEYED], ids=["union", "keyed"])
both = pytest.mark.parametrize("num", [float, Decimal])


def take(form: Any, num: Any, data: bytes) -> Any:
    """As a line does: decode, and check Decimals behind it."""
    out = form.compile(num)(data, Ctx("x", "", Symbols(), num))
    if num is Decimal and out is not None:
        check_decimals(out if isinstance(out, list) else (out,))
    return out


def trade(price: str) -> bytes:
    return b'{"e":"trade","p":%s,"q":"1"}' % price.encode()


@forms
@pytest.mark.parametrize("text", ['"1.10"', "1.10", '"0.00000000"', "1e-7", '"-0.50"', '"12345678901234567890.12345678"'])
def test_decimals_keep_the_digits_and_floats_the_value(form: Any, text: str) -> None:
    digits = text.strip('"')
    assert str(take(form, Decimal, trade(text)).price) == str(Decimal(digits))
    assert take(form, float, trade(text)).price == float(digits)


@forms
@both
@pytest.mark.parametrize(
    "text",
    ['"nan"', '"-nan"', '"sNaN"', '"inf"', '"Infinity"', "NaN", "Infinity", "1e400", '"1e400"', '"1E+999999"', '"1E+999999999999"',
     '"1_000"',
     '"1_0.5"', '"１２"', '"\\uff11\\uff12"', '"٣"', '"1e31"', "-1e31", '""', '"0x10"', "true", "null", "[]", '"1,5"', "9" * 40,
     '"1e-400_0"'],
)  # fmt: skip
def test_what_is_no_number_within_reason_is_refused(form: Any, num: Any, text: str) -> None:
    with pytest.raises(BadFrame):
        take(form, num, trade(text))
    with pytest.raises(BadFrame):
        take(form, num, b'{"e":"depth","b":[["1","2"],[%s,"3"]]}' % text.encode())


def test_a_decimal_of_endless_zeros_is_refused() -> None:
    """A float of it is 0."""
    with pytest.raises(BadNumber):
        take(KEYED, Decimal, trade('"1e-400"'))
    assert take(KEYED, float, trade('"1e-400"')).price == 0


@forms
@both
def test_underscores_and_foreign_text_elsewhere_do_no_harm(form: Any, num: Any) -> None:
    out = take(form, num, '{"e":"depth","b":[["1.50","2"]],"note":"1_0 \\u0031 １ BTC_USDT"}'.encode())
    assert str(out.bids[0][0]) == ("1.50" if num is Decimal else "1.5")


@forms
@both
@pytest.mark.parametrize(
    "data",
    [b"", b" ", b"\xff\xfe", b'\xef\xbb\xbf{"ack":"x"}', b'{"e":"trade","p":"1","q":"1"', b'{"ack":"x"}{"ack":"y"}',
     b'{"ack":"x"}\n{"ack":"y"}',
     b'{"e":"depth","b":[],"note":"\xff"}', b"[" * 100_000, b'{"e":"trade","p":' + b"[" * 100_000,
     b'{"ack":' + b"[" * 2000 + b"]" * 2000 + b"}",
     b"pong", b"{'a':1}"],
)  # fmt: skip
def test_what_is_not_json_is_a_bad_frame(form: Any, num: Any, data: bytes) -> None:
    with pytest.raises(BadFrame) as e:
        take(form, num, data)
    assert e.value.reason == "json"


@forms
@both
@pytest.mark.parametrize("data", [b'"text"', b"7", b"null", b"[]", b"[1,2]", b"true"])
def test_json_of_another_shape_costs_the_frame_at_most(form: Any, num: Any, data: bytes) -> None:
    try:
        out = take(form, num, data)
    except HANDLED:
        return
    assert isinstance(out, Unknown)


@forms
@both
def test_what_the_forms_do_not_know_goes_to_other(form: Any, num: Any) -> None:
    assert take(form, num, b'{"ack":"x"}') == Ack("x")
    for data in (b'{"e":"news","p":"1"}', b'{"p":"nan"}', b'{"e":["trade"]}', b"{}"):
        assert take(form, num, data) == Unknown("?")
    with pytest.raises(UnknownId):
        take(form, num, b'{"id":"XYZ"}')


@forms
@both
@pytest.mark.parametrize("extra", [b"", b',"say":"none"'])
def test_a_frame_that_fails_its_decode_is_bad_unless_other_knows_it(form: Any, num: Any, extra: bytes) -> None:
    with pytest.raises(BadFrame) as e:
        take(form, num, b'{"e":"trade","p":"1","q":"abc"' + extra + b"}")
    assert e.value.reason == "number"
    with pytest.raises(BadFrame) as e:
        take(form, num, b'{"e":"trade","p":"1"' + extra + b"}")
    assert e.value.reason == "shape"
    assert take(form, num, b'{"e":"trade","ack":"x"}') == Ack("x")
    assert take(form, num, b'{"e":"trade","say":"empty"}') == []


def test_a_failure_of_other_does_not_hide_the_number() -> None:
    form = keyed(after(b'"e":"'), {b"trade": on(Deal, deal)}, other=lambda m, ctx: m["nothing"])
    with pytest.raises(BadFrame) as e:
        take(form, float, trade('"nan"'))
    assert e.value.reason == "number"


@both
def test_an_envelope(num: Any) -> None:
    form = union(on(Deal, deal), on(Depth, depth), other=other, envelope=Envelope)
    assert take(form, num, b'{"stream":"s","data":{"e":"trade","p":"1.50","q":"2"}}').price == num("1.50")
    with pytest.raises(BadFrame):
        take(form, num, b'{"data":{"e":"trade","p":"nan","q":"2"}}')


def test_keys_of_a_star_are_remembered_within_bounds() -> None:
    reader: Any = (bytes.decode, str)
    other_reader: Any = (bytes.decode, int)
    keys = Keys({b"depth_*": reader, b"depth_9*": other_reader, b"trade": other_reader})
    for i in range(2 * KEYS_KEPT):
        assert keys.resolve(b"depth_%d" % i) == reader, "the first entry that fits"
    assert len(keys.exact) == KEYS_KEPT
    assert keys.resolve(b"depths") is None
    few = Keys({b"depth_*": reader})
    assert few.resolve(b"depth_" + b"x" * KEY_BYTES) == reader
    assert few.exact == {}, "too long to be kept"


@both
def test_a_steady_key_is_found_wherever_it_stands_after_whatever_came_before(num: Any) -> None:
    frames = [
        trade("1.5"), trade("2.5"), trade("nan"), b' {"e":"trade","p":"3","q":"1"}', b'{"p":4,"q":1,"e":"trade"}',
        b'{"e":"trade","ack":"x"}',
        b'{"e":"depth","b":[["1","2"]]}', b'{"e":"depth_5","b":[["1","2"]]}', b'{"e":"depth_6","b":[["1","2"]]}', b'{"e":"deaths","b":[]}',
        b'{"e":"depth_' + b"5" * KEY_BYTES + b'","b":[["1","2"]]}', b'{"E":"trade","id":"?"}', b'{"e":"trade', b'{"ack":"y"}', b"", b"{",
    ]  # fmt: skip

    def outcome(decode: Any, data: bytes) -> str:
        try:
            return str(decode(data, Ctx("x", "", Symbols(), num)))
        except (BadFrame, UnknownId) as e:
            return repr(e)

    steady, seeking = keyed(after(b'"e":"', steady=True), TABLE, other=other).compile(num), KEYED.compile(num)
    for first, then in itertools.product(frames, repeat=2):
        assert outcome(steady, first) == outcome(seeking, first)
        assert outcome(steady, then) == outcome(seeking, then), f"{then!r} after {first!r}"


def test_steady_keys_are_remembered_within_bounds() -> None:
    reader: Any = (bytes.decode, str)
    keys = Keys({b"depth_*": reader})
    keys.stood(b'"e":"' + b"x" * KEY_BYTES, reader)
    for i in range(2 * KEYS_KEPT):
        keys.stood(b'"e":"depth_%d"' % i, reader)
    assert list(keys.spots) == [b'"e":"depth_%d"' % i for i in range(KEYS_KEPT)]


@both
def test_a_key_of_a_star_that_its_wire_type_does_not_bear_out(num: Any) -> None:
    decode = KEYED.compile(num)
    ctx: Ctx[Any] = Ctx("x", "", Symbols(), num)
    for key in (b"1", b"1", b"x" * 100_000):  # the second time it is remembered
        with pytest.raises(BadFrame):
            decode(b'{"e":"depth_' + key + b'","b":[]}', ctx)
    with pytest.raises(BadFrame):
        decode(b'{"e":"depth_' + b"x" * 100_000, ctx)


class Named(Struct, Generic[N]):
    p: N
    ch: str = ""
    rep: str = ""


@pytest.mark.parametrize("steady", [False, True])
@both
def test_a_star_stands_for_anything_and_the_key_may_stand_behind_other_marks(num: Any, steady: bool) -> None:
    def told(name: str) -> Any:
        return on(Named, lambda m, ctx: Unknown(f"{name} {m.p}"))

    entries = {b"m.*.trade.x": told("trade"), b"m.*.x": told("other"), b"m.*.k.*": told("bar"), b"m.*": told("rest"), b"m.a.y": told("y")}
    decode = keyed(after(b'"ch":"', also=(b'"rep":"', b'"topic":"'), steady=steady), entries, other=other).compile(num)
    ctx: Ctx[Any] = Ctx("x", "", Symbols(), num)
    for key, name in (
        ("m.a.trade.x", "trade"),
        ("m.a.x", "other"),
        ("m..x", "other"),
        ("m.b.k.1", "bar"),
        ("m.a.y", "y"),
        ("m.ab", "rest"),
    ):
        for mark in ("ch", "rep", "topic"):
            for _ in range(2):
                assert decode(f'{{"p":1.5,"{mark}":"{key}"}}'.encode(), ctx) == Unknown(f"{name} 1.5")
    assert decode(b'{"p":1,"rep":"m.a.trade.x","topic":"m.a.x","ch":"m.b.k.1"}', ctx) == Unknown(f"bar {num(1)}")
    assert decode(b'{"p":1,"ch":"n.a.x"}', ctx) == decode(b'{"p":1}', ctx) == Unknown("?")


def test_plain_rows_keep_the_digits_of_bare_numbers() -> None:
    row = module.decoder(dict[str, Any], Decimal)(b'{"a":1.10,"b":[1e-8,3],"c":0.1000000000000000000}')
    assert {name: str(x) for name, x in row.items()} == {"a": "1.10", "b": "[Decimal('1E-8'), 3]", "c": "0.1000000000000000000"}
    assert module.decoder(dict[str, Any], float)(b'{"a":1.10}') == {"a": 1.1}


@pytest.mark.parametrize("number", ["1e31", "-1e31", "1E+9999999", "1e-61", "1e-9999999"])
def test_plain_rows_hold_no_number_out_of_reason(number: str) -> None:
    """A time of 1E+9999999 ms made an `int` would take minutes."""
    form = keyed(after(b'"e":"'), {b"row": on(dict[str, Any], lambda m, ctx: Ack(int(m["t"])))}, other=other)
    with pytest.raises(BadFrame) as e:
        take(form, Decimal, f'{{"e":"row","t":{number}}}'.encode())
    assert e.value.reason in ("number", "json")


def test_numbers_of_text_that_handlers_make() -> None:
    assert bounded("1.10") == 1.1
    assert str(exact("1.10")) == "1.10"
    assert (bounded(3), exact(3)) == (3.0, Decimal(3))
    for text in ("nan", "inf", "-1e31", "1e400", "1_000", "１２", "٣"):
        with pytest.raises(BadNumber):
            bounded(text)
    for text in ("1_000", "１２", "٣"):
        with pytest.raises(BadNumber):
            exact(text)
    assert Ctx("x", "", Symbols(), float).num is bounded
    assert Ctx("x", "", Symbols(), Decimal).num is exact


@pytest.mark.parametrize("bad", ["nan", "sNaN", "Infinity", "1E+999999999", "1E-61", "1E+31"])
def test_decimals_are_checked_wherever_they_are(bad: str) -> None:
    number, one = Decimal(bad), Decimal(1)
    tick: Any = Trade("x", "A/B", None, 0, number, one)
    book: Any = BookDelta("x", "A/B", None, 0, [(one, one)], [(one, number)])
    step = Instrument("x", "A/B", None, 0, "AB", "A", "B", price_step=number)
    for answer in (tick, book, Checked("A/B", 1, book), History([tick]), Page("A/B", [tick]), step):
        with pytest.raises(BadNumber):
            check_decimals([Ack("x"), answer])
    check_decimals([Ack("x"), Checked("A/B", 1), Trade("x", "A/B", None, 0, Decimal("1E+30"), Decimal("1E-60"))])


class Body(Struct, Generic[N]):
    steps: list[N]


@both
@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"steps":["x"]}', b'{"steps":[' + b"[" * 5000, b"\xff", b'{"steps":[]}', b'{"steps":["nan"]}', b"<html>"]
)
def test_a_bad_rest_answer_is_a_bad_frame(num: Any, body: bytes) -> None:
    def parse(m: Body[N], ctx: Ctx[N]) -> Any:
        return [Instrument("x", "A/B", None, 0, "AB", "A", "B", price_step=Decimal(m.steps[0]))]

    read = rest(on(Body, parse), num)
    with pytest.raises(BadFrame):
        read(body, Ctx("x", "", Symbols(), num))
    assert read(b'{"steps":["0.5"]}', Ctx("x", "", Symbols(), num))[0].price_step == Decimal("0.5")
