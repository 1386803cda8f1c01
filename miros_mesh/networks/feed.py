"""Moving what waits to where it is wanted, on one thread at a time and without waiting for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from miros_mesh.timing.locks import tried


class Feed:
    """Calls `move` while `ready` says that something can be moved.

    Two threads never move at once, so nothing overtakes. A thread that finds another one moving
    returns at once: that one looks again after it has released the lock, and so sees whatever
    became ready before this thread came. It is also how `move` may lead to another `run`.

    `move` moves all that it can and raises nothing; `ready` must be quick, and needs no lock, since
    `move` looks again under its own.
    """

    def __init__(self, ready: Callable[[], bool], move: Callable[[], object]) -> None:
        self._ready = ready
        self._move = move
        # Guards nothing but the turn to move. Only ever tried, so it has no place in any order.
        self._moving = threading.Lock()

    def run(self) -> None:
        """Move what is ready, or leave it to the thread that moves already."""
        while self._ready():
            got: list[bool] = []
            try:
                if not tried(self._moving, got):
                    return
                self._move()
            finally:
                if True in got:
                    self._moving.release()
