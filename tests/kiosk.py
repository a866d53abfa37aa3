"""A made-up venue that is only polled, for the scripted world and for recordings: `Kiosk`."""

from typing import Any

from streamer.spec import Feed, FullRefresh, Instruments, Limits, Page, Poll, on
from streamer.types import BookSnapshot, Instrument, MarkPrice, Ticker, Trade
from tests.venues import Listing

SIZE = 5
"""Trades on a page."""


def instruments(names: list[str], ctx: Any) -> list[Instrument]:
    return [Instrument(ctx.exchange, f"{n[0]}/{n[1]}", None, ctx.ts_recv, n, n[0], n[1]) for n in names]


def latest(rows: dict[str, float], ctx: Any, instrument: Any) -> Any:
    assert instrument is None, "one url for all"
    ats = [((ctx.exchange, ctx.sym[name].symbol, None, ctx.ts_recv), last) for name, last in rows.items()]
    return [tick for at, last in ats for tick in (Ticker(*at, last), MarkPrice(*at, last + 1))]


def trades(times: list[int], ctx: Any, instrument: Any) -> Any:
    if -1 in times:
        raise RuntimeError("a fault of our own")
    return Page(instrument.symbol, [Trade(ctx.exchange, instrument.symbol, t, ctx.ts_recv, 1.0, 1.0, None) for t in times])


def book(sides: tuple[list[tuple[float, float]], list[tuple[float, float]]], ctx: Any, instrument: Any) -> Any:
    return BookSnapshot(ctx.exchange, instrument.symbol, None, ctx.ts_recv, *sides)


LATEST = Poll(5.0, "https://kiosk.test/latest", on(dict[str, float], latest))
TOPICS: Any = {
    ("shop", "ticker"): LATEST,
    ("shop", "mark"): LATEST,
    ("shop", "trade"): Poll(2.0, "https://kiosk.test/trades/{id}", on(list[int], trades)),
    ("shop", "book"): Poll(2.0, "https://kiosk.test/book/{id}", on(tuple[list[tuple[float, float]], list[tuple[float, float]]], book)),
}


class Kiosk(Listing):
    """A venue that only answers questions: the last trades, the book, and the prices of all in one."""

    hosts = ("kiosk.test",)

    def __init__(self, *names: str, limits: Limits = Limits(rest=(100, 1.0)), topics: Any = TOPICS) -> None:  # noqa: B008
        super().__init__(*(names or ("AB", "CB")))
        self.feed = Feed(
            name="kiosk",
            endpoints={"shop": "https://kiosk.test"},
            instruments=Instruments(["https://kiosk.test/list"], on(list[str], instruments)),
            topics=topics,
            book={"shop": FullRefresh()},
            limits=limits,
        )
        self.sold = {name: list(range(1, 4)) for name in self.markets}

    def rest(self, path: str) -> Any:
        _, what, *names = path.split("/")
        if what == "list":
            return self.listed
        if what == "latest":
            return {name: float(self.markets[name].seq) for name in self.markets}
        return self.book(names[0]) if what == "book" else self.sold[names[0]][-SIZE:]

    def sell(self, name: str, n: int = 1) -> None:
        """So many trades happen."""
        for _ in range(n):
            self.sold[name].append(self.sold[name][-1] + 1)
