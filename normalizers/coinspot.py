"""CoinSpot v2: REST answers, and nothing else. https://www.coinspot.com.au/v2/api"""

from collections.abc import Iterable, Sequence
from typing import Any, Generic, Literal

from msgspec import Struct

from streamer.spec import Ctx, Out, Page, on
from streamer.times import rfc3339
from streamer.types import BookSnapshot, Instrument, Level, N, Ticker, Trade
from streamer.wire import Row, listed, number


class Ok(Struct, gc=False):
    """Errors have another status, and so do not decode."""

    status: Literal["ok"]


class Latest(Ok):
    """By coin, in Australian dollars (`btc`), or by coin and market (`btc_usdt`): `bid`, `ask`, `last`."""

    prices: dict[str, Row]


class Order(Struct, Generic[N], gc=False):
    rate: N
    amount: N


class Sold(Order[N]):
    solddate: str


class Open(Ok, Generic[N]):
    buyorders: list[Order[N]]
    sellorders: list[Order[N]]


class Completed(Ok, Generic[N]):
    orders: list[Sold[N]]


def price(text: Any, ctx: Ctx[N]) -> N | None:
    """Text, or now and then a bare number; `NaN` where nobody offers any."""
    return None if text == "NaN" else number(text, ctx) or None


def tickers(m: Latest, ctx: Ctx[N], _: None) -> Out[N]:
    """All coins at once; one that is not on our list yet is passed over."""
    out = []
    for name, p in m.prices.items():
        if (inst := ctx.sym.get(name.replace("_", "/"))) is not None:
            bid, ask, last = (price(p.get(key), ctx) for key in ("bid", "ask", "last"))
            out.append(Ticker(ctx.exchange, inst.symbol, None, ctx.ts_recv, last, bid=bid, ask=ask))
    return out


def levels(orders: Iterable[Order[N]]) -> Iterable[Level[N]]:
    # DOUBT: orders of one rate come one by one, in any order (the documents say neither; settled by a look at two of them)
    sizes: dict[N, N] = {}
    for order in orders:
        sizes[order.rate] = sizes[order.rate] + order.amount if order.rate in sizes else order.amount
    return sizes.items()


def book(m: Open[N], ctx: Ctx[N], inst: Instrument) -> Out[N]:
    bids, asks = sorted(levels(m.buyorders), reverse=True), sorted(levels(m.sellorders))
    return BookSnapshot(ctx.exchange, inst.symbol, None, ctx.ts_recv, bids, asks)


def trades(m: Completed[N], ctx: Ctx[N], inst: Instrument) -> Out[N]:
    """They have no ids and no taker's side."""
    # DOUBT: this list has each trade once; the other one (`orders/completed`) tells it of the buyer and of the seller, one of whom took
    # (a consumer counts half of that one, a client calls this one combined; settled by a look at both)
    # DOUBT: which end is the newest is told nowhere, so it is seen by the times (settled by a look at one page)
    orders: Sequence[Sold[N]] = m.orders
    if orders and orders[0].solddate > orders[-1].solddate:
        orders = orders[::-1]
    at = ctx.exchange, inst.symbol
    return Page(inst.symbol, [Trade(*at, rfc3339(o.solddate), ctx.ts_recv, o.rate, o.amount, None) for o in orders])


def instruments(m: Latest, ctx: Ctx[N]) -> list[Instrument]:
    """No steps are told. The id is what stands in the urls: `btc`, and `btc/usdt` in another market than that of AUD."""
    # DOUBT: small letters are taken in every path (a client finds that markets want them; documents write capitals; settled by asking)
    out = []
    for name in m.prices:
        base, _, quote = name.upper().partition("_")
        out.append(listed(ctx, name.replace("_", "/"), base, quote or "AUD"))
    return out


TICKERS, BOOK, TRADES, INSTRUMENTS = on(Latest, tickers), on(Open, book), on(Completed, trades), on(Latest, instruments)
