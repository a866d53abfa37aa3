"""What a venue numbers on one connection: its channels (the third typed form of a normalizer, `numbered`), its messages (`in_line`), and
each instrument's trades (`counted_trade`).

`[232949,[277520,1,0.09],68]`: a frame names its channel by a number that the venue gave when it was subscribed. The number is found in the
bytes and looked up in what this connection has learnt (`ctx.mem`), how the payload begins says its shape, and both pick the typed decoder.
What comes before the answer that tells its number is held, bounded, and decoded when that answer is there.

Where the messages are numbered too, those that are decoded bring their number along (`seq`). Only of the others it is sought in the bytes.
"""

from collections.abc import Callable, Container, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from streamer.answers import several
from streamer.decode import HANDLER_ERRORS, After, decoder, plain, slow
from streamer.errors import BadFrame
from streamer.spec import Ctx, Decode, Handler, Normalizer, On, Out, Restart, Unknown, UnknownId
from streamer.types import Gap, Trade

HELD_BYTES: Final = 4 << 20
"""Of frames whose channel is not known yet, each counted with `FRAME_COST`; beyond that all are forgotten."""
FRAME_COST: Final = 100
HELD: Final = "held"
HELD_ERRORS: Final = (BadFrame, *HANDLER_ERRORS)
NEXT: Final = "next in line"
ROUTES: Final = "routes"
"""How frames are read that begin so: up to two bytes of a list, or all of a short text."""
NO_ROUTES: Final[dict[bytes, Any]] = {}
LAST_TRADE: Final = "last trade"
MANY: Final = b"[["
TEXT: Final = len(b'"te"')


class Channel(NamedTuple):
    """`name` picks the handlers; `about` is given to them: what the subscription was about (a symbol, a key)."""

    name: str
    about: str


class _Held:
    """Frames by the number of a channel that is not known yet, with the times of their arrival."""

    def __init__(self) -> None:
        self.frames: dict[bytes, list[tuple[int, bytes]]] = {}
        self.size = 0

    def keep(self, number: bytes, data: bytes, ts_recv: int) -> Unknown | None:
        self.size += len(data) + FRAME_COST
        if self.size > HELD_BYTES:
            self.frames.clear()  # what is left of a book without its snapshot is dropped by its `Sync`
            self.size = 0
            return Unknown("too many frames without a channel")
        self.frames.setdefault(number, []).append((ts_recv, bytes(data)))
        return None

    def take(self, number: bytes) -> list[tuple[int, bytes]]:
        frames = self.frames.pop(number)
        self.size -= sum(len(data) + FRAME_COST for _, data in frames)
        return frames


def learn(ctx: Ctx[Any], number: object, name: str, about: str) -> None:
    """The venue has said what this number stands for on this connection."""
    ctx.mem.pop(ROUTES, None)
    ctx.mem[str(number).encode()] = Channel(name, about)


def forget(ctx: Ctx[Any], number: object) -> None:
    """The channel of this number was closed."""
    ctx.mem.pop(ROUTES, None)
    ctx.mem.pop(str(number).encode(), None)


def shape(data: bytes, i: int) -> bytes:
    """How the payload at `i` begins: `[[` for a list of lists (or an empty one), `[` for one list, `{`, or a whole text: `"te"`."""
    first = data[i : i + 1]
    if first == b'"':
        end = data.find(b'"', i + 1)
        return data[i : end + 1] if end > 0 else b""
    return MANY if data[i : i + 2] in (MANY, b"[]") else first


def count_from(ctx: Ctx[Any], first: int) -> None:
    """The venue has said that it numbers the messages of this connection. The next is `first`."""
    ctx.mem.setdefault(NEXT, first)


def in_line(ctx: Ctx[Any], number: int) -> Out[Any]:
    """Is this message the next of its connection? None if so, or if they are not counted; a repeated one is left out. Behind a hole every
    message is answered with `Restart` again, so none of them is taken for right."""
    due = ctx.mem.get(NEXT)
    if due is None:
        return None
    if number == due:
        ctx.mem[NEXT] = due + 1
        return None
    return () if number == due - 1 else Restart("sequence")


def counted_trade(ctx: Ctx[Any], number: int, trade: Trade[Any]) -> Out[Any]:
    """A trade, where the venue numbers an instrument's trades by one: behind a hole comes a `Gap` first, which counts those lost.

    A number from before (late, or repeated) is let through.
    """
    key = (LAST_TRADE, trade.symbol)
    last, since = ctx.mem.get(key, (number - 1, None))
    if number > last:
        ctx.mem[key] = number, ctx.ts_recv
    if number <= last + 1:
        return trade
    at = trade.exchange, trade.symbol, None, ctx.ts_recv
    return [Gap(*at, "trade", "sequence", since, ctx.ts_recv, number - last - 1, None, "sequence"), trade]


