"""Writes recordings for the peers, whose environments do not have our reader: `python -m bench.peers.export FOLDER [EXCHANGE]...`

A recording stays in our own format, unpacked; beside it lies what our pipeline found in it: the instruments and, of each, the kinds.
"""

import argparse
import base64
import json
from pathlib import Path
from typing import Any

from bench.recordings import FILES, Recording, load
from streamer.hub import Hub
from streamer.policies import mailbox
from streamer.recorded import RecordedVenue
from streamer.recording import B64
from streamer.types import Instrument


def export(exchange: str, folder: Path) -> None:
    """`EXCHANGE.jsonl`, `EXCHANGE.lists.jsonl` (the REST answers with instruments) and `EXCHANGE.streams.json`."""
    recording = load(exchange)
    lines = (json.dumps(line(exchange, step)) + "\n" for step in recording.steps)
    (folder / f"{exchange}.jsonl").write_text("".join(lines))
    lists = [{"src": "bench", "dir": "http", "exchange": exchange, "url": a.url, "raw": a.raw} for a in recording.lists]
    (folder / f"{exchange}.lists.jsonl").write_text("".join(json.dumps(a) + "\n" for a in lists))
    (folder / f"{exchange}.streams.json").write_text(json.dumps(streams(recording)))


def line(exchange: str, step: Any) -> dict[str, Any]:
    """A frame or REST answer as a line of a recording."""
    try:
        raw = step.data.decode()
    except UnicodeDecodeError:
        raw = B64 + base64.b64encode(step.data).decode()
    of = {"src": "bench", "dir": "in" if step.frame else "http", "exchange": exchange}
    return of | {"conn": step.line, "url": step.url, "ns": step.ts, "raw": raw}


def streams(recording: Recording) -> list[dict[str, Any]]:
    """The instruments that the recording is about, each with the kinds that come of it."""
    hub = Hub()
    venue = RecordedVenue(recording.feed, hub, mailbox("drop_oldest", 10, 1 << 20), "float", recording.instruments)
    for step in recording.steps:
        if step.frame:
            venue.frame(step.line, step.url, step.data, step.ts)
        else:
            venue.answer(step.url or "", step.data, step.ts)
    found: dict[str, dict[str, Any]] = {}
    for stream in hub.streams.values():
        row = found.setdefault(stream.instrument.symbol, facts(stream.instrument) | {"kinds": []})
        row["kinds"].append(stream.kind)
    return list(found.values())


def facts(instrument: Instrument) -> dict[str, Any]:
    """What a peer's own list of markets needs."""
    text = "symbol", "id", "base", "quote", "settle", "kind", "size_unit", "option_type"
    numbers = "contract_size", "price_step", "size_step", "strike"
    found = {name: getattr(instrument, name) for name in text}
    found |= {name: None if (v := getattr(instrument, name)) is None else float(v) for name in numbers}
    return found | {"expiry_ms": instrument.expiry // 1_000_000 if instrument.expiry else None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("exchanges", nargs="*", default=list(FILES))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for exchange in options.exchanges:
        export(exchange, options.folder)


if __name__ == "__main__":
    main()
