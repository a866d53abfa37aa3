"""One file of lines: it grows under a name ending in ``.part``, and gets its own when it is whole."""

import logging
import os
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

try:
    import fcntl
except ImportError:  # Windows: a file left by a killed process is not told from one of a process that runs
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

PART: Final = ".part"
GZIP: Final = 31
"""zlib's number for a gzip header and trailer round the largest window."""
LEVEL: Final = 6
READ: Final = 1 << 20


class Part:
    """A file that is being written. After an OSError of `write` it holds what it held before: the same lines can be written again."""

    def __init__(self, path: Path, ts: int) -> None:
        """`path`: folder and name, into which the time `ts` (ns) is put."""
        self.path = path.with_name(name_at(path.name, ts))
        self.size = 0
        self._zip: Any = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP) if path.suffix == ".gz" else None
        path.parent.mkdir(parents=True, exist_ok=True)
        n = 0
        while True:
            self.part = self.path.with_name(self.path.name + PART)
            try:
                self._fd = os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            except FileExistsError:
                pass
            else:
                if not self.path.exists():
                    break
                self.part.unlink()
                os.close(self._fd)
            n += 1
            self.path = path.with_name(name_at(path.name, ts, n))
        _lock(self._fd)

    def write(self, data: bytes, *, sync: bool) -> None:
        """Add whole lines; they can be read from the file at once."""
        if os.fstat(self._fd).st_size != self.size:
            os.ftruncate(self._fd, self.size)  # what a write that failed left
        os.lseek(self._fd, self.size, os.SEEK_SET)
        zipper = self._zip
        if zipper is not None:
            zipper = zipper.copy()
            data = zipper.compress(data) + zipper.flush(zlib.Z_SYNC_FLUSH)
        _put(self._fd, data)
        if sync:
            os.fdatasync(self._fd)
        self.size += len(data)
        self._zip = zipper

    def finish(self) -> None:
        """The file is whole: close it and give it its name."""
        os.ftruncate(self._fd, self.size)
        os.lseek(self._fd, self.size, os.SEEK_SET)
        if self._zip is not None:
            _put(self._fd, self._zip.copy().flush())
        os.fsync(self._fd)
        try:
            self.part.rename(self.path)
        except FileNotFoundError:
            log.error("%s was taken away while it was written; what it held is gone", self.part)
        os.close(self._fd)


def name_at(name: str, ts: int, n: int = 0) -> str:
    """`ticks.ndjson` at a time: `ticks-20260101T000000.000000Z.ndjson`; `n` tells apart those of one microsecond."""
    stem, dot, suffix = name.partition(".")
    second, ns = divmod(ts, 1_000_000_000)
    when = datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%S")
    return f"{stem}-{when}.{ns // 1000:06d}Z{f'-{n}' if n else ''}{dot}{suffix}"


def finish_left(path: Path) -> None:
    """Make the folder, and make whole what a killed process left of this name: up to the last whole line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stem, dot, suffix = path.name.partition(".")
    for part in sorted(path.parent.iterdir()):
        if part.name.startswith(f"{stem}-") and part.name.endswith(f"Z{dot}{suffix}{PART}"):
            fd = os.open(part, os.O_RDWR | os.O_CLOEXEC)
            try:
                if _lock(fd):
                    _mend(part, fd)
            finally:
                os.close(fd)


def _mend(part: Path, fd: int) -> None:
    """Cut it after its last whole line and give it its name; if there is none, it goes."""
    target = part.with_name(part.name.removesuffix(PART))
    if target.suffix == ".gz":
        size = _rezip(part)
    else:
        size = _last_line(fd, os.fstat(fd).st_size)
        os.ftruncate(fd, size)
    if not size:
        part.unlink()
        return
    part.rename(target)
    log.warning("%s was left by a process that was killed; it is whole up to its last whole line", target)


def _last_line(fd: int, size: int) -> int:
    """Where the last whole line ends."""
    while size:
        start = max(0, size - READ)
        found = os.pread(fd, size - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        size = start
    return 0


def _rezip(part: Path) -> int:
    """Its stream has no end: write what it held anew. How many bytes of lines that was."""
    temporary = part.with_name(part.name + ".new")
    zipper = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    size = 0
    with temporary.open("wb") as out:
        rest = b""
        for data in _unzipped(part):
            lines, newline, rest = (rest + data).rpartition(b"\n")
            out.write(zipper.compress(lines + newline))
            size += len(lines + newline)
        out.write(zipper.flush())
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(part)
    return size


def _unzipped(part: Path) -> Iterator[bytes]:
    """What can be read of it, in pieces of at most `READ` bytes."""
    unzipper = zlib.decompressobj(GZIP)
    with part.open("rb") as f:
        while data := f.read(READ):
            while data:
                try:
                    yield unzipper.decompress(data, READ)
                except zlib.error:
                    return
                data = unzipper.unconsumed_tail
    yield unzipper.flush()


def _lock(fd: int) -> bool:
    """Is it ours alone from now on?"""
    if fcntl is None:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _put(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
