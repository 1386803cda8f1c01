"""miros' table of signal names, made safe for names that arrive while charts are at work."""

from __future__ import annotations

import functools
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, ValuesView
from typing import Any, Final, NamedTuple

from miros import signals

MOST_NAMES: Final = 4096
"""Beyond so many names of all kinds the table takes no new one of other nodes: it never forgets."""
MOST_NAMES_OF_A_NODE: Final = 256
"""So many new names one other node may bring: others are to have room, too."""

# Guards the table against two new names at once, which would get the same number; and the next.
_naming = threading.Lock()
_brought: Counter[str] = Counter()
"""By node: how many names it has brought."""
_foreign: set[str] = set()
"""These names."""


def guard() -> None:
    """Make the process's signal table safe for threads and forks; a second call does nothing.

    And as quick with many names as with few. Replaces four methods on the one table: `items`,
    `values`, `append` and `is_inner_signal`; docs/decisions/signal-table.md says why.
    """
    # In the table's own `__dict__` they hide the methods of its class, from miros and from programs
    # that call it too.
    vars(signals).setdefault("items", _items)
    vars(signals).setdefault("values", _numbers)
    vars(signals).setdefault("append", _append)
    vars(signals).setdefault("is_inner_signal", _is_inner)
    _renew_in_children()


def enter(names: Iterable[str]) -> None:
    """Give each name that is new its number, in this order."""
    for name in names:
        _append(name)


def number(name: str) -> int:
    """Return the number of a signal; a new name gets one."""
    _append(name)
    return signals[name]


def bring(name: str, node: str) -> bool:
    """Give a name its number that another node has sent; return False when there is no room.

    A name that is in the table, since a chart of this process has used it, needs none.
    """
    if name in signals:
        return True
    with _naming:
        if len(signals) >= MOST_NAMES or _brought[node] >= MOST_NAMES_OF_A_NODE:
            return False
        _brought[node] += 1
        _foreign.add(name)
        type(signals).append(signals, name)
        return True


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


class _Snapshot(NamedTuple):
    """What the table held: names only come, and keep their numbers, so its length tells of more."""

    items: tuple[tuple[str, int], ...]
    """Last the names that others have brought: miros goes through these for a number's name."""
    numbers: frozenset[int]
    in_order: tuple[int, ...]
    """In the order of the names: miros looks for a number here, and takes the name at its place."""


_last = _Snapshot((), frozenset(), ())


def _snapshot() -> _Snapshot:
    global _last  # noqa: PLW0603 - set in one step, to the same by whichever thread
    last = _last
    while len(last.items) != len(signals):
        try:
            known = tuple(OrderedDict.items(signals))
        except RuntimeError:
            # The garbage collector let another thread add a name between two items.
            continue
        items = tuple(sorted(known, key=lambda item: item[0] in _foreign))
        in_order = tuple(number for _, number in known)
        last = _last = _Snapshot(items, frozenset(in_order), in_order)
    return last


def _items() -> tuple[tuple[str, int], ...]:
    # miros asks a dozen times an event, here and for the numbers.
    last = _last
    return last.items if len(last.items) == len(signals) else _snapshot().items


class _Numbers(ValuesView[int]):
    """`signals.values()`, in which miros looks for the signal of each event that it makes."""

    def __init__(self) -> None:
        super().__init__(signals)

    def __contains__(self, number: object) -> bool:
        # miros asks for each event that it makes, by number or by name.
        last = _last
        if len(last.items) != len(signals):
            last = _snapshot()
        try:
            return number in last.numbers
        except TypeError:
            # A program may ask for anything; what has no hash equals no number.
            return False

    def __iter__(self) -> Iterator[int]:
        return iter(_snapshot().in_order)


# One for all: it looks at the table anew at each question.
_the_numbers = _Numbers()


def _numbers() -> _Numbers:
    return _the_numbers


def _is_inner(signal: Any) -> bool:
    if isinstance(signal, str):
        # Not by `[]` in a `try`: the table has a name or has not.
        signal = signals.get(signal)
    return isinstance(signal, int) and 0 < signal <= int(signals.highest_inner_signal)
