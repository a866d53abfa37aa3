"""cryptofeed 3 on recordings: its handler takes each frame. (Its own playback takes nothing but captures of the network made by itself.)

One mode, `plain`: each event is handed to an awaited callback that does nothing. What 2.4 does only when told or asked, it does by itself:
it reads the best bid and ask of every book update, and compares checksums where it knows them. All is at its defaults, but candles that are
not closed are told too, as with 2.4.
"""

from typing import NamedTuple

from cryptofeed.connection import HTTPAsyncConn
from cryptofeed.exchange import Exchange
from cryptofeed.exchanges import EXCHANGE_MAP
from cryptofeed_replay import NAMES, callbacks, listing, replay, snapshots, subscription
from driver import Counter, Recording, Round, Skip, quiet, serve

WHY_NOT = {
    "bitmex": "cryptofeed 3 has dropped this venue",
    "coinbaseexchange": "cryptofeed 3 speaks another protocol of this venue (Advanced Trade)",
    "kucoin": "cryptofeed 3 speaks another protocol of this venue (the channel obu)",
}
NONE = '{"result": []}'
"""A list of bybit's without instruments."""


class Lists(NamedTuple):
    """The connection by which it asks for instruments."""

    recording: Recording

    async def read(self, address: str) -> str:
        """What was answered then. Nobody asked for bybit's inverse contracts: no frame is of one. (okx's underlyings it can do without.)"""
        return NONE if "category=inverse" in address else listing(self.recording, address)


async def play(recording: Recording, mode: str) -> Round:
    """One round with a fresh feed."""
    if recording.exchange not in NAMES:
        raise Skip(WHY_NOT.get(recording.exchange, "cryptofeed 3 has not this venue"))
    cls = EXCHANGE_MAP[NAMES[recording.exchange]]
    await cls.load_symbols(conn=Lists(recording))
    HTTPAsyncConn.read = snapshots(recording)
    wanted, events = subscription(cls, recording), Counter[str]()
    feed = cls(subscription=wanted, callbacks=callbacks(wanted, events, mode), candle_closed_only=False)
    done = await replay(feed, recording, wanted, events)
    await feed.shutdown()
    return done


if __name__ == "__main__":
    quiet()
    Exchange._write_symbol_cache = lambda *_: None  # it would leave recorded lists in the user's home
    serve(play)
