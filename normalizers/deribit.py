"""Deribit v2: https://docs.deribit.com/articles/notifications

Amounts are dollars in inverse perpetuals and futures, and the base currency in everything else. So they leave here: for us one contract
is one dollar, or one of the base. Deribit's `contract_size` (10 dollars, 0.0001 BTC) counts `contracts`, which no book is in.
"""

from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any, Final, Generic, Literal, TypeAlias

from msgspec import Struct

from streamer.decode import after, keyed
from streamer.spec import Ack, Answer, Ctx, Out, Reject, Reply, Unknown, on, whole
from streamer.wire import MS, Int, Ms, Row, T, listed, ms, numbers, step

from streamer.types import (  # isort: skip
    BookDelta, BookSnapshot, Candle, Funding, Greeks, IndexPrice, Instrument, Liquidation, MarkPrice, N, OpenInterest, Quote, Side,
    Ticker, Trade,
)  # fmt: skip

RESOLUTIONS: Final = {str(i): f"{i}m" for i in (1, 3, 5, 10, 15, 30)} | {str(60 * i): f"{i}h" for i in (1, 2, 3, 6, 12)} | {"1D": "1d"}
OPPOSITE: Final[dict[Side, Side]] = {"buy": "sell", "sell": "buy"}
TEST: Final = '{"jsonrpc":"2.0","id":0,"method":"public/test","params":{}}'
HOPELESS: Final = (-32602, 13009, 13778)  # invalid parameters; no account; no account, and raw
EXACT: Final = Context(prec=100)  # no number within reason has more digits


class Data(Struct, Generic[T], gc=False):
    data: T


class Push(Struct, Generic[T], gc=False):
    params: Data[T]


class Named(Struct, gc=False):
    channel: str
    data: Row


class Chart(Struct, gc=False):
    params: Named


class Fill(Struct, Generic[N], gc=False):
    instrument_name: str
    timestamp: Ms
    price: N
    amount: N
    direction: Side
    trade_id: str
    liquidation: str = ""


class Levels(Struct, Generic[N], gc=False):
    instrument_name: str
    timestamp: Ms
    type: Literal["snapshot", "change"]
    change_id: Int
    bids: Sequence[tuple[str, N, N]]
    asks: Sequence[tuple[str, N, N]]
    prev_change_id: Int = -1  # snapshots have none


class Stats(Struct, Generic[N], frozen=True, gc=False):
    volume: N | None = None
    volume_usd: N | None = None
    volume_notional: N | None = None
    low: N | None = None
    high: N | None = None


class Sensitivities(Struct, Generic[N], frozen=True, gc=False):
    vega: N | None = None
    theta: N | None = None
    rho: N | None = None
    gamma: N | None = None
    delta: N | None = None


class State(Struct, Generic[N], gc=False):  # a quote has the best prices alone
    timestamp: Ms
    instrument_name: str
    underlying_price: N | None = None
    stats: Stats[N] = Stats()
    open_interest: N | None = None
    mark_price: N | None = None
    mark_iv: N | None = None
    last_price: N | None = None
    index_price: N | None = None
    greeks: Sensitivities[N] = Sensitivities()
    current_funding: N | None = None
    bid_iv: N | None = None
    best_bid_price: N | None = None
    best_bid_amount: N | None = None
    best_ask_price: N | None = None
    best_ask_amount: N | None = None
    ask_iv: N | None = None


Fills: TypeAlias = Push[list[Fill[N]]]
Books: TypeAlias = Push[Levels[N]]
States: TypeAlias = Push[State[N]]


def trades(m: Fills[N], ctx: Ctx[N]) -> Out[N]:
    """A liquidation is a trade as well, and comes as both. Forced was the order of the taker (T), of the maker (M) or of both (MT)."""
    out: list[Answer[N]] = []
    for d in m.params.data:
        head = ctx.exchange, ctx.sym[d.instrument_name].symbol, d.timestamp * MS, ctx.ts_recv
        out.append(Trade(*head, d.price, d.amount, d.direction, d.trade_id))
        if d.liquidation:
            sides = {"T": d.direction, "M": OPPOSITE[d.direction]}
            out += [Liquidation(*head, side, d.price, d.amount, d.trade_id) for who, side in sides.items() if who in d.liquidation]
    return out


def book(m: Books[N], ctx: Ctx[N]) -> Out[N]:
    """Levels are (new, change or delete, price, amount). `change_id` counts many books: only the chain of one book's proves anything."""
    d: Levels[N] = m.params.data
    name, ts = ctx.sym[d.instrument_name].symbol, d.timestamp * MS
    bids = [(price, size) for _, price, size in d.bids] if d.bids else []
    asks = [(price, size) for _, price, size in d.asks] if d.asks else []
    if d.type == "snapshot":
        return BookSnapshot(ctx.exchange, name, ts, ctx.ts_recv, bids, asks, d.change_id)
    return BookDelta(ctx.exchange, name, ts, ctx.ts_recv, bids, asks, None, d.change_id, d.prev_change_id)


