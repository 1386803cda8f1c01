"""A chart's place in miros: a queue that many threads may post to, subscriptions that end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from miros import Event
from miros.activeobject import ActiveFabricSource, LockingDeque
from miros.hsm import HsmWithQueues

logger = logging.getLogger(__name__)


class Mailbox(LockingDeque):
    """A chart's FIFO. Events of another node's charts never enter it, and never wake the chart."""

    def __init__(self, chart: str, origin: str) -> None:
        super().__init__()
        self._chart = chart
        self._origin = origin
        # miros' own mixes up the order when two threads post at once, and may lose its count.
        self._changing = threading.Lock()
        self._overflowed = False
        self._closed = False

    def append(self, item: Event) -> None:
        """Post at the end."""
        self.put(item)

    def put(self, item: Event) -> bool:
        """Post at the end; whether it was taken."""
        if origin_of(item) not in (None, self._origin):
            return False
        with self._changing:
            taken = self._room() and not self._closed
            if taken:
                self.deque.append(item)
                self.locking_queue.put_nowait("ready")
            return taken

    def close(self) -> list[Event]:
        """Take nothing more; what nobody will handle."""
        with self._changing:
            self._closed = True
            left = list(self.deque)
            self.deque.clear()
            return left

    def appendleft(self, item: Event) -> None:
        """Post at the front."""
        with self._changing:
            if self._room():
                self.deque.appendleft(item)
                self.locking_queue.put_nowait("ready")

    def popleft(self) -> Event:
        """Take the next event."""
        with self._changing:
            return super().popleft()

    def _room(self) -> bool:
        if len(self.deque) < HsmWithQueues.QUEUE_SIZE:
            return True
        if not self._overflowed:
            self._overflowed = True
            logger.warning(
                "%s is flooded with events; it drops what it has no room for; said once",
                self._chart,
            )
        return False


def origin_of(event: Event) -> str | None:
    """Which node an event is of; None when it is for every node."""
    payload = event.payload
    if isinstance(payload, Mapping):
        return payload.get("origin")
    return getattr(payload, "origin", None) or None


class _Nobody:
    """Keeps the place of a chart that has gone."""

    def append(self, item: Event) -> None:
        """Nobody hears it."""


_NOBODY = _Nobody()
_changing = threading.Lock()


def subscribe(fabric: ActiveFabricSource, box: Mailbox, signal: str) -> None:
    """Let a mailbox hear a signal from now on; miros would begin only with the chart's thread."""
    with _changing:
        listeners: list[Any] = fabric.fifo_subscriptions.setdefault(signal, [])
        if not any(listener is box for listener in listeners):
            free = next((i for i, each in enumerate(listeners) if each is _NOBODY), None)
            if free is None:
                listeners.append(box)
            else:
                listeners[free] = box


def unsubscribe(fabric: ActiveFabricSource, box: Mailbox) -> None:
    """Let a mailbox hear nothing more. miros itself keeps every queue for ever.

    The place stays and is used again: taking it out while the fabric walks along the list would
    hide an event from the next chart.
    """
    with _changing:
        for listeners in list(fabric.fifo_subscriptions.values()):
            for place, listener in enumerate(listeners):
                if listener is box:
                    listeners[place] = _NOBODY
