"""miros' table of signal names, made safe for names that arrive while charts are at work."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from miros import signals


def guard() -> None:
    """Let `signals.items()` give a snapshot; docs/decisions/signal-table.md says why.

    miros' `Event` iterates over the live table in Python, and a chart that does so while another
    thread adds a name dies of a RuntimeError.
    """
    vars(signals).setdefault("items", _snapshot)


def enter(names: Iterable[str]) -> None:
    """Give the names their numbers, where they have none yet."""
    for name in names:
        signals.append(name)


def _snapshot() -> list[tuple[str, int]]:
    while True:
        try:
            return list(OrderedDict.items(signals))
        except RuntimeError:
            # The garbage collector let another thread in between two items.
            continue
