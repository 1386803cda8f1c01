"""miros' fabric, by which the charts of a process publish to each other."""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

from miros.activeobject import ActiveFabric, ActiveFabricSource, LockingDeque

# Guards the lists in `fifo_subscriptions` of the one fabric against each other's changes. miros'
# own threads walk along them without it, so a list may grow, and never shrink.
_changing = threading.Lock()


class _FreePlace:
    """Keeps the place of a chart that has stopped."""

    def append(self, item: Any) -> None:
        """Drop an event."""


_FREE = _FreePlace()


def subscribe(fabric: ActiveFabricSource, queue: LockingDeque, signal: str) -> None:
    """Let a queue get every event published with a signal, from this call on.

    miros' own call waits for the chart's thread, and does nothing for a running chart where another
    one has the signal already. A second call does nothing.
    """
    with _changing:
        listeners: list[Any] = fabric.fifo_subscriptions.setdefault(signal, [])
        if not any(listener is queue for listener in listeners):
            free = next((i for i, each in enumerate(listeners) if each is _FREE), None)
            if free is None:
                listeners.append(queue)
            else:
                # In one step: a walk that is under way finds the free place, or the queue.
                listeners[free] = queue


def unsubscribe(fabric: ActiveFabricSource, queue: LockingDeque) -> None:
    """Let a queue get nothing more that is published. miros itself keeps every queue for ever.

    Its place stays for the next one: taking it out of the list while a thread of miros walks along
    would hide an event from the queue behind it.
    """
    with _changing:
        # A copy, since miros' own `subscribe` adds signals without our lock.
        for listeners in list(fabric.fifo_subscriptions.values()):
            for place, listener in enumerate(listeners):
                if listener is queue:
                    listeners[place] = _FREE


@functools.cache
def renew_in_children() -> None:
    """Empty the fabric in every child that this process forks; a second call does nothing.

    The parent's threads were waiting at its queues: the first event that the child publishes would
    wake one of them, which the child does not have. It does not have their subscribers either.
    """
    os.register_at_fork(after_in_child=_renew)


def _renew() -> None:
    global _changing  # noqa: PLW0603 - a thread of the parent may hold it, and is not here
    _changing = threading.Lock()
    # The first chart that starts in the child finds miros' two threads dead, and starts new ones at
    # the new queues.
    ActiveFabric().clear()
