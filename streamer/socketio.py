"""Socket.IO over a websocket (Engine.IO 2 to 4): a framing, the answers to its control packets, and the frames of events.

`framing` gives an event as the JSON array that stands in its frame, ``["name", argument, ...]``: cut out, not decoded. Any other packet
becomes ``{"packet", "namespace", "data"}``, read by python-engineio and python-socketio, and is answered by `control`.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import engineio.packet as engine  # type: ignore[import-untyped]
import orjson
import socketio.packet as socket  # type: ignore[import-untyped]
from msgspec import Struct

from streamer.errors import BadFrame
from streamer.spec import Answer, Ready, Reply, Restart, Unknown

EVENT: Final = re.compile(rb"42(?:/[^,]{0,200},)?[0-9]{0,20}(?=\[)")
T = TypeVar("T")


class Event(Struct, Generic[T], array_like=True):
    """An event with one argument; further ones are not read."""

    name: str
    data: T


def framing(data: bytes) -> Sequence[bytes]:
    """One packet. Raises `BadFrame` (reason `packet`) for what is none."""
    if data[:3] == b"42[":
        return (data[2:],)
    found = EVENT.match(data)  # of a namespace, or to be acknowledged
    return (data[found.end() :] if found else _control(data),)


def _control(data: bytes) -> bytes:
    try:
        text = data.decode()
        packet = engine.Packet(encoded_packet=text)
        if packet.binary:
            raise ValueError("it is binary")
        name, namespace, content = engine.packet_names[packet.packet_type], "/", packet.data
        if packet.packet_type == engine.MESSAGE:
            inner = socket.Packet(encoded_packet=text[1:])
            if inner.packet_type == socket.EVENT:
                raise ValueError("an event has a list of its name and arguments")
            name, namespace, content = socket.packet_names[inner.packet_type], inner.namespace or "/", inner.data
        return orjson.dumps({"packet": name, "namespace": namespace, "data": content})
    except (ValueError, TypeError, IndexError, RecursionError) as e:  # TypeError: numbers and text that JSON cannot hold
        raise BadFrame(f"no packet of Engine.IO: {e}", "packet") from None


def event(name: str, *arguments: Any, namespace: str = "/") -> str:
    """The frame of an event."""
    return f"{engine.MESSAGE}{socket.Packet(socket.EVENT, [name, *arguments], namespace).encode()}"


def control(namespace: str = "/", version: int = 4) -> Callable[[Any, Any], Answer[Any] | tuple[()]]:
    """An `other` for what is no known event. It joins the namespace when the connection is open (before Engine.IO 4 every connection is
    in "/" by itself), says `Ready` when that is done, and answers the server's pings. `namespace` and `version` are the venue's."""
    connect = f"{engine.MESSAGE}{socket.Packet(socket.CONNECT, namespace=namespace).encode()}"
    answers: dict[str, Answer[Any] | tuple[()]] = {
        "OPEN": Reply(connect) if version >= 4 or namespace != "/" else (), "PING": Reply(str(engine.PONG)), "PONG": (), "NOOP": (),
        "CONNECT_ERROR": Restart("connect_error"), "DISCONNECT": Restart("disconnect"), "CLOSE": Restart("close"),
    }  # fmt: skip

    def other(m: Any, ctx: Any) -> Answer[Any] | tuple[()]:
        if isinstance(m, list):
            return Unknown(str(m[0]))
        if m["packet"] == "CONNECT":
            return Ready() if m["namespace"] == namespace else ()
        return answers.get(m["packet"]) or (() if m["packet"] in answers else Unknown(m["packet"]))

    return other
