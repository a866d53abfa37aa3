"""A generated market: one instrument's true book and what goes with it.

Each step makes some numbered changes to the book, now and then by a trade that takes liquidity. What happened leaves as ticks: exact
Decimals in the venue's units, whose `ts_recv` is the market's own time. All is decided by the seed and the number of steps; the time
is handed in and only written on what happens. Update numbers and trade ids begin at the time of creation in ms, so that a market that
is started anew goes on above the numbers that clients have seen.
"""

from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any, Literal

from streamer.sim.bars import Bar
from streamer.sim.ladder import Ladder
from streamer.sim.listed import Listed
from streamer.sim.states import States
from streamer.types import BookDelta, BookSnapshot, Candle, Kind, Level, Liquidation, Quote, Side, Tick, Trade

MS, SECOND = 1_000_000, 1_000_000_000
WARM_UP = 60
"""Steps made before anyone looks."""
REMEMBERED = 20_000
"""Steps that `Market.book` can look back, unless said otherwise."""
LIQUIDATES = 50
"""Steps from one liquidation to the next."""
D = Decimal


class Market:
    """One instrument. `seq` is the number of its last book change, `trades` its last 200, oldest first."""

    def __init__(self, listed: Listed, seed: object, now: int, depth: int | None = None, remembered: int = REMEMBERED) -> None:
        self.instrument = inst = listed.instrument
        self.random = rng = Random(f"{seed}/{inst.exchange}/{inst.symbol}")
        self.price_step, self.size_step = inst.price_step or D("0.01"), inst.size_step or D(1)
        self.depth = depth or rng.choice((40, 100, 200, 400))
        self.bids, self.asks = Ladder(), Ladder()
        self.seq = self.trade_id = now // MS
        self.trades: deque[Trade[D]] = deque(maxlen=200)
        self.bars: dict[str, Bar] = {}
        self._ticks = max(int(listed.price / self.price_step), self.depth * 2)
        self._gap = max(1, self._ticks // 50_000)
        self._lot = max(1, int(listed.size / self.size_step))
        self._undo: deque[tuple[int, list[tuple[Ladder, int, int]]]] = deque(maxlen=remembered)
        self._changes: list[tuple[Ladder, int, int]] = []
        self._told = now
        self._steps = 0
        self.last = self.price(self._ticks)
        self.opened = self.last * D(rng.randint(9700, 10300)) // 10000 // self.price_step * self.price_step
        self.high, self.low = max(self.last, self.opened), min(self.last, self.opened)
        self.volume = self.size(self._lot * rng.randint(20_000, 90_000))
        self.quote_volume = self.value(self.last, self.volume)
        self._states = States(self, self._lot)
        for ladder, key in ((self.bids, -self._ticks), (self.asks, self._ticks + 1)):
            self._set(ladder, key, self._some())
        self._tend()
        self._changes = []
        for _ in range(WARM_UP):
            self.step(now)

    # what there is to see

    def price(self, ticks: int) -> D:
        """A price in quote from whole ticks (or a ladder's key)."""
        return abs(ticks) * self.price_step

    def size(self, steps: int) -> D:
        """A size in the venue's unit from whole steps."""
        return steps * self.size_step

    def near(self, price: D) -> D:
        """The nearest price that an order can have."""
        return round(price / self.price_step) * self.price_step

    def value(self, price: D, size: D) -> D:
        """What a size is worth at a price, in quote; of contracts that are worth a fixed sum, that sum."""
        contract = self.instrument.contract_size or D(1)
        return size * contract if self.instrument.size_unit == "contracts" else size * contract * price

    def levels(self, ladder: Ladder, depth: int | None = None) -> list[Level[D]]:
        """The best `depth` levels of a side, best first."""
        return [(self.price(k), self.size(ladder.sizes[k])) for k in ladder.keys[:depth]]

    def quote(self, at: tuple[str, str, int, int]) -> Quote[D]:
        """The best bid and offer, told as of `at`."""
        (bid, bid_size), (ask, ask_size) = (self.levels(ladder, 1)[0] for ladder in (self.bids, self.asks))
        return Quote(*at, bid, bid_size, ask, ask_size)

    def book(self, seq: int | None = None) -> tuple[list[Level[D]], list[Level[D]]]:
        """The true (bids, asks), now or as they were after change number `seq`. Raises LookupError for what is too long ago, or was
        never a state that clients saw."""
        if seq is None or seq == self.seq:
            return self.levels(self.bids), self.levels(self.asks)
        twins = {self.bids: self.bids.copy(), self.asks: self.asks.copy()}
        for before, changes in reversed(self._undo):
            for ladder, key, old in reversed(changes):
                twins[ladder].set(key, old)
            if before <= seq:
                if before == seq:
                    return self.levels(twins[self.bids]), self.levels(twins[self.asks])
                break
        raise LookupError(f"{self.instrument.symbol} keeps no book at {seq}")

    def now(self, kind: Kind, ts: int, interval: str = "") -> Any:
        """The tick that tells the present state of a kind; of trades the last one. None where this instrument has no such kind."""
        ts -= ts % MS
        at = self._at(ts)
        if kind == "book":
            return BookSnapshot(*at, *self.book(), self.seq)
        if kind == "quote":
            return self.quote(at)
        if kind == "candle":
            bar = self.bars.get(interval)
            if bar is None:
                bar = self.bars[interval] = Bar(interval, ts, self.last)
            return self._candle(bar, at, closed=False)
        if kind == "trade":
            return self.trades[-1]
        return self._states.now(kind, at) if kind in self._states.kinds else None

    # what happens

    def step(self, ts: int) -> list[Tick[D]]:
        """Make one step at `ts` (ns) and say what happened: closed candles, trades, the book's delta, the quote if it changed, a
        liquidation every so many steps, and once a second the states."""
        ts -= ts % MS
        at, rng, before, best = self._at(ts), self.random, self.seq, self.quote(self._at(0))
        out: list[Tick[D]] = list(self._roll(at, ts))
        self._changes = []
        if rng.random() < 0.4:
            out += self._take(at)
        for _ in range(rng.randint(1, 4)):
            self._requote()
        self._tend()
        self._undo.append((before, self._changes))
        if self._changes:
            out.append(self._delta(at, before))
        if self.quote(self._at(0)) != best:
            out.append(self.quote(at))
        self._steps += 1
        if self.instrument.kind != "spot" and self._steps % LIQUIDATES == 0:
            out.append(self._liquidate(at))
        if ts - self._told >= SECOND:
            self._told = ts
            out += [self._states.now(kind, at) for kind in self._states.kinds]
            out += [self._candle(bar, at, closed=False) for bar in self.bars.values()]
        return out

    def _at(self, ts: int) -> tuple[str, str, int, int]:
        return self.instrument.exchange, self.instrument.symbol, ts, ts

    def _some(self) -> int:
        return max(1, int(self._lot * self.random.lognormvariate(0, 1)))

    def _set(self, ladder: Ladder, key: int, size: int) -> None:
        self._changes.append((ladder, key, ladder.set(key, size)))
        self.seq += 1

    def _take(self, at: tuple[str, str, int, int]) -> Iterator[Trade[D]]:
        """An order that takes from the best levels, as far as its size goes, but never all there is."""
        side: Side = self.random.choice(("buy", "sell"))
        if self._cheap():
            side = "buy"
        ladder, left = (self.asks if side == "buy" else self.bids), self._some()
        for key in ladder.keys[: min(3, len(ladder.keys) - 1)]:
            taken = min(left, ladder.sizes[key])
            self._set(ladder, key, ladder.sizes[key] - taken)
            yield self._trade(at, side, self.price(key), self.size(taken))
            left -= taken
            if not left:
                return

    def _trade(self, at: tuple[str, str, int, int], side: Side, price: D, size: D) -> Trade[D]:
        self.trade_id += 1
        value = self.value(price, size)
        self.last, self.high, self.low = price, max(self.high, price), min(self.low, price)
        self.volume += size
        self.quote_volume += value
        for bar in self.bars.values():
            bar.add(price, size, value)
        trade = Trade(*at, price, size, side, str(self.trade_id))
        self.trades.append(trade)
        return trade

    def _requote(self) -> None:
        """Somebody places, changes or takes away an order, mostly near the best price."""
        rng = self.random
        ladder = rng.choice((self.bids, self.asks))
        if ladder is self.bids and self._cheap():
            ladder = self.asks  # bids only come, until the price has risen
        near = min(int(rng.expovariate(0.2)), len(ladder.keys) - 1)
        act = rng.random()
        if act < 0.45:
            self._set(ladder, ladder.keys[near], self._some())
        elif act < 0.7 and len(ladder.keys) > 5:
            self._set(ladder, ladder.keys[near], 0)
        else:
            room = self._spread() - 1
            if ladder is self.asks and self._cheap():
                ladder = self.bids
            inside = room > 0 and (room > 4 * self._gap or rng.random() < 0.3)
            step = -rng.randint(1, min(room, 4 * self._gap)) if inside else rng.randint(0, 20 * self._gap)
            self._place(ladder, ladder.keys[0] + step)

    def _cheap(self) -> bool:
        """So near to nothing that there would soon be no room for bids. The asks that go and the buyers then drive the price up."""
        return -self.bids.keys[0] < self.depth

    def _spread(self) -> int:
        """In ticks; the keys of bids are negative prices."""
        return self.asks.keys[0] + self.bids.keys[0]

    def _place(self, ladder: Ladder, key: int) -> bool:
        if ladder is self.bids and key >= 0:
            return False  # no bid at nothing
        self._set(ladder, key, self._some())
        return True

    def _tend(self) -> None:
        """Far orders come and go with the price, so that the book keeps about its depth."""
        for ladder in (self.bids, self.asks):
            while len(ladder.keys) < self.depth * 9 // 10:
                if not self._place(ladder, ladder.keys[-1] + self.random.randint(1, 2 * self._gap)):
                    break
            while len(ladder.keys) > self.depth:
                self._set(ladder, ladder.keys[-1], 0)

    # how it is told

    def _delta(self, at: tuple[str, str, int, int], before: int) -> BookDelta[D]:
        touched = {self.bids: dict[int, None](), self.asks: dict[int, None]()}
        for ladder, key, _ in self._changes:
            touched[ladder][key] = None
        bids, asks = ([(self.price(k), self.size(ladder.sizes.get(k, 0))) for k in keys] for ladder, keys in touched.items())
        return BookDelta(*at, bids, asks, before + 1, self.seq, before)

    def _roll(self, at: tuple[str, str, int, int], ts: int) -> Iterator[Candle[D]]:
        for bar in self.bars.values():
            if ts >= bar.closes:
                yield self._candle(bar, at, closed=True)
                bar.begin(ts, self.last)

    def _candle(self, b: Bar, at: tuple[str, str, int, int], closed: bool) -> Candle[D]:
        volumes = b.volume, b.quote_volume, b.trades
        return Candle(*at, b.interval, b.opened, b.open, b.high, b.low, b.close, *volumes, closed)

    def _liquidate(self, at: tuple[str, str, int, int]) -> Liquidation[D]:
        side: Literal["buy", "sell"] = self.random.choice(("buy", "sell"))
        price = self.near(self.last * (99 if side == "sell" else 101) / 100)
        return Liquidation(*at, side, price, self.size(self._some()))
