"""The vocabulary: every kind of tick that leaves the hub, and `Instrument`.

A tick is a frozen `msgspec.Struct`; ticks are shared between subscribers and never changed. In JSON the field `type` comes first and
names the tick. Times are integer nanoseconds since 1970 UTC: `ts_event` is the exchange's own time or None (never made up), `ts_recv`
the moment the frame arrived here. Numbers are `float` or, with ``numbers="decimal"``, `decimal.Decimal`: hence `N`. Prices are in the
quote currency; sizes are in the base currency, unless the instrument's `size_unit` says otherwise or ``sizes="venue"`` was asked for.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Generic, Literal, TypeAlias

from msgspec import Struct
from typing_extensions import TypeVar

N = TypeVar("N", float, Decimal, default=float)

Side: TypeAlias = Literal["buy", "sell"]
Level: TypeAlias = tuple[N, N]
"""(price, size)."""
Kind: TypeAlias = Literal[
    "trade", "book", "quote", "ticker", "candle", "funding", "mark", "index", "open_interest", "liquidation", "greeks"
]
"""What one subscribes to. Types are what arrives: `book` brings `BookSnapshot`, `BookDelta` and `BookStale`."""


class Tick(Struct, Generic[N], frozen=True, gc=False, tag_field="type"):
    """What every tick has: `exchange` (ccxt id), `symbol` (ccxt grammar), `ts_event` and `ts_recv` (ns UTC)."""

    exchange: str
    symbol: str
    ts_event: int | None
    ts_recv: int


class Trade(Tick[N], frozen=True, gc=False, tag="trade"):
    """One execution. `side` is the taker's, None where the venue does not tell; `id` is the venue's, None if it has none."""

    price: N
    size: N
    side: Side | None = None
    id: str | None = None


class Quote(Tick[N], frozen=True, gc=False, tag="quote"):
    """Best bid and offer. `source` is `venue`, or `book` when cut from the live book because the venue has no such channel."""

    bid: N | None
    bid_size: N | None
    ask: N | None
    ask_size: N | None
    source: Literal["venue", "book"] = "venue"


class BookSnapshot(Tick[N], frozen=True, gc=False, tag="book_snapshot"):
    """Replaces the whole book. Best level first on both sides. `seq` is the venue's number of this state, if it has one."""

    bids: Sequence[Level[N]]
    asks: Sequence[Level[N]]
    seq: int | None = None


class BookDelta(Tick[N], frozen=True, gc=False, tag="book_delta"):
    """Levels with their new absolute sizes; size 0 removes the level.

    `first` and `last` are the venue's numbers of the first and last update inside; `prev` the number of the update it follows.
    """

    bids: Sequence[Level[N]]
    asks: Sequence[Level[N]]
    first: int | None = None
    last: int | None = None
    prev: int | None = None


class BookStale(Tick[N], frozen=True, gc=False, tag="book_stale"):
    """Do not trust this book until its next `BookSnapshot`. `reason`: gap, checksum, crossed, disconnect, bad_frame, ..."""

    reason: str


class Ticker(Tick[N], frozen=True, gc=False, tag="ticker"):
    """Rolling 24 h figures; None where the venue does not give one. `volume` in base, `quote_volume` in quote units."""

    last: N | None = None
    open: N | None = None
    high: N | None = None
    low: N | None = None
    volume: N | None = None
    quote_volume: N | None = None
    bid: N | None = None
    bid_size: N | None = None
    ask: N | None = None
    ask_size: N | None = None


class Candle(Tick[N], frozen=True, gc=False, tag="candle"):
    """One bar of the venue's own making. `interval` as ccxt writes it (`1m`, `1h`, `1d`); `closed` once it is final."""

    interval: str
    ts_open: int
    open: N
    high: N
    low: N
    close: N
    volume: N | None = None
    quote_volume: N | None = None
    trades: int | None = None
    closed: bool | None = None


class Funding(Tick[N], frozen=True, gc=False, tag="funding"):
    """Funding of a perpetual. Rates are fractions per interval (0.0001 = 1 bp); `ts_next` is the next settlement, ns."""

    rate: N | None
    predicted_rate: N | None = None
    ts_next: int | None = None
    interval_s: int | None = None


class MarkPrice(Tick[N], frozen=True, gc=False, tag="mark_price"):
    """The price the venue marks positions to."""

    price: N


class IndexPrice(Tick[N], frozen=True, gc=False, tag="index_price"):
    """The venue's index of the underlying."""

    price: N


