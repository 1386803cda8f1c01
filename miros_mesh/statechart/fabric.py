"""miros' fabric, by which the charts of a process publish to each other."""

from __future__ import annotations

import functools
import itertools
import os
import threading
from dataclasses import dataclass, field
from typing import Any, Final

from miros import Event
from miros.activeobject import ActiveFabric, ActiveFabricSource, LockingDeque

PRIORITY: Final = 1000
"""What miros publishes with when it is given none; 1 goes first."""

# Guards the lists in `fifo_subscriptions` of the one fabric against each other's changes. miros'
# own threads walk along them without it, so a list may grow, and never shrink.
_changing = threading.Lock()


class _FreePlace:
    """Keeps the place of a chart that has stopped."""

    def append(self, item: Any) -> None:
        """Drop an event."""


_FREE = _FreePlace()


@dataclass(frozen=True)
class _Front:
    """The front of a queue, for a chart that subscribes with `lifo`."""

    queue: LockingDeque

    def append(self, item: Any) -> None:
        """Put an event in front, as miros promises; miros 4.2.1 itself appends it."""
        self.queue.appendleft(item)


_turns = itertools.count()


@functools.total_ordering
@dataclass(frozen=True, eq=False)
class _Turn:
    """A priority by which what was published first goes first.

    Equal ones change places in miros' heap (4.2.1). Compared with a number, which is the priority
    of an event of a stock chart, it comes after an equal one: so all that is in the heap has one
    order.
    """

    priority: int
    place: int = field(default_factory=lambda: next(_turns))

    def __eq__(self, other: object) -> bool:
        return _key(self) == _key(other)

    def __lt__(self, other: object) -> bool:
        return _key(self) < _key(other)

    def __hash__(self) -> int:
        return hash(_key(self))


def _key(priority: Any) -> tuple[int, int]:
    return (priority.priority, priority.place) if isinstance(priority, _Turn) else (priority, -1)


def publish(fabric: ActiveFabricSource, event: Event, priority: int = PRIORITY) -> None:
    """Hand an event to every queue that has subscribed its signal; equal priorities keep order.

    Returns at once: a thread of miros hands it over, once the first chart has started.
    """
    fabric.publish(event, _Turn(priority))


def delivers() -> bool:
    """Whether something that was published is still to be handed to those who subscribed it."""
    # miros' thread says that it is done with an event once every queue has it.
    fabric = ActiveFabric()
    return fabric.is_alive() and fabric.fifo_fabric_queue.unfinished_tasks > 0


def subscribe(
    fabric: ActiveFabricSource, queue: LockingDeque, signal: str, *, in_front: bool = False
) -> None:
    """Let a queue get every event published with a signal, from this call on.

    miros' own call waits for the chart's thread, and does nothing for a running chart where another
    one has the signal already. A second call only decides anew whether events go `in_front`.
    """
    listener: Any = _Front(queue) if in_front else queue
    with _changing:
        listeners: list[Any] = fabric.fifo_subscriptions.setdefault(signal, [])
        places = [i for i, each in enumerate(listeners) if _is_of(each, queue)]
        places += [i for i, each in enumerate(listeners) if each is _FREE]
        if places:
            # In one step: a walk that is under way finds what was there, or the queue.
            listeners[places[0]] = listener
        else:
            listeners.append(listener)


def subscribed(fabric: ActiveFabricSource, queue: LockingDeque, signal: str) -> bool:
    """Whether a queue gets what is published with a signal."""
    with _changing:
        listeners = fabric.fifo_subscriptions.get(signal, ())
        return any(_is_of(each, queue) for each in listeners)


def unsubscribe(fabric: ActiveFabricSource, queue: LockingDeque) -> None:
    """Let a queue get nothing more that is published. miros itself keeps every queue for ever.

    Its place stays for the next one: taking it out of the list while a thread of miros walks along
    would hide an event from the queue behind it.
    """
    with _changing:
        # A copy, since miros' own `subscribe` adds signals without our lock.
        for listeners in list(fabric.fifo_subscriptions.values()):
            for place, listener in enumerate(listeners):
                if _is_of(listener, queue):
                    listeners[place] = _FREE


def _is_of(listener: Any, queue: LockingDeque) -> bool:
    return listener is queue or (isinstance(listener, _Front) and listener.queue is queue)


@functools.cache
def renew_in_children() -> None:
    """Empty the fabric in every child that this process forks; a second call does nothing.

    The parent's threads were waiting at its queues: the first event that the child publishes would
    wake one of them, which the child does not have. It does not have their subscribers either.
    """
    # Windows has no forks.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_renew)


def _renew() -> None:
    global _changing  # noqa: PLW0603 - a thread of the parent may hold it, and is not here
    _changing = threading.Lock()
    # The first chart that starts in the child finds miros' two threads dead, and starts new ones at
    # the new queues.
    ActiveFabric().clear()
