"""What normalizers share: rows of plain fields, sparse rows merged, instruments named in ccxt's grammar."""

from collections.abc import Container, Sequence, Set
from decimal import Decimal
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from msgspec import Meta

from streamer.ctx import WHOLE
from streamer.errors import BadNumber
from streamer.spec import BOUND, Ctx, whole
from streamer.symbols import format as symbol
from streamer.types import Instrument, N

MS: Final = 1_000_000
"""Nanoseconds."""
MOST_MS: Final = 4_611_686_018_427  # WHOLE // MS (mypyc cannot hold a Final that is reckoned)
Int: TypeAlias = Annotated[int, Meta(ge=-WHOLE, le=WHOLE)]
"""A whole number off the wire (an id, a place in a sequence). It fits into 64 bits, which all that writes ticks relies on."""
Ms: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_MS)]
"""A time in ms off the wire, which fits as ns too (until the year 2116)."""
T = TypeVar("T")
"""What a venue's envelope holds."""
Row: TypeAlias = dict[str, Any]
"""A message of a rare channel: its fields as they came. Bare numbers with a point are of the chosen type, so their digits are kept."""
MINUTE: Final = " minute"


def number(value: Any, ctx: Ctx[N]) -> N | None:
    """A number out of a row. None for what is missing, null or empty."""
    if value is None or value == "":
        return None
    if value.__class__ is bool:
        raise BadNumber(f"{value} is no number")
    return ctx.num(value)


def ms(value: Any) -> int:
    """A time in ms, text or a number, in ns."""
    time = whole(value)
    if not 0 <= time <= MOST_MS:
        raise BadNumber(f"{time} is no time in ms within reason")
    return time * MS


def numbers(row: Row, ctx: Ctx[N], *names: str, nought: Container[str] = ()) -> list[Any]:
    """The numbers under these names, in this order. None for "", for what is missing, null or empty, and for the 0 under a name in `nought`
    that stands for a bid, an ask or a trade that is not there."""
    get = row.get
    found: list[Any] = []
    for name in names:
        value = get(name)
        if value.__class__ is not float or not -BOUND <= value <= BOUND:  # most are what they should be, and need no call
            value = number(value, ctx)
        found.append(value if value or name not in nought else None)
    return found


def sides(row: Row, ctx: Ctx[N], *names: str) -> list[Any]:
    """Bid, its size, ask and its size under these four names. Where the price is missing or 0 that side is empty: two Nones."""
    found = numbers(row, ctx, *names)
    return [x if found[i & 2] else None for i, x in enumerate(found)]


def best(side: Sequence[Sequence[N]]) -> tuple[N, N] | tuple[None, None]:
    """(price, size) of the first level; two Nones when there is none."""
    return (side[0][0], side[0][1]) if side else (None, None)


def parsed(row: Row, ctx: Ctx[N], names: Container[str], nought: Container[str] = ()) -> Row:
    """The row with what stands under `names` as numbers: so they are read once, and not each time that the row they are merged into is."""
    num = ctx.num
    out = {}
    for name, value in row.items():
        if name in names:
            value = num(value) if value.__class__ is str and value else number(value, ctx)
            if not value and name in nought:
                value = None
        out[name] = value
    return out


def merge(known: Row | None, fields: Row, minute: object) -> tuple[Row, Set[str]]:
    """A sparse row: `fields` are what changed since the row was as it is `known`.

    The answer is the row as it is now (to be kept in `ctx.mem` once the message was understood), and the names of what is news: those that
    came, and once a `minute` all of them, for those who subscribed since.
    """
    row = {**known, **fields} if known else dict(fields)
    again = known is None or known.get(MINUTE) != minute
    row[MINUTE] = minute
    return row, row.keys() if again else fields.keys()


def step(value: Any) -> Decimal | None:
    """A step or a size out of a list of instruments, text or a plain number, exactly as written. None for what is missing or empty."""
    return None if value is None or value == "" else Decimal(str(value))


def digits(decimals: int) -> Decimal:
    """The step of so many decimals: 0.01 of 2."""
    return Decimal(1).scaleb(-decimals)


def listed(
    ctx: Ctx[Any], id: str, base: str, quote: str, settle: str | None = None, kind: Any = "spot", price_step: Decimal | None = None,
    size_step: Decimal | None = None, size_unit: Any = "base", contract_size: Decimal | None = None, expiry: int | None = None,
    strike: Decimal | None = None, option_type: Any = None, active: bool = True,
) -> Instrument:  # fmt: skip
    """An instrument of the list that is being read, its symbol made of its parts. The fields are those of `Instrument`."""
    facts = settle, kind, price_step, size_step, size_unit, contract_size, expiry, strike, option_type, active
    name = symbol(base, quote, settle, expiry, strike, option_type)
    return Instrument(ctx.exchange, name, None, ctx.ts_recv, id, base, quote, *facts)
