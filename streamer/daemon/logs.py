"""Logs to stderr, one record a line, as JSON or text. Written by a thread: who reads stderr slowly must not hold up the market."""

import json
import logging
import queue
import sys
import threading
import time
from datetime import UTC, datetime
from typing import IO, Any, Literal

MOST_WAITING = 10_000
FLUSH_S = 1.0
REPEAT_S = 60.0
MOST_TEXT = 4000
"""Characters of one message: what it quotes came from outside."""


class Repeats(logging.Filter):
    """The same line again within a minute is only counted; the next that is let through says how often."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info or record.name.startswith("streamer.daemon"):  # what we say of ourselves is said because it is so again
            return True
        key = record.name, record.levelno, record.getMessage()
        last, hidden = self._seen.get(key, (float("-inf"), 0))
        if record.created - last < REPEAT_S:
            self._seen[key] = last, hidden + 1
            return False
        if len(self._seen) > 1000:
            self._seen = {k: v for k, v in self._seen.items() if record.created - v[0] < REPEAT_S}
        self._seen[key] = record.created, 0
        if hidden:
            record.repeated = hidden
        return True


class Json(logging.Formatter):
    """One JSON object. ASCII only, so that nothing a venue sends can forge a line or move a cursor."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage()[:MOST_TEXT],
        }
        fields |= getattr(record, "data", {})
        if hasattr(record, "repeated"):
            fields["repeated"] = record.repeated
        if record.exc_info:
            fields["err"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


class Text(logging.Formatter):
    """`time level logger message key=value`, control characters escaped."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        more = getattr(record, "data", {}) | ({"repeated": record.repeated} if hasattr(record, "repeated") else {})
        line += "".join(f" {key}={json.dumps(value, default=str)}" for key, value in more.items())
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


class Logs(logging.Handler):
    """The handler of everything. `lost`: records that there was no room for."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        super().__init__()
        self.lost = 0
        self._stream = stream or sys.stderr
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.addFilter(Repeats())
        self._thread = threading.Thread(target=self._write, name="logs", daemon=True)
        self._thread.start()

    def configure(self, format: Literal["json", "text"], level: str) -> None:
        """Be the handler, from now on like this."""
        self.setFormatter(Json() if format == "json" else Text())
        ours, root = logging.getLogger("streamer"), logging.getLogger()
        ours.handlers[:], ours.propagate = [], True
        ours.setLevel(level.upper())
        root.handlers[:] = [self]
        root.setLevel(logging.WARNING)  # of the libraries beneath
        logging.raiseExceptions = False  # a log that cannot be written must not become an error of its own

    def emit(self, record: logging.LogRecord) -> None:
        if self._queue.qsize() >= MOST_WAITING:
            self.lost += 1
            return
        try:
            self._queue.put(self.format(record) + "\n")
        except Exception:  # noqa: BLE001  (a message that does not fit its arguments)
            self.handleError(record)

    def end(self) -> None:
        """Write what waits, but not for ever."""
        self._queue.put(None)
        self._thread.join(FLUSH_S)

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            try:
                self._stream.write(line)
                if self._queue.empty():
                    self._stream.flush()
            except (OSError, ValueError):  # a full disk, a pipe that nobody reads: the market goes on
                self.lost += 1
