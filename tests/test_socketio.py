"""Socket.IO: events are cut out of their frames, all else is read by the library and answered as the protocol says."""

from contextlib import suppress
from typing import Any

import msgspec
import orjson
import pytest
from engineio.packet import Packet as EnginePacket
from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import Packet

from streamer.decode import plain
from streamer.errors import BadFrame
from streamer.socketio import Event, control, event, framing
from streamer.spec import Ready, Reply, Restart, Unknown

SPACES = st.sampled_from(["/", "/public", "/a-b?token=1"])
CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)
CTX: Any = None


def answers(frame: bytes, **how: Any) -> Any:
    (message,) = framing(frame)
    return control(**how)(plain(message), CTX)


@given(st.text(min_size=1), CONTENT, SPACES, st.none() | st.integers(0, 10**15))
def test_an_event_is_what_the_library_reads(name: str, content: Any, space: str, id: int | None) -> None:
    text = f"4{Packet(2, [name, content], space, id).encode()}"
    (cut,) = framing(text.encode())
    assert text.encode().endswith(cut)
    assert orjson.loads(cut) == Packet(encoded_packet=text[1:]).data == [name, content]


@given(st.text(min_size=1), CONTENT, SPACES)
def test_an_event_that_we_send_is_what_the_library_reads(name: str, content: Any, space: str) -> None:
    packet = EnginePacket(encoded_packet=event(name, content, namespace=space))
    inner = Packet(encoded_packet=packet.data)
    assert (packet.packet_type, inner.packet_type) == (4, 2)
    assert (inner.data, inner.namespace) == ([name, content], None if space == "/" else space.partition("?")[0])


def test_frames_of_events() -> None:
    assert event("join-room", "ticker_btc_jpy") == '42["join-room","ticker_btc_jpy"]'
    assert event("SUBSCRIBE", ["A", "B"]) == '42["SUBSCRIBE",["A","B"]]'
    assert event("switchRoom", "news", namespace="/public") == '42/public,["switchRoom","news"]'
    assert framing(b'42/public,["stream",{"bids":[]}]') == (b'["stream",{"bids":[]}]',)
    assert framing(b'4217["asked",1]') == (b'["asked",1]',)


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (b'0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000}', Reply("40")),
        (b'40{"sid":"b"}', Ready()),
        (b"40", Ready()),
        (b'40/other,{"sid":"b"}', ()),
        (b"2", Reply("3")),
        (b"3", ()),
        (b"6", ()),
        (b"1", Restart("close")),
        (b"41", Restart("disconnect")),
        (b'44{"message":"not authorized"}', Restart("connect_error")),
        (b'42["news",1]', Unknown("news")),
        (b'431["ok"]', Unknown("ACK")),
        (b'451-["x",{"_placeholder":true,"num":0}]', Unknown("BINARY_EVENT")),
        (b"5", Unknown("UPGRADE")),
    ],
)
def test_what_is_answered(frame: bytes, answer: Any) -> None:
    assert answers(frame) == answer


OPEN = b'0{"sid":"a","pingInterval":25000}'


def test_namespaces_and_older_versions() -> None:
    """Before Engine.IO 4 the server puts everybody into "/" unasked, and clients send the pings."""
    assert answers(OPEN, version=3) == ()
    assert answers(b"40", version=3) == Ready()
    assert answers(OPEN, namespace="/public", version=3) == Reply("40/public,")
    assert answers(b"40", namespace="/public", version=3) == ()
    assert answers(b"40/public", namespace="/public", version=3) == Ready()
    assert answers(OPEN, namespace="/public") == Reply("40/public,")


NO_PACKETS = [
    b"", b"7", b"9{}", b"4", b"47", b"x", b'{"a":1}', b"\xff\xfe", b'40{"sid"', b'42{"no":"list"}', b"b", b"bAAAA", b"40" + b"[" * 100_000,
    b"0" + b"[" * 100_000, b"43" + b"1" * 1000, b'40{"n":' + b"9" * 200 + b"}", b'40{"n":' + b"9" * 50 + b"}", b'40["\\ud800"]',
]  # fmt: skip


@pytest.mark.parametrize("frame", NO_PACKETS, ids=lambda frame: repr(frame[:20]))
def test_what_is_no_packet(frame: bytes) -> None:
    with pytest.raises(BadFrame) as e:
        framing(frame)
    assert e.value.reason == "packet"


def test_whether_an_event_is_json_its_decoder_sees() -> None:
    assert framing(b"42[") == (b"[",)


@given(st.binary(max_size=60) | st.text().map(str.encode) | st.from_regex(rb"[0-9]{1,4}[\[{/].{0,20}"))
def test_any_bytes_are_a_packet_or_a_bad_frame(frame: bytes) -> None:
    with suppress(BadFrame):
        (message,) = framing(frame)
        assert message[:1] == b"[" or set(orjson.loads(message)) == {"packet", "namespace", "data"}


def test_further_arguments_are_not_read() -> None:
    assert msgspec.json.decode(b'["message",{"a":1},"more",2]', type=Event[dict[str, int]]) == Event("message", {"a": 1})
