"""What not every system has on which Python runs, and what is done without it.

docs/systems.md says of each part of the library what it needs, and what becomes of it elsewhere.
"""

from __future__ import annotations

import errno
import math
import os
import select
import socket
from collections.abc import Iterable, Mapping
from typing import Final

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

HAS_FILE_LOCKS: Final = fcntl is not None
"""Whether a file can be locked so that the lock goes when its process dies, as by flock(2)."""
HAS_UNIX_SOCKETS: Final = hasattr(socket, "AF_UNIX")
"""Whether there are sockets in folders, which refuse from the moment that their process dies."""
HAS_NETLINK: Final = hasattr(socket, "AF_NETLINK")
"""Whether the kernel can be asked for its tables as Linux can."""
CONNECTING: Final = {errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS)}
"""What `connect_ex` returns for a socket that does not block and has begun to connect."""

REUSES_ADDRESSES: Final = os.name == "posix"
"""Whether a server that begins anew may ask for its old port; on Windows any other one could."""

_HAS_POLL: Final = hasattr(select, "poll")


def own_uid() -> int | None:
    """Return the user as whom files are made; None where files have no owner that Python knows."""
    return os.geteuid() if hasattr(os, "geteuid") else None


def is_read_only(folder: os.PathLike[str]) -> bool:
    """Tell whether its file system is; False where that cannot be asked. Raises `OSError`."""
    return hasattr(os, "statvfs") and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def lock_file(descriptor: int) -> None:
    """Wait for the lock of a file; only where `HAS_FILE_LOCKS`. Raises `OSError`."""
    # Given back by the kernel when this process has ended, however it ended, and each child that
    # has inherited the descriptor: see flock(2).
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def lock_range(descriptor: int) -> None:
    """Take the POSIX lock of a file, as SQLite does, without waiting; where `HAS_FILE_LOCKS`.

    Raises `OSError`.
    """
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def unlock_file(descriptor: int) -> None:
    """Give back the lock of a file."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def readable(descriptors: Iterable[int], timeout_s: float | None) -> set[int]:
    """Wait for input at sockets; return those that have some, none at the end of the timeout."""
    if not _HAS_POLL:
        # Windows, whose select counts sockets and takes any of their numbers; no time below zero.
        left_s = None if timeout_s is None else max(timeout_s, 0)
        return set(select.select([*descriptors], [], [], left_s)[0])
    # Not select, which elsewhere knows no descriptor above 1,023.
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    # Rounded up: with 0 in place of half a millisecond a caller would spin until it is over.
    timeout_ms = None if timeout_s is None else max(math.ceil(timeout_s * 1000), 0)
    return {ready for ready, _ in poller.poll(timeout_ms)}


def tcp_user_timeout(milliseconds: int) -> Mapping[int, int]:
    """Return the option after which the kernel gives a connection up; none where it has none."""
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        return {}
    return {socket.TCP_USER_TIMEOUT: milliseconds}
