"""Deribit v2: https://docs.deribit.com/articles/notifications

Amounts are dollars in inverse perpetuals and futures, and the base currency in everything else. So they leave here: for us one contract
is one dollar, or one of the base. Deribit's `contract_size` (10 dollars, 0.0001 BTC) counts `contracts`, which no book is in.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Generic, Literal, TypeAlias

from msgspec import Struct

from streamer.decode import after, keyed
from streamer.spec import Ack, Answer, Ctx, Out, Reject, Reply, Unknown, on
from streamer.wire import MS, Row, T, listed, ms, numbers, sides, step

from streamer.types import (  # isort: skip
    BookDelta, BookSnapshot, Candle, Funding, Greeks, IndexPrice, Instrument, Liquidation, MarkPrice, N, OpenInterest, Quote, Side,
    Ticker, Trade,
)  # fmt: skip

RESOLUTIONS: Final = {str(i): f"{i}m" for i in (1, 3, 5, 10, 15, 30)} | {str(60 * i): f"{i}h" for i in (1, 2, 3, 6, 12)} | {"1D": "1d"}
OPPOSITE: Final[dict[Side, Side]] = {"buy": "sell", "sell": "buy"}
TEST: Final = '{"jsonrpc":"2.0","id":0,"method":"public/test","params":{}}'
HOPELESS: Final = (-32602, 13009, 13778)  # invalid parameters; no account; no account, and raw
BEST: Final = "best_bid_price", "best_bid_amount", "best_ask_price", "best_ask_amount"
NOUGHT: Final = ("bid_iv", "ask_iv")  # of a bid or ask that is not there the volatility is 0
PRICED: Final[dict[Any, str]] = {MarkPrice: "mark_price", IndexPrice: "index_price", OpenInterest: "open_interest"}


class Params(Struct, Generic[T]):
    channel: str
    data: T


class Push(Struct, Generic[T]):
    params: Params[T]


class Fill(Struct, Generic[N]):
    instrument_name: str
    timestamp: int
    price: N
    amount: N
    direction: Side
    trade_id: str
    liquidation: str = ""


class Levels(Struct, Generic[N]):
    instrument_name: str
    timestamp: int
    type: Literal["snapshot", "change"]
    change_id: int
    bids: Sequence[tuple[str, N, N]]
    asks: Sequence[tuple[str, N, N]]
    prev_change_id: int = -1  # snapshots have none


Fills: TypeAlias = Push[list[Fill[N]]]
Books: TypeAlias = Push[Levels[N]]


def at(d: Fill[N] | Levels[N], ctx: Ctx[N]) -> tuple[str, str, int, int]:
    return ctx.exchange, ctx.sym[d.instrument_name].symbol, d.timestamp * MS, ctx.ts_recv


def trades(m: Fills[N], ctx: Ctx[N]) -> Out[N]:
    """A liquidation is a trade as well, and comes as both. Forced was the order of the taker (T), of the maker (M) or of both (MT)."""
    out: list[Answer[N]] = []
    for d in m.params.data:
        head, sides = at(d, ctx), {"T": d.direction, "M": OPPOSITE[d.direction]}
        out.append(Trade(*head, d.price, d.amount, d.direction, d.trade_id))
        out += [Liquidation(*head, side, d.price, d.amount, d.trade_id) for who, side in sides.items() if who in d.liquidation]
    return out


def book(m: Books[N], ctx: Ctx[N]) -> Out[N]:
    """Levels are (new, change or delete, price, amount). `change_id` counts many books: only the chain of one book's proves anything."""
    d: Levels[N] = m.params.data
    head = *at(d, ctx), [(price, size) for _, price, size in d.bids], [(price, size) for _, price, size in d.asks]
    return BookSnapshot(*head, d.change_id) if d.type == "snapshot" else BookDelta(*head, None, d.change_id, d.prev_change_id)


def quote(m: Push[Row], ctx: Ctx[N]) -> Out[N]:
    name, row = ctx.sym[m.params.channel.split(".")[1]].symbol, m.params.data
    return Quote(ctx.exchange, name, ms(row["timestamp"]), ctx.ts_recv, *sides(row, ctx, *BEST))


