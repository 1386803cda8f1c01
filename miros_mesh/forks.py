"""What a parent process opened is not its child's; nor can a child go on from the middle of it."""

from __future__ import annotations

import contextlib
import functools
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
    _watch()
    _opened.add(opened)


class ForkBarrier:
    """Lets a fork wait, for five seconds at most, until no other thread is inside.

    A thread that is takes locks which are not ours with it into the child, where no thread releases
    them. A thread may be inside several times.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closing = False
        self._depth = threading.local()
        # Windows has no forks.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._close, after_in_parent=self._open, after_in_child=self._renew
            )

    def __enter__(self) -> None:
        depth = getattr(self._depth, "value", 0)
        self._depth.value = depth + 1
        if not depth:
            with self._changed:
                # Nearly always open: to ask first is cheaper than to wait for it.
                if self._closing:
                    self._changed.wait_for(lambda: not self._closing, _PATIENCE_S)
                self._inside += 1

    def __exit__(self, *_: object) -> None:
        self._depth.value -= 1
        if not self._depth.value:
            with self._changed:
                self._inside -= 1
                if self._closing:
                    self._changed.notify_all()

    @property
    def _own(self) -> int:
        """How many of those inside are the thread that forks."""
        return min(getattr(self._depth, "value", 0), 1)

    def _close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.wait_for(lambda: self._inside <= self._own, _PATIENCE_S)

    def _open(self) -> None:
        with self._changed:
            self._closing = False
            self._changed.notify_all()

    def _renew(self) -> None:
        # All others that are counted are the parent's threads.
        self._changed, self._closing, self._inside = threading.Condition(), False, self._own


IMPORTS: Final = ForkBarrier()
"""Entered for each import that is made late: a child has no thread that would end it."""

_barrier: Final = ForkBarrier()


def inside_sqlite() -> contextlib.AbstractContextManager[None]:
    """Hold up every fork, for five seconds at most: longer than any transaction takes."""
    return _barrier


@functools.cache
def _watch() -> None:
    # Windows has no forks.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_disown_all)


def _disown_all() -> None:
    for opened in list(_opened):
        opened.disown()
    _opened.clear()