def sides(d: State[N]) -> tuple[N | None, N | None, N | None, N | None]:
    """Bid, its size, ask and its size. Of a side without orders the price is null or 0."""
    bid, ask = d.best_bid_price, d.best_ask_price
    return bid or None, d.best_bid_amount if bid else None, ask or None, d.best_ask_amount if ask else None


def quote(m: States[N], ctx: Ctx[N]) -> Out[N]:
    d: State[N] = m.params.data
    return Quote(ctx.exchange, ctx.sym[d.instrument_name].symbol, d.timestamp * MS, ctx.ts_recv, *sides(d))


def fraction(percent: N | None) -> N | None:
    """The hundredth as it would be written (floats: to eight decimals). 1.1 / 100 is 0.011000000000000001."""
    if isinstance(percent, float):
        return round(percent * 1e6) / 1e8
    return percent and percent.scaleb(-2, EXACT)


def ticker(m: States[N], ctx: Ctx[N]) -> Out[N]:
    """Always whole. `interest_value` belongs to funding, and is not what open interest is worth."""
    d: State[N] = m.params.data
    instrument, day = ctx.sym[d.instrument_name], d.stats
    kind, venue, name, ts, now = instrument.kind, ctx.exchange, instrument.symbol, d.timestamp * MS, ctx.ts_recv
    # DOUBT: `volume_usd` of an inverse contract is the sum of its amounts, and an option's is not in its quote (documents, arithmetic on
    # their examples; settled by adding up a day of trades)
    inverse = instrument.size_unit == "contracts"
    volume, value = (day.volume_usd, day.volume_usd) if inverse else (day.volume, day.volume_notional)
    out: list[Answer[N]] = []
    wanted = ctx.wanted
    if Ticker in wanted:
        best = sides(d)
        out.append(Ticker(venue, name, ts, now, d.last_price, None, day.high, day.low, volume, value, *best))
    if kind == "spot":
        return out
    if d.mark_price is not None and MarkPrice in wanted:
        out.append(MarkPrice(venue, name, ts, now, d.mark_price))
    if d.index_price is not None and IndexPrice in wanted:
        out.append(IndexPrice(venue, name, ts, now, d.index_price))
    if d.open_interest is not None and OpenInterest in wanted:
        out.append(OpenInterest(venue, name, ts, now, d.open_interest))
    if kind == "swap" and Funding in wanted:
        # DOUBT: the rate of this moment, for eight hours; it is paid every millisecond, so nothing falls due (Deribit's help pages, of
        # inverse perpetuals; `funding_8h` is what the last eight hours came to; settled by those of linear ones)
        out.append(Funding(venue, name, ts, now, d.current_funding, None, None, 8 * 3600))
    elif kind == "option" and Greeks in wanted:  # of a bid or ask that is not there the volatility is 0
        g, mark, bid, ask = d.greeks, fraction(d.mark_iv), fraction(d.bid_iv) or None, fraction(d.ask_iv) or None
        out.append(Greeks(venue, name, ts, now, mark, bid, ask, g.delta, g.gamma, g.vega, g.theta, g.rho, d.underlying_price))
    return out


def candle(m: Chart, ctx: Ctx[N]) -> Out[N]:
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
        expiry = ms(d["expiration_timestamp"]) if kind in ("future", "option") else None
        unit, size = "contracts" if settle == base and kind != "option" else "base", Decimal(1) if settle else None
        facts = settle, kind, tick, lot, unit, size, expiry, strike, d.get("option_type"), d["is_active"]
        out.append(listed(ctx, d["instrument_name"], base, quoted, *facts))
    return out


def other(m: Any, ctx: Ctx[N]) -> Out[N]:
    """Answers bear the number of the command; ours of subscribing are positive. A channel that an answer does not list was refused."""
    if m.get("method") == "heartbeat":
        return Reply(TEST) if m["params"]["type"] == "test_request" else ()
    n, error = m.get("id"), m.get("error")
    n = None if n is None else whole(n)
    if error and n:
        return Reject(n, str(error["message"]), error["code"] in HOPELESS)
    if error or n is None:
        return Unknown(str(error["message"] if error else m["params"]["channel"]))
    return [*map(Ack, m["result"]), Reject(n, "not among the channels subscribed", fatal=True, each=True)] if n > 0 else ()


NORMALIZE = keyed(after(b'"channel":"'), {
    b"trades.*": on(Fills, trades), b"book.*": on(Books, book), b"quote.*": on(States, quote), b"ticker.*": on(States, ticker),
    b"chart.trades.*": on(Chart, candle),
}, other=other)  # fmt: skip
INSTRUMENTS = on(Row, instruments)
