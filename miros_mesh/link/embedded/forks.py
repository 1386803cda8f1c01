"""What a parent process opened is not its child's to use, nor to close."""

from __future__ import annotations

import functools
import os
import weakref
from typing import Protocol


class Disownable(Protocol):
    """Something that a forked child must let go of."""

    def disown(self) -> None:
        """Called in the child, right after the fork."""


_opened: weakref.WeakSet[Disownable] = weakref.WeakSet()


def disown_in_children(opened: Disownable) -> None:
    """Have `opened.disown()` called in every process that this one forks."""
    _watch()
    _opened.add(opened)


@functools.cache
def _watch() -> None:
    os.register_at_fork(after_in_child=_disown_all)


def _disown_all() -> None:
    for opened in list(_opened):
        opened.disown()
    _opened.clear()
