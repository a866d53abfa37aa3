"""cryptofeed 2.4 on recordings, through its own playback (`cryptofeed.raw_data_collection._playback`), the file read before it.

Modes: `plain`, each event is handed to an awaited callback that does nothing; `best`, the callback of a book reads its best bid and ask, as
users do; `checked`, with checksums too, where it has them (okx), which it leaves out unless told.
"""

from decimal import Decimal

from cryptofeed.connection import HTTPAsyncConn, HTTPSync
from cryptofeed.exchanges import EXCHANGE_MAP
from cryptofeed.symbols import Symbols
from cryptofeed_replay import NAMES, callbacks, listing, replay, snapshots, subscription
from driver import Counter, Recording, Round, Skip, quiet, serve
from yapic import json

OWN = NAMES | {"bitmex": "BITMEX", "kucoin": "KUCOIN"}
KEYS = {"key_id": "x", "key_secret": "x", "key_passphrase": "x"}
CONFIG = {"deribit": KEYS, "kucoin": KEYS, "log": {"disabled": True, "filename": "/dev/null", "level": "CRITICAL"}, "uvloop": False}
BULLET = {"data": {"token": "x", "instanceServers": [{"endpoint": "wss://ws-api.kucoin.com/endpoint", "pingInterval": 18000}]}}


async def play(recording: Recording, mode: str) -> Round:
    """One round with a fresh feed."""
    if recording.exchange not in OWN:
        raise Skip("cryptofeed 2.4 speaks another protocol of this venue")
    cls = EXCHANGE_MAP[OWN[recording.exchange]]
    HTTPSync.read = lambda self, address, *_, **__: json.loads(listing(recording, address), parse_float=Decimal)
    HTTPSync.write = lambda *_, **__: BULLET
    HTTPAsyncConn.read = snapshots(recording)
    wanted, events = subscription(cls, recording), Counter[str]()
    how = {"candle_closed_only": False, "config": CONFIG, "checksum_validation": mode == "checked"}
    feed = cls(subscription=wanted, callbacks=callbacks(wanted, events, mode), **how)
    done = await replay(feed, recording, wanted, events)
    feed.stop()
    await feed.shutdown()
    return done


if __name__ == "__main__":
    quiet()
    Symbols.clear()
    serve(play)
