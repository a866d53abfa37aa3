"""What subscribers see of a book: sizes in base units, the top n levels, and the live book itself."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic

from msgspec.structs import replace

from streamer.book import Book
from streamer.errors import BookNotLive
from streamer.mailbox import Mailbox
from streamer.types import SIZED, BookDelta, BookSnapshot, Instrument, Level, N, Tick

if TYPE_CHECKING:
    from streamer.book_stream import BookStream

Scale = Callable[[Any], Any]
"""One size in venue units to the same in base units."""


def scale_of(instrument: Instrument) -> Scale | None:
    """How sizes of this instrument become base units; None when they are already, or cannot be (inverse contracts).

    Linear contracts: times `contract_size`, rounded to the digits of ``size_step * contract_size``, which a float product may miss. Where
    the venue does not tell the step nothing is rounded: the exact product is taken, which costs more.
    """
    factor = instrument.contract_size
    if factor is None or factor == 1 or instrument.size_unit != "base":
        return None
    as_float = float(factor)
    if instrument.size_step is None:
        digits = None
    else:
        exponent = (instrument.size_step * factor).normalize().as_tuple().exponent
        digits = -exponent if isinstance(exponent, int) else 0

    def scale(size: Any) -> Any:
        if isinstance(size, float):
            return round(size * as_float, digits) if digits is not None else float(Decimal(repr(size)) * factor)
        return None if size is None else size * factor

    return scale


def scale_levels(levels: Sequence[Level[Any]], scale: Scale) -> list[Level[Any]]:
    """Levels with their sizes in base units."""
    return [(price, scale(size)) for price, size in levels]


def scale_tick(tick: Tick[Any], scale: Scale) -> Tick[Any]:
    """The tick with its sizes in base units; itself when it has none."""
    if isinstance(tick, BookDelta | BookSnapshot):
        return replace(tick, bids=scale_levels(tick.bids, scale), asks=scale_levels(tick.asks, scale))
    names = SIZED.get(tick.__class__)
    return replace(tick, **{name: scale(getattr(tick, name)) for name in names}) if names else tick


class DepthView:
    """The top `depth` levels of one book for those who asked for no more: deltas are the differences of two tops."""

    __slots__ = ("_asks", "_bids", "boxes", "depth")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.boxes: tuple[Mailbox, ...] = ()
        self._bids: dict[Any, Any] = {}
        self._asks: dict[Any, Any] = {}

    def snapshot(self, tick: BookSnapshot[Any], book: Book[Any]) -> BookSnapshot[Any]:
        """The snapshot, cut."""
        bids, asks = book.bids.top(self.depth), book.asks.top(self.depth)
        self._bids, self._asks = dict(bids), dict(asks)
        return replace(tick, bids=bids, asks=asks)

    def delta(self, tick: BookDelta[Any], book: Book[Any]) -> BookDelta[Any] | None:
        """What changed among the top levels, or None."""
        bids: Sequence[Level[Any]] = ()
        asks: Sequence[Level[Any]] = ()
        if self._touched(tick.bids, self._bids, False):
            seen, self._bids = self._bids, dict(book.bids.top(self.depth))
            bids = _changes(seen, self._bids)
        if self._touched(tick.asks, self._asks, True):
            seen, self._asks = self._asks, dict(book.asks.top(self.depth))
            asks = _changes(seen, self._asks)
        return replace(tick, bids=bids, asks=asks) if bids or asks else None

    def _touched(self, levels: Sequence[Level[Any]], seen: dict[Any, Any], ascending: bool) -> bool:
        """Can these changes reach the top? Not when it is full and they all lie behind its last level."""
        if len(seen) < self.depth:
            return bool(levels)
        last = next(reversed(seen))
        for price, _ in levels:  # noqa: SIM110  (a generator costs more)
            if price <= last if ascending else price >= last:
                return True
        return False


def _changes(old: dict[Any, Any], new: dict[Any, Any]) -> Sequence[Level[Any]]:
    gone = [(price, size - size) for price, size in old.items() if price not in new]
    return gone + [(price, size) for price, size in new.items() if old.get(price) != size]


class LiveBook(Generic[N]):
    """A reader's window on the hub's own book. Every read tells the truth of now, or raises `BookNotLive`.

    Sizes are in the units of the stream's ticks. Prices and sizes are `float` or `Decimal`, as the `Streamer` was told.
    """

    __slots__ = ("_now", "_stream")

    def __init__(self, stream: "BookStream", now: Callable[[], int]) -> None:
        self._stream = stream
        self._now = now

    @property
    def live(self) -> bool:
        """Is the book known to be right at this moment?"""
        return self._stream.book is not None

    @property
    def best_bid(self) -> Level[N] | None:
        """(price, size) of the highest bid; None when there is none."""
        return self._scaled(self._book().best_bid)

    @property
    def best_ask(self) -> Level[N] | None:
        """(price, size) of the lowest ask; None when there is none."""
        return self._scaled(self._book().best_ask)

    def top(self, depth: int) -> tuple[list[Level[N]], list[Level[N]]]:
        """The best `depth` (bids, asks), best first."""
        return self.bids(depth), self.asks(depth)

    def bids(self, depth: int | None = None) -> list[Level[N]]:
        """Bids, best first; all when `depth` is None."""
        return self._levels(self._book().bids.top(depth))

    def asks(self, depth: int | None = None) -> list[Level[N]]:
        """Asks, best first; all when `depth` is None."""
        return self._levels(self._book().asks.top(depth))

    def size_at(self, price: N) -> N | None:
        """The size at this price on either side; None when no one quotes it."""
        book = self._book()
        size = book.bids.sizes.get(price)
        if size is None:
            size = book.asks.sizes.get(price)
        scale = self._stream.scale
        return scale(size) if scale is not None and size is not None else size

    @property
    def seq(self) -> int | None:
        """The venue's number of the last change, if it numbers them."""
        return self._book().seq

    @property
    def age(self) -> float:
        """Seconds since the last change arrived here."""
        self._book()
        return max(0.0, (self._now() - self._stream.ts_book) / 1e9)

    def __repr__(self) -> str:
        name = f"{self._stream.instrument.exchange}:{self._stream.instrument.symbol}"
        return f"<LiveBook {name} {self.best_bid} / {self.best_ask}>" if self.live else f"<LiveBook {name} stale>"

    def _book(self) -> Book[Any]:
        book = self._stream.book
        if book is None:
            i = self._stream.instrument
            raise BookNotLive(f"the book of {i.exchange}:{i.symbol} is not known to be right now; wait for its next BookSnapshot")
        return book

    def _scaled(self, level: Level[N] | None) -> Level[N] | None:
        scale = self._stream.scale
        return (level[0], scale(level[1])) if scale is not None and level is not None else level

    def _levels(self, levels: list[Level[N]]) -> list[Level[N]]:
        return scale_levels(levels, self._stream.scale) if self._stream.scale is not None else levels
