"""What a parent process opened is not its child's; nor can a child go on from the middle of it."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
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
    """Lets a fork wait, for five seconds at most, until no other thread is inside.

    A thread that is takes locks which are not ours with it into the child, where no thread releases
    them. Nothing enters twice.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # By their numbers, and not how many: wherever the handler of a signal breaks a visit off,
        # the thread's next one puts right what was left.
        self._inside: set[int] = set()
        self._closing = False
        # Before a thread can be inside: a fork amid the first connect would not wait for it.
        # Windows has no forks.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._close, after_in_parent=self._open, after_in_child=self._renew
            )

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

    @property
    def own(self) -> set[int]:
        """The calling thread, if it is inside."""
        return self._inside & {threading.get_ident()}

    def _close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.wait_for(lambda: self._inside == self.own, _PATIENCE_S)

    def _open(self) -> None:
        with self._changed:
            self._closing = False
            self._changed.notify_all()

    def _renew(self) -> None:
        # All others that are counted are the parent's threads.
        self._changed, self._closing, self._inside = threading.Condition(), False, self.own


_sqlite: Final = _ForkBarrier()
_imports: Final = _ForkBarrier()


def inside_sqlite() -> contextlib.AbstractContextManager[None]:
    """Hold up every fork, for five seconds at most: longer than any transaction takes."""
    return _sqlite


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Hold up every fork, likewise, for an import that is made late.

    A child has no thread that would end it. One import may lead to another one.
    """
    if _imports.own:
        yield
        return
    with _imports:
        yield


def _disown_all() -> None:
    for opened in list(_opened):
        opened.disown()
    _opened.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
