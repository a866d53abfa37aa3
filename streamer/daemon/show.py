"""The state of things as plain values: for `/streams`, `/gaps` and SIGUSR1."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec

from streamer.connection import Connection
from streamer.daemon.health import ailment, name
from streamer.daemon.service import Service
from streamer.daemon.survey import connections, state_of
from streamer.mailbox import StreamKey
from streamer.streams import Stream

MOST_GAPS = 1000


def streams(service: Service, now: float) -> dict[str, Any]:
    """For `/streams`: every stream that some sink is to get, and the connections that bring them."""
    return {
        "streams": [stream_row(service, key, served, now) for key, served in sorted(service.wanted().items(), key=lambda kv: kv[0])],
        "connections": [connection_row(c) for v in service.engine.venues.values() for c in connections(v)],
        "not_listed": dict(service.lists.problems),
        "left_out": dict(service.plan.cut),
        "matching_nothing": list(service.plan.empty),
    }


def stream_row(service: Service, key: StreamKey, served: Any, now: float) -> dict[str, Any]:
    """`fresh`, and if not, `ails` says why."""
    exchange, symbol, kind, interval = key
    stream = served if isinstance(served, Stream) else None
    pulse = service.survey.pulses.get(key)
    ails = ailment(served, pulse, now, service.config.ready.stale_s)
    age = service.survey.age(key, now)
    return {
        "stream": f"{exchange}:{symbol}",
        "kind": kind,
        "interval": interval or None,
        "state": stream.state if stream is not None else "rejected" if served is not None else "connecting",
        "fresh": ails is None,
        "ails": ails,
        "ticks": stream.published if stream is not None else 0,
        "age_s": None if age is None else round(age, 3),
        "connections": [carrier.name for carrier in stream.sources] if stream is not None else [],
    }


def connection_row(connection: Connection) -> dict[str, Any]:
    """One connection. `id` stays the same through reconnects, which are counted; another takes over from one that is `leaving`."""
    return {
        "id": connection.name,
        "exchange": connection.venue.feed.name,
        "market": connection.market,
        "state": state_of(connection),
        "down": connection.down,
        "topics": len(connection.topics),
        "reconnects": connection.reconnects,
        "stalls": connection.stalls,
        "leaving": connection.leaving,
    }


def gaps(service: Service) -> dict[str, Any]:
    """For `/gaps`: when streams were not whole, the newest first; those that last are `open`."""
    ledger = service.engine.hub.ledger
    lasting = ledger.open()
    entries = ledger.entries()
    ended = entries[: len(entries) - len(lasting)]
    return {
        "open": [msgspec.to_builtins(e) for e in lasting],
        "ended": [msgspec.to_builtins(e) for e in reversed(ended[-MOST_GAPS:])],
        "total": ledger.total,
    }


def dump(service: Service, now: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """For SIGUSR1: what, and what of it, one record each."""
    for venue in service.engine.venues.values():
        for connection in connections(venue):
            yield "connection", connection_row(connection)
    for sink, outlet in service.outlets.by_name.items():
        queued = sum(box.queued for _, box in outlet.boxes())
        yield f"sink {sink}", msgspec.to_builtins(outlet.runner.stats()) | {"queued": queued}
    for key, served in service.wanted().items():
        row = stream_row(service, key, served, now)
        if not row["fresh"]:
            yield f"stream {name(key)}", row
    tasks = sorted(t.get_name() for t in asyncio.all_tasks())
    yield "tasks", {"count": len(tasks), "names": tasks[:200]}