class OpenInterest(Tick[N], frozen=True, gc=False, tag="open_interest"):
    """Open contracts: `amount` as sizes are counted, `value` in quote (or the venue's stated) currency."""

    amount: N | None
    value: N | None = None


class Liquidation(Tick[N], frozen=True, gc=False, tag="liquidation"):
    """A forced order. `side` is that of the liquidating order: `sell` closes a long."""

    side: Side | None
    price: N
    size: N
    id: str | None = None


class Greeks(Tick[N], frozen=True, gc=False, tag="greeks"):
    """An option's implied volatilities (fractions: 0.65 = 65 %) and sensitivities, in the venue's own convention."""

    mark_iv: N | None = None
    bid_iv: N | None = None
    ask_iv: N | None = None
    delta: N | None = None
    gamma: N | None = None
    vega: N | None = None
    theta: N | None = None
    rho: N | None = None
    underlying_price: N | None = None


class Gap(Tick[N], frozen=True, gc=False, tag="gap"):
    """Something is known to be missing from `channel` between `ts_from` and `ts_to` (ns).

    `cause`: disconnect, sequence, checksum, crossed, stall, overflow, bad_frame, poll, disk, refused, process_restart, shutdown. `count`:
    ticks lost, if known. `recovered`: how it was made good (`snapshot`) or None. `proof`: what showed it (`sequence`, `checksum`, `ids`,
    `count`, `none`).
    """

    channel: str
    cause: str
    ts_from: int | None = None
    ts_to: int | None = None
    count: int | None = None
    recovered: str | None = None
    proof: str | None = None


class Status(Tick[N], frozen=True, gc=False, tag="status"):
    """Health of one stream, in-band. `state`: connecting, live, stale, down, rejected."""

    channel: str
    state: str
    reason: str | None = None


class Instrument(Tick[N], frozen=True, gc=False, tag="instrument"):
    """What is traded. Steps, contract size and strike are exact Decimals in both number modes.

    `id` is the venue's own name. `kind`: spot, swap, future or option. `size_unit` is what a tick's sizes count when
    ``sizes="base"``: `base`, or `contracts` where a conversion would need a price (inverse contracts, quantos). `contract_size` is the
    amount of base (linear) or quote (inverse) currency of one contract, of quantos that of the settle currency for a unit of price; None
    for spot, unless sizes are in contracts there too. `expiry` in ns.
    """

    id: str
    base: str
    quote: str
    settle: str | None = None
    kind: Literal["spot", "swap", "future", "option"] = "spot"
    price_step: Decimal | None = None
    size_step: Decimal | None = None
    size_unit: Literal["base", "contracts"] = "base"
    contract_size: Decimal | None = None
    expiry: int | None = None
    strike: Decimal | None = None
    option_type: Literal["call", "put"] | None = None
    active: bool = True


AnyTick: TypeAlias = (
    Trade[N]
    | Quote[N]
    | BookSnapshot[N]
    | BookDelta[N]
    | BookStale[N]
    | Ticker[N]
    | Candle[N]
    | Funding[N]
    | MarkPrice[N]
    | IndexPrice[N]
    | OpenInterest[N]
    | Liquidation[N]
    | Greeks[N]
    | Gap[N]
    | Status[N]
    | Instrument[N]
)
"""The closed union of all ticks."""

KIND: Final[dict[type[Tick[Any]], Kind]] = {
    Trade: "trade",
    Quote: "quote",
    BookSnapshot: "book",
    BookDelta: "book",
    BookStale: "book",
    Ticker: "ticker",
    Candle: "candle",
    Funding: "funding",
    MarkPrice: "mark",
    IndexPrice: "index",
    OpenInterest: "open_interest",
    Liquidation: "liquidation",
    Greeks: "greeks",
}
"""The kind that one subscribes to for each type that arrives. `Gap`, `Status` and `Instrument` come in-band, unasked."""

KINDS: Final[tuple[Kind, ...]] = tuple(dict.fromkeys(KIND.values()))
SIZED: Final[dict[type[Tick[Any]], tuple[str, ...]]] = {
    Trade: ("size",),
    Quote: ("bid_size", "ask_size"),
    Ticker: ("volume", "bid_size", "ask_size"),
    Candle: ("volume",),
    OpenInterest: ("amount",),
    Liquidation: ("size",),
}
"""The fields counted in the venue's size unit, besides the levels of a book."""
