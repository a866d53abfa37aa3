"""The server of the socket benchmark, in a process (and on a core) of its own: floods, or sends at a pace. `bench.sockets` starts it.

Commands come as JSON lines on stdin: ``{"do": "flood" | "pace", "kind", "size", "each", "rate"}``, and are carried out on every connection
that has subscribed: `each` messages a connection, in a flood as fast as the client takes them, else `rate` a second over all connections,
each written by itself. A line on stdout tells the ports, and one for each command when all is written. It ends with its stdin.
"""

import asyncio
import json
import ssl
import sys
import threading
import time
from typing import Any, ClassVar

import orjson
import picows
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from bench import venue

WRITE = 64 << 10
"""Bytes that a flood writes at a time."""


class Client(WSListener):
    """A connection. `topic`: what it subscribed to, as (kind, the venue's id)."""

    here: ClassVar[set["Client"]] = set()

    def __init__(self) -> None:
        self.topic: tuple[str, str] | None = None
        self.room = asyncio.Event()
        self.room.set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """A client has come."""
        self.transport = transport
        Client.here.add(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """It is gone."""
        Client.here.discard(self)
        self.room.set()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A command, or the end."""
        if frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type is WSMsgType.TEXT:
            command = orjson.loads(frame.get_payload_as_bytes())
            if command["op"] != "subscribe":
                return
            kind, _, symbol = command["topics"][0].partition(".")
            transport.send(WSMsgType.TEXT, orjson.dumps({"ack": command["n"]}))
            beginning = venue.first(kind, symbol)
            if beginning is not None:
                transport.send(WSMsgType.TEXT, beginning)
            self.topic = kind, symbol

    def pause_writing(self) -> None:
        """The client is slower than we are."""
        self.room.clear()

    def resume_writing(self) -> None:
        """It has taken what there was."""
        self.room.set()

    async def flood(self, frames: list[bytes], each: int) -> None:
        """Send so many, going round, as fast as they are taken."""
        step = max(1, WRITE // len(frames[0]))
        blocks = [b"".join(frames[i : i + step]) for i in range(0, len(frames), step)]
        write = self.transport.underlying_transport.write
        for _ in range(each // len(frames)):
            for block in blocks:
                if not self.room.is_set():
                    await self.room.wait()
                if self not in Client.here:
                    return
                write(block)
            await asyncio.sleep(0)


async def pace(clients: list[tuple[Client, list[bytes]]], each: int, rate: float) -> float:
    """One after the other, each message by itself; the seconds that the worst of them was late."""
    writes = [(client.transport.underlying_transport.write, frames) for client, frames in clients]
    worst, sent, began = 0.0, 0, time.perf_counter()
    for n in range(each):
        for write, frames in writes:
            wait = began + sent / rate - time.perf_counter()
            if wait > 0.00015:
                time.sleep(wait - 0.0001)  # noqa: ASYNC251  (nobody else is to be served)
            while time.perf_counter() < began + sent / rate:
                pass
            worst = max(worst, -wait)
            write(frames[n % len(frames)])
            sent += 1
            await asyncio.sleep(0)  # a transport may write only when the loop turns
    return worst


async def carry_out(command: dict[str, Any], made: dict[tuple[str, str, int], list[bytes]]) -> dict[str, Any]:
    """One command; what is told when it is done."""
    kind, size, each = command["kind"], command["size"], command["each"]
    clients = [(c, made[kind, c.topic[1], size]) for c in Client.here if c.topic is not None and c.topic[0] == kind]
    began, late = time.perf_counter(), 0.0
    if command["do"] == "flood":
        await asyncio.gather(*(c.flood(frames, each) for c, frames in clients))
    else:
        late = await pace(clients, each, command["rate"])
    return {"clients": len(clients), "seconds": time.perf_counter() - began, "late_us": late * 1e6}


async def main(certificate: str, kinds: list[Any], sizes: list[int], symbols: int) -> None:
    made = venue.rounds(kinds, sizes, symbols)
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(certificate)
    plain = await picows.ws_create_server(lambda request: Client(), "127.0.0.1", 0)
    tls = await picows.ws_create_server(lambda request: Client(), "127.0.0.1", 0, ssl=secure)
    rounds = {f"{kind} {size}": len(frames) for (kind, _, size), frames in made.items()}
    tell({"ports": [s.sockets[0].getsockname()[1] for s in (plain, tls)], "rounds": rounds})
    loop, commands = asyncio.get_running_loop(), asyncio.Queue[str]()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(commands.put_nowait, line)
        loop.call_soon_threadsafe(commands.put_nowait, "")

    threading.Thread(target=read, daemon=True).start()
    while line := await commands.get():
        tell(await carry_out(json.loads(line), made))


def tell(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    uvloop.run(main(**options))
