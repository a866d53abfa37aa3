"""How a venue's messages are read: wire types, the pure functions that take them, and a `Normalizer` of them all."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec import Struct

from streamer.answers import Out, Unknown
from streamer.ctx import Ctx

Handler: TypeAlias = Callable[[Any, Ctx[Any]], Out[Any]]


class On(NamedTuple):
    """A wire type and the function that reads it."""

    wire: Any
    handle: Callable[..., Any]


def on(wire: Any, handle: Callable[..., Any]) -> On:
    """Decode into `wire` (generic wire types get the number type filled in) and hand the message to `handle`."""
    return On(wire, handle)


Decode: TypeAlias = Callable[[bytes, Ctx[Any]], Out[Any]]
"""A compiled normalizer: one message's bytes to its answers. Raises `BadFrame`; a KeyError means an unknown symbol."""


class Normalizer(Struct, frozen=True):
    """How messages are told apart: see `streamer.decode.union` and `keyed`. `compile(number type)` gives the `Decode`."""

    compile: Callable[[type[float] | type[Decimal]], Decode]
    handlers: Sequence[On]


def _unheard(num: type[float] | type[Decimal]) -> Decode:
    return lambda data, ctx: Unknown("message")


UNHEARD: Final = Normalizer(_unheard, ())
"""That of a venue that is only polled."""
