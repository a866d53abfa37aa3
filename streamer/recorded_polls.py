"""What a recording holds of polled topics: REST answers found by the url that would have been asked."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from streamer.catalog import Catalog
from streamer.errors import BadFrame
from streamer.hub import Carrier
from streamer.line import Numbers, Tally
from streamer.poller import Reader, reader
from streamer.spec import Feed, Poll, fill
from streamer.types import Instrument

Key = tuple[str, tuple[tuple[str, str], ...]]
"""A url's path and its sorted query. Hosts do not count (they change, and a simulator has its own), nor do versions in the path."""
VERSION = re.compile(r"(?<=/v)\d+(?=/|$)|(?<=[a-z]\d)_\d+$")


class Asked(NamedTuple):
    """Whose answer it is: the topic's market and poll, and the instrument that its url names (None: all of them)."""

    market: str
    poll: Poll
    instrument: Instrument | None


class RecordedPolls:
    """Of one exchange. `carrier(market)` gives the carrier that brings what is polled of a market."""

    def __init__(self, feed: Feed, catalog: Catalog, numbers: Numbers, tally: Tally, carrier: Callable[[str], Carrier]) -> None:
        self._tally = tally
        self._polls = {(market, p.url): p for (market, _), p in feed.topics.items() if isinstance(p, Poll)}
        self._carriers: dict[str, Carrier] = {market: carrier(market) for market in {market for market, _ in self._polls}}
        self._readers: Mapping[tuple[str, str], Reader] = {
            (market, url): reader(p, feed.name, market, catalog.tables[market], numbers) for (market, url), p in self._polls.items()
        }
        self._asked: dict[Key, dict[tuple[str, str], Asked]] = {}
        for (market, url), p in self._polls.items():
            for instrument in catalog.by_symbol.values() if "{" in url else [None]:
                for named in [url] if instrument is None else _filled(feed, market, url, instrument):
                    self._asked.setdefault(_key(named), {}).setdefault((market, url), Asked(market, p, instrument))

    def answer(self, url: str, body: bytes, ts: int) -> None:
        """A REST answer arrived at `ts`."""
        for market, poll, instrument in self._find(url).values():
            self._tally.frames += 1
            try:
                answers = self._readers[market, poll.url](body, ts, instrument)
            except BadFrame as e:
                self._tally.bad_answer(e, body)
            else:
                self._carriers[market].push(answers)

    def _find(self, url: str) -> Mapping[tuple[str, str], Asked]:
        """The same path, or the same behind a prefix (a simulator's)."""
        if not self._asked:
            return {}
        path, query = _key(url)
        parts = path.split("/")[1:]
        for i in range(len(parts)):
            found = self._asked.get(("/" + "/".join(parts[i:]), query))
            if found:
                return found
        return {}


def _filled(feed: Feed, market: str, url: str, instrument: Instrument) -> Iterator[str]:
    """Every url that may be asked about this instrument."""
    depths = feed.book[market].depths if "{depth}" in url else ()
    for interval in feed.intervals.values() if "{interval}" in url else ("",):
        for depth in depths or (None,):
            yield fill(url, instrument, interval, depth)


def _key(url: str) -> Key:
    parts = urlsplit(url)
    return VERSION.sub("", parts.path), tuple(sorted(parse_qsl(parts.query)))
