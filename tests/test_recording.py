"""`streamer.recording`: lines, the reader that survives a cut end, and the writer in a thread of its own."""

import errno
import gzip
import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from streamer import recording
from streamer.errors import BadRecording
from streamer.recording import Line, Writer, as_text, read

FULL = Path("/dev/full")
NS = 1_700_000_000_123_456_789


def written(path: Path, *frames: bytes | str) -> list[Line]:
    writer = Writer(path)
    for n, data in enumerate(frames):
        writer.write("toy", "in", "ws.1#1", "wss://toy.test/", NS + n, data)
    writer.close()
    return list(read(path))


# lines


@pytest.mark.parametrize(
    "data", [b"", b"{}", "é€\U0001f600".encode(), b"\xff\x00\x80", b"b64:", b"b64:not base64", b"\x00\n\r\t\x7f", b"\xed\xa0\x80"]
)
def test_every_payload_comes_back_as_it_was(tmp_path: Path, data: bytes) -> None:
    [line] = written(tmp_path / "x.jsonl", data)
    assert line.payload() == data
    assert Line("in", as_text(data)).payload() == data


def test_text_stays_text_and_only_what_is_none_is_packed() -> None:
    assert as_text(b'{"a":1}') == as_text('{"a":1}') == '{"a":1}'
    assert as_text(b"\xff") == "b64:/w=="
    assert as_text(b"b64:x") == as_text("b64:x") == "b64:YjY0Ong="


def test_what_is_said_to_be_base64_and_is_not() -> None:
    with pytest.raises(BadRecording, match=r"a in line of ws\.1#2 begins with b64: but is not base64"):
        Line("in", "b64:%%", conn="ws.1#2").payload()


def test_the_time_of_a_line() -> None:
    assert Line("in", "", ns=NS, when=1.0).time_ns() == NS
    assert Line("in", "", when=1700000000.25).time_ns() == 1_700_000_000_250_000_000
    assert Line("in", "").time_ns() is None


def test_a_written_line_has_all_that_the_format_says(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    writer = Writer(path)
    writer.write("toy", "out", "ws.1#2", "wss://toy.test/pub", NS, '{"op":"sub"}')
    writer.write("toy", "http", "http.1", "https://toy.test/x?y", NS, b"{}", 404)
    writer.close()
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first == {"src": "streamer", "when": 1700000000.123457, "ns": NS, "exchange": "toy", "dir": "out", "conn": "ws.1#2",
                     "url": "wss://toy.test/pub", "raw": '{"op":"sub"}'}  # fmt: skip
    assert second["status"] == 404


# reading


def test_fields_that_are_not_ours_and_empty_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"dir":"in","raw":"1","q":"capture","frame":"binary"}\n\n  \n{"raw":"2","dir":"http","when":null,"url":null}')
    assert [line.raw for line in read(path)] == ["1", "2"]


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_gzip_by_suffix(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    frames = [b"frame %d" % n for n in range(5000)]
    assert [line.payload() for line in written(path, *frames)] == frames
    assert (path.read_bytes()[:2] == b"\x1f\x8b") is name.endswith(".gz")
    renamed = path.rename(tmp_path / "other")
    assert len(list(read(renamed))) == 5000  # what it is, not how it is called


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_a_cut_end_ends_it_with_a_warning(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / name
    frames = [b"frame %d" % n * 20 for n in range(1000)]
    written(path, *frames)
    whole = path.read_bytes()
    for cut in (len(whole) - 5, len(whole) // 2, 40):
        caplog.clear()
        path.write_bytes(whole[:cut])
        lines = [line.payload() for line in read(path)]
        assert lines == frames[: len(lines)]
        assert len(lines) < 1000 or name.endswith(".gz")
        [record] = caplog.records
        assert record.levelno == logging.WARNING
        assert record.getMessage() == f"{path} ends in the middle: it was cut off at line {len(lines) + 1}"


def test_a_recording_that_was_killed_is_there_up_to_the_last_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "FLUSH_S", 0.01)
    path, copy = tmp_path / "x.jsonl.gz", tmp_path / "copy.jsonl.gz"
    writer = Writer(path)
    for n in range(100):
        writer.write("toy", "in", "ws.1#1", "wss://toy.test/", NS, str(n))
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        copy.write_bytes(path.read_bytes())
        if copy.stat().st_size > 20 and len(list(read(copy))) == 100:
            break
    assert [line.raw for line in read(copy)] == [str(n) for n in range(100)]
    writer.close()


@pytest.mark.parametrize(("content", "says"), [
    ('{"dir":"in","raw":"1"}\nnot json\n', "line 2: not a line of a recording"),
    ('{"dir":"in","raw":"1"}\n{"dir":"up","raw":"1"}\n', "line 2: not a line of a recording: Invalid enum value 'up'"),
    ('{"dir":"in"}\n', "line 1: not a line of a recording: Object missing required field `raw`"),
    ('{"dir":"in","raw":1}\n', "line 1: not a line of a recording"),
    ('{"dir":"in","raw":"\udc80"}\n', "line 1: not a line of a recording"),
    ("[]\n", "line 1: not a line of a recording"),
    ("[" * 100_000 + "\n", "line 1: not a line of a recording"),
])  # fmt: skip
def test_a_line_that_is_none_is_named(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(BadRecording) as caught:
        list(read(path))
    assert str(caught.value).startswith(f"{path}, {says}")


def test_a_line_too_long_is_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MAX_LINE", 1000)
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"dir": "in", "raw": "x" * 2000}))
    with pytest.raises(BadRecording, match="line 1: not a line"):
        list(read(path))


