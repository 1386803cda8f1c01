"""The one hook interface of the library: metrics, logs and tests subclass `Observer`.

Hooks are called from worker threads and from charts' threads. A hook must return quickly, must
not transmit and must not raise; one that raises is logged once and its exception goes no further.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

STOPPED = "stopped"
"""The reason of an end that was asked for; any other reason of `peer_down` is a loss."""


class Observer:
    """Every hook does nothing; override the ones you need."""

    def transmitted(self, *, network: str, chart: str) -> None:
        """A chart put an event or a record into the outbox."""

    def published(
        self, *, network: str, peer: str, events: int, size_bytes: int, seconds: float
    ) -> None:
        """A peer confirmed a frame; `seconds` from publish to confirm."""

    def received(self, *, network: str, events: int, size_bytes: int) -> None:
        """A frame arrived and was opened."""

    def handed_over(self, *, chart: str, seconds: float) -> None:
        """An event entered a chart's FIFO; `seconds` since its `transmit` by the sender's clock."""

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        """Events will not be delivered; `reason` is one of few fixed words."""

    def gap(self, *, network: str, sender: str, missing: int) -> None:
        """Sequence numbers are missing from one sender's stream, for good."""

    def repaired(self, *, network: str, events: int) -> None:
        """Missing events came after all, since their sender was asked for them."""

    def peer_up(self, *, peer: str) -> None:
        """A publisher is connected to a peer (its redacted address)."""

    def peer_down(self, *, peer: str, reason: str) -> None:
        """A publisher lost its peer."""

    def blocked(self, *, peer: str) -> None:
        """A peer takes nothing for now: it is short of memory or disk."""

    def unblocked(self, *, peer: str) -> None:
        """A blocked peer takes events again, or its connection is gone."""

    def subscribed(self, *, broker: str) -> None:
        """The node consumes from its home broker."""

    def unsubscribed(self, *, broker: str, reason: str) -> None:
        """The node lost its home broker."""

    def chart_left(self, *, node: str, chart: str) -> None:
        """A chart of another node, or another chart of this one, said goodbye."""

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        """An exception in a handler ended a chart's thread."""


class Observers(Observer):
    """Several observers as one; an exception of a hook stops here."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers
        self._failed: set[tuple[int, str]] = set()

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or not callable(getattr(Observer, name, None)):
            return super().__getattribute__(name)
        return _fan_out(name, self._observers, self._failed)


def _fan_out(
    name: str, observers: tuple[Observer, ...], failed: set[tuple[int, str]]
) -> Callable[..., None]:
    def call(**facts: Any) -> None:
        for observer in observers:
            try:
                getattr(observer, name)(**facts)
            except Exception:
                if (id(observer), name) not in failed:
                    failed.add((id(observer), name))
                    logger.exception("observer %r raised in %s; said once", observer, name)

    return call