def ticker(m: Push[Row], ctx: Ctx[N]) -> Out[N]:
    """Always whole. `interest_value` belongs to funding, and is not what open interest is worth."""
    d, instrument = m.params.data, ctx.sym[m.params.channel.split(".")[1]]
    row = d | d["stats"] | d.get("greeks", {})
    head = ctx.exchange, instrument.symbol, ms(row["timestamp"]), ctx.ts_recv
    # DOUBT: `volume_usd` of an inverse contract is the sum of its amounts, and an option's is not in its quote (documents, arithmetic on
    # their examples; settled by adding up a day of trades)
    volumes = ("volume_usd", "volume_usd") if instrument.size_unit == "contracts" else ("volume", "volume_notional")
    out: list[Answer[N]] = [Ticker(*head, *numbers(row, ctx, "last_price", "", "high", "low", *volumes), *sides(row, ctx, *BEST))]
    if instrument.kind != "spot":
        out += [kind(*head, x) for kind, x in zip(PRICED, numbers(row, ctx, *PRICED.values()), strict=True) if x is not None]
    if instrument.kind == "swap":
        # DOUBT: the rate of this moment, for eight hours; it is paid every millisecond, so nothing falls due (Deribit's help pages, of
        # inverse perpetuals; `funding_8h` is what the last eight hours came to; settled by those of linear ones)
        out.append(Funding(*head, numbers(row, ctx, "current_funding")[0], None, None, 8 * 3600))
    if instrument.kind == "option":
        ivs = [x and ctx.num(f"{x:f}e-2") for x in numbers(row, ctx, "mark_iv", "bid_iv", "ask_iv", nought=NOUGHT)]
        out.append(Greeks(*head, *ivs, *numbers(row, ctx, "delta", "gamma", "vega", "theta", "rho", "underlying_price")))
    return out


def candle(m: Push[Row], ctx: Ctx[N]) -> Out[N]:
    """`volume` is in base, and `cost` in quote: dollars, where dollars are what sizes count."""
    (_, _, raw, resolution), row = m.params.channel.split("."), m.params.data
    instrument = ctx.sym[raw]
    # DOUBT: an option's `cost` is in the coin of its price, not in the quote of its symbol (a guess; settled by an option's candle)
    volumes = "cost" if instrument.size_unit == "contracts" else "volume", "cost" if instrument.kind != "option" else ""
    head = ctx.exchange, instrument.symbol, None, ctx.ts_recv, RESOLUTIONS[resolution], ms(row["tick"])
    return Candle(*head, *numbers(row, ctx, "open", "high", "low", "close", *volumes))


def instruments(m: Row, ctx: Ctx[N]) -> list[Instrument]:
    """Combos are left out. An option's `quote_currency` is that of its price, BTC, and its counter currency that of its strike."""
    out: list[Instrument] = []
    for d in m["result"]:
        kind, base = "swap" if d.get("settlement_period") == "perpetual" else d["kind"], d["base_currency"]
        if kind not in ("spot", "swap", "future", "option"):
            continue
        quoted = d["quote_currency"] if kind == "spot" else d.get("counter_currency", "USD")  # old recordings lack some: all was inverse
        settle = d.get("settlement_currency", base) if kind != "spot" else None
        # DOUBT: steps are the finest: `tick_size_steps` has coarser ones for higher prices (documents), spot books hold less than the
        # smallest order (0.00004923 BTC, a capture of 2026; settled by what Deribit says of the spot it routes to Coinbase)
        tick, lot, strike = (step(d.get(name)) for name in ("tick_size", "min_trade_amount", "strike"))
        expiry = d["expiration_timestamp"] * MS if kind in ("future", "option") else None
        unit, size = "contracts" if settle == base and kind != "option" else "base", Decimal(1) if settle else None
        facts = settle, kind, tick, lot, unit, size, expiry, strike, d.get("option_type"), d["is_active"]
        out.append(listed(ctx, d["instrument_name"], base, quoted, *facts))
    return out


def other(m: Any, ctx: Ctx[N]) -> Out[N]:
    """Answers bear the number of the command; ours of subscribing are positive. A channel that an answer does not list was refused."""
    if m.get("method") == "heartbeat":
        return Reply(TEST) if m["params"]["type"] == "test_request" else ()
    n, error = m.get("id"), m.get("error")
    if error and n:
        return Reject(n, str(error["message"]), error["code"] in HOPELESS)
    if error or n is None:
        return Unknown(str(error["message"] if error else m["params"]["channel"]))
    return [*map(Ack, m["result"]), Reject(n, "not among the channels subscribed", fatal=True, each=True)] if n > 0 else ()


NORMALIZE = keyed(after(b'"channel":"'), {
    b"trades.*": on(Fills, trades), b"book.*": on(Books, book), b"quote.*": on(Push[Row], quote), b"ticker.*": on(Push[Row], ticker),
    b"chart.trades.*": on(Push[Row], candle),
}, other=other)  # fmt: skip
INSTRUMENTS = on(Row, instruments)
