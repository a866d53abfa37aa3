"""A feed's compiled normalizer, to be given messages by hand."""

from decimal import Decimal
from typing import Any

import orjson

from streamer.catalog import Catalog
from streamer.spec import Ctx


class Wire:
    """With the instruments of a session: a message in, its answers out."""

    def __init__(self, listed: Catalog, market: str, num: type[float] | type[Decimal] = float) -> None:
        self.ctx: Ctx[Any] = Ctx(listed.feed.name, market, listed.tables[market], num)
        self.decode = listed.feed.normalize.compile(num)

    def __call__(self, message: object) -> Any:
        """`message`: JSON as text or bytes, or what becomes JSON."""
        data = message.encode() if isinstance(message, str) else message if isinstance(message, bytes) else orjson.dumps(message)
        return self.decode(data, self.ctx)
