"""What connections have subscribed to: one of the venue's topics, told once for all of them."""

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from streamer.sim.market import Market
from streamer.sim.venue import Channel
from streamer.types import Instrument, Kind

if TYPE_CHECKING:
    from streamer.sim.connection import Connection
    from streamer.sim.exchange import Exchange


class Topic:
    """`key` is the venue's own text. `instruments`: one, or all that the topic is about. `interval` (ccxt's) and `depth` where they matter.
    `mem` is free for the channel's functions. `spoiled`: the next checksum shall be wrong."""

    __slots__ = ("channel", "depth", "exchange", "instruments", "interval", "key", "mem", "path", "spoiled", "subscribers")

    def __init__(
        self, exchange: "Exchange", path: str, key: str, channel: Channel, about: Sequence[Instrument], *, interval: str, depth: int | None
    ) -> None:  # fmt: skip
        self.exchange = exchange
        self.path = path
        self.key = key
        self.channel = channel
        self.instruments = about
        self.interval = interval
        self.depth = depth
        self.mem: dict[Any, Any] = {}
        self.spoiled = False
        self.subscribers: dict[Connection, None] = {}

    @property
    def instrument(self) -> Instrument:
        """The one that the topic is about."""
        return self.instruments[0]

    @property
    def market(self) -> Market:
        """Its market."""
        return self.exchange.market(self.instrument)

    def now(self, kind: Kind, instrument: Instrument | None = None) -> Any:
        """The tick that tells the present state of a kind, None where there is none."""
        return self.exchange.market(instrument or self.instrument).now(kind, self.exchange.now(), self.interval)

    def crc32(self, text: str, signed: bool = False) -> int:
        """The checksum that a venue puts on a book, of the text that its documents say. On purpose not `streamer.checksum`."""
        crc = zlib.crc32(text.encode()) ^ self.spoiled
        return crc - (1 << 32) if signed and crc >= 1 << 31 else crc
