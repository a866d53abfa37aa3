"""A sink in memory with a will of its own, subscriptions to feed it from, and a reader behind it that believes what it is told.

shelf = Shelf(); shelf.down("gone")          every write fails until shelf.mend()
shelf.after = 3                              the next write takes three ticks, then fails
shelf.hold = True                            a write hangs until it is cancelled or shelf.release() is called
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from streamer.mailbox import Mailbox, Policy
from streamer.policies import mailbox
from streamer.sinks import Refused, SinkDown
from streamer.sinks.stats import SinkStats
from streamer.subscription import Subscription
from streamer.types import BookDelta, BookSnapshot, BookStale, Gap, Trade
from tests.hubs import Desk, levels, market


class Shelf:
    """A `Sink`. `ticks` are those that are safe; `calls` what was asked of it."""

    name = "shelf"

    def __init__(self) -> None:
        self.ticks: list[Any] = []
        self.calls: list[str] = []
        self.opening: list[BaseException] = []  # what the next calls of open raise
        self.after: int | None = None
        self.refuse: Any = lambda tick: False
        self.hold = False
        self.stubborn = False
        self.reopen = False
        self.takes_s = 0.0
        self._error: Exception | None = None
        self._release = asyncio.Event()

    def down(self, reason: str = "gone") -> None:
        self._error = SinkDown(f"the shelf is {reason}", reason)

    def breaks(self, error: Exception) -> None:
        self._error = error

    def mend(self) -> None:
        self._error = None

    def release(self) -> None:
        self.hold = False
        self._release.set()

    async def open(self) -> None:
        self.calls.append("open")
        if self.opening:
            raise self.opening.pop(0)

    async def write(self, ticks: Sequence[Any]) -> Sequence[Refused]:
        self.calls.append("write")
        await asyncio.sleep(self.takes_s)
        if self.hold:
            self._release.clear()
            await self._hang()
        if self._error is not None:
            raise self._error
        if self.after is not None:
            n, self.after = min(self.after, len(ticks)), None
            taken, refused = self._take(ticks[:n])
            raise SinkDown("the shelf broke", "broke", taken, refused, reopen=self.reopen)
        return self._take(ticks)[1]

    async def close(self, timeout: float) -> None:
        self.calls.append("close")

    def _take(self, ticks: Sequence[Any]) -> tuple[int, list[Refused]]:
        bad = [n for n, tick in enumerate(ticks) if self.refuse(tick)]
        self.ticks += [tick for n, tick in enumerate(ticks) if n not in bad]
        return len(ticks), [Refused(n, "too_dear") for n in bad]

    async def _hang(self) -> None:
        while True:
            try:
                await self._release.wait()
            except asyncio.CancelledError:
                if not self.stubborn:
                    raise
            else:
                return


class Market(Desk):
    """Two markets in a hub, and subscriptions to all of their trades and books."""

    def __init__(self) -> None:
        super().__init__(market("A/B"), market("C/D"))
        self.released: list[Mailbox] = []
        for symbol in self.listed:
            self.snapshot(symbol)

    def add(self, box: Mailbox, streams: Sequence[str]) -> None:
        for name in streams:
            symbol, _, kind = name.partition(" ")
            self.stream(symbol, kind).attach(box, None)

    def remove(self, box: Mailbox, streams: Sequence[str]) -> None:
        raise NotImplementedError

    def release(self, box: Mailbox) -> None:
        self.released.append(box)
        self.hub.detach(box)

    def subscribe(self, *streams: str, policy: Policy = "drop_oldest", **bounds: int) -> Subscription:
        box = mailbox(policy, **bounds)
        box.repair = lambda key: self.book(key[1]).own_snapshot(None)
        sub = Subscription(box, self, "mine")
        self.add(box, streams or [f"{s} {kind}" for s in self.listed for kind in ("trade", "book")])
        return sub

    def trades(self, n: int, symbol: str = "A/B") -> None:
        for _ in range(n):
            self.trade(symbol)


class Believer:
    """Reads what came out of a sink, and is convinced that nothing is missing but what it was told of. What came twice (at least once is
    the promise) is known by its number."""

    def __init__(self, desk: Market) -> None:
        self.desk = desk
        self.last: Counter[str] = Counter()
        self.told: Counter[tuple[str, str]] = Counter()
        self.seen: set[Any] = set()
        self.books: dict[str, dict[str, dict[float, float]] | None] = {}
        self.twice = 0

    def read(self, ticks: Sequence[Any]) -> None:
        for tick in ticks:
            if isinstance(tick, Gap):
                assert tick.cause in ("overflow", "disk", "refused")
                count = tick.count if tick.count is not None else 10**6
                self.told[tick.symbol, tick.channel] += count if tick.cause != "refused" else 0
            elif isinstance(tick, Trade):
                self._trade(tick)
            else:
                self._book(tick)

    def forgive(self, tick: Any) -> None:
        """This one was refused: that is told later."""
        if isinstance(tick, Trade):
            self.told[tick.symbol, "trade"] += 1
        else:
            self.books[tick.symbol] = None

    def _trade(self, tick: Any) -> None:
        number = int(tick.id)
        if number in self.seen and number <= self.last[tick.symbol]:
            self.twice += 1
            return
        missing = number - self.last[tick.symbol] - 1
        assert missing >= 0, "in order"
        assert missing <= self.told[tick.symbol, "trade"], f"{missing} trades are missing before {number} and nobody said so"
        self.told[tick.symbol, "trade"] -= missing
        self.last[tick.symbol] = number
        self.seen.add(number)

    def _book(self, tick: Any) -> None:
        if isinstance(tick, BookStale):
            self.books[tick.symbol] = None
        elif isinstance(tick, BookSnapshot):
            self.books[tick.symbol] = {"bids": dict(tick.bids), "asks": dict(tick.asks), "seq": {0.0: tick.seq or 0}}
        elif isinstance(tick, BookDelta):
            book = self.books.get(tick.symbol)
            if book is None:
                return  # it was told not to trust this book
            assert tick.prev == book["seq"][0.0], "a hole in a book that was to be trusted"
            book["seq"][0.0] = tick.last or 0
            for side in ("bids", "asks"):
                book[side].update(getattr(tick, side))
                for price, size in getattr(tick, side):
                    if not size:
                        book[side].pop(price, None)

    def knows_the_books(self) -> None:
        """Each of them is as the hub has it."""
        for symbol in self.desk.listed:
            book = self.books.get(symbol)
            assert book is not None, f"the book of {symbol} was lost for good"
            ours = sorted(book["bids"].items(), reverse=True), sorted(book["asks"].items())
            assert ours == levels(self.desk.book(symbol).own_snapshot(None))


def law(x: Any) -> bool:
    """Accounting, of a `SinkStats` or a `Pipeline`."""
    lost = sum(x.lost.values())
    assert x.accepted == x.confirmed + x.in_flight + x.spooled + lost, x if isinstance(x, SinkStats) else vars(x)
    return True
