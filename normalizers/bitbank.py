"""bitbank. https://github.com/bitbankinc/bitbank-api-docs/blob/master/public-stream.md. An event is ["message", {room_name, message}]."""

from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeAlias

from msgspec import Struct

from streamer.decode import after, keyed
from streamer.socketio import Event, control
from streamer.spec import Ctx, Out, on
from streamer.types import BookDelta, BookSnapshot, Instrument, Level, N, Side, Ticker, Trade
from streamer.wire import Int, Ms, Row, T, digits, listed, ms, numbers


class Data(Struct, Generic[T], gc=False):
    data: T


class Room(Struct, Generic[T], gc=False):
    room_name: str
    message: Data[T]


class Transaction(Struct, Generic[N], gc=False):
    transaction_id: Int
    side: Side
    price: N
    amount: N
    executed_at: Ms


class Diff(Struct, Generic[N], gc=False):
    a: Sequence[Level[N]]
    b: Sequence[Level[N]]
    t: Ms
    s: Int  # rises, and counts all pairs: nothing shows a loss


class Whole(Struct, Generic[N], gc=False):
    """200 levels a side. What lies beyond is told as a sum (`asks_over`, `bids_under`), which no book of levels can hold."""

    asks: Sequence[Level[N]]
    bids: Sequence[Level[N]]
    timestamp: Ms
    sequenceId: Int


Push: TypeAlias = Event[Room[T]]
Trades: TypeAlias = Push[dict[Literal["transactions"], list[Transaction[N]]]]
Diffs: TypeAlias = Push[Diff[N]]
Wholes: TypeAlias = Push[Whole[N]]


def at(m: Push[Any], room: str, time: int, ctx: Ctx[N]) -> tuple[str, str, int, int]:
    return ctx.exchange, ctx.sym[m.data.room_name.removeprefix(room)].symbol, ms(time), ctx.ts_recv


def trades(m: Trades[N], ctx: Ctx[N]) -> Out[N]:
    """The newest comes first."""
    # DOUBT: `side` is the taker's; the page does not say whose (ccxt reads it so; settled by trades beside a book)
    rows = reversed(m.data.message.data["transactions"])
    return [Trade(*at(m, "transactions_", d.executed_at, ctx), d.price, d.amount, d.side, str(d.transaction_id)) for d in rows]


def diff(m: Diffs[N], ctx: Ctx[N]) -> Out[N]:
    d = m.data.message.data
    return BookDelta(*at(m, "depth_diff_", d.t, ctx), d.b, d.a, d.s, d.s)


def whole(m: Wholes[N], ctx: Ctx[N]) -> Out[N]:
    d = m.data.message.data
    return BookSnapshot(*at(m, "depth_whole_", d.timestamp, ctx), d.bids, d.asks, d.sequenceId)


def ticker(m: Push[Row], ctx: Ctx[N]) -> Out[N]:
    d = m.data.message.data
    return Ticker(*at(m, "ticker_", d["timestamp"], ctx), *numbers(d, ctx, "last", "open", "high", "low", "vol", "", "buy", "", "sell"))


def instruments(m: Row, ctx: Ctx[N]) -> list[Instrument]:
    """`unit_amount` is the least order, no step. `is_enabled` is false for pairs that are no more; halts come and go."""
    out = []
    for d in m["data"]["pairs"]:
        steps = digits(d["price_digits"]), digits(d["amount_digits"])
        out.append(listed(ctx, d["name"], d["base_asset"].upper(), d["quote_asset"].upper(), None, "spot", *steps, active=d["is_enabled"]))
    return out


NORMALIZE = keyed(after(b'"room_name":"'), {
    b"transactions_*": on(Trades, trades), b"depth_diff_*": on(Diffs, diff), b"depth_whole_*": on(Wholes, whole),
    b"ticker_*": on(Push[Row], ticker),
}, other=control())  # fmt: skip
INSTRUMENTS = on(Row, instruments)
