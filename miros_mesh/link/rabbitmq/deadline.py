"""Cutting a connection, whatever it waits for: when another thread says so, or at a moment.

py-amqp has time limits for single reads, so that a peer that sends a byte now and then, or a name
with many dead addresses, could hold a thread for as long as it likes.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from miros_mesh.timing.lookups import Lookups
from miros_mesh.timing.threads import OwnedThread

# A host with several addresses gets a new socket for each.
_AGAIN_S = 0.05


class Cutter:
    """Cuts one connection after the other of an owner, from the look-up of a name to its close."""

    def __init__(self, lookups: Lookups | None = None) -> None:
        self.lookups = lookups or Lookups("mesh-lookup")
        """By which the connection looks up names."""
        self._socket: Callable[[], Any] = lambda: None
        self.passed = False
        """Whether it was cut: no connection is made any more."""

    def watch(self, find_socket: Callable[[], Any]) -> None:
        """Cut the socket that `find_socket` returns at that moment; it may return None."""
        self._socket = find_socket

    def cut(self) -> None:
        """Cut what there is now; from any thread.

        A socket that is just being made may slip through: call it until its owner has ended.
        """
        self.lookups.stop()
        self._shut()

    def _shut(self) -> None:
        # `passed` before the cut: the thread that meets the error reads it to know the cause.
        self.passed = True
        if sock := self._socket():
            # Closing it would give its number to another socket while it is still in use. Past the
            # method of an SSLSocket, which would take its state from the thread that uses it.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _CutsInTime(Cutter):
    """A cutter with a thread that cuts in time, for as long as its `with` block lasts."""

    def __init__(self, name: str, lookups: Lookups | None = None) -> None:
        super().__init__(lookups)
        # Ends a wait of the thread early: set by the end of the block at the latest.
        self._due = threading.Event()
        self._thread = OwnedThread(name, self._run, wake=self._due.set)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # It ends at once, since `stopping` and `_due` are set: no thread is left behind.
        self._thread.stop(threading.TIMEOUT_MAX)

    def _run(self) -> None:
        raise NotImplementedError


class Deadline(_CutsInTime):
    """`with Deadline(2.0) as deadline:` cuts what it watches after two seconds, until the end."""

    def __init__(self, seconds: float, name: str, lookups: Lookups | None = None) -> None:
        super().__init__(name, lookups)
        self._seconds = seconds

    def cut(self) -> None:
        """Cut at once instead of at the deadline, until the end of the block; from any thread."""
        self._due.set()

    def _run(self) -> None:
        self._due.wait(self._seconds)
        pause = 0.0
        # The block may have ended just in time: then `stopping` is set, and nothing is cut.
        while not self._thread.stopping.wait(pause):
            pause = _AGAIN_S
            self._shut()


class StepLimit(_CutsInTime):
    """`with StepLimit(2.0, name) as limit:` cuts what it watches in a step of over two seconds.

    A visit of thousands of steps has one thread for all of them, which a step need not wake. The
    steps are those of one thread: `with limit.step():` around each.
    """

    def __init__(self, seconds: float, name: str) -> None:
        super().__init__(name)
        self.seconds = seconds
        # When the step under way has to end; infinite between two. Written by the thread that
        # takes the steps, read by the one that cuts.
        self._until = math.inf

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Cut unless the block ends within `seconds`."""
        self._until = time.monotonic() + self.seconds
        try:
            yield
        finally:
            self._until = math.inf

    def _run(self) -> None:
        # No step that begins during a wait is due before its end.
        pause = self.seconds
        while not self._due.wait(pause):
            left = self._until - time.monotonic()
            pause = min(left, self.seconds)
            if left <= 0:
                self._shut()
                pause = _AGAIN_S
