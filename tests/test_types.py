"""Ticks: one closed union, frozen, `type` first in JSON."""

from decimal import Decimal
from typing import Any, get_args

import msgspec
import orjson
import pytest

from streamer.encode import encode
from streamer.types import KIND, KINDS, SIZED, AnyTick, BookDelta, Gap, Instrument, Kind, Status, Tick, Trade

UNION: tuple[Any, ...] = tuple(t.__origin__ for t in get_args(AnyTick))
FILL: dict[str, Any] = {"exchange": "okx", "symbol": "BTC/USDT:USDT", "ts_event": None, "ts_recv": 7}


def example(cls: Any) -> Any:
    filled = {}
    for field in msgspec.structs.fields(cls):
        if field.required and field.name not in FILL:
            kind = str(field.type)
            filled[field.name] = (
                [(1.5, 2.0)]
                if "Sequence" in kind
                else 1.5
                if "~N" in kind
                else "buy"
                if field.name == "side"
                else "x"
                if "str" in kind
                else 9
            )
    return cls(**FILL, **filled)


def test_the_union_holds_every_tick() -> None:
    assert set(UNION) == set(Tick.__subclasses__())
    assert set(KIND) == set(UNION) - {Gap, Status, Instrument}
    assert set(KINDS) == set(get_args(Kind))
    for cls, names in SIZED.items():
        assert set(names) <= set(cls.__struct_fields__)


@pytest.mark.parametrize("cls", UNION, ids=lambda c: c.__name__)
def test_type_comes_first_and_json_goes_there_and_back(cls: Any) -> None:
    tick = example(cls)
    row = encode(tick)
    assert list(orjson.loads(row))[:5] == ["type", "exchange", "symbol", "ts_event", "ts_recv"]
    back = msgspec.json.decode(row, type=AnyTick[float])
    assert type(back) is cls
    assert encode(back) == row


@pytest.mark.parametrize("cls", UNION, ids=lambda c: c.__name__)
def test_ticks_are_frozen_and_not_tracked_by_the_collector(cls: Any) -> None:
    tick = example(cls)
    with pytest.raises(AttributeError):
        tick.symbol = "ETH/USDT"
    assert cls.__struct_config__.frozen
    assert not cls.__struct_config__.gc


def test_decimals_keep_their_digits() -> None:
    trade = Trade("x", "A/B", None, 1, Decimal("1.10"), Decimal("0E-8"))
    assert b'"price":1.10,"size":0.00000000' in encode(trade)
    delta = BookDelta("x", "A/B", None, 1, [(Decimal("5.00"), Decimal("1E+3"))], [])
    assert b'"bids":[[5.00,1000]]' in encode(delta)
