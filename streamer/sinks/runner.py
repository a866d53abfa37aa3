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
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from streamer.errors import UsageError
from streamer.gates import backoff
from streamer.sinks import Sink, SinkDown, SinkGone
from streamer.sinks.calls import Cut, Deadline
from streamer.sinks.handle import CLOSE_S, Handle
from streamer.sinks.pipeline import Pipeline
from streamer.sinks.spilling import BLOCKED_S, Spilling
from streamer.sinks.spool import Spool
from streamer.sinks.stats import SinkStats, State
from streamer.subscription import Subscription
from streamer.types import Tick

log = logging.getLogger(__name__)

LINGER_S: Final = 0.005
BEHIND_S: Final = 10.0
"""A sink that lags further is not ready."""
LONGEST_WAIT_S: Final = 30.0


class SinkRunner:
    """Runs one sink. Belongs to the running loop."""

    def __init__(
        self,
        sink: Sink,
        *subscriptions: Subscription,
        spool: Spool | None = None,
        batch: int = 10_000,
        linger: float | None = None,
        instruments: bool = True,
    ) -> None:
        """`batch`: most ticks in one write. `linger`: seconds to gather ticks for a batch (None: the sink's own `linger`, or 5 ms).
        `instruments`: write them too (every subscription brings what changes in the exchanges' lists)."""
        if batch < 1:
            raise UsageError(f"batches of {batch} ticks would never end; batch must be at least 1")
        self.name = sink.name
        self._handle = Handle(sink)
        self._spool = spool
        self._linger: float = linger if linger is not None else getattr(sink, "linger", LINGER_S)
        self._pipeline = Pipeline(sink.name, spool, batch, self._ring, instruments)
        self._spilling = Spilling(self._pipeline, self._handle, self._broken)
        self._news, self._settled, self._end = (asyncio.Event() for _ in range(3))
        self._draining = False
        self._deadline = Deadline(self._handle.call.cut)
        self._task: asyncio.Task[None] | None = None
        for subscription in subscriptions:
            self.attach(subscription)

    @property
    def state(self) -> State:
        """How it is."""
        return self._handle.state

    @property
    def failure(self) -> Exception | None:
        """Why it ended by itself: a `UsageError` of open, `SinkGone`, or a fault of ours; None otherwise."""
        return self._handle.failure

    @property
    def ready(self) -> bool:
        """Is it up, and does it keep up?"""
        return self.state == "up" and self._pipeline.lag_s < BEHIND_S

    def stats(self) -> SinkStats:
        """All its numbers, as of now."""
        p, spool, handle = self._pipeline, self._spool, self._handle
        return SinkStats(
            self.name, handle.state, handle.reason, p.accepted, p.confirmed, p.in_flight, p.spooled, dict(p.lost), p.intake.dropped,
            handle.writes, dict(handle.errors), p.lag_s, *((spool.bytes, spool.max_bytes, spool.errors, spool.corrupt) if spool else ()),
        )  # fmt: skip

    def attach(self, subscription: Subscription) -> None:
        """Write this subscription's ticks too. Nobody else may read it."""
        if self._draining or self.state in ("failed", "closed"):
            raise UsageError(f"sink {self.name} has ended; make another runner for subscription {subscription.name!r}")
        self._pipeline.intake.attach(subscription)

    def detach(self, subscription: Subscription) -> None:
        """Take what it still holds, and close it."""
        self._pipeline.intake.detach(subscription)

    def tell(self, ticks: Sequence[Tick[Any]]) -> None:
        """Write these in front of all that waits: what is to be known before it."""
        if ticks and not self._draining and self.state not in ("failed", "closed"):
            self._pipeline.intake.put_first(ticks)

    def press(self, pressed: bool) -> None:
        """While memory is short: what the sink does not take at once goes to the spool, if it has one, and does not wait in mailboxes."""
        self._pipeline.intake.pressed = pressed
        self._ring()

    def start(self) -> None:
        """Begin: recovers the spool, opens the sink, and goes on until `drain`."""
        if self._task is not None:
            raise RuntimeError(f"sink {self.name} was started before")
        self._handle.state = "opening"
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
        self._stop_taking()
        self._deadline.within(max(0.0, timeout))
        self._ring()
        task = self._task
        assert task is not None  # noqa: S101  (for mypy)
        await asyncio.wait({task}, timeout=self._deadline.left(0.0) + 1.0)
        if not task.done():
            log.error("sink %s could not be closed in time; %d ticks were in flight", self.name, self._pipeline.in_flight)
            task.cancel()
        return self.stats()

    # the whole life

    async def _run(self) -> None:
        try:
            await self._pipeline.recover()
            if self._spool is not None:
                self._spilling.start()
            await self._write_all()
        except Cut:
            pass
        except UsageError as e:
            self._handle.fail(e)
        except Exception as e:
            log.exception("sink %s ended by a fault of ours", self.name)
            self._handle.fail(e)
        finally:
            await self._finish()

    async def _finish(self) -> None:
        """Spool what is left, close the sink."""
        self._stop_taking()
        await self._spilling.ended()
        await self._pipeline.save("shutdown" if self.failure is None else "failed")
        await self._handle.close(max(0.5, self._deadline.left(CLOSE_S)))
        self._deadline.stop()
        if self.state != "failed":
            self._handle.state = "closed"
        self._settled.set()

    def _broken(self, error: Exception) -> None:
        self._handle.fail(error)
        self._handle.call.cut()
        self._ring()

    def _stop_taking(self) -> None:
        self._draining = True
        self._end.set()
        self._spilling.stop()
        self._pipeline.intake.detach_all()

    # to the sink

    async def _write_all(self) -> None:
        delays = backoff(cap=LONGEST_WAIT_S)
        while not (self._draining and self._spool is not None and self.state == "down"):
            try:
                await self._handle.open()
                if not await self._load():
                    return
                await self._write()
                delays = backoff(cap=LONGEST_WAIT_S)
            except SinkGone as e:
                self._handle.fail(e)
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
            if self._handle.call.over:
                raise Cut
            await p.load()
        return True

    async def _write(self) -> None:
        ticks = self._pipeline.flight.ticks
        self._spilling.ring()
        refused = await self._handle.write(ticks)
        await self._pipeline.settle(len(ticks), refused)
        self._handle.up()
        self._spilling.ring()

    async def _down(self, error: SinkDown, delay: float) -> None:
        self._handle.down(error)
        self._spilling.ring()
        if error.reopen:
            await self._handle.close(CLOSE_S)
        if not (self._draining and self._spool is not None):
            await self._pause(min(delay, BLOCKED_S) if self._draining else delay)

    async def _pause(self, seconds: float) -> None:
        """Sleep; the end ends it."""
        if self._draining:
            await self._handle.call.pause(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._end.wait()

    def _ring(self) -> None:
        self._news.set()
        self._spilling.ring()
