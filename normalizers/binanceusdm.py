"""Binance USDⓈ-M futures: what differs from spot. Sizes count the base currency. https://developers.binance.com/docs/derivatives"""

from decimal import Decimal
from typing import Final, Generic, TypeAlias

from msgspec import Struct

from normalizers.binance import DepthData, DepthRest, Msg, QuoteData, TradeMsg, at, candle, other, trade
from streamer.decode import after, keyed
from streamer.spec import Answer, Ctx, Out, on
from streamer.wire import MS, Int, Ms, Row, listed, ms, numbers, step

from streamer.types import (  # isort: skip
    BookDelta, BookSnapshot, Funding, IndexPrice, Instrument, Liquidation, MarkPrice, N, OpenInterest, Quote, Side, Ticker,
)  # fmt: skip

SIDES: Final[dict[str, Side]] = {"BUY": "buy", "SELL": "sell"}


class Depth(DepthData[N], gc=False):
    """`pu` is the `u` of the event before it; `T` the matching engine's time."""

    pu: Int
    T: Ms


class Best(QuoteData[N], gc=False):
    T: Ms


class Snapshot(DepthRest[N]):
    T: Ms


class Interest(Struct, Generic[N], rename="camel", gc=False):
    open_interest: N
    time: Ms


DepthMsg: TypeAlias = Msg[Depth[N]]
BestMsg: TypeAlias = Msg[Best[N]]


def depth(m: DepthMsg[N], ctx: Ctx[N]) -> Out[N]:
    d = m.data
    return BookDelta(ctx.exchange, ctx.sym[d.s].symbol, d.T * MS, ctx.ts_recv, d.b, d.a, d.U, d.u, d.pu)


def book_rest(m: Snapshot[N], ctx: Ctx[N], inst: Instrument) -> BookSnapshot[N]:
    return BookSnapshot(ctx.exchange, inst.symbol, m.T * MS, ctx.ts_recv, m.bids, m.asks, m.last_update_id)


def quote(m: BestMsg[N], ctx: Ctx[N]) -> Out[N]:
    # DOUBT: an empty side is written as price 0, as for spot (an inference; settled by a contract without bids)
    d = m.data
    bid, bid_size = (d.b, d.B) if d.b else (None, None)
    ask, ask_size = (d.a, d.A) if d.a else (None, None)
    return Quote(ctx.exchange, ctx.sym[d.s].symbol, d.T * MS, ctx.ts_recv, bid, bid_size, ask, ask_size)


def ticker(m: Msg[Row], ctx: Ctx[N]) -> Out[N]:
    """Without the best prices that spot's has."""
    return Ticker(*at(m.data, ctx), *numbers(m.data, ctx, "c", "o", "h", "l", "v", "q"))


def mark(m: Msg[Row], ctx: Ctx[N]) -> Out[N]:
    """Mark and index, and of perpetuals the funding, which is due at `T`; delivery contracts have "" and 0 there."""
    d, head = m.data, at(m.data, ctx)
    price, index, rate = numbers(d, ctx, "p", "i", "r")
    out: list[Answer[N]] = [MarkPrice(*head, price)]
    # DOUBT: an index of 0 is none (an inference from that "" and 0; settled by a contract before its first trade)
    if index:
        out.append(IndexPrice(*head, index))
    if rate is not None and d["T"]:
        out.append(Funding(*head, rate, None, ms(d["T"])))
    return out


def liquidation(m: Msg[Row], ctx: Ctx[N]) -> Out[N]:
    """The latest forced order of a second: the price and size that it was placed with. What was filled may be less, and better."""
    # DOUBT: `S` is the order's side, so SELL closes a long (the other fields are the order's; settled by liquidations beside trades)
    d = m.data["o"]
    head = ctx.exchange, ctx.sym[d["s"]].symbol, ms(d["T"]), ctx.ts_recv
    return Liquidation(*head, SIDES[d["S"]], *numbers(d, ctx, "p", "q"))


def open_interest(m: Interest[N], ctx: Ctx[N], inst: Instrument) -> Out[N]:
    return OpenInterest(ctx.exchange, inst.symbol, m.time * MS, ctx.ts_recv, m.open_interest)


def instruments(m: Row, ctx: Ctx[N]) -> list[Instrument]:
    """Perpetuals (of coins, of indices, of stocks: TRADIFI_PERPETUAL) have a delivery date too, in the year 2100 or that of their end."""
    out = []
    for d in m["symbols"]:
        steps = {f["filterType"]: step(f.get("tickSize") or f.get("stepSize")) for f in d.get("filters", ())}
        term = d["contractType"].partition("_")[2]
        expiry = ms(d["deliveryDate"]) if term.startswith(("QUARTER", "MONTH")) else None
        name = d["symbol"], d["baseAsset"], d["quoteAsset"], d["marginAsset"], "swap" if expiry is None else "future"
        facts = steps.get("PRICE_FILTER"), steps.get("LOT_SIZE"), "base", Decimal(1), expiry
        out.append(listed(ctx, *name, *facts, active=d["status"] == "TRADING"))
    return out


NORMALIZE = keyed(after(b"@"), {
    b"aggTrade": on(TradeMsg, trade), b"depth@100ms": on(DepthMsg, depth), b"bookTicker": on(BestMsg, quote),
    b"ticker": on(Msg[Row], ticker), b"kline_*": on(Msg[Row], candle), b"markPrice@1s": on(Msg[Row], mark),
    b"forceOrder": on(Msg[Row], liquidation),
}, other=other)  # fmt: skip
BOOK_REST, OPEN_INTEREST, INSTRUMENTS = on(Snapshot, book_rest), on(Interest, open_interest), on(Row, instruments)
