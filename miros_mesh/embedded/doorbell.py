"""How a publisher wakes a consumer, and how anybody knows that a consumer is alive.

A doorbell is a datagram socket. The kernel forgets it when its process dies, however it dies, and
from then on ringing it is refused: that is the only sign of life that the broker relies on.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
from collections.abc import Callable, Iterable
from typing import Protocol

from miros_mesh.embedded.forks import disown_in_children


class Doorbell:
    """The end that is rung: select on it, or wait."""

    def __init__(
        self,
        address: str,
        receiver: socket.socket,
        ring: Callable[[], None],
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
        """Readable while somebody has rung since the last `silence`."""
        return self._receiver.fileno()

    def wait(self, timeout_s: float | None) -> None:
        """Return when it has been rung, or at the end of the timeout."""
        # Not select, which knows no descriptor above 1,023.
        poller = select.poll()
        poller.register(self._receiver, select.POLLIN)
        poller.poll(None if timeout_s is None else math.ceil(timeout_s * 1000))

    def silence(self) -> None:
        """Forget all rings so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._receiver.recv(1)

    def close(self) -> None:
        """Answer no more."""
        self._remove()
        self._receiver.close()

    def disown(self) -> None:
        """Let go of it in a child process, where it belongs to the parent."""
        self._receiver.close()


class Street(Protocol):
    """The doorbells of one broker."""

    def open(self) -> Doorbell:
        """A new doorbell."""

    def ring(self, addresses: Iterable[str]) -> None:
        """Wake whoever is there; the dead and the busy are no error."""

    def answers(self, address: str) -> bool:
        """Whether the process behind a doorbell lives."""
