"""A moment at which a connection is cut, whatever it waits for.

py-amqp has time limits for single reads, so that a peer that sends a byte now and then, or a name
with many dead addresses, could hold a thread for as long as it likes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from miros_mesh.threads import OwnedThread

# A host with several addresses gets a new socket for each.
_AGAIN_S = 0.05


class Deadline:
    """`with Deadline(2.0) as deadline:` cuts what it watches after two seconds, until the end."""

    def __init__(self, seconds: float, name: str) -> None:
        self._seconds = seconds
        self._socket: Callable[[], Any] = lambda: None
        self._due = threading.Event()
        self._thread = OwnedThread(name, self._run, wake=self._due.set)
        self.passed = False
        """Whether the time was not enough, or `cut` was called."""

    def watch(self, find_socket: Callable[[], Any]) -> None:
        """Cut the socket that `find_socket` returns at that moment; it may return None."""
        self._socket = find_socket

    def cut(self) -> None:
        """Cut at once instead of at the deadline; from any thread."""
        self._due.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.stop(threading.TIMEOUT_MAX)

    def _run(self) -> None:
        self._due.wait(self._seconds)
        pause = 0.0
        while not self._thread.stopping.wait(pause):
            self.passed, pause = True, _AGAIN_S
            if sock := self._socket():
                # Closing it would give its number to another socket while it is still in use.
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
