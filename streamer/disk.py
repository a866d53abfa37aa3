"""Small files that are there whole or not at all, whoever is killed while they are written."""

import os
from pathlib import Path


def put(path: Path, data: bytes, folder_mode: int = 0o777) -> None:
    """Write the file, and make its folder if there is none. Raises `OSError`."""
    path.parent.mkdir(mode=folder_mode, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_bytes(data)
    new.replace(path)
