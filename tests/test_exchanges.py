"""What holds for every exchange, from its sessions. A new exchange is tested by its session alone."""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, get_args, get_type_hints

import pytest
from msgspec import Struct, inspect
from msgspec.structs import replace

from streamer import registry
from streamer.book_stream import BookStream
from streamer.catalog import Catalog, parse_instruments
from streamer.channels import ROUTES
from streamer.ctx import WHOLE
from streamer.decode import HANDLER_ERRORS, _concrete
from streamer.encode import encode
from streamer.errors import BadFrame
from streamer.line import proof_of
from streamer.recorded import instruments_in
from streamer.recording import Line
from streamer.replay import Replayer
from streamer.spec import Ctx, Feed, FromRequest, FromRest, On, Poll, UnknownId, fill
from streamer.symbols import parse
from streamer.types import KIND, BookDelta, BookSnapshot, BookStale, Gap, Instrument, Status, Tick, Trade
from streamer.urls import market_of_url
from streamer.wire import MOST_MS
from tests import sessions

SESSIONS = sessions.paths()
EXCHANGES = registry.built()
by_session = pytest.mark.parametrize("path", SESSIONS, ids=sessions.name)
by_exchange = pytest.mark.parametrize("exchange", EXCHANGES)
INTEGER = re.compile(rb"(?<![\w.-])\d+(?![\w.:-])")
DATE = re.compile(rb"\d{4}-\d\d-\d\d[T ]")
HUGE = b"9" * 30, b"%d" % (2**64 - 1), b"%d" % (WHOLE - 1), b"%d" % (MOST_MS - 1)
"""Beyond all bounds; the largest that plain JSON keeps as it is; within that of an id; within that of a time in ms."""
ENOUGH = 2000
"""Bytes of a message. Behind them the same comes again."""
FRAMES = 5
YEAR_2010, YEAR_2100 = 1262304000 * 10**9, 4102444800 * 10**9


def of(exchange: str) -> list[Path]:
    return [p for p in SESSIONS if p.parent.name == exchange]


@by_exchange
def test_has_a_session(exchange: str) -> None:
    assert of(exchange), f"{exchange} is built but tests/exchanges/{exchange}/ holds no session"


def wires(feed: Feed) -> Iterator[On]:
    """Everything that it decodes into types."""
    yield from feed.normalize.handlers
    yield feed.instruments.parse
    yield from (m.parse for m in feed.book.values() if isinstance(m, FromRest))
    yield from (t.parse for t in feed.topics.values() if isinstance(t, Poll))


def integers(kind: Any, seen: set[Any]) -> Iterator[inspect.IntType]:
    """Those inside a type, but for plain rows, whose numbers are read one by one and bounded there."""
    if isinstance(kind, inspect.IntType):
        yield kind
    if isinstance(kind, inspect.StructType) and kind.cls not in seen:
        seen.add(kind.cls)
    elif isinstance(kind, inspect.StructType):
        return
    for name in kind.__struct_fields__ if isinstance(kind, Struct) else ():
        value = getattr(kind, name)
        for inner in value if isinstance(value, tuple) else (value,):
            yield from integers(inner.type if isinstance(inner, inspect.Field) else inner, seen)


@by_exchange
def test_no_integer_off_the_wire_is_without_bounds(exchange: str) -> None:
    """JSON has integers of any length; what takes ticks further (MessagePack, Avro, Protobuf) has 64 bits."""
    for on in wires(registry.load(exchange)):
        for found in integers(inspect.type_info(_concrete(on.wire, float)), set()):
            assert found.ge is not None, (on, found)
            assert found.le is not None, (on, found)


@by_session
def test_gives_the_expected_ticks(path: Path) -> None:
    ticks, summary, _ = sessions.run(path, numbers="decimal")
    assert not summary.bad
    got = [encode(t).decode() for t in ticks]
    assert got == sessions.expected(path).read_text().splitlines()


@by_session
def test_floats_and_decimals_agree(path: Path) -> None:
    floats, _, _ = sessions.run(path)
    decimals, _, _ = sessions.run(path, numbers="decimal")
    assert [type(t) for t in floats] == [type(t) for t in decimals]
    for f, d in zip(floats, decimals, strict=True):
        for field in f.__struct_fields__:
            a, b = getattr(f, field), getattr(d, field)
            if field in ("bids", "asks"):
                assert [(p, s) for p, s in a] == [(float(p), float(s)) for p, s in b]
            elif isinstance(a, float):
                assert a == float(b), field


