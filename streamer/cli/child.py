"""`streamer sim` in a process of its own, started again on the same port when it dies, and never left behind."""

import asyncio
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import streamer
from streamer.errors import StreamerError

log = logging.getLogger("streamer.cli")
START_S = 20.0
"""So long a simulation may take until it listens."""


class SimProcess:
    """`urls` by venue once `start` returned. `restarts` counts how often it had to be started again."""

    def __init__(self, venues: Sequence[str]) -> None:
        self.venues = tuple(venues)
        self.urls: dict[str, str] = {}
        self.restarts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: asyncio.Task[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start it and wait until it listens. Raises `StreamerError` with its own words when it does not."""
        port = next((urlsplit(url).port for url in self.urls.values()), 0)
        root = Path(streamer.__file__).parent.parent  # as its working folder, so that no folder of the user's shadows our packages
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "streamer", "sim", "--port", str(port), "--until-stdin-closes", *self.venues,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=root,
            start_new_session=sys.platform != "win32",  # Ctrl-C is for us alone; we end it
        )  # fmt: skip
        stdout, stderr = process.stdout, process.stderr
        assert stdout is not None  # noqa: S101  (it is a pipe)
        assert stderr is not None  # noqa: S101
        self._stderr = asyncio.ensure_future(_last_words(stderr))
        try:
            async with asyncio.timeout(START_S):
                self.urls = dict([(await stdout.readline()).decode().split() for _ in self.venues])
            log.info("the simulation listens, pid %d", process.pid)
        except ValueError:  # its stdout ended first
            words = (await self._stderr).decode(errors="replace").strip().removeprefix("streamer: error: ")
            raise StreamerError(f"the simulation did not start: {words or 'it said nothing'}") from None
        except TimeoutError:
            raise StreamerError(f"the simulation did not listen within {START_S:g} s") from None

    async def keep_alive(self) -> None:
        """Start it again whenever it dies; for ever, until cancelled."""
        pause = 0.1
        while self._process is not None:
            code = await self._process.wait()
            log.warning("the simulation died (exit %s); starting it again", code)
            await asyncio.sleep(pause)
            self.restarts += 1
            try:
                await self.start()
                pause = 0.1
            except StreamerError as e:
                log.warning("%s", e)
                pause = min(5.0, pause * 2)

    async def stop(self) -> None:
        """End it: by closing its stdin, else by force."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        for force in (process.terminate, process.kill, None):
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 2.0)
                break
            if force is not None:
                with suppress(ProcessLookupError):
                    force()
        if self._stderr is not None:
            self._stderr.cancel()


async def _last_words(stderr: asyncio.StreamReader) -> bytes:
    last = b""
    while line := await stderr.readline():
        last = line
        log.info("sim: %s", line.decode(errors="replace").rstrip())
    return last
