"""Reading the files of keys again when an operator asks for it by SIGHUP."""

from __future__ import annotations

import signal
import threading
from queue import SimpleQueue
from typing import Final

from miros_mesh.errors import LifecycleError, UnsupportedError
from miros_mesh.node.node import NODES
from miros_mesh.service.notifier import NOTIFIER
from miros_mesh.timing.threads import OwnedThread

# Its `put` may be interrupted by a handler that puts as well; no lock of `threading` may.
_asked: Final[SimpleQueue[None]] = SimpleQueue()


def reload_on_sighup() -> None:
    """Let SIGHUP have every node of this process read its files of keys at once.

    Without it they are read every `heartbeat_interval_s`. A second call does nothing more. Raises
    `LifecycleError` outside the main thread, where Python installs no handlers, and
    `UnsupportedError` where the system has no SIGHUP.
    """
    if threading.current_thread() is not threading.main_thread():
        raise LifecycleError(
            "reload_on_sighup outside the main thread: Python handles signals there alone; "
            "call it where the program starts"
        )
    if not hasattr(signal, "SIGHUP"):
        raise UnsupportedError(
            "this system has no SIGHUP: files of keys are read every heartbeat_interval_s"
        )
    _reader.start()
    signal.signal(signal.SIGHUP, _ask)


def _ask(_signal: int, _frame: object) -> None:
    # Nothing is read here: the main thread may hold any of the locks that this takes.
    _asked.put(None)


def _read() -> None:
    while True:
        _asked.get()
        with NOTIFIER.reloading():
            for node in NODES.live:
                node.keys.look()


# Made, and not started: a program that never asks for it has no such thread.
_reader: Final = OwnedThread("mesh-sighup", _read)