@by_session
def test_the_same_bytes_twice(path: Path) -> None:
    first, second = sessions.run(path)[0], sessions.run(path)[0]
    assert [encode(t) for t in first] == [encode(t) for t in second]


@by_session
def test_ticks_are_sane(path: Path) -> None:
    ticks, _, _ = sessions.run(path)
    known = {line.exchange for line in sessions.lines(path)}
    for tick in ticks:
        assert tick.exchange in known
        parse(tick.symbol)
        assert YEAR_2010 < tick.ts_recv < YEAR_2100
        assert tick.ts_event is None or YEAR_2010 < tick.ts_event < YEAR_2100, "ts_event is not in nanoseconds"
        assert tick.ts_event is None or abs(tick.ts_event - tick.ts_recv) < 3600 * 10**9
        for field in tick.__struct_fields__:
            value = getattr(tick, field)
            assert not isinstance(value, float) or abs(value) < 1e18
        if isinstance(tick, BookSnapshot | BookDelta):
            assert all(p > 0 and s >= 0 for p, s in [*tick.bids, *tick.asks])
        if isinstance(tick, BookSnapshot):
            assert [p for p, _ in tick.bids] == sorted((p for p, _ in tick.bids), reverse=True)
            assert [p for p, _ in tick.asks] == sorted(p for p, _ in tick.asks)


