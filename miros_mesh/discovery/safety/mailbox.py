"""The mailbox of a chart of discovery, which takes events of its own node only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from miros import Event

from miros_mesh.statechart.mailbox import Mailbox
from miros_mesh.text import logger_of

logger = logger_of(__name__)


class DiscoveryMailbox(Mailbox):
    """A mailbox that other nodes' events do not enter, so they never wake the chart."""

    def __init__(self, chart: str, origin: str) -> None:
        super().__init__()
        self._chart = chart
        self._origin = origin
        # Guarded by the lock of the base, which is held when `_has_place` is called.
        self._overflowed = False

    def put(self, item: Any, *, displace: bool = False) -> Any | None:
        """Post an event at the end, and return it if it has no place or is another node's."""
        # Before the lock is taken: the fabric offers every event of every node of the process.
        if origin_of(item) not in (None, self._origin):
            return item
        return super().put(item, displace=displace)

    def _has_place(self) -> bool:
        has_place = super()._has_place()
        if not (has_place or self._closed or self._overflowed):
            # Set once, so that the log is written only once while the lock is held.
            self._overflowed = True
            logger.warning(
                "chart %s of discovery is flooded: further events are lost; said once", self._chart
            )
        return has_place


def origin_of(event: Event) -> str | None:
    """Return the token of the node that an event is for; None when it is for every node.

    Never raises, whatever the payload is: on the fabric's thread that would end it, and with it
    every publication in the process.
    """
    payload = event.payload
    try:
        # The ancestor's programs publish dictionaries. By `type`: `isinstance` asks the object.
        if issubclass(type(payload), Mapping):
            origin = payload.get("origin")
        else:
            origin = getattr(payload, "origin", None)
        # A copy without what a class of the program may have added, since it is compared next.
        return str.__str__(origin) or None if issubclass(type(origin), str) else None
    except (Exception, SystemExit):  # noqa: BLE001 - the chart's entrance refuses it, and says so
        return None
