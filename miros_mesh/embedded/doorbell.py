"""How a publisher wakes a consumer, and how others see that a consumer is alive.

A doorbell is a datagram socket: in the broker's folder for processes, one of a pair for threads.
The kernel forgets it when its process dies, however it dies, and from then on ringing it is
refused: that is the only sign of life that the broker relies on.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import secrets
import socket
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

from miros_mesh.errors import EmbeddedStoreError
from miros_mesh.forks import disown_in_children
from miros_mesh.private_files import FILE_MODE
from miros_mesh.systems import readable

_RING: Final = b"!"
_PREFIX: Final = "bell-"
# The kernel's limit is 108 bytes on Linux and 104 on macOS, with the closing NUL.
_LONGEST_PATH_BYTES: Final = 103
_PATHS_KEPT: Final = 256
_DESCRIPTORS: Final = Path("/proc/self/fd")
# Between its bind and the kernel's entry of it a socket refuses: leave newborn ones alone.
_STALE_AFTER_S: Final = 10.0
_GONE: Final = frozenset({errno.ECONNREFUSED, errno.ENOENT})


class Doorbell:
    """The end that is rung: select on it, or wait."""

    def __init__(
        self,
        address: str,
        receiver: socket.socket,
        ring: Callable[[], object],
        remove: Callable[[], None],
    ) -> None:
        self.address = address
        self.ring = ring
        self._receiver = receiver
        self._remove = remove
        receiver.setblocking(False)
        # A child that kept it open would make a dead parent look alive.
        disown_in_children(self)

    def fileno(self) -> int:
        """Return a descriptor that is readable when it was rung since the last `silence`."""
        return self._receiver.fileno()

    def wait(self, timeout_s: float | None) -> None:
        """Return when it has been rung, or at the end of the timeout."""
        readable((self.fileno(),), timeout_s)

    def silence(self) -> bool:
        """Forget all rings so far; return whether there were any."""
        rung = False
        try:
            # Nothing at all is the end of a stream, whose doorbell was closed.
            while self._receiver.recv(1):
                rung = True
        except BlockingIOError:
            return rung
        return True

    def close(self) -> None:
        """Remove the socket, which from now on refuses to be rung."""
        self._remove()
        self._receiver.close()

    def disown(self) -> None:
        """Close the descriptor in a child process; the socket stays its parent's."""
        self._receiver.close()


class Doorbells(Protocol):
    """All doorbells of one broker, by their addresses."""

    def open(self) -> Doorbell:
        """Make a doorbell with an address of its own."""

    def ring(self, addresses: Iterable[str]) -> list[str]:
        """Wake their owners, of whom one may be busy; returns those that are dead."""

    def answers(self, address: str) -> bool:
        """Tell whether the owner of a doorbell lives."""


class FolderDoorbells:
    """Unix sockets in the broker's folder, for the processes of one machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._caller: socket.socket | None = None

    def open(self) -> Doorbell:
        """Make a new socket in the folder."""
        self._sweep()
        address = f"{_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
        receiver = _datagram_socket()
        try:
            with _reachable(self._folder, address) as path:
                receiver.bind(path)
            (self._folder / address).chmod(FILE_MODE)
        except OSError as error:
            receiver.close()
            raise EmbeddedStoreError(
                f"no socket can be made in {self._folder}: {error.strerror or error}; "
                "name another folder with MIROS_MESH_HOME"
            ) from error
        return Doorbell(
            address, receiver, lambda: self.ring((address,)), lambda: self._unlink(address)
        )

    def ring(self, addresses: Iterable[str]) -> list[str]:
        """Send one byte to each; one with a full buffer is awake already."""
        dead = []
        for address in addresses:
            try:
                if path := _short_path(self._folder, address):
                    self._send(path)
                else:
                    with _reachable(self._folder, address) as path:
                        self._send(path)
            except OSError as error:
                if error.errno in _GONE:
                    dead.append(address)
        return dead

    def _send(self, path: str) -> None:
        self._caller = self._caller or _datagram_socket()
        self._caller.sendto(_RING, path)

    def answers(self, address: str) -> bool:
        """Tell whether the kernel still knows the socket."""
        with _datagram_socket() as caller, _reachable(self._folder, address) as path:
            return caller.connect_ex(path) not in _GONE

    def close(self) -> None:
        """Close the socket that rings; another `ring` makes a new one."""
        if self._caller is not None:
            self._caller.close()
            self._caller = None

    def _sweep(self) -> None:
        """Remove the sockets of processes that were killed."""
        for path in self._folder.glob(f"{_PREFIX}*"):
            with contextlib.suppress(FileNotFoundError):
                old = time.time() - path.lstat().st_mtime > _STALE_AFTER_S
                if old and not self.answers(path.name):
                    path.unlink()

    def _unlink(self, address: str) -> None:
        with contextlib.suppress(OSError):
            (self._folder / address).unlink()


class LocalDoorbells:
    """Socket pairs, for the threads of one process."""

    def __init__(self) -> None:
        self._callers: weakref.WeakValueDictionary[str, socket.socket] = (
            weakref.WeakValueDictionary()
        )

    def open(self) -> Doorbell:
        """Make a new pair; it lives as long as its doorbell."""
        receiver, caller = socket.socketpair()
        caller.setblocking(False)
        address = secrets.token_hex(6)
        self._callers[address] = caller

        def remove() -> None:
            self._callers.pop(address, None)
            caller.close()

        return Doorbell(address, receiver, lambda: self.ring((address,)), remove)

    def ring(self, addresses: Iterable[str]) -> list[str]:
        """Send one byte to each."""
        dead = []
        for address in addresses:
            if caller := self._callers.get(address):
                with contextlib.suppress(OSError):
                    caller.send(_RING)
            else:
                dead.append(address)
        return dead

    def answers(self, address: str) -> bool:
        """Tell whether the doorbell was neither closed nor forgotten."""
        return address in self._callers


@functools.lru_cache(_PATHS_KEPT)
def _short_path(folder: Path, name: str) -> str:
    """Return the path of a socket if the kernel takes it; "" for one that is too long."""
    # The same few are rung for each message.
    path = str(folder / name)
    return path if len(os.fsencode(path)) <= _LONGEST_PATH_BYTES else ""


@contextlib.contextmanager
def _reachable(folder: Path, name: str) -> Iterator[str]:
    """Give the path of a socket in a form that the kernel takes, however deep the folder is."""
    if path := _short_path(folder, name):
        yield path
        return
    if not _DESCRIPTORS.is_dir():
        raise OSError(errno.ENAMETOOLONG, f"its path is longer than {_LONGEST_PATH_BYTES} bytes")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield str(_DESCRIPTORS / str(descriptor) / name)
    finally:
        os.close(descriptor)


def _datagram_socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made
