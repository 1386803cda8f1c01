"""A chart of the demo in a process of its own, and the parent's view of it."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Protocol, TypeVar

from miros_mesh.cli.demo.ledger import Ledger
from miros_mesh.errors import MeshError

# Starting an interpreter on a busy machine takes seconds; a broker that does not answer, longer.
START_LIMIT_S = 60.0
END_LIMIT_S = 15.0

T = TypeVar("T")


class Talker(Protocol):
    """A chart that talks to another one and keeps books of it."""

    ledger: Ledger
    thread: threading.Thread | None

    def begin(self) -> None: ...

    def stop(self) -> object: ...


class PlayerError(Exception):
    """A child process could not play its part; sent by the child, raised in the parent."""


class Player:
    """A chart in a child process, seen from the parent.

    Child and parent talk through a pipe: the child sends a word when its chart has begun, the
    parent sends one when the talk begins and when it ends, the child sends its books. In place of
    its word or its books the child may send a `PlayerError`.
    """

    def __init__(self, name: str, make: Callable[[], Talker]) -> None:
        """Start the process; `make` must be picklable, and is called in the child."""
        # Not `fork`: the parent runs a node, and a child would inherit locks whose threads it has
        # not.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._name = name
        # `daemon`: multiprocessing terminates it at the latest when the parent ends.
        self._process = context.Process(target=_play, args=(name, make, theirs), daemon=True)
        with _interrupts_held():
            self._process.start()
        # The child has its own copy. With this one open, the end of the child would not be seen.
        theirs.close()

    def ready(self) -> None:
        """Wait until the chart listens.

        Raises `PlayerError` when it cannot, or not within `START_LIMIT_S`.
        """
        self._answer(str)

    def talk(self, *, begins: bool) -> None:
        """Let the chart send from now on, or no more."""
        self._tell("talk" if begins else "hush")

    def books(self) -> Ledger:
        """Stop the chart and return its books. Raises `PlayerError` when there are none."""
        self._tell("stop")
        return self._answer(Ledger)

    def _tell(self, word: str) -> None:
        # Of a process that has ended, its missing answer tells.
        with contextlib.suppress(ConnectionError):
            self._connection.send(word)

    def close(self) -> None:
        """Wait for the end of the process, and kill it after `END_LIMIT_S`."""
        # The child hears the end of the talk from it, if it has not been told.
        self._connection.close()
        self._process.join(END_LIMIT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self, expected: type[T]) -> T:
        try:
            # The end of the child makes the pipe readable, so a dead one is not waited for.
            answer = self._connection.recv() if self._connection.poll(START_LIMIT_S) else None
        except (EOFError, ConnectionError):
            raise PlayerError(f"the process of {self._name} died") from None
        if isinstance(answer, PlayerError):
            raise answer
        if not isinstance(answer, expected):
            raise PlayerError(f"{self._name} did not answer within {START_LIMIT_S:g} s")
        return answer


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes that never see a Ctrl-C: their parent does, and ends them in good order."""
    if not hasattr(signal, "pthread_sigmask"):
        # Windows, where no signal can be held back.
        yield
        return
    # The tracker unblocks signals when it is started.
    resource_tracker.ensure_running()
    # A process inherits the signals that the thread which starts it has blocked, and keeps them
    # blocked through exec (signal(7)).
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _play(name: str, make: Callable[[], Talker], connection: Connection) -> None:
    """Be the child process: start a chart, let it talk until the parent says so, send its books."""
    chart = make()
    try:
        chart.begin()
        # `begin` has returned: its queue is bound, and from here on it misses nothing.
        connection.send("ready")
        for word in iter(connection.recv, "stop"):
            chart.ledger.open = word == "talk"
        # Before `stop`, which ends the thread of each chart.
        alive = chart.thread is not None and chart.thread.is_alive()
        chart.stop()
        connection.send(chart.ledger if alive else PlayerError(f"chart {name} died"))
    except MeshError as error:
        with contextlib.suppress(ConnectionError):
            connection.send(PlayerError(str(error)))
    except (EOFError, ConnectionError):
        # The parent has gone or was interrupted, and reads no books.
        chart.stop()
