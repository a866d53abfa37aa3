"""What one connection tells its venue: the subscriptions on the wire are brought to what is wanted, at the venue's pace.

A topic to which anything happens is put down here; what is sent is decided when its turn comes: unsubscribed what is on the wire,
subscribed what is wanted. So a topic that came and went meanwhile costs no command, and one that is subscribed again gets a new snapshot.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from streamer.gates import Gate
from streamer.io import Socket
from streamer.spec import Feed
from streamer.topics import Topic

NUMBERS_KEPT = 1000


class Commands:
    """Of one session. `topics` are those wanted now; the connection keeps them. `sent` is called with each that was subscribed."""

    def __init__(self, feed: Feed, topics: Mapping[str, Topic], sent: Callable[[Topic], None]) -> None:
        self._feed = feed
        self._topics = topics
        self._sent = sent
        self._gate = Gate(*feed.limits.sends)
        self._waiting: dict[str, None] = {}
        self._halves: deque[list[str]] = deque()
        self._on_wire: set[str] = set()
        self._ids: dict[str, str] = {}
        self._numbers: dict[int, Sequence[str]] = {}
        self._number = 0
        self._queued = asyncio.Event()

    def see_to(self, texts: Iterable[str]) -> None:
        """Something happened to these topics."""
        self._waiting.update(dict.fromkeys(texts))
        self._queued.set()

    def repeat(self, text: str) -> None:
        """The venue refused or never answered it: subscribe again."""
        self._on_wire.discard(text)
        self.see_to([text])

    def stands(self, text: str) -> None:
        """The venue sends it."""
        self._on_wire.add(text)

    def refused(self, text: str) -> None:
        """The venue does not send it, so it needs no unsubscribing."""
        self._on_wire.discard(text)

    def called(self, text: str, id: str) -> None:
        """The venue has a name of its own for what was subscribed. If it is not wanted any more, it can be unsubscribed only now."""
        self._ids[text] = id
        if text not in self._topics:
            self._on_wire.add(text)
            self.see_to([text])

    def halve(self, texts: Sequence[str]) -> None:
        """One command for all of these was refused as a whole: find out which of them it is."""
        self._on_wire.difference_update(texts)
        middle = len(texts) // 2
        self._halves += [list(texts[:middle]), list(texts[middle:])]
        self._queued.set()

    def named(self, key: str | int) -> list[Topic]:
        """The topics that an answer is about: by text, or by number of the command, which means those not answered by name yet."""
        if isinstance(key, str):
            return [self._topics[key]] if key in self._topics else []
        found = [self._topics[t] for t in self._numbers.get(key, ()) if t in self._topics]
        return [t for t in found if not t.acked and t.rejected is None]

    async def request(self, socket: Socket, frame: str) -> None:
        """Send another frame, in turn with the commands."""
        await self._gate.acquire()
        socket.send(frame)

    def next_number(self) -> int:
        """The number of the next command."""
        self._number += 1
        return self._number

    async def run(self, socket: Socket) -> None:
        """Send until cancelled."""
        while True:
            await self._queued.wait()  # which takes a turn of the loop: what is subscribed in the same turn goes in one command
            turn = self._turn()
            if not turn:
                self._queued.clear()
                continue
            await self._unsubscribe(socket, [t for t in turn if t in self._on_wire])
            await self._subscribe(socket, [t for t in turn if t in self._topics])

    def _turn(self) -> list[str]:
        if self._halves:
            return self._halves.popleft()
        most, together, texts = self._feed.limits.topics_per_command, self._feed.together, iter(self._waiting)
        if together is not None and self._waiting:
            first = together(next(iter(self._waiting)))
            texts = (text for text in self._waiting if together(text) == first)
        turn = list(islice(texts, most))
        for text in turn:
            del self._waiting[text]
        return turn

    async def _unsubscribe(self, socket: Socket, texts: Sequence[str]) -> None:
        if texts:
            self._on_wire.difference_update(texts)
            for frame in self._feed.unsubscribe([self._ids.pop(t, t) for t in texts], self.next_number()):
                await self.request(socket, frame)

    async def _subscribe(self, socket: Socket, texts: Sequence[str]) -> None:
        if not texts:
            return
        number = self.next_number()
        self._numbers[number] = texts
        if len(self._numbers) > NUMBERS_KEPT:
            del self._numbers[next(iter(self._numbers))]
        self._on_wire.update(texts)
        for frame in self._feed.subscribe(texts, number):
            await self.request(socket, frame)
        for topic in [self._topics[t] for t in texts if t in self._topics]:
            self._sent(topic)