@by_exchange
def test_every_declared_kind_and_handler_is_hit(exchange: str) -> None:
    feed = registry.load(exchange)
    polls = [topic.parse for topic in feed.topics.values() if isinstance(topic, Poll)]
    codes = {on.handle.__code__: on.handle.__name__ for on in (*feed.normalize.handlers, *polls)}
    seen: set[str] = set()

    def watch(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code in codes:
            seen.add(codes[frame.f_code])

    kinds: set[str] = set()
    for path in of(exchange):
        sys.setprofile(watch)
        try:
            ticks, _, _ = sessions.run(path)
        finally:
            sys.setprofile(None)
        kinds |= {KIND[type(t)] for t in ticks if type(t) in KIND}
    assert set(codes.values()) - seen == set(), "handlers that no session frame reaches"
    assert set(feed.kinds()) - kinds == set(), "kinds declared that no session brings"


@by_session
def test_commands_are_those_recorded(path: Path) -> None:
    feed = sessions.feed(path)
    for row in sessions.commands(path):
        if "verb" not in row:
            assert row["raw"] in (*feed.hello, feed.ping and feed.ping.frame)
            continue
        if row["verb"] == "request":
            asked = [m.request(row["topics"][0], row["n"]) for m in feed.book.values() if isinstance(m, FromRequest)]
            assert row["raw"] in asked
            continue
        frames = getattr(feed, row["verb"])(row.get("ids", row["topics"]), row["n"])  # `ids`: the venue's names of the topics
        assert row["raw"] in frames


@by_session
def test_topics_come_of_the_templates(path: Path) -> None:
    feed = sessions.feed(path)
    _, _, replayer = sessions.run(path)
    listed = replayer.instruments(path.parent.name)
    assert listed, "a session brings its instruments"
    depths = {None, *(d for m in feed.book.values() for d in getattr(m, "depths", ()))}
    intervals = ["", *feed.intervals.values()]
    possible = {
        fill(template, instrument, interval, depth)
        for template in feed.topics.values()
        if isinstance(template, str)
        for instrument in listed
        for interval in (intervals if "{interval}" in template else [""])
        for depth in (depths if "{depth}" in template else [None])
    }
    asked = {t for row in sessions.commands(path) for t in row.get("topics", ())}
    assert asked - possible - {t for t in asked if "NOSUCH" in t.upper()} == set()


def copies(ticks: list[Tick[Any]]) -> dict[str, tuple[list[Any], list[Any]]]:
    """The books that a subscriber has who does as docs/meaning.md says, and no more."""
    books: dict[str, tuple[dict[Any, Any], dict[Any, Any]]] = {}
    for tick in ticks:
        if isinstance(tick, BookStale):
            books.pop(tick.symbol, None)
        elif isinstance(tick, BookSnapshot):
            books[tick.symbol] = dict(tick.bids), dict(tick.asks)
        elif isinstance(tick, BookDelta):
            for side, levels in zip(books[tick.symbol], (tick.bids, tick.asks), strict=True):
                side.update(levels)
                for price in [p for p, size in levels if not size]:
                    side.pop(price, None)
    return {symbol: (sorted(bids.items(), reverse=True), sorted(asks.items())) for symbol, (bids, asks) in books.items()}


@by_session
@pytest.mark.parametrize("sizes", ["base", "venue"])
def test_a_subscribers_copy_of_a_book_is_the_book(path: Path, sizes: str) -> None:
    """After every frame: levels that fall out of a depth are told, held deltas come after their snapshot, sizes are in one unit."""
    replayer = Replayer(lambda: sessions.lines(path), exchange=path.parent.name, numbers="decimal", sizes=sizes)
    ticks: list[Tick[Any]] = []
    for line in sessions.lines(path):
        ticks += replayer.feed(line)
        own = [s.own_snapshot() for s in replayer.hub.streams.values() if isinstance(s, BookStream)]
        assert copies(ticks) == {s.symbol: (list(s.bids), list(s.asks)) for s in own if s is not None}, line


@by_session
def test_missing_delta_drill(path: Path) -> None:
    """Each delta left out in turn makes the book stale; where only a checksum of the top proves it, it may leave the book as it truly
    is where the proof reaches. Nothing can show the loss of the last one, nor any loss where the venue proves nothing."""
    drilled = sessions.drill(path)
    for place, symbol, outcome in drilled:
        assert outcome != "unnoticed", f"line {place + 1} of {path.name}: a lost delta of {symbol} was not noticed"
        assert outcome != "spread", f"line {place + 1} of {path.name}: a lost delta of {symbol} disturbed another book"
    if any(isinstance(t, BookDelta) for t in sessions.run(path)[0]):
        assert any(outcome != "last" for _, _, outcome in drilled), "a session has at least two deltas of one book"


@by_session
def test_a_repeated_delta_changes_nothing(path: Path) -> None:
    feed, all_lines = sessions.feed(path), sessions.lines(path)
    if not any(isinstance(m, FromRest) or proof_of(m) == "sequence" for m in feed.book.values()):
        pytest.skip(f"{path.parent.name} numbers nothing: a repeated delta is simply applied again")
    twice = {i for i, _ in sessions.deltas(path)}
    doubled = [x for i, line in enumerate(all_lines) for x in ([line, line] if i in twice else [line])]
    assert sessions.books(sessions.run(path, doubled)[2]) == sessions.books(sessions.run(path)[2])


def mutations(raw: bytes, random: Random) -> Iterator[bytes]:
    for cut in {0, 1, len(raw) // 3, len(raw) // 2, len(raw) - 1}:
        yield raw[:cut]
    for _ in range(12):
        at = random.randrange(len(raw))
        yield raw[:at] + bytes([random.randrange(256)]) + raw[at + 1 :]
    for old, new in ((b'"', b""), (b"[", b"{"), (b":", b","), (b"0", b"1e999"), (b".", b"NaN"), (b"[", b"[[[["), (b"1", b"-1")):
        if old in raw:
            yield raw.replace(old, new, 1)
    yield b"\xef\xbb\xbf" + raw
    yield raw + raw


@by_session
def test_every_frame_mutated_costs_one_message(path: Path) -> None:
    """No mutation raises, and the line goes on: the untouched frame after it is still understood."""
    random = Random(path.name)
    frames = [line for line in sessions.lines(path) if line.dir == "in"] + sessions.answers(path)
    for numbers in ("float", "decimal"):
        _, _, replayer = sessions.run(path, numbers=numbers)
        for line in frames:
            for mutant in mutations(line.payload(), random):
                ticks = replayer.feed_raw(line, mutant)
                assert all(isinstance(t, Tick) for t in ticks)
        before = replayer.summary().frames
        bad = sum(replayer.summary().bad.values())
        replayer.feed(frames[0])
        assert replayer.summary().frames == before + 1
        assert sum(replayer.summary().bad.values()) == bad


def huge(payload: bytes) -> Iterator[bytes]:
    """With each of its integers made one that has no place in 64 bits, or loses it when it is multiplied; and so each of its days."""
    for found in INTEGER.finditer(payload, 0, ENOUGH):
        for other in HUGE:
            yield payload[: found.start()] + other + payload[found.end() :]
    for found in DATE.finditer(payload, 0, ENOUGH):
        for year in (b"0001", b"9999"):
            yield payload[: found.start()] + year + payload[found.start() + len(year) :]


def integers_of(kind: type[Tick[Any]]) -> list[str]:
    """The names of a tick's fields that are integers, or None."""
    return [name for name, hint in get_type_hints(kind).items() if int in (hint, *get_args(hint))]


INTEGERS = {kind: integers_of(kind) for kind in (*KIND, Gap, Status, Instrument)}


def assert_whole(tick: Tick[Any], of: bytes) -> None:
    for name in INTEGERS[type(tick)]:
        value = getattr(tick, name)
        assert value is None or (type(value) is int and abs(value) < 1 << 63), (of, tick)


@by_session
def test_numbers_out_of_all_reason_reach_nobody(path: Path) -> None:
    """Whatever stands in place of a time, an id or a sequence number: what comes out is whole, and fits into 64 bits."""
    for numbers in ("float", "decimal"):
        _, _, replayer = sessions.run(path, numbers=numbers)
        for line in [line for line in sessions.lines(path) if line.dir == "in"] + sessions.answers(path):
            for mutant in huge(line.payload()):
                for tick in replayer.feed_raw(line, mutant):
                    assert_whole(tick, mutant)


def integers_in(found: Any) -> Iterator[int]:
    """All inside of answers, or of what handlers keep."""
    if isinstance(found, int):
        yield found
    elif isinstance(found, Struct):
        yield from integers_in([getattr(found, name) for name in found.__struct_fields__])
    elif isinstance(found, dict):
        yield from integers_in([*found, *found.values()])
    elif isinstance(found, list | tuple):
        for inner in found:
            yield from integers_in(inner)


def handled(feed: Feed, decode: Callable[[bytes, Ctx[Any]], Any], payload: bytes, ctx: Ctx[Any]) -> Sequence[Any]:
    """What the handlers answer; nothing where the frame is bad."""
    try:
        return [decode(message, ctx) for message in (feed.framing(payload) if feed.framing is not None else [payload])]
    except (BadFrame, UnknownId, *HANDLER_ERRORS):
        return ()


@by_session
def test_numbers_out_of_all_reason_are_in_no_answer_and_are_not_kept(path: Path) -> None:
    """Ahead of the hub, which drops most of what comes behind a number that broke a book, and which sees no controls. (A compiled decoder
    cannot be copied, and need not be.)"""
    feed, answered = sessions.feed(path), 0
    catalog = Catalog(feed)
    catalog.update(instruments_in(feed, sessions.lines(path)))
    frames = [line for line in sessions.lines(path) if line.dir == "in"]
    for num in (float, Decimal):
        decode, lines = feed.normalize.compile(num), dict[Any, Ctx[Any]]()
        for line in frames:
            market = market_of_url(feed, line.url)
            ctx = lines.setdefault(line.conn, Ctx(feed.name, market, catalog.tables[market], num))
            ctx.ts_recv, known = line.time_ns() or 0, ctx.mem
            for mutant in huge(line.payload()):
                ctx.mem = deepcopy(known, {id(f): f for route in known.get(ROUTES, {}).values() for f in route if callable(f)})
                out = handled(feed, decode, mutant, ctx)
                answered += bool(out)
                assert all(abs(number) < 1 << 63 for number in integers_in([out, ctx.mem])), (mutant, out)
            ctx.mem = known
            handled(feed, decode, line.payload(), ctx)
    assert answered or not frames


@by_session
def test_numbers_out_of_all_reason_are_in_no_list_of_instruments(path: Path) -> None:
    feed, understood = sessions.feed(path), 0
    for line in (line for line in sessions.lines(path) if line.dir == "http"):
        for mutant in huge(line.payload()):
            try:
                instruments = parse_instruments(feed, mutant, 0)
            except BadFrame:
                continue
            understood += len(instruments)
            for instrument in instruments:
                assert_whole(instrument, mutant)
    if feed.name in ("binanceusdm", "deribit", "okx"):
        assert understood, "a number that tells us nothing refuses no list"


PLACES = [
    ("binance", "@depth", "E"), ("binance", "@depth", "U"), ("binance", "@depth", "u"), ("binance", "@trade", "T"),
    ("binanceusdm", "@depth", "pu"), ("bitbank", "depth_diff_", "s"), ("bitbank", "transactions_", "executed_at"),
    ("bitmex", '"orderBookL2"', "id"), ("bybit", "orderbook.", "u"), ("bybit", "orderbook.", "ts"),
    ("coinbaseexchange", '"type":"match"', "trade_id"), ("deribit", '"book.', "prev_change_id"), ("deribit", '"book.', "timestamp"),
    ("htx", ".mbp.", "seqNum"), ("htx", ".mbp.", "prevSeqNum"), ("htx", '"ch":"market.', "ts"), ("kraken", '"trade"', "trade_id"),
    ("kraken", '"book"', "checksum"), ("kucoin", "/market/level2", "sequenceEnd"), ("kucoin", "/market/level2", "time"),
    ("okx", '"books"', "seqId"), ("okx", '"books"', "prevSeqId"), ("okx", '"trades"', "ts"), ("okx", '"mark-price"', "ts"),
]  # fmt: skip
"""Where venues write times and numbers in a sequence: what stands in such a frame, and the field."""


@pytest.mark.parametrize(("exchange", "mark", "name"), PLACES)
def test_a_number_out_of_all_reason_makes_a_bad_frame_and_nothing_else(exchange: str, mark: str, name: str) -> None:
    place, seen = re.compile(rf'"{name}": ?"?(\d+)'.encode()), 0
    for path in of(exchange):
        before: list[Line] = []
        for line in sessions.lines(path):
            payload = line.payload()
            if line.dir == "in" and mark.encode() in payload and (found := place.search(payload)) and seen < FRAMES:
                seen += 1
                _, _, replayer = sessions.run(path, before)
                was = replayer.summary()
                ticks = replayer.feed_raw(line, payload[: found.start(1)] + b"9" * 30 + payload[found.end(1) :])
                now = replayer.summary()
                assert now.bad - was.bad in (Counter(shape=1), Counter(number=1)), payload
                assert (now.unknown, now.unknown_ids, now.frames) == (was.unknown, was.unknown_ids, was.frames + 1)
                assert all(isinstance(t, BookStale) and t.reason == "bad_frame" for t in ticks), ticks
            before.append(line)
    assert seen, "no frame of the sessions has this"


@by_session
def test_a_new_connection_makes_books_stale(path: Path) -> None:
    """Where a line of the file is cut and begun anew, every live book is stale at once, and whole again after its next snapshot."""
    all_lines = sessions.lines(path)
    if not any(line.dir == "in" for line in all_lines):
        pytest.skip(f"{path.parent.name} is polled: nothing is connected")
    ticks, _, replayer = sessions.run(path)
    live = set(sessions.books(replayer))
    again = [replace(line, conn=f"{(line.conn or '').partition('#')[0]}#again", ns=line.ns + 3600 * 10**9) for line in all_lines]
    after: dict[str, list[Tick[Any]]] = defaultdict(list)
    for line in again:
        for tick in replayer.feed(line):
            after[tick.symbol].append(tick)
    for symbol in live:
        book = [t for t in after[symbol] if isinstance(t, BookStale | BookSnapshot | BookDelta)]
        assert isinstance(book[0], BookStale)
        assert book[0].reason == "disconnect"
    assert set(sessions.books(replayer)) == live
    ids = [(t.symbol, t.id) for t in ticks if isinstance(t, Trade) and t.id is not None]
    repeated = [(t.symbol, t.id) for ts in after.values() for t in ts if isinstance(t, Trade) and (t.symbol, t.id) in ids]
    assert not repeated, "trades that were given before the cut came again"
    assert any(isinstance(t, Gap | Status) for ts in after.values() for t in ts)
