"""What a parent process opened is not its child's to use, nor to close."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from typing import Final, Protocol

_PATIENCE_S: Final = 5.0


class Disownable(Protocol):
    """Something that a forked child must let go of."""

    def disown(self) -> None:
        """Called in the child, right after the fork."""


_opened: weakref.WeakSet[Disownable] = weakref.WeakSet()


def disown_in_children(opened: Disownable) -> None:
    """Have `opened.disown()` called in every process that this one forks."""
    _opened.add(opened)


class _ForkBarrier:
    """Lets a fork wait until no thread is inside of SQLite.

    A thread that is takes SQLite's own locks with it into the child, where no thread releases them.
    Nothing enters twice.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # By their numbers, and not how many: wherever the handler of a signal breaks a visit off,
        # the thread's next one puts right what was left.
        self._inside: set[int] = set()
        self._closing = False

    def __enter__(self) -> None:
        with self._changed:
            # Nearly always open: to ask first is cheaper than to wait for it.
            if self._closing:
                self._changed.wait_for(lambda: not self._closing, _PATIENCE_S)
            self._inside.add(threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside.discard(threading.get_ident())
            if self._closing:
                self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.wait_for(lambda: not self._inside, _PATIENCE_S)

    def open(self) -> None:
        with self._changed:
            self._closing = False
            self._changed.notify_all()


_barrier = _ForkBarrier()


def inside_sqlite() -> contextlib.AbstractContextManager[None]:
    """Hold up every fork, for five seconds at most: longer than any transaction takes."""
    return _barrier


def _close_barrier() -> None:
    _barrier.close()


def _open_barrier() -> None:
    _barrier.open()


def _disown_all() -> None:
    global _barrier  # noqa: PLW0603 - the threads that are counted here are the parent's
    _barrier = _ForkBarrier()
    for opened in list(_opened):
        opened.disown()
    _opened.clear()


# Before a thread can be inside: a fork amid the first connect would not wait for it. Windows has no
# forks.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_close_barrier, after_in_parent=_open_barrier, after_in_child=_disown_all
    )
