"""bitbank: spot, over Socket.IO. https://github.com/bitbankinc/bitbank-api-docs/blob/master/public-stream.md"""

from collections.abc import Sequence

from normalizers.bitbank import INSTRUMENTS, NORMALIZE
from streamer.rules import rising
from streamer.socketio import event, framing
from streamer.spec import Feed, FromStream, Instruments, Limits


def command(verb: str, topics: Sequence[str]) -> list[str]:
    """A topic is one room, or two."""
    return [event(verb, room) for topic in topics for room in topic.split()]


# Candles are left to REST: there a day of them, or a year, comes as a whole, and which one is part of the path.
FEED = Feed(
    name="bitbank",
    endpoints={"spot": "wss://stream.bitbank.cc/socket.io/?EIO=4&transport=websocket"},
    instruments=Instruments(["https://api.bitbank.cc/v1/spot/pairs"], INSTRUMENTS),
    topics={
        ("spot", "trade"): "transactions_{id}",
        ("spot", "book"): "depth_diff_{id} depth_whole_{id}",  # in this order, so that no difference is missed after a whole
        ("spot", "ticker"): "ticker_{id}",
    },
    subscribe=lambda topics, n: command("join-room", topics),
    unsubscribe=lambda topics, n: command("leave-room", topics),
    normalize=NORMALIZE,
    # DOUBT: about 200 levels are told of, says the page; taken for exactly 200 (settled by wholes beside a book kept since the one before)
    # Crossed is right while orders are collected for an auction; whatever else crosses a book, the next whole (15 s) mends.
    book={"spot": FromStream(rising, repeats=True, reach=200, grace_s=86_400)},
    framing=framing,
    await_ready=True,
    acks=False,
    # DOUBT: no limits are told of the stream; 124 rooms on a socket were taken (a third party's probe, 2026; settled by more)
    limits=Limits(sends=(10, 1.0), topics_per_line=60, topics_per_command=10),
)
