"""docs/schema/: an Avro schema and a .proto file of every type of tick, in both flavours. `python -m tests.genschema` writes them.

It refuses to write what old readers could not read: fields are only added, at the end, and may be absent. Anything else wants a new
`streamer.codecs.VERSION`, and with it a new folder.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from streamer.codecs import VERSION
from streamer.codecs.schemas import TYPES, avro, protobuf

FOLDER = Path(__file__).parent.parent / "docs" / "schema" / f"v{VERSION}"


def files() -> Iterator[tuple[Path, str]]:
    """Every file and what is in it."""
    for tick in TYPES:
        for decimal in (False, True):
            name = f"{'decimal/' if decimal else ''}{tick.__struct_config__.tag}"
            schema = msgspec.json.format(msgspec.json.encode(avro(tick, decimal)), indent=1).decode()
            yield FOLDER / f"{name}.avsc", schema + "\n"
            yield FOLDER / f"{name}.proto", protobuf(tick, decimal)


def broken(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What of an Avro schema changed that may not; its fields' order is that of Protobuf's numbers too."""
    was, now = old["fields"], new["fields"]
    if (old["name"], old["namespace"]) != (new["name"], new["namespace"]):
        return ["the name of the record"]
    moved = [a["name"] for a, b in zip(was, now, strict=False) if (a["name"], a["type"]) != (b["name"], b["type"])]
    gone = [f["name"] for f in was[len(now) :]]
    bare = [f["name"] for f in now[len(was) :] if "default" not in f]
    return (
        [f"{name}: moved, or another type" for name in moved]
        + [f"{name}: gone" for name in gone]
        + [f"{name}: no default" for name in bare]
    )


def main() -> None:
    for path, text in files():
        if path.suffix == ".avsc" and path.exists():
            wrong = broken(msgspec.json.decode(path.read_bytes()), msgspec.json.decode(text))
            if wrong:
                sys.exit(f"{path.name}: {'; '.join(wrong)}. That is a new version: raise VERSION in streamer/codecs/__init__.py")
    for path, text in files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
