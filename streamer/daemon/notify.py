"""What systemd is told (sd_notify), in pure Python. https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html

Without systemd (no NOTIFY_SOCKET) nothing is sent and nothing differs.
"""

import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)


class Notifier:
    """`watchdog_s`: how often WATCHDOG must come, None when nobody waits for it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._broken = False
        self.watchdog_s = _watchdog(environ)
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def send(self, **fields: str | int) -> None:
        """Tell: ``send(READY=1, STATUS="...")``. What cannot be told is logged once."""
        if self._socket is None:
            return
        text = "\n".join(f"{key}={' '.join(str(value).split())}" for key, value in fields.items())
        try:
            self._socket.sendto(text.encode(errors="backslashreplace"), self._address)
            self._broken = False
        except OSError as e:
            if not self._broken:
                log.warning("systemd cannot be told %s: %s", next(iter(fields)), e.strerror or e)
            self._broken = True

    def close(self) -> None:
        """Nothing more is told."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Seconds; None when it is not for this process."""
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 1e6
