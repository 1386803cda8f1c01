"""What systemd is told of a program, and when; `NOTIFIER` tells it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from miros_mesh.service.notify_socket import NotifySocket, notify_socket, watchdog_s
from miros_mesh.text import logger_of, printable
from miros_mesh.timing.threads import OwnedThread

logger = logger_of(__name__)

_LOOK_S: Final = 1.0
# Until it is ready: others may wait for that.
_FIRST_LOOKS_S: Final = 0.1
# systemd reads the first 4,096 bytes of a message; a sign has four at most.
_MOST_SIGNS: Final = 800


@dataclass(frozen=True)
class State:
    """How the program is at one moment."""

    ready: bool
    """Whether it has all that it needs for its work."""
    unfit: str
    """Why only a restart would help; empty while it lives."""
    wrong: str
    """For people: why it is not ready, why it is unfit, and what else is wrong."""


class Notifier:
    """Says nothing before `start`, nor in a child that is forked; no error of it leaves it.

    | message | sent |
    | --- | --- |
    | `READY=1` | once the program was ready, and at the end of each reload |
    | `STATUS=` | whenever the words change |
    | `WATCHDOG=1` | twice in the time that systemd waits for it, while the program lives |
    | `RELOADING=1`, `STOPPING=1` | by `reloading` and `stopping` |

    What the socket does not take is sent again at the next look, but for the last row.
    """

    def __init__(self) -> None:
        self._wake = threading.Event()
        self._thread = OwnedThread("mesh-systemd", self._run, self._wake.set)
        # Guards that one call of `start` has an effect.
        self._starting = threading.Lock()
        self._socket: NotifySocket | None = None
        self._look: Callable[[], State]
        self._watchdog_s = 0.0
        # Set on other threads, and read by the handler of a signal: no lock, each in one step.
        self._ready = False
        """Whether the program was ready once."""
        self._owed = False
        """Whether `READY=1` is to be sent."""
        self._stopping = False
        # Of the thread alone.
        self._said = ""
        self._ping_at = 0.0
        self._complaint = ""
        self._unfit = ""
        self._failed = False

    def start(self, environ: Mapping[str, str], look: Callable[[], State]) -> None:
        """Tell what `look` returns, from now on, if the environment names a socket for it.

        A second call does nothing.
        """
        with self._starting:
            if self._socket or not (found := notify_socket(environ)):
                return
            self._look, self._watchdog_s = look, watchdog_s(environ)
            self._socket = found
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End its thread, and say nothing more."""
        if self._thread.stop(timeout_s) and self._socket:
            self._socket.close()

    def stopping(self) -> None:
        """Say that the end has begun. It takes no lock: the handler of a signal may call it."""
        self._stopping = True
        if self._socket:
            self._socket.send("STOPPING=1", "STATUS=stopping")

    @contextlib.contextmanager
    def reloading(self) -> Iterator[None]:
        """Say that a reload goes on inside, and after it that it is over; on any one thread."""
        told = False
        if self._socket and self._ready and not self._stopping:
            # By its moment systemd tells which request it answers.
            moment = f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"
            told = not self._socket.send("RELOADING=1", moment)
        yield
        if told:
            self._owed = True
            self._wake.set()

    def _run(self) -> None:
        while not self._thread.stopping.is_set():
            self._wake.clear()
            try:
                self._turn(self._look(), time.monotonic())
            except Exception:
                # Whether the program lives is not known then, and not said.
                if not self._failed:
                    self._failed = True
                    logger.exception("systemd is told nothing for now; said once")
            self._wake.wait(self._pause_s())

    def _pause_s(self) -> float:
        pause_s = _LOOK_S if self._ready else _FIRST_LOOKS_S
        return min(pause_s, self._watchdog_s / 4) if self._watchdog_s else pause_s

    def _turn(self, state: State, now: float) -> None:
        if state.ready and not self._ready:
            self._ready = self._owed = True
        # Taken before it is sent: a reload that ends meanwhile owes another one.
        owed, self._owed = self._owed and not self._stopping, False
        words = self._said if self._stopping else f"STATUS={self._words(state)}"
        ping = bool(self._watchdog_s) and not state.unfit and now >= self._ping_at
        messages = ["READY=1"] * owed + [words] * (words != self._said) + ["WATCHDOG=1"] * ping
        if self._send(messages):
            self._said = words
            # Half of the time, as sd_watchdog_enabled(3) has it.
            self._ping_at = now + self._watchdog_s / 2 if ping else self._ping_at
        elif owed:
            self._owed = True
        self._warn(state.unfit)

    def _words(self, state: State) -> str:
        shown = printable(state.wrong or ("ready" if self._ready else "starting"))
        return shown if len(shown) <= _MOST_SIGNS else f"{shown[: _MOST_SIGNS - 1]}…"

    def _send(self, messages: list[str]) -> bool:
        """Send messages as one; whether the socket took them."""
        if not messages or self._socket is None:
            return True
        why = self._socket.send(*messages)
        self._complain(why)
        return not why

    def _complain(self, why: str) -> None:
        if why and why != self._complaint:
            logger.warning("systemd is not told how this program is: %s", why)
        self._complaint = why

    def _warn(self, unfit: str) -> None:
        if unfit and unfit != self._unfit and self._watchdog_s:
            logger.critical(
                "systemd gets no more signs of life, and ends this program in %g s: %s",
                self._watchdog_s,
                unfit,
            )
        self._unfit = unfit


NOTIFIER: Final = Notifier()
"""That of this process: a program has one `$NOTIFY_SOCKET`."""
