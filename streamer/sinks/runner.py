"""One sink at work. Everything about it that is not the writing itself.

    runner = SinkRunner(sink, subscription, spool=Spool(path, max_bytes=...))     # or attach() subscriptions later
    runner.start()
    ...
    runner.attach(another); runner.detach(one)                                    # a reload touches only these
    await runner.drain(timeout=10)        # takes what is in the mailboxes, writes it, spools the rest, closes sink and spool

One batch is on its way at a time, and is tried again until it is settled, so the order holds. While the sink is down, or so slow that a
mailbox is half full, everything goes to the spool, and out of it in front of what comes live. Without a spool the mailboxes fill, and their
policies decide. Where each tick is, and the law of their numbers: `streamer.sinks.pipeline`.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from streamer.errors import UsageError
from streamer.gates import backoff
from streamer.sinks import Sink, SinkDown, SinkGone
from streamer.sinks.calls import Calls, Cut
from streamer.sinks.pipeline import Pipeline
from streamer.sinks.spool import Spool
from streamer.sinks.stats import SinkStats, State
from streamer.subscription import Subscription

log = logging.getLogger(__name__)

LINGER_S: Final = 0.005
POLL_S: Final = 0.02
"""How often the mailboxes are looked at while the sink writes."""
BLOCKED_S: Final = 0.5
"""After which a spool that had no room is asked again."""
BEHIND_S: Final = 10.0
"""A sink that lags further is not ready."""
LONGEST_WAIT_S: Final = 30.0
RESERVE_S: Final = 2.0
"""Of the time for a drain, for spooling the rest and closing (a quarter, if that is less)."""


class SinkRunner:
    """Runs one sink. Belongs to the running loop."""

    def __init__(
        self, sink: Sink, *subscriptions: Subscription, spool: Spool | None = None, batch: int = 10_000, linger: float | None = None
    ) -> None:
        """`batch`: most ticks in one write. `linger`: seconds to gather ticks for a batch (None: the sink's own `linger`, or 5 ms)."""
        if batch < 1:
            raise UsageError(f"batches of {batch} ticks would never end; batch must be at least 1")
        self.name = sink.name
        self.state: State = "new"
        self.reason = ""
        self.failure: Exception | None = None
        """Why it ended by itself: a `UsageError` of open, `SinkGone`, or a fault of ours; None otherwise."""
        self.writes = 0
        self.errors: Counter[str] = Counter()
        self._sink = sink
        self._spool = spool
        self._linger: float = linger if linger is not None else getattr(sink, "linger", LINGER_S)
        self._pipeline = Pipeline(sink.name, spool, batch, self._ring)
        self._call = Calls()
        self._news, self._spill_news, self._settled, self._end = (asyncio.Event() for _ in range(4))
        self._writing = self._opened = self._draining = False
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        for subscription in subscriptions:
            self.attach(subscription)

    @property
    def ready(self) -> bool:
        """Is it up, and does it keep up?"""
        return self.state == "up" and self._pipeline.lag_s < BEHIND_S

    def stats(self) -> SinkStats:
        """All its numbers, as of now."""
        p, spool = self._pipeline, self._spool
        return SinkStats(
            self.name, self.state, self.reason, p.accepted, p.confirmed, p.in_flight, p.spooled, dict(p.lost), p.intake.dropped,
            self.writes, dict(self.errors), p.lag_s, *((spool.bytes, spool.errors, spool.corrupt) if spool else ()),
        )  # fmt: skip

    def attach(self, subscription: Subscription) -> None:
        """Write this subscription's ticks too. Nobody else may read it."""
        if self._draining or self.state in ("failed", "closed"):
            raise UsageError(f"sink {self.name} has ended; make another runner for subscription {subscription.name!r}")
        self._pipeline.intake.attach(subscription)

    def detach(self, subscription: Subscription) -> None:
        """Take what it still holds, and close it."""
        self._pipeline.intake.detach(subscription)

    def start(self) -> None:
        """Begin: recovers the spool, opens the sink, and goes on until `drain`."""
        if self._task is not None:
            raise RuntimeError(f"sink {self.name} was started before")
        self.state = "opening"
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"sink {self.name}")

    async def ended(self) -> None:
        """Wait until it failed, or until every subscription has ended and all that they gave is settled."""
        p = self._pipeline
        while self.state not in ("failed", "closed"):
            self._settled.clear()
            p.intake.sleep()
            if not (p.intake.attached or p.waiting or p.held):
                return
            await self._settled.wait()

    async def drain(self, timeout: float) -> SinkStats:
        """The end, within `timeout` seconds: take what the mailboxes hold and close the subscriptions, write all, put into the spool what
        could not be written (without a spool it is lost, counted as `shutdown`), close sink and spool. A second call with less time
        hurries the first. With a spool and the sink down it does not wait. However little time there is, the disk gets a second."""
        if self._task is None:
            self.start()
        loop, timeout = asyncio.get_running_loop(), max(0.0, timeout)
        self._stop_taking()
        end = loop.time() + timeout
        if self._deadline is None or end < self._deadline:
            self._deadline = end
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(end - min(RESERVE_S, timeout / 4), self._call.cut)
        self._ring()
        task = self._task
        assert task is not None  # noqa: S101  (for mypy)
        await asyncio.wait({task}, timeout=max(0.0, self._deadline - loop.time()) + 1.0)
        if not task.done():
            log.error("sink %s could not be closed in time; %d ticks were in flight", self.name, self._pipeline.in_flight)
            task.cancel()
        return self.stats()

    # the whole life

    async def _run(self) -> None:
        spilling: asyncio.Task[None] | None = None
        try:
            await self._pipeline.recover()
            if self._spool is not None:
                spilling = asyncio.get_running_loop().create_task(self._spill_all(), name=f"spool of {self.name}")
                spilling.add_done_callback(self._spilled)
            await self._write_all()
        except Cut:
            pass
        except UsageError as e:
            self._fail(e)
        except Exception as e:
            log.exception("sink %s ended by a fault of ours", self.name)
            self._fail(e)
        finally:
            await self._finish(spilling)

    async def _finish(self, spilling: "asyncio.Task[None] | None") -> None:
        """Spool what is left, close the sink."""
        self._stop_taking()
        if spilling is not None:
            self._spill_news.set()
            await asyncio.wait({spilling})
        await self._pipeline.save("shutdown" if self.failure is None else "failed")
        if self._opened:
            await self._close(max(0.5, self._deadline - asyncio.get_running_loop().time()) if self._deadline is not None else 5.0)
        if self._timer is not None:
            self._timer.cancel()
        if self.state != "failed":
            self.state = "closed"
        self._settled.set()

    def _stop_taking(self) -> None:
        self._draining = True
        self._end.set()
        self._pipeline.intake.detach_all()

    # to the sink

    async def _write_all(self) -> None:
        delays = _delays()
        while not (self._draining and self._spool is not None and self.state == "down"):
            try:
                await self._open()
                if not await self._load():
                    return
                await self._write()
                delays = _delays()
            except SinkGone as e:
                self._fail(e)
                return
            except SinkDown as e:
                await self._pipeline.settle(e.confirmed, e.refused)
                await self._down(e, next(delays))
            except (Cut, UsageError):
                raise
            except Exception as e:
                if self.state != "down":
                    log.exception("sink %s: a fault of its own", self.name)
                await self._down(SinkDown(f"a fault of this sink: {e!r}", "fault"), next(delays))

    async def _open(self) -> None:
        if not self._opened:
            await self._call(self._sink.open())
            self._opened = True
            self._up()

    async def _load(self) -> bool:
        """See to it that a batch is in flight. False: it is the end, and nothing is left."""
        p = self._pipeline
        while not p.flight.ticks:
            self._news.clear()
            if not p.waiting:
                if self._draining:
                    return False
                self._settled.set()
                p.intake.sleep()
                await self._news.wait()
            if not (self._draining or p.held or p.intake.crowded):
                await self._pause(self._linger)
            if self._call.over:
                raise Cut
            await p.load()
        return True

    async def _write(self) -> None:
        ticks = self._pipeline.flight.ticks
        self._writing = True
        self._spill_news.set()
        try:
            refused = await self._call(self._sink.write(ticks))
        finally:
            self._writing = False
        self.writes += 1
        await self._pipeline.settle(len(ticks), refused)
        self._up()
        self._spill_news.set()

    def _up(self) -> None:
        if self.state == "down":
            log.info("sink %s is up again", self.name)
        self.state = "up"
        self.reason = ""

    async def _down(self, error: SinkDown, delay: float) -> None:
        self.errors[error.reason] += 1
        if self.state != "down":
            log.warning("sink %s is down: %s", self.name, error)
        self.state = "down"
        self.reason = str(error)
        self._spill_news.set()
        if error.reopen and self._opened:
            self._opened = False
            await self._close(5.0)
        if not (self._draining and self._spool is not None):
            await self._pause(min(delay, BLOCKED_S) if self._draining else delay)

    async def _pause(self, seconds: float) -> None:
        """Sleep; the end ends it."""
        if self._draining:
            await self._call.pause(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._end.wait()

    async def _close(self, timeout: float) -> None:
        try:
            await self._call(self._sink.close(timeout), timeout + 0.5)
        except Exception as e:  # noqa: BLE001  (somebody else's sink may raise anything)
            log.warning("sink %s: closing it failed: %s", self.name, e)

    def _fail(self, error: Exception) -> None:
        log.error("sink %s has failed: %s", self.name, error)
        self.state = "failed"
        self.reason = str(error)
        self.failure = error

    # to the spool

    async def _spill_all(self) -> None:
        p = self._pipeline
        while not self._draining:
            self._spill_news.clear()
            wait: float | None = None
            if p.must_spill(self.state == "up", self._writing):
                if await p.spill():
                    continue
                wait = BLOCKED_S
            else:
                p.intake.sleep()
                if self._writing and p.intake.waiting:
                    wait = POLL_S
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._spill_news.wait()

    def _spilled(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            log.error("sink %s ended by a fault of its spool", self.name, exc_info=error)
            self._fail(error)
            self._call.cut()
            self._ring()

    def _ring(self) -> None:
        self._news.set()
        self._spill_news.set()


def _delays() -> Iterator[float]:
    return backoff(cap=LONGEST_WAIT_S)