SeqOf: TypeAlias = Callable[[bytes, Ctx[Any]], int]
"""``seq_of(frame, ctx)``: the message's number on its connection, out of the bytes. May raise `ValueError`."""


def numbered(
    key: After, channels: Mapping[str, Mapping[bytes, On]], *, other: Handler, idle: Container[bytes] = (), seq_of: SeqOf | None = None
) -> Normalizer:
    """Channels by name, and in each what its shapes (see `shape`) are read as; handlers are ``(message, ctx, about)``.

    `key`: of frames that begin with its mark and a number; all else goes to `other`, which says `learn` and `forget`. `idle`: shapes that
    say nothing, on any channel. `seq_of`: where messages are numbered too, once `count_from` has said so: every frame is counted in order
    of arrival, known or not, before it is handled or held. Wire types then have a field `seq`.
    """
    mark, until = key.mark, key.until
    skip, over = len(mark), len(until)
    ahead = over + len(MANY)

    def compile_(num: type[float] | type[Decimal]) -> Decode:
        compiled = {n: {start: (decoder(o.wire, num), o.handle) for start, o in shapes.items()} for n, shapes in channels.items()}

        def read(data: bytes, i: int, channel: Channel, ctx: Ctx[Any]) -> Out[Any]:
            start = shape(data, i)
            hit = compiled.get(channel.name, {}).get(start)
            if hit is None:
                if start in idle:
                    return ()
                plain(data)
                return Unknown(f"{channel.name} {start.decode('ascii', 'replace')}")
            try:
                message = hit[0](data)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
                return slow(data, ctx, other, e)
            if start[:1] != b'"' or len(start) == TEXT:  # two bytes tell a list from a list of lists, but not a text from another
                routes = ctx.mem.setdefault(ROUTES, {})
                routes[data[: i + (TEXT if start[:1] == b'"' else len(MANY))]] = *hit, channel.about
            answer: Out[Any] = hit[1](message, ctx, channel.about)
            return answer

        def release(ctx: Ctx[Any], held: _Held) -> list[Any]:
            """What came too early. A frame that is not understood may be the very snapshot, so the connection is begun anew."""
            answers: list[Any] = []
            now = ctx.ts_recv
            try:
                for number in [n for n in held.frames if n in ctx.mem]:
                    for ts_recv, data in held.take(number):
                        ctx.ts_recv = ts_recv
                        try:
                            answers += several(read(data, skip + len(number) + over, ctx.mem[number], ctx))
                        except UnknownId:
                            continue
            except HELD_ERRORS:
                answers.append(Restart("held_frame"))
            finally:
                ctx.ts_recv = now
            return answers

        def road(data: bytes, ctx: Ctx[Any]) -> Out[Any]:
            i = data.find(until, skip)
            number = data[skip:i] if i >= 0 else b""
            if not data.startswith(mark) or not number.isdigit():
                answer = slow(data, ctx, other, None)
                held = ctx.mem.get(HELD)
                return [*several(answer), *release(ctx, held)] if held is not None and held.frames else answer
            if seq_of is not None and NEXT in ctx.mem and (instead := in_line(ctx, seq_of(data, ctx))) is not None:
                return instead
            channel = ctx.mem.get(number)
            if channel is None:
                return ctx.mem.setdefault(HELD, _Held()).keep(number, data, ctx.ts_recv)  # type: ignore[no-any-return]
            return read(data, i + over, channel, ctx)

        def known_road(data: bytes, ctx: Ctx[Any]) -> Out[Any]:
            """The same with few steps, for frames that begin as one did that was read before."""
            mem = ctx.mem
            routes = mem.get(ROUTES, NO_ROUTES)
            i = data.find(until, skip) + ahead
            hit = routes.get(data[:i]) or routes.get(data[: i + TEXT - len(MANY)])
            if hit is None:
                return road(data, ctx)
            decode, handle, about = hit
            try:
                message = decode(data)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return road(data, ctx)
            due = mem.get(NEXT)
            if due is not None:
                if message.seq != due:
                    return road(data, ctx)
                mem[NEXT] = due + 1
            answer: Out[Any] = handle(message, ctx, about)
            return answer

        return known_road

    ons = dict.fromkeys(o for shapes in channels.values() for o in shapes.values())
    return Normalizer(compile_, tuple(ons))
