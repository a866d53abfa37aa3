"""An asyncio real-time market data streamer: 99 exchanges, true order books, one form of tick.

Names are imported on first use, so that ``import streamer`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamer.errors import (
        BookNotLive as BookNotLive,
    )
    from streamer.errors import (
        IoFailure as IoFailure,
    )
    from streamer.errors import (
        NotReady as NotReady,
    )
    from streamer.errors import (
        SlowConsumer as SlowConsumer,
    )
    from streamer.errors import (
        StreamerError as StreamerError,
    )
    from streamer.errors import (
        UnknownExchange as UnknownExchange,
    )
    from streamer.errors import (
        UnknownSymbol as UnknownSymbol,
    )
    from streamer.errors import (
        UnsupportedKind as UnsupportedKind,
    )
    from streamer.errors import (
        UsageError as UsageError,
    )
    from streamer.ledger import Entry as Entry
    from streamer.ledger import Ledger as Ledger
    from streamer.streamer import Streamer as Streamer
    from streamer.streamer import ticks as ticks
    from streamer.subscription import Subscription as Subscription
    from streamer.types import (
        AnyTick as AnyTick,
    )
    from streamer.types import (
        BookDelta as BookDelta,
    )
    from streamer.types import (
        BookSnapshot as BookSnapshot,
    )
    from streamer.types import (
        BookStale as BookStale,
    )
    from streamer.types import (
        Candle as Candle,
    )
    from streamer.types import (
        Funding as Funding,
    )
    from streamer.types import (
        Gap as Gap,
    )
    from streamer.types import (
        Greeks as Greeks,
    )
    from streamer.types import (
        IndexPrice as IndexPrice,
    )
    from streamer.types import (
        Instrument as Instrument,
    )
    from streamer.types import (
        Kind as Kind,
    )
    from streamer.types import (
        Liquidation as Liquidation,
    )
    from streamer.types import (
        MarkPrice as MarkPrice,
    )
    from streamer.types import (
        OpenInterest as OpenInterest,
    )
    from streamer.types import (
        Quote as Quote,
    )
    from streamer.types import (
        Status as Status,
    )
    from streamer.types import (
        Tick as Tick,
    )
    from streamer.types import (
        Ticker as Ticker,
    )
    from streamer.types import (
        Trade as Trade,
    )
    from streamer.views import LiveBook as LiveBook

_WHERE = {
    "streamer": ("Streamer", "ticks"),
    "subscription": ("Subscription",),
    "views": ("LiveBook",),
    "ledger": ("Entry", "Ledger"),
    "errors": (
        "BookNotLive", "IoFailure", "NotReady", "SlowConsumer", "StreamerError", "UnknownExchange", "UnknownSymbol", "UnsupportedKind",
        "UsageError",
    ),
    "types": (
        "AnyTick", "BookDelta", "BookSnapshot", "BookStale", "Candle", "Funding", "Gap", "Greeks", "IndexPrice", "Instrument", "Kind",
        "Liquidation", "MarkPrice", "OpenInterest", "Quote", "Status", "Tick", "Ticker", "Trade",
    ),
}  # fmt: skip
_MODULE = {name: module for module, names in _WHERE.items() for name in names}
__all__ = sorted(_MODULE)


def __getattr__(name: str) -> Any:
    module = _MODULE.get(name)
    if module is None:
        raise AttributeError(f"module 'streamer' has no attribute {name!r}")
    return getattr(import_module(f"streamer.{module}"), name)
