"""One connection's way of a message, without the connection: frame, framing, typed decode, normalizer, hub. Sans-I/O.

The engine feeds it from a socket, replay from a file. A frame that cannot be understood costs that frame, is counted by reason, and a
sample is kept.
"""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from streamer.answers import several
from streamer.decode import HANDLER_ERRORS, checked
from streamer.errors import BadFrame
from streamer.frames import Framing
from streamer.hub import Carrier
from streamer.rules import PROVE_NOTHING
from streamer.spec import Ack, BookMethod, Ctx, Feed, FromRequest, FromRest, FromStream, Reject, Symbols, Unknown, UnknownId
from streamer.sync import Sync
from streamer.types import Instrument

OnFrame: TypeAlias = Callable[[bytes, int], list[Any] | None]
Numbers = Literal["float", "decimal"]
NUM: dict[str, type[float] | type[Decimal]] = {"float": float, "decimal": Decimal}
SAMPLE_BYTES = 512
NAMES_KEPT = 100
"""Different names of unknown messages counted apart; the rest are `other`."""
NAMING: Final = frozenset((Ack, Reject))
"""Answers that name a topic, or the number of a command."""


class Tally:
    """What an exchange's lines could not use: `bad` frames by reason, `unknown` messages by name, `samples` of bad frames."""

    def __init__(self) -> None:
        self.frames = 0
        self.bad: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.unknown_ids: Counter[str] = Counter()
        self.samples: dict[str, bytes] = {}

    def bad_frame(self, reason: str, data: bytes) -> None:
        """Count a bad frame; the first of each reason is kept, cut."""
        self.bad[reason] += 1
        self.samples.setdefault(reason, data[:SAMPLE_BYTES])

    def bad_answer(self, error: BadFrame, body: bytes) -> bool:
        """Count a REST answer that was not understood. True: only because it names an instrument that the list does not hold."""
        if error.unknown_id is not None:
            self.name(self.unknown_ids, error.unknown_id)
            return True
        self.bad_frame(error.reason, body)
        return False

    def name(self, counter: Counter[str], what: str) -> None:
        """Count under a name that came from outside."""
        what = what[:64]
        counter[what if what in counter or len(counter) < NAMES_KEPT else "other"] += 1


class Line:
    """`on_frame(data, ts_recv)` takes a frame that arrived at `ts_recv` (ns). It gives back what the engine must see to: controls and
    `Need`s, or None."""

    def __init__(self, feed: Feed, market: str, symbols: Symbols, numbers: Numbers, carrier: Carrier, tally: Tally) -> None:
        num = NUM[numbers]
        self.feed = feed
        self.market = market
        self.carrier = carrier
        self.tally = tally
        self.ctx: Ctx[Any] = Ctx(feed.name, market, symbols, num)
        self.ctx.wanted = carrier.wanted
        self.on_frame: OnFrame = self._message if feed.framing is None else partial(self._framed, feed.framing)
        self._decode = feed.normalize.compile(num) if num is float else checked(feed.normalize.compile(num))
        self._routes = carrier.routes
        self._answer = feed.ping.answer if feed.ping is not None else None

    def _framed(self, framing: Framing, data: bytes, ts_recv: int) -> list[Any] | None:
        self.tally.frames += 1
        try:
            messages = framing(data)
        except BadFrame as e:
            return None if data == self._answer else self._bad(e.reason, data, ts_recv)
        back: list[Any] = []
        self.tally.frames -= len(messages)  # each of them counts itself
        for message in messages:
            back += self._message(message, ts_recv) or ()
        return back or None

    def _message(self, data: bytes, ts_recv: int) -> list[Any] | None:
        self.tally.frames += 1
        ctx = self.ctx
        ctx.ts_recv = ts_recv
        try:
            out: Any = self._decode(data, ctx)
        except BadFrame as e:
            if e.reason == "json" and data == self._answer:
                return None
            return self._bad(e.reason, data, ts_recv)
        except UnknownId as e:
            self.tally.name(self.tally.unknown_ids, str(e.args[0]) if e.args else "")
            return [e]
        except HANDLER_ERRORS:
            return self._bad("shape", data, ts_recv)
        by_symbol = self._routes.get(out.__class__)
        if by_symbol is not None:  # `Carrier.take` of what most messages are, at once
            route = by_symbol.get(out.symbol)
            if route is not None:
                need = route(out)
                return None if need is None else [need]
        return None if out is None else self._answers(out, data, ts_recv)

    def _answers(self, out: Any, data: bytes, ts_recv: int) -> list[Any] | None:
        back = self.carrier.push(several(out))
        for control in back or ():
            if control.__class__ is Unknown:
                self.tally.name(self.tally.unknown, control.what)
            elif control.__class__ in NAMING and not isinstance(control.key, str | int):
                return self._bad("shape", data, ts_recv)  # a list, say, where a topic's name should stand
        return back

    def _bad(self, reason: str, data: bytes, ts: int) -> list[Any] | None:
        self.tally.bad_frame(reason, data)
        return [BadFrame(reason, reason), *self.carrier.suspect("bad_frame", ts)]


def sync_of(method: BookMethod, instrument: Instrument, depth: int | None) -> Sync[Any]:
    """The state machine for a book kept by this method; `depth` is the one subscribed."""
    grace = int(method.grace_s * 1e9)
    if isinstance(method, FromRest | FromRequest):
        return Sync(instrument, method.rule, hold=True, grace=grace, reach=method.reach if isinstance(method, FromRest) else None)
    if isinstance(method, FromStream):
        cut = depth if method.truncate else None
        more: dict[str, Any] = {"hold": method.repeats, "repeats": method.repeats, "reach": method.reach}
        sync: Sync[Any] = Sync(instrument, method.rule, checksum=method.checksum, depth=cut, grace=grace, **more)
    else:
        sync = Sync(instrument, grace=grace)
    sync.asked = True  # subscribing asks for it
    return sync


def proof_of(method: BookMethod) -> str:
    """What shows a lost delta: `sequence`, `checksum`, `ids` (a lost level only), `refresh` (every message is whole), or `none`."""
    if isinstance(method, FromRest | FromRequest):
        return "none" if method.rule in PROVE_NOTHING else "sequence"
    if isinstance(method, FromStream):
        unnumbered = "checksum" if method.checksum is not None else "ids" if method.by_id else "none"
        return unnumbered if method.rule in PROVE_NOTHING else "sequence"
    return "refresh"
