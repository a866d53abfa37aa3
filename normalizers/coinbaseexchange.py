"""Coinbase Exchange. https://docs.cdp.coinbase.com/exchange/websocket-feed/channels"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Generic, Literal

from msgspec import Struct

from streamer.channels import counted_trade
from streamer.decode import after, keyed
from streamer.spec import Ack, Ctx, History, Out, Reject, Unknown, on
from streamer.times import nanoseconds, rfc3339_or_none
from streamer.types import BookDelta, BookSnapshot, Instrument, Level, N, Side, Ticker, Trade
from streamer.wire import Int, Row, listed, numbers, sides, step

CHANNELS: Final = ("matches", "level2_batch", "ticker")
ALIASES: Final = {"level2_50": "level2_batch"}  # what the answers call it (a third party's capture, August 2026)
BEST: Final = "best_bid", "best_bid_size", "best_ask", "best_ask_size"
NOUGHT: Final = ("price", "open_24h", "high_24h", "low_24h")
TAKER: Final[dict[str, Side]] = {"buy": "sell", "sell": "buy"}
# DOUBT: "X is not a valid product" is known; "X is delisted" is taken alike (a third party; settled by asking for a delisted pair)
REFUSED: Final = re.compile(r"([A-Z0-9]+-[A-Z0-9]+) is ")


class Match(Struct, Generic[N], gc=False):
    """`side` is the maker's."""

    product_id: str
    trade_id: Int
    side: Literal["buy", "sell"]
    price: N
    size: N
    time: str


class Snapshot(Struct, Generic[N], gc=False):
    product_id: str
    bids: Sequence[Level[N]]
    asks: Sequence[Level[N]]


class Update(Struct, Generic[N], gc=False):
    product_id: str
    changes: list[tuple[Literal["buy", "sell"], N, N]]
    time: datetime  # to the microsecond, as they are written: decoded in half the time that `rfc3339` takes


def at(raw: str, time: str | None, ctx: Ctx[N]) -> tuple[str, str, int | None, int]:
    return ctx.exchange, ctx.sym[raw].symbol, rfc3339_or_none(time), ctx.ts_recv


def trade(m: Match[N], ctx: Ctx[N]) -> Trade[N]:
    return Trade(*at(m.product_id, m.time, ctx), m.price, m.size, TAKER[m.side], str(m.trade_id))


def match(m: Match[N], ctx: Ctx[N]) -> Out[N]:
    """Coinbase says that matches may be lost; their ids count by one."""
    return counted_trade(ctx, m.trade_id, trade(m, ctx))


def last_match(m: Match[N], ctx: Ctx[N]) -> Out[N]:
    """At subscribing: the newest trade so far."""
    return History([trade(m, ctx)])


def snapshot(m: Snapshot[N], ctx: Ctx[N]) -> Out[N]:
    return BookSnapshot(*at(m.product_id, None, ctx), m.bids, m.asks)


def update(m: Update[N], ctx: Ctx[N]) -> Out[N]:
    bids: list[Level[N]] = []
    asks: list[Level[N]] = []
    for side, price, size in m.changes:
        (bids if side == "buy" else asks).append((price, size))
    return BookDelta(ctx.exchange, ctx.sym[m.product_id].symbol, nanoseconds(m.time), ctx.ts_recv, bids, asks)


def day(m: Row, ctx: Ctx[N]) -> Out[N]:
    """Comes with matches, not when the best prices move: so it is no quote, those are cut from the book."""
    # DOUBT: what there is not (a side, a trade) is 0, "" or left out (an inference; settled by the ticker of a new pair)
    day = *numbers(m, ctx, "price", "open_24h", "high_24h", "low_24h", "volume_24h", "", nought=NOUGHT), *sides(m, ctx, *BEST)
    return Ticker(*at(m["product_id"], m.get("time"), ctx), *day)


def instruments(m: list[Row], ctx: Ctx[N]) -> list[Instrument]:
    """The id has the names: BTCAUCTION-USD says that its `base_currency` is BTC, and would pass for BTC-USD."""
    out = []
    for p in m:
        base, quote = p["id"].split("-")
        active = p["status"] == "online" and not p.get("trading_disabled") and not p.get("cancel_only")
        steps = step(p["quote_increment"]), step(p["base_increment"])
        out.append(listed(ctx, p["id"], base, quote, None, "spot", *steps, active=active))
    return out


def other(m: Any, ctx: Ctx[N]) -> Out[N]:
    """An answer lists all that the connection is subscribed to by now; an error names the product alone, and refuses its whole command."""
    if m["type"] == "subscriptions":
        return [Ack(f"{ALIASES.get(c['name'], c['name'])}:{product}") for c in m["channels"] for product in c.get("product_ids") or ()]
    if m["type"] == "error":
        reason = str(m.get("reason") or m["message"])
        named = REFUSED.match(reason)
        return [Reject(f"{channel}:{named[1]}", reason, fatal=True) for channel in CHANNELS] if named else Unknown(reason)
    return Unknown(str(m["type"]))


NORMALIZE = keyed(after(b'"type":"', steady=True), {
    b"match": on(Match, match), b"last_match": on(Match, last_match), b"snapshot": on(Snapshot, snapshot), b"l2update": on(Update, update),
    b"ticker": on(Row, day),
}, other=other)  # fmt: skip
INSTRUMENTS = on(list[Row], instruments)
