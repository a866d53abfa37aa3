"""The daemon's own life: signals, systemd, the look at everything twice a second, reloads, the end."""

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from streamer.daemon import show
from streamer.daemon.calm import Calm
from streamer.daemon.checks import CHECKS, address
from streamer.daemon.config import Config
from streamer.daemon.health import Verdict, data_flows, judge
from streamer.daemon.http import Answer, Http, readiness
from streamer.daemon.logs import Logs
from streamer.daemon.loopwatch import LoopWatch
from streamer.daemon.metrics import Metrics, Supervision
from streamer.daemon.notify import Notifier
from streamer.daemon.outlets import report
from streamer.daemon.read import BadConfig, Loaded, load
from streamer.daemon.service import Service
from streamer.daemon.survey import EVERY_S
from streamer.errors import StreamerError, UsageError
from streamer.sinks import SinkGone

log = logging.getLogger(__name__)

STATUS_S = 1.0
STARTING_S = 30.0
"""While nothing has come yet, systemd is asked for so much more time, again and again: the exchange may be down, we are not."""
HURRY_S = 1.0
"""So long the second signal leaves for the spool."""
INTERNAL = 70


class Supervisor:
    """Runs one configuration file until a signal. `run` gives the exit code."""

    def __init__(self, path: Path, loaded: Loaded, environ: Mapping[str, str], logs: Logs) -> None:
        self._path = path
        self._config = loaded.config
        self._environ = environ
        self._logs = logs
        self._notifier = Notifier(environ)
        self._service = Service(loaded.config, environ)
        self._counts = Supervision()
        self._calm = Calm()
        self._watch = LoopWatch(loaded.config.watchdog.loop_s)
        self._began = time.monotonic()
        self._http = Http(self._answers())
        self._listening = None if loaded.config.http.listen else loaded.config.http
        self._ready = self._green = False
        self._told = ""
        self._pinged = self._asked = self._judged = 0.0
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._hurried: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reload = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> int:
        """Until the end."""
        self._listen_to_signals()
        try:
            await self._serve_http(self._config)
            await self._service.apply(self._config)
        except StreamerError as e:
            log.error("%s", e)
            return 78 if isinstance(e, UsageError) else e.exit_code
        self._counts.reloaded_at = time.time()
        works = {"loop watch": self._watch.run(), "look": self._look(), "reloads": self._reloads(), "sinks": self._watch_sinks()}
        for name, work in works.items():
            self._start(name, work)
        code = await self._ended
        return await self._shut_down(code)

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"daemon {name}")
        self._tasks.append(task)
        task.add_done_callback(self._died)

    def _died(self, task: "asyncio.Task[None]") -> None:
        """One of its own tasks ended: half a daemon is worse than none."""
        if not task.cancelled() and not self._ended.done():
            log.critical("the supervisor failed", exc_info=task.exception())
            self._ended.set_result(INTERNAL)

    # signals

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        loop.add_signal_handler(signal.SIGUSR1, self._dump)

    def _end(self, number: signal.Signals) -> None:
        if not self._ended.done():
            log.info("%s: draining", number.name)
            self._ended.set_result(128 + number)
        elif not self._hurried.done():
            log.warning("%s again: what waits is spooled, or lost", number.name)
            self._hurried.set_result(128 + number)

    def _dump(self) -> None:
        now = self._looked()
        log.info("state", extra={"data": {"summary": judge(self._service, now).summary(), "loop_lag_s": self._watch.lag_s}})
        for what, data in show.dump(self._service, now):
            log.info("state of %s", what, extra={"data": data})

    # the look at everything

    async def _look(self) -> None:
        while True:
            now = self._looked()
            self._service.look_at_memory(now)
            self._counts.loop_lag_s, self._counts.loop_stalls = self._watch.lag_s, self._watch.stalls
            if now - self._judged > STATUS_S or not self._ready:
                self._judged = now
                self._tell(judge(self._service, now), now)
            if self._green:
                self._calm.look(now)
            every = self._notifier.watchdog_s
            if every is not None and now - self._pinged >= every / 3 and data_flows(self._service, now):
                self._pinged = now
                self._notifier.send(WATCHDOG=1)
            await asyncio.sleep(EVERY_S)

    def _tell(self, verdict: Verdict, now: float) -> None:
        if not self._ready and self._service.survey.spoke is not None:
            self._ready = True
            self._notifier.send(READY=1, STATUS=verdict.summary())
            log.info("data flows: %s", verdict.summary())
        elif not self._ready and now - self._asked > STARTING_S / 3:
            self._asked = now
            self._notifier.send(EXTEND_TIMEOUT_USEC=int(STARTING_S * 1e6), STATUS=f"starting: {verdict.summary()}")
        if verdict.summary() != self._told and self._ready:
            self._told = verdict.summary()
            self._notifier.send(STATUS=self._told)
        if verdict.ready != self._green:
            self._green = verdict.ready
            if verdict.ready:
                log.info("ready: %s", verdict.summary())
            else:
                log.warning("not ready: %s", verdict.summary())

    async def _watch_sinks(self) -> None:
        """A sink that fails for good leaves the others at work; when there is none left, there is nothing to do."""
        told: set[Any] = set()
        while True:
            await asyncio.sleep(EVERY_S)
            runners = [o.runner for o in self._service.outlets.by_name.values()]
            for runner in runners:
                if runner.failure is not None and runner not in told:
                    told.add(runner)
                    log.error("sink %s has failed for good: %s", runner.name, runner.failure)
            if runners and all(r.failure is not None for r in runners) and not self._ended.done():
                gone = all(isinstance(r.failure, SinkGone) for r in runners)
                self._ended.set_result(0 if gone else 78 if any(isinstance(r.failure, UsageError) for r in runners) else 1)

    # reloads

    async def _reloads(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            if self._ready:
                self._notifier.send(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000, STATUS="reloading")
            status = await self._reload_once()
            self._told = status
            if self._ready:
                self._notifier.send(READY=1, STATUS=status)

    async def _reload_once(self) -> str:
        try:
            loaded = await asyncio.to_thread(load, self._path, self._environ, CHECKS)
            await self._adopt(loaded)
        except StreamerError as e:
            self._counts.reloads["rejected"] += 1
            errors = e.errors if isinstance(e, BadConfig) else [str(e)]
            for error in errors:
                log.error("%s", error)
            log.error("the configuration is refused; the old one stays")
            return f"configuration refused, the old one stays: {errors[0]}"
        self._counts.reloads["ok"] += 1
        self._counts.reloaded_at = time.time()
        log.info("configuration reloaded")
        return "configuration reloaded"

    async def _adopt(self, loaded: Loaded) -> None:
        for warning in loaded.warnings:
            log.warning("%s", warning)
        await self._serve_http(loaded.config)
        await self._service.apply(loaded.config)
        self._config = loaded.config
        self._service.lists.refresh()
        self._calm.again()
        self._watch.stall_s = self._config.watchdog.loop_s
        self._logs.configure(self._config.log.format, self._config.log.level)

    # http

    async def _serve_http(self, config: Config) -> None:
        """Listen where this says, if that is not so already. Raises `UsageError`."""
        if config.http == self._listening:
            return
        where = address(config.http.listen)
        if where is None:
            await self._http.stop()
        else:
            await self._http.start(*where)
            log.info("listening", extra={"data": {"url": self._http.url}})
        self._listening = config.http

    def _answers(self) -> dict[str, Answer]:
        service = self._service
        metrics = Metrics(service, self._counts, time.monotonic)
        return {
            "/metrics": lambda request: (200, metrics.text()),
            "/healthz": lambda request: (200, self._alive()),
            "/readyz": lambda request: readiness(judge(service, self._looked())),
            "/streams": lambda request: (200, show.streams(service, self._looked())),
            "/gaps": lambda request: (200, show.gaps(service)),
        }

    def _looked(self) -> float:
        """The time, at which everything was just looked at."""
        now = time.monotonic()
        self._service.survey.look(now, self._service.config.ready.stale_s)
        return now

    def _alive(self) -> dict[str, Any]:
        """That this is answered at all says that the loop goes round."""
        return {"alive": True, "uptime_s": round(time.monotonic() - self._began, 1), "loop_lag_s": round(self._watch.lag_s, 4)}

    # the end

    async def _shut_down(self, code: int) -> int:
        """Drain within the deadline; the exit code. A second signal leaves a second."""
        self._notifier.send(STOPPING=1, STATUS="draining")
        deadline = self._config.shutdown.deadline_s
        stopping = asyncio.ensure_future(self._service.stop(deadline))
        ends: set[asyncio.Future[Any]] = {stopping, self._hurried}
        await asyncio.wait(ends, timeout=deadline + HURRY_S, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            hurry = asyncio.ensure_future(self._service.stop(0.0))
            await asyncio.wait({stopping, hurry}, timeout=HURRY_S)
        for task in self._tasks:
            task.cancel()
        whole = self._report(stopping)
        self._notifier.close()
        if self._hurried.done():
            return self._hurried.result()
        return 0 if whole and code == 128 + signal.SIGTERM else code

    def _report(self, stopping: "asyncio.Future[Any]") -> bool:
        """The last word on every sink. Is everything safe?"""
        if not stopping.done() or stopping.exception() is not None:
            log.error("not drained in time", exc_info=stopping.exception() if stopping.done() else None)
            return False
        for stats in stopping.result():
            report(stats)
        return not any(stats.lost.get("shutdown") for stats in stopping.result())
