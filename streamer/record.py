"""Recording live: a world (`streamer.io.Io`) that writes down what passes through another one."""

from collections.abc import Callable, Mapping

from streamer.io import Closed, Io, OnFrame, Response, Socket
from streamer.recording import Writer
from streamer.spec import Endpoint


class RecordingIo:
    """`Io` of one exchange. A connection is called ``ws.N#K``: line N in its K-th incarnation. A line goes on when the next connection to
    its address (the query, often a token, aside) is opened after it was closed; what is opened while it is open (a hand-over) is another
    line."""

    def __init__(self, io: Io, writer: Writer, exchange: str) -> None:
        self._io = io
        self._writer = writer
        self._exchange = exchange
        self._lines = 0
        self._ended: list[_Line] = []

    def now(self) -> int:
        """Wall clock, ns UTC."""
        return self._io.now()

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""
        return self._io.monotonic()

    async def connect(self, endpoint: Endpoint, on_frame: OnFrame, *, max_frame: int, timeout: float = 10.0) -> Socket:
        """Open a websocket and write down what comes and goes."""
        line = self._line(endpoint.url)
        line.incarnation += 1
        conn, writer, exchange = f"{line.name}#{line.incarnation}", self._writer, self._exchange

        def record(data: bytes, ts_recv: int) -> None:
            writer.write(exchange, "in", conn, endpoint.url, ts_recv, data)
            on_frame(data, ts_recv)

        try:
            socket = await self._io.connect(endpoint, record, max_frame=max_frame, timeout=timeout)
        except BaseException:
            line.incarnation -= 1
            self._ended.append(line)
            raise
        return _RecordedSocket(
            socket, lambda: self._ended.append(line), lambda frame: writer.write(exchange, "out", conn, endpoint.url, self.now(), frame)
        )

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, max_body: int = 64 * 1024 * 1024, timeout: float = 15.0
    ) -> Response:
        """One REST request; its answer is written down whatever its status is."""
        response = await self._io.request(method, url, headers=headers, max_body=max_body, timeout=timeout)
        self._writer.write(self._exchange, "http", "http.1", url, self.now(), response.body, response.status)
        return response

    async def close(self) -> None:
        """Let go of pooled connections."""
        await self._io.close()

    def _line(self, url: str) -> "_Line":
        """The line that goes on at this address, the one that ended last, or a new one."""
        for address in (url, url.partition("?")[0]):
            for line in reversed(self._ended):
                if address in (line.url, line.url.partition("?")[0]):
                    self._ended.remove(line)
                    line.url = url
                    return line
        self._lines += 1
        return _Line(f"ws.{self._lines}", url)


class _Line:
    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.incarnation = 0


class _RecordedSocket:
    def __init__(self, socket: Socket, ended: Callable[[], None], write: Callable[[str | bytes], None]) -> None:
        self._socket = socket
        self._ended: Callable[[], None] | None = ended
        self._write = write

    def send(self, frame: str | bytes) -> None:
        self._write(frame)
        self._socket.send(frame)

    def ping(self) -> None:
        self._socket.ping()

    def heard(self) -> float:
        return self._socket.heard()

    async def wait_closed(self) -> Closed:
        return await self._socket.wait_closed()

    async def close(self) -> None:
        try:
            await self._socket.close()
        finally:
            ended, self._ended = self._ended, None  # several may wait here, and the line goes on once
            if ended is not None:
                ended()
