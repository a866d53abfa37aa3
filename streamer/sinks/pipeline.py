"""Where every tick is that a sink has accepted: in hand, in flight, in the spool, confirmed or lost. No sink, retry or timer.

    mailboxes -> hand -> flight -> confirmed          the sink is up and keeps up
    mailboxes -> hand -> spool -> flight -> confirmed  it is down, or a mailbox is half full while it writes

The law, at every step: ``accepted == confirmed + in_flight + spooled + sum(lost.values())``. What was lost is told to whoever reads behind
the sink, by a `Gap` and for a book by `BookStale`; a book that lost ticks to the disk is then given a snapshot of the hub's own.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from streamer.sinks import Refused
from streamer.sinks.flight import Flight
from streamer.sinks.holes import Holes
from streamer.sinks.intake import Intake
from streamer.sinks.spool import Spool
from streamer.sinks.spool_disk import Appended
from streamer.types import BookDelta, Tick

log = logging.getLogger(__name__)


class Pipeline:
    """`load`, `settle`, `spill` and `save` move ticks, one of them at a time (`_order`), so that none overtakes another."""

    def __init__(self, name: str, spool: Spool | None, batch: int, bell: Callable[[], None], instruments: bool = True) -> None:
        self.name = name
        self.spool = spool
        self.intake = Intake(bell, instruments)
        self.flight = Flight()
        self.accepted = self.confirmed = 0
        self.lost: Counter[str] = Counter()
        self._batch = batch
        self._hand: list[Tick[Any]] = []  # accepted, and neither in flight nor in the spool
        self._ahead = Holes()  # to be told before the next tick out of the spool
        self._behind = Holes()  # to be told before the next tick out of the mailboxes
        self._order = asyncio.Lock()
        self._moved_at = 0.0
        self._newest = self._settled_to = 0

    @property
    def in_flight(self) -> int:
        """Ticks on their way, in memory."""
        return len(self.flight.ticks) + len(self._hand)

    @property
    def spooled(self) -> int:
        """Ticks on disk that are not in flight."""
        return self.spool.unread if self.spool is not None else 0

    @property
    def held(self) -> int:
        """Ticks accepted and not settled."""
        return self.in_flight + self.spooled

    @property
    def waiting(self) -> bool:
        """Is there anything to load?"""
        return bool(self.spooled or self._hand or self._behind or self._ahead or self.intake.waiting)

    @property
    def lag_s(self) -> float:
        """Seconds by which what is settled lies behind what was accepted, or since when nothing was settled; 0 when nothing waits."""
        if not self.held:
            return 0.0
        behind = (self._newest - self._settled_to) / 1e9 if self._settled_to else 0.0
        return max(behind, asyncio.get_running_loop().time() - self._moved_at)

    async def recover(self) -> None:
        """Take over what an earlier run left in the spool. Raises `UsageError` when that cannot be used."""
        if self.spool is None:
            return
        self._ahead.merge(await self.spool.open())
        self.accepted += self.spool.recovered + self.spool.corrupt
        self._count_lost(self.spool.corrupt, "spool_corrupt")
        self._moved_at = asyncio.get_running_loop().time()
        if self.spool.recovered:
            log.info("sink %s: %d ticks of an earlier run are in the spool", self.name, self.spool.recovered)

    async def load(self) -> bool:
        """Fill the empty flight with what is oldest: from the spool, in hand, from the mailboxes. False if there was nothing."""
        async with self._order:
            if self.spool is not None and self.spool.unread:
                got = await self.spool.take(self._batch)
                self._count_lost(got.lost, "spool_corrupt")
                self._ahead.merge(got.holes)
                self.flight.replay(self._tell(self._ahead) if got.ticks else [], got.ticks, got.base)
            else:
                self._hand = self._hand or self._accept()
                self.flight.put(self._hand[: self._batch])
                self._hand = self._hand[self._batch :]
        return bool(self.flight.ticks)

    async def settle(self, n: int, refused: Sequence[Refused] = ()) -> None:
        """The first `n` ticks in flight are safe, or refused for good."""
        async with self._order:  # they may be on their way to the spool just now
            ticks = self.flight.ticks
            n = max(0, min(n, len(ticks)))
            if not n:
                return
            bad = {r.index: r for r in refused if 0 <= r.index < n}
            self._settled_to = max(self._settled_to, ticks[n - 1].ts_recv)
            self._moved_at = asyncio.get_running_loop().time()
            number = self.flight.settle(n)
            self.confirmed += n - len(bad)
            for index, why in bad.items():
                tick = ticks[index]
                self._count_lost(1, why.reason)
                self._ahead.add([tick], "refused")
                if isinstance(tick, BookDelta):  # a snapshot may do; one that was refused would be refused again
                    self.intake.repair(tick.exchange, tick.symbol)
                log.warning("sink %s refused a tick of %s:%s: %s", self.name, tick.exchange, tick.symbol, why.detail or why.reason)
            if number is not None and self.spool is not None:
                await self.spool.confirm(number)

    def must_spill(self, up: bool, writing: bool) -> bool:
        """Does something belong on the disk now?"""
        if up:
            return writing and self.intake.crowded
        return bool(self.intake.waiting or self._hand or self.flight.unstored)

    async def spill(self) -> bool:
        """A batch to the disk, behind what is in flight. False when there is no room for it, and the policy is to wait."""
        spool = self.spool
        if spool is None:
            return False
        async with self._order:
            done = Appended(0)
            if self.flight.unstored:
                base = spool.next
                done = await self._append(self.flight.unstored, in_flight=True)
                self.flight.stow(base, done.stored)
            stuck = bool(self.flight.unstored)  # nothing newer may stand before it
            if spool.on_full == "block" and (stuck or (spool.full and not self._hand)):
                return False
            self._hand = self._hand or self._accept()
            if not stuck and self._hand:
                done = await self._append(self._hand)
                self._hand = self._hand[done.stored :]
            if self._hand and spool.on_full == "block" and done.reason != "too_large":
                return False
            self._give_up(done.reason)
        return True

    async def save(self, reason: str) -> None:
        """The end: what is not settled goes into the spool and the spool is closed. What cannot is lost, without a spool for `reason`."""
        async with self._order:
            while self.intake.waiting or self._behind:
                self._hand += self._accept()
            spool, flight = self.spool, self.flight
            rest = flight.unstored + self._hand
            if spool is None or not spool.is_open:
                self._hand, rest = [], flight.ticks + self._hand
                flight.put([])
                self._lose(rest, reason)
                return
            self._land()
            self._hand = rest
            while self._hand:
                done = await self._append(self._hand)
                self._hand = self._hand[done.stored :]
                self._give_up(done.reason)
            self._ahead.merge(self._behind)
            await spool.close(self._ahead)

    def _land(self) -> None:
        """What is in flight and in the spool is only in the spool; what gave way there meanwhile is lost. What is in flight and was of our
        own making, in front of what was spooled, will be made again."""
        spool, flight = self.spool, self.flight
        assert spool is not None  # noqa: S101  (for mypy)
        gone = min(flight.stored, max(0, spool.first - flight.base))
        spool.land(flight.stored - gone)
        self._count_lost(gone, "spool_full")
        self._ahead.restore(flight.ticks[: flight.told])
        self._ahead.add(flight.ticks[flight.told : flight.told + gone], "overflow")
        self.accepted -= flight.told
        flight.put([])

    def _accept(self) -> list[Tick[Any]]:
        """Take ticks over out of the mailboxes, behind what is to be told."""
        if not self.held:
            self._moved_at = asyncio.get_running_loop().time()
        told = self._tell(self._behind) if self.spooled or not self._ahead else self._tell(self._ahead) + self._tell(self._behind)
        taken = self.intake.take(self._batch)
        if taken:
            self._newest = max(self._newest, taken[-1].ts_recv)
        self.accepted += len(taken)
        return told + taken

    def _tell(self, holes: Holes) -> list[Tick[Any]]:
        for exchange, symbol in holes.broken_books():
            self.intake.repair(exchange, symbol)
        ticks = holes.take()
        self.accepted += len(ticks)
        return ticks

    async def _append(self, ticks: list[Tick[Any]], *, in_flight: bool = False) -> Appended:
        assert self.spool is not None  # noqa: S101  (for mypy)
        done = await self.spool.append(ticks, in_flight=in_flight)
        self._count_lost(done.dropped, "spool_full")
        self._ahead.merge(done.holes)
        return done

    def _give_up(self, reason: str) -> None:
        """What the spool did not take out of the hand is lost: of what is too large that tick, else all."""
        if self._hand and reason:
            n = 1 if reason == "too_large" else len(self._hand)
            lost, self._hand = self._hand[:n], self._hand[n:]
            self._lose(lost, reason)

    def _lose(self, ticks: list[Tick[Any]], reason: str) -> None:
        self._count_lost(len(ticks), reason)
        self._behind.add(ticks, "disk" if reason == "spool_error" else "overflow")

    def _count_lost(self, n: int, reason: str) -> None:
        if n:
            self.lost[reason] += n
