"""Recordings: gzipped or plain JSON lines, in order of arrival. What `streamer record` writes and `streamer replay` reads.

A line is ``{"src", "when", "dir", "url", "raw", ...}``. `dir`: `in` a frame that came, `out` one that was sent, `http` a REST answer.
`raw`: the text as it came, or ``b64:`` and base64 where it is no text. `when`: receive time in unix seconds. Ours add `exchange`, `ns`
(the receive time in ns), `conn` (``line#incarnation``: a new incarnation means that the line was disconnected) and `status` of REST
answers that are not 200.
"""

import base64
import gzip
import logging
import threading
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
import orjson
from msgspec import Struct

from streamer.errors import BadRecording

log = logging.getLogger(__name__)

B64 = "b64:"
MAX_LINE = 64 * 1024 * 1024
"""Characters. Longer lines are no recording."""
MAX_WAITING = 256 * 1024 * 1024
"""Bytes that wait for the disk; beyond that lines are lost, counted and told."""
FLUSH_S = 0.5


class Line(Struct, frozen=True, omit_defaults=True):
    """One line. Fields beside these are skipped."""

    dir: Literal["in", "out", "http"]
    raw: str
    url: str | None = None
    when: float | None = None
    ns: int | None = None
    exchange: str | None = None
    conn: str | None = None
    status: int = 200
    src: str | None = None

    def payload(self) -> bytes:
        """The bytes that travelled. Raises `BadRecording` when the base64 is none."""
        if not self.raw.startswith(B64):
            return self.raw.encode("utf-8", "surrogatepass")
        try:
            return base64.b64decode(self.raw[len(B64) :], validate=True)
        except ValueError:
            raise BadRecording(f"a {self.dir} line of {self.conn or 'the recording'} begins with {B64} but is not base64") from None

    def time_ns(self) -> int | None:
        """When it arrived, ns UTC; None where the recording does not say. (Seconds as a float hold microseconds, not more.)"""
        return self.ns if self.ns is not None else None if self.when is None else round(self.when * 1e6) * 1000


_DECODE = msgspec.json.Decoder(Line).decode


def read(path: Path) -> Iterator[Line]:
    """The lines of a file, which may be gzipped. Raises `BadRecording` naming file and line; a cut end (kill -9) ends it with a warning."""
    with _open(path) as f:
        number = 0
        while True:
            number += 1
            try:
                text = f.readline(MAX_LINE)
            except EOFError:
                log.warning("%s ends in the middle: it was cut off at line %d", path, number)
                return
            except (OSError, zlib.error) as e:
                raise BadRecording(f"{path}, line {number}: cannot be read: {e}") from None
            if not text:
                return
            if not text.strip():
                continue
            try:
                yield _DECODE(text)
            except (msgspec.MsgspecError, UnicodeDecodeError) as e:
                if not text.endswith(b"\n") and len(text) < MAX_LINE:
                    log.warning("%s ends in the middle: it was cut off at line %d", path, number)
                    return
                raise BadRecording(f"{path}, line {number}: not a line of a recording: {e}") from None


def _open(path: Path) -> IO[bytes]:
    try:
        with path.open("rb") as f:
            zipped = f.read(2) == b"\x1f\x8b"
        return gzip.open(path) if zipped else path.open("rb")  # type: ignore[return-value]
    except OSError as e:
        raise BadRecording(f"{path}: {e.strerror}") from None


def as_text(data: str | bytes) -> str:
    """`raw` for these bytes."""
    packed = data.encode() if isinstance(data, str) else data
    try:
        text = packed.decode()
    except UnicodeDecodeError:
        text = B64
    return B64 + base64.b64encode(packed).decode() if text.startswith(B64) else text


class Writer:
    """Writes a recording in a thread of its own, so that no socket waits for the disk. Gzipped if the name ends in ``.gz``.

    `lost`: lines for which there was no room while the disk was slow, or that were in hand when it failed. `error`: why nothing is written
    any more. Raises OSError at once when the file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0
        self.error: OSError | None = None
        self._file: Any = path.open("wb")
        if path.suffix == ".gz":
            self._file = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=6)
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._unflushed = 0
        self._ending = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="recording", daemon=True)
        self._thread.start()

    def write(
        self, exchange: str, dir: Literal["in", "out", "http"], conn: str, url: str, ns: int, data: str | bytes, status: int = 200
    ) -> None:
        """Take a line, without waiting."""
        row: dict[str, Any] = {"src": "streamer", "when": round(ns / 1e9, 6), "ns": ns, "exchange": exchange, "dir": dir, "conn": conn}
        row |= {"url": url, "raw": as_text(data)} | ({"status": status} if status != 200 else {})
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
        with self._news:
            if self._bytes + len(line) > MAX_WAITING or self.error is not None or self._ending:
                self.lost += 1
                return
            self._waiting.append(line)
            self._bytes += len(line)
            self._news.notify()

    def close(self) -> None:
        """Write what waits and close the file. Raises the OSError that stopped the writing, if any."""
        with self._news:
            self._ending = True
            self._news.notify()
        self._thread.join()
        if self.lost:
            log.warning("%s: %d lines were lost because the disk was too slow or full", self.path, self.lost)
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        raw = getattr(self._file, "fileobj", None)  # GzipFile leaves the file beneath open
        try:
            while self._more():
                self._file.flush()
                self._unflushed = 0
        except OSError as e:
            self._fail(e)
        for file in (self._file, raw):
            try:
                if file is not None:
                    file.close()
            except OSError as e:
                self._fail(e)

    def _more(self) -> bool:
        """Write what waits. False when that was the last."""
        with self._news:
            while not self._waiting and not self._ending:
                self._news.wait()
            lines, self._waiting, self._bytes = self._waiting, deque(), 0
            ending = self._ending
        self._unflushed += len(lines)
        self._file.write(b"".join(lines))
        if not ending:
            with self._news:
                self._news.wait_for(lambda: self._ending, FLUSH_S)  # gather, so that a flush of gzip is worth it
        return not ending or bool(self._waiting)

    def _fail(self, error: OSError) -> None:
        if error.filename is None:
            error = OSError(error.errno, error.strerror or str(error), str(self.path))
        with self._news:
            self.error = self.error or error
            self.lost += len(self._waiting) + self._unflushed
            self._waiting.clear()
            self._bytes = self._unflushed = 0
