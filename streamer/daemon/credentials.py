"""Secrets of sinks: never in the file itself, but in a variable of the environment (`KEY_env`) or in a file (`KEY_file`)."""

import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_SECRET = re.compile(r"(?:^|[._-])(?:password|passwd|passphrase|secret|token|credentials?|api[._-]?key|user[._-]info)$")
MOST_BYTES = 64 << 10


class Secret(str):
    """A text that does not show in the `repr` of what holds it: options, errors, logs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def is_secret(key: str) -> bool:
    """Does an option of this name hold a secret?"""
    return _SECRET.search(key.lower()) is not None


def from_env(name: str, environ: Mapping[str, str]) -> str:
    """What the variable holds. Raises LookupError with the remedy."""
    found = environ.get(name)
    if not found:
        raise LookupError(f"the environment has no {name}: set it, or name another variable")
    return found


def from_file(name: str, warn: Callable[[str], None]) -> str:
    """The first line of the file. Raises LookupError with the remedy; a file that everybody may read is only warned of."""
    path = Path(name)
    try:
        mode = path.stat().st_mode
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_BYTES).partition("\n")[0].strip()
    except (OSError, ValueError) as e:
        raise LookupError(f"{name} cannot be read: {getattr(e, 'strerror', None) or e}") from None
    if not text:
        raise LookupError(f"{name} is empty; its first line should be the secret")
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        warn(f"{name} may be read by everybody on this machine: chmod o-r")
    return text


def resolve(
    options: Mapping[str, Any], environ: Mapping[str, str], wrong: Callable[[str, str], None], warn: Callable[[str], None]
) -> dict[str, Any]:
    """The options of a sink with their secrets in place. `wrong(key, what)` is told what is not right; values are never told."""
    out: dict[str, Any] = {}
    for key, value in options.items():
        bare, _, how = key.rpartition("_")
        if isinstance(value, dict):
            out[key] = resolve(value, environ, lambda inner, what, key=key: wrong(f"{key}.{inner}", what), warn)  # type: ignore[misc]
        elif is_secret(key):
            wrong(key, f'a secret does not belong into this file: write {key}_env = "VARIABLE" or {key}_file = "/path"')
        elif how in ("env", "file") and is_secret(bare):
            if bare in options or bare in out:
                wrong(key, f"{bare} is given twice")
                continue
            try:
                out[bare] = Secret(from_env(str(value), environ) if how == "env" else from_file(str(value), warn))
            except LookupError as e:
                wrong(key, str(e.args[0]))
        else:
            out[key] = value
    return out
