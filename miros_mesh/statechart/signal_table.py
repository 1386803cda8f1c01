"""miros' table of signal names, made safe for names that arrive while charts are at work."""

from __future__ import annotations

import functools
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable

from miros import signals

# Guards the table against two new names at once, which would get the same number.
_naming = threading.Lock()


def guard() -> None:
    """Make the process's signal table safe for threads and forks; a second call does nothing.

    Replaces two methods on the one table, `items` and `append`; docs/decisions/signal-table.md
    says why.
    """
    # In the table's own `__dict__` they hide the methods of its class, from miros and from programs
    # that call it too.
    vars(signals).setdefault("items", _snapshot)
    vars(signals).setdefault("append", _append)
    _renew_in_children()


def enter(names: Iterable[str]) -> None:
    """Give each name that is new its number, in this order."""
    for name in names:
        _append(name)


def number(name: str) -> int:
    """Return the number of a signal; a new name gets one."""
    _append(name)
    return signals[name]


@functools.cache
def _renew_in_children() -> None:
    # Windows has no forks.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_renew)


def _renew() -> None:
    global _naming  # noqa: PLW0603 - a thread of the parent may hold it, and is not here
    _naming = threading.Lock()


def _append(name: str) -> None:
    # miros calls it for each event that is made by name: a known name must not cost a lock.
    if name not in signals:
        with _naming:
            # miros' method, which looks again, now under the lock, whether the name is new.
            type(signals).append(signals, name)


def _snapshot() -> list[tuple[str, int]]:
    while True:
        try:
            return list(OrderedDict.items(signals))
        except RuntimeError:
            # The garbage collector let another thread add a name between two items.
            continue
