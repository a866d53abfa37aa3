"""What a configuration file may say. docs/config.md is made from these types: what a key means is said here, once.

Structs are frozen and compare by value: a reload changes what differs.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from streamer.types import Kind

Seconds = Annotated[float, Meta(ge=0.1, le=86_400)]
Policy = Literal["drop_oldest", "drop_newest", "conflate"]


def says(what: str) -> Meta:
    """The meaning of a key, for docs/config.md."""
    return Meta(description=what)


class Table(Struct, frozen=True):
    """A table of the file."""


class Streams(Table, frozen=True):
    """What to stream, and to which sinks. A stream that several groups name for the same sink belongs to the first of them that has
    that kind."""

    match: Annotated[
        list[str],
        Meta(min_length=1),
        says("Streams `exchange:symbol`; both parts may be globs (`*`, `?`, `[..]`). New listings join, delisted ones leave."),
    ]
    sinks: Annotated[list[str], Meta(min_length=1), says("Names of `[sinks.NAME]` tables that get these streams.")]
    kinds: Annotated[list[Kind], Meta(min_length=1), says("What to take of each; a kind that an instrument does not have is left out.")] = (
        msgspec.field(default_factory=lambda: ["trade"])
    )
    exclude: Annotated[list[str], says("Patterns of streams to leave out.")] = []
    depth: Annotated[Annotated[int, Meta(ge=1)] | None, says("Levels of a book; all that the exchange gives if not said.")] = None
    interval: Annotated[str, says("Of candles.")] = "1m"
    policy: Annotated[Policy, says("When the sink is slower than the market and its queue is full.")] = "drop_oldest"
    max_items: Annotated[int, Meta(ge=1), says("Room of the queue in ticks.")] = 100_000
    max_bytes: Annotated[int, Meta(ge=4096), says("Room of the queue in bytes, about.")] = 128 << 20
    max_streams: Annotated[
        int, Meta(ge=1), says("No more instruments than so many, whatever the patterns match; the first by name are taken, and it is told.")
    ] = 1000


class Spool(Table, frozen=True):
    """Ticks that the sink does not take wait on the disk."""

    path: Annotated[str, Meta(min_length=1), says("Folder of its own, on a disk that stays.")]
    max_bytes: Annotated[int, Meta(ge=1 << 16), says("Bytes on the disk at most.")] = 1 << 30
    segment_bytes: Annotated[int, Meta(ge=4096), says("Bytes of a file.")] = 16 << 20
    on_full: Annotated[
        Literal["drop_oldest_segment", "drop_newest", "block"], says("When `max_bytes` are there. What is dropped is counted as lost.")
    ] = "drop_oldest_segment"
    fsync: Annotated[Literal["always", "interval", "never"], says("When the disk is told to keep what was written.")] = "interval"
    fsync_s: Annotated[Seconds, says("With `interval`: at least so often. A power cut costs what came since.")] = 1.0


class Sink(Table, frozen=True):
    """Where ticks go. Every other key is an option of that type of sink; a secret is given as `KEY_env` or `KEY_file`, never itself."""

    type: Annotated[str, says("`stdout`, `files`, `kafka`, or one of an entry point `streamer.sinks`.")]
    spool: Annotated[Spool | None, says("A table of its own, below. Without it ticks wait in memory only.")] = None
    instruments: Annotated[bool, says("Also what is traded: each stream's `instrument` at its start, and whenever lists change.")] = True
    options: Annotated[Any, says("All other keys.")] = {}


class Exchange(Table, frozen=True):
    """What is other than usual with one exchange. Takes effect at a restart."""

    url: Annotated[str | None, says("A base url in place of its own hosts: `https`, or `http` on this machine (`streamer sim`).")] = None


class Http(Table, frozen=True):
    """`/metrics`, `/healthz`, `/readyz`, `/streams` and `/gaps`."""

    listen: Annotated[str, says('`HOST:PORT`; port 0 takes a free one, `""` serves nothing. No password: keep it on loopback.')] = (
        "127.0.0.1:9464"
    )


class Log(Table, frozen=True):
    """Logs, to stderr."""

    format: Annotated[Literal["json", "text"], says("One JSON object a line, or text.")] = "json"
    level: Annotated[Literal["debug", "info", "warning", "error"], says("The least that is told.")] = "info"


class Ready(Table, frozen=True):
    """When `/readyz` is green."""

    stale_s: Annotated[
        Seconds,
        says("One not live, or silent, for longer is not fresh. What speaks seldom is given more: 15 of its own intervals."),
    ] = 5.0
    share: Annotated[float, Meta(gt=0, le=1), says("This part of all streams must be fresh.")] = 1.0
    sinks: Annotated[bool, says("Must every sink accept?")] = True


class Watchdog(Table, frozen=True):
    """When systemd is told WATCHDOG. `WatchdogSec=` of the unit says how long it waits."""

    loop_s: Annotated[Seconds, says("An event loop that stands still for longer is reported with its stack.")] = 2.0
    data_s: Annotated[
        float, Meta(ge=0, le=86_400), says("Withheld when no stream brings anything for longer; 0: tied to the event loop alone.")
    ] = 60.0


class Shutdown(Table, frozen=True):
    """SIGTERM and SIGINT."""

    deadline_s: Annotated[
        Seconds,
        says("Queues are drained for so long at most; the rest is spooled, else lost. `TimeoutStopSec=`: 5 more."),
    ] = 10.0


class Instruments(Table, frozen=True):
    """Lists of instruments."""

    cache: Annotated[str | None, says('Folder where they are kept; `""` for none. The user\'s cache folder if not said.')] = None
    refresh_s: Annotated[float, Meta(ge=10, le=86_400), says("How often they are read again, for new listings.")] = 3600.0


class State(Table, frozen=True):
    """What one run leaves to the next: which streams each sink was given, so that after a kill whoever reads behind it is told by a `gap`
    (`process_restart`). A sink with a spool keeps that in its spool. Takes effect at a restart."""

    path: Annotated[
        str | None,
        says('Folder for the sinks that have no spool, of this configuration alone; `""` for none. `$STATE_DIRECTORY` if not said.'),
    ] = None


class Memory(Table, frozen=True):
    """What to do before the system ends us for want of memory."""

    limit_bytes: Annotated[
        Annotated[int, Meta(ge=64 << 20)] | None,
        says(
            "Above this much resident memory `/readyz` is red, new streams wait, queues go to the spools, and where that is not "
            "enough their room is halved step by step. Set it below what the system allows. Linux only."
        ),
    ] = None


class Network(Table, frozen=True):
    """How exchanges are reached. Takes effect at a restart."""

    transport: Annotated[Literal["picows", "websockets"], says("The library beneath.")] = "picows"
    proxy: Annotated[
        str | None,
        says("`http://`, `socks5://` or `socks5h://`, for all; else `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` count."),
    ] = None
    proxy_env: Annotated[str | None, says("The variable that holds it, for one with a password.")] = None
    proxy_file: Annotated[str | None, says("The file that holds it, for one with a password.")] = None


class Ticks(Table, frozen=True):
    """What ticks are like. Takes effect at a restart."""

    numbers: Annotated[Literal["float", "decimal"], says("`decimal`: the exchange's own digits.")] = "float"
    sizes: Annotated[Literal["base", "venue"], says("In base units, or as the exchange counts them.")] = "base"


class Metrics(Table, frozen=True):
    """Prometheus."""

    symbols: Annotated[bool, says("Also the age of each stream by symbol. As many series as streams: off for thousands.")] = False


class Config(Table, frozen=True):
    """The file."""

    streams: Annotated[list[Streams], Meta(min_length=1)]
    sinks: Annotated[dict[str, Sink], Meta(min_length=1)]
    exchanges: dict[str, Exchange] = {}
    http: Http = Http()
    log: Log = Log()
    ready: Ready = Ready()
    watchdog: Watchdog = Watchdog()
    shutdown: Shutdown = Shutdown()
    instruments: Instruments = Instruments()
    state: State = State()
    memory: Memory = Memory()
    network: Network = Network()
    ticks: Ticks = Ticks()
    metrics: Metrics = Metrics()
