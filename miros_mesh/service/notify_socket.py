"""The socket at which systemd is told of a program, and how long it waits: see sd_notify(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from miros_mesh.systems import HAS_UNIX_SOCKETS
from miros_mesh.text import logger_of

logger = logger_of(__name__)


class NotifySocket:
    """Takes messages of the process that made it, and none of its children."""

    def __init__(self, address: str) -> None:
        # A null byte before a name that is in no folder.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._process = os.getpid()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # A systemd that reads nothing must not hold up the program.
        self._socket.setblocking(False)

    def send(self, *messages: str) -> str:
        """Send messages as one, and do not wait; return why it was not taken, if so.

        Takes no lock and logs nothing: the handler of a signal may call it.
        """
        if os.getpid() != self._process:
            return "it is told by the parent of this process"
        try:
            self._socket.sendto("\n".join(messages).encode(), self._address)
        except OSError as error:
            return str(error)
        return ""

    def close(self) -> None:
        """Take no more messages; a second call does nothing."""
        self._socket.close()


def notify_socket(environ: Mapping[str, str]) -> NotifySocket | None:
    """Return the socket that the environment names; None without one that can be had here."""
    address = environ.get("NOTIFY_SOCKET", "")
    if address.startswith(("/", "@")) and HAS_UNIX_SOCKETS:
        return NotifySocket(address)
    if address:
        logger.warning("systemd is told nothing: no socket can be at NOTIFY_SOCKET=%s", address)
    return None


def watchdog_s(environ: Mapping[str, str]) -> float:
    """Return for how long systemd waits for a sign of life; 0 if not, or of another process."""
    own = str(os.getpid())
    if (environ.get("WATCHDOG_PID") or own) != own:
        return 0.0
    given = environ.get("WATCHDOG_USEC") or "0"
    if not given.isdecimal():
        logger.warning("systemd gets no sign of life: WATCHDOG_USEC=%s is no number", given)
        return 0.0
    return int(given) / 1_000_000
