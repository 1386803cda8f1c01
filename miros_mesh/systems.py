"""What not every system has on which Python runs, what is done without it, and who may read a file.

docs/systems.md says of each part of the library what it needs, and what becomes of it elsewhere.
"""

from __future__ import annotations

import errno
import math
import os
import select
import shlex
import socket
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
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
_ROOT: Final = 0
# What a file may not allow beyond its owner, as PostgreSQL has it for the key of a client: one of
# root may be read by a group, which is how a secret reaches a process that is not root's.
_NOT_OF_USER: Final = 0o077
_NOT_OF_ROOT: Final = 0o037


def own_uid() -> int | None:
    """Return the user as whom files are made; None where files have no owner that Python knows."""
    return os.geteuid() if hasattr(os, "geteuid") else None


def is_read_only(folder: os.PathLike[str]) -> bool:
    """Tell whether its file system is; False where that cannot be asked. Raises `OSError`."""
    return hasattr(os, "statvfs") and bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def exposure(file: Path, descriptor: int | None = None) -> str:
    """Say why others than this user may know a secret in `file`, and what to do; "" if they cannot.

    It belongs to this user and is closed to all others (mode 600), or to root and is closed to all
    but a group (640), which is how containers get secrets. Links are followed, and root may use a
    user's own file. Of a file that is open already `descriptor` tells what the path may no longer.
    Where files have no owners nothing is known against one. Raises `OSError`.
    """
    status, uid = file.stat() if descriptor is None else os.fstat(descriptor), own_uid()
    # A terminal, or a pipe as of a shell's `<(command)`; what they give is kept nowhere.
    if uid is None or stat.S_ISCHR(status.st_mode) or stat.S_ISFIFO(status.st_mode):
        return ""
    name = shlex.quote(str(file))
    if status.st_uid not in (_ROOT, uid) and uid != _ROOT:
        return (
            f"belongs to another user (uid {status.st_uid}, this is {uid}); as root, run: "
            f"chown {uid} {name} && chmod 600 {name}"
        )
    mode = stat.S_IMODE(status.st_mode)
    if not mode & (_NOT_OF_ROOT if status.st_uid == _ROOT else _NOT_OF_USER):
        return ""
    return f"is open to other users (mode {mode:04o}); {_remedy(file, status, uid)}"


def _remedy(file: Path, status: os.stat_result, uid: int) -> str:
    name = shlex.quote(str(file))
    if is_read_only(file):
        return (
            "it is mounted read-only: mount it with mode 0440 (Kubernetes: defaultMode: 0440, and "
            "an fsGroup; Docker: mode: 0440, and a gid)"
        )
    if status.st_uid == uid or status.st_uid != _ROOT:
        return f"run: chmod 600 {name}"
    # Root's, and this user shall go on to read it.
    group = f"chgrp {os.getegid()} {name} && "
    member = status.st_gid in (os.getegid(), *os.getgroups())
    return f"as root, run: {'' if member else group}chmod 640 {name}"


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


class Inputs:
    """Sockets at which one waits for input again and again."""

    def __init__(self, descriptors: Iterable[int]) -> None:
        self._descriptors = [*descriptors]
        # Not select, which elsewhere knows no descriptor above 1,023.
        self._poller = select.poll() if _HAS_POLL else None
        if self._poller:
            for descriptor in self._descriptors:
                self._poller.register(descriptor, select.POLLIN)

    def readable(self, timeout_s: float | None) -> set[int]:
        """Wait for input; return those that have some, none at the end of the timeout."""
        if self._poller is None:
            # Windows, whose select counts sockets and takes any of their numbers; no time below
            # zero.
            left_s = None if timeout_s is None else max(timeout_s, 0)
            return set(select.select(self._descriptors, [], [], left_s)[0])
        # Rounded up: with 0 in place of half a millisecond a caller would spin until it is over.
        timeout_ms = None if timeout_s is None else max(math.ceil(timeout_s * 1000), 0)
        return {ready for ready, _ in self._poller.poll(timeout_ms)}


def readable(descriptors: Iterable[int], timeout_s: float | None) -> set[int]:
    """Wait for input at sockets; return those that have some, none at the end of the timeout."""
    return Inputs(descriptors).readable(timeout_s)


def tcp_user_timeout(milliseconds: int) -> Mapping[int, int]:
    """Return the option after which the kernel gives a connection up; none where it has none."""
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        return {}
    return {socket.TCP_USER_TIMEOUT: milliseconds}