def test_broken_gzip_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    frames = [b"%d" % (n * 7919 % 10007) for n in range(50_000)]
    written(path, *frames)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 50] = b"\xff" * 50
    path.write_bytes(data)
    got = []
    with pytest.raises(BadRecording) as caught:
        got.extend(line.payload() for line in read(path))
    assert str(caught.value).startswith(f"{path}, line ")
    data = bytearray(gzip.compress(b'{"dir":"in","raw":"1"}\n'))
    data[-6] ^= 1  # the checksum of the whole
    path.write_bytes(data)
    with pytest.raises(BadRecording, match="line 2: cannot be read: CRC check failed"):
        list(read(path))


def test_a_file_that_is_not_there_or_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(BadRecording) as caught:
            list(read(path))
        assert str(caught.value).startswith(f"{path}: ")


# writing


def test_a_file_that_cannot_be_created(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Writer(tmp_path / "no" / "folder.jsonl")


def test_lines_of_many_threads_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    writer = Writer(path)

    def work(name: int) -> None:
        for n in range(500):
            writer.write("toy", "in", f"ws.{name}#1", "wss://toy.test/", NS, str(n))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    by_conn: dict[Any, list[str]] = {}
    for line in read(path):
        by_conn.setdefault(line.conn, []).append(line.raw)
    assert len(by_conn) == 4
    assert all(raws == [str(n) for n in range(500)] for raws in by_conn.values())


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
@pytest.mark.parametrize("frames", [1, 2000])
def test_a_full_disk_is_told_and_every_lost_line_counted(
    tmp_path: Path, name: str, frames: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recording, "FLUSH_S", 0.01)
    path = tmp_path / name
    path.symlink_to(FULL)
    writer = Writer(path)
    for n in range(frames):
        writer.write("toy", "in", "ws.1#1", "wss://toy.test/", NS, str(n))
    deadline = time.monotonic() + 3
    while writer.error is None and time.monotonic() < deadline:
        time.sleep(0.005)
    assert writer.error is not None
    writer.write("toy", "in", "ws.1#1", "wss://toy.test/", NS, "after")
    with pytest.raises(OSError) as caught:
        writer.close()
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert caught.value is writer.error
    assert writer.lost == frames + 1
    assert f"{frames + 1} lines were lost" in caplog.text
    with pytest.raises(OSError):
        writer.close()


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_a_disk_that_is_full_only_at_the_end(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.symlink_to(FULL)
    writer = Writer(path)
    writer.write("toy", "in", "ws.1#1", "wss://toy.test/", NS, "x")
    with pytest.raises(OSError):
        writer.close()
    assert (writer.error is not None, writer.lost) == (True, 1)


def test_a_slow_disk_loses_lines_counted_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recording, "MAX_WAITING", 10_000)
    path = tmp_path / "x.jsonl"
    writer = Writer(path)
    with writer._news:  # the disk takes nothing meanwhile
        for _ in range(10):
            writer.write("toy", "in", "ws.1#1", "wss://toy.test/", NS, "x" * 2000)
        assert writer.lost == 6
    writer.close()
    assert len(list(read(path))) == 4
    assert writer.error is None
    assert "6 lines were lost because the disk was too slow or full" in caplog.text


def test_after_close_nothing_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    writer = Writer(path)
    writer.write("toy", "in", "ws.1#1", "wss://toy.test/", NS, "1")
    writer.close()
    writer.write("toy", "in", "ws.1#1", "wss://toy.test/", NS, "2")
    writer.close()
    assert writer.lost == 1
    assert [line.raw for line in read(path)] == ["1"]
