"""Framings: what inflates is bounded, and nothing is guessed about what is cut or has a tail."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import BadFrame
from streamer.frames import deflate_raw, inflate, lines
from streamer.frames import gzip as framing

JSON = b'{"ch":"market.btcusdt.trade.detail","ts":1630994963175}'


def raw(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


zipped = pytest.mark.parametrize(("frame", "pack"), [(framing, gzip.compress), (deflate_raw, raw)])


@zipped
def test_packed_and_plain(frame: object, pack: object) -> None:
    assert callable(frame)
    assert callable(pack)
    assert list(frame(pack(JSON))) == [JSON]
    assert list(frame(JSON)) == [JSON]
    assert list(frame(b"[1]")) == [b"[1]"]


@given(st.sampled_from([b"{", b"["]), st.binary(max_size=40))
def test_no_packed_json_looks_plain(start: bytes, rest: bytes) -> None:
    for level in (0, 1, 6, 9):
        packer = zlib.compressobj(level, wbits=-15)
        packed = packer.compress(start + rest) + packer.flush()
        if packed[:1] not in (b"{", b"["):
            assert list(deflate_raw(packed)) == [start + rest]
        else:
            pytest.fail(f"{packed!r} would pass as JSON")


@zipped
@pytest.mark.parametrize("spoil", [lambda b: b[:-1], lambda b: b[: len(b) // 2], lambda b: b + b"x", lambda b: b + b, lambda b: b[:4]])
def test_cut_or_with_a_tail_it_is_refused(frame: object, pack: object, spoil: object) -> None:
    assert callable(frame)
    assert callable(pack)
    assert callable(spoil)
    with pytest.raises(BadFrame) as e:
        frame(spoil(pack(JSON)))
    assert e.value.reason == "inflate"


@pytest.mark.parametrize("flip", range(0, 30, 3))
def test_a_flipped_bit_is_noticed_by_gzip(flip: int) -> None:
    data = bytearray(gzip.compress(JSON * 3, mtime=0))
    data[12 + flip] ^= 0x10
    with pytest.raises(BadFrame):
        framing(bytes(data))


def test_the_limit_is_exact() -> None:
    for pack, wbits in ((gzip.compress, 31), (raw, -15)):
        packed = pack(b"x" * 1000)
        assert inflate(packed, wbits, 1000) == b"x" * 1000
        with pytest.raises(BadFrame, match="more than 999 bytes"):
            inflate(packed, wbits, 999)


@pytest.mark.parametrize("wbits", [31, -15])
def test_a_bomb_costs_no_more_than_the_limit(wbits: int) -> None:
    """200 MB out of 200 kB."""
    packer = zlib.compressobj(9, wbits=wbits)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(BadFrame):
            inflate(bomb, wbits, 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_lines() -> None:
    assert list(lines(b'{"a":1}\n\r\n {"b":"\xe2\x80\xa8"}\r\n\n')) == [b'{"a":1}', b' {"b":"\xe2\x80\xa8"}']
    assert list(lines(b"")) == []
