"""A thread with one owner, who starts it once, asks it to stop, and joins it."""

from __future__ import annotations

import threading
from collections.abc import Callable


class OwnedThread:
    """A daemon thread: started at most once, and never joined by itself.

    `run` is its work and returns soon after `stopping` is set and `wake` was called; `wake` ends
    whatever `run` waits for, from any thread. May be used from any thread.
    """

    def __init__(
        self, name: str, run: Callable[[], object], wake: Callable[[], object] = lambda: None
    ) -> None:
        # A daemon: one that hangs in a call of the system must not keep the program from ending.
        self._thread = threading.Thread(target=run, name=name, daemon=True)
        self._wake = wake
        # Guards the test-and-start of `start`, which two threads may call.
        self._starting = threading.Lock()
        self.stopping = threading.Event()
        """Set by `stop`; `run` returns soon after."""

    @property
    def name(self) -> str:
        """What it is called in a stack dump."""
        return self._thread.name

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on it."""
        return self._thread is threading.current_thread()

    def start(self) -> None:
        """Start it; a second call does nothing."""
        with self._starting:
            # Set before `Thread.start` returns, and kept after the end: it cannot be started again.
            if self._thread.ident is None:
                self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ask it to end and wait for that; whether it has ended.

        Called on the thread itself, as by a callback that stops its own chart, it does not wait.
        """
        # In this order: a thread that is woken first could look, find nothing, and wait again.
        self.stopping.set()
        self._wake()
        return self.join(timeout_s)

    def join(self, timeout_s: float) -> bool:
        """Wait for its end, `timeout_s` at most and never for itself; whether it has ended."""
        # Python refuses to join the current thread or one that was not started.
        if self.alive and not self.is_current:
            self._thread.join(max(timeout_s, 0))
        return not self.alive
