"""A look at everything twice a second: what streams, connections and the ledger have done, summed up so that counters never fall.

Streams and connections come and go with the counters that they hold; here they are added up by exchange and kind, for `/metrics`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from streamer.connection import Connection
from streamer.daemon.pulse import Pulse
from streamer.engine import Engine
from streamer.ledger import Entry
from streamer.mailbox import StreamKey
from streamer.streams import Stream
from streamer.venue import Venue

EVERY_S = 0.5


def connections(venue: Venue) -> list[Connection]:
    """Those that work, and those that are being replaced."""
    return [*venue.connections, *venue.leaving]


def state_of(connection: Connection) -> str:
    """up, down or connecting."""
    if connection.session is not None and connection.session.socket is not None:
        return "up"
    return "down" if connection.down is not None else "connecting"


class Survey:
    """`look` before anything is read. Ages and silences are on the clock that `look` is given."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.pulses: dict[StreamKey, Pulse] = {}
        self.events: Counter[tuple[str, str]] = Counter()
        """Ticks published, by exchange and kind."""
        self.reconnects: Counter[str] = Counter()
        self.stalls: Counter[str] = Counter()
        self.gaps: Counter[tuple[str, str, str, str]] = Counter()
        """Holes that ended, by exchange, kind, cause and how they were made good."""
        self.gap_seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.spoke: float | None = None
        """When any stream last brought anything."""
        self._streams: dict[Stream, int] = {}
        self._connections: dict[Connection, tuple[int, int]] = {}
        self._closed = 0

    def look(self, now: float, stale_s: float) -> None:
        """Take everything in. `now` in monotonic seconds."""
        self._look_at_streams(now, stale_s)
        self._look_at_connections()
        self._look_at_ledger()

    def age(self, key: StreamKey, now: float) -> float | None:
        """Seconds since the stream's last tick; None if it never brought any."""
        pulse = self.pulses.get(key)
        return now - pulse.last if pulse is not None and pulse.count else None

    def streams(self) -> Iterable[Stream]:
        """Those that somebody wants."""
        return [s for s in self.engine.hub.streams.values() if s.wanted]

    def _look_at_streams(self, now: float, stale_s: float) -> None:
        current = {stream: stream.published for stream in self.engine.hub.streams.values()}
        for stream in self._streams.keys() - current.keys():
            self._count(stream, now)  # the last that it did
        for stream in current:
            pulse = self.pulses.get(stream.key)
            if pulse is None:
                pulse = self.pulses[stream.key] = Pulse(now, 0)
            pulse.beat(now, pulse.count + self._count(stream, now), stream.live, stale_s)
        self._streams = current
        if len(self.pulses) > 2 * len(current) + 1000:
            keys = {s.key for s in current}
            self.pulses = {k: p for k, p in self.pulses.items() if k in keys}

    def _count(self, stream: Stream, now: float) -> int:
        """Ticks that it brought since the last look."""
        fresh = stream.published - self._streams.get(stream, 0)
        if fresh:
            self.events[stream.key[0], stream.kind] += fresh
            self.spoke = now
        return fresh

    def _look_at_connections(self) -> None:
        current: dict[Connection, tuple[int, int]] = {}
        for name, venue in self.engine.venues.items():
            for c in {*connections(venue), *(c for c in self._connections if c.venue is venue)}:
                seen = self._connections.get(c, (0, 0))
                self.reconnects[name] += c.reconnects - seen[0]
                self.stalls[name] += c.stalls - seen[1]
                if c.running:
                    current[c] = c.reconnects, c.stalls
        self._connections = current

    def _look_at_ledger(self) -> None:
        for entry in self._new_entries():
            kind = entry.channel
            self.gaps[entry.exchange, kind, entry.cause, entry.recovered or "none"] += 1
            self.gap_seconds[entry.exchange, kind] += _seconds(entry)

    def _new_entries(self) -> Iterator[Entry]:
        ledger = self.engine.hub.ledger
        entries = ledger.entries()
        ended = entries[: len(entries) - len(ledger.open())]
        new = ledger.forgotten + len(ended) - self._closed
        self._closed += new
        yield from ended[len(ended) - min(new, len(ended)) :]


def _seconds(entry: Entry) -> float:
    if entry.ts_from is None or entry.ts_to is None:
        return 0.0
    return max(0.0, (entry.ts_to - entry.ts_from) / 1e9)
