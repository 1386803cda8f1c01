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
        # Ends the first wait early: set by `cut`, by the end of the block, and by no other.
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
        # It ends at once, since `stopping` and `_due` are set: a look leaves no thread behind.
        self._thread.stop(threading.TIMEOUT_MAX)

    def _run(self) -> None:
        self._due.wait(self._seconds)
        pause = 0.0
        # The block may have ended just in time: then `stopping` is set, and nothing is cut.
        while not self._thread.stopping.wait(pause):
            # `passed` before the cut: the thread that meets the error reads it to know the cause.
            self.passed, pause = True, _AGAIN_S
            if sock := self._socket():
                # Closing it would give its number to another socket while it is still in use.
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
