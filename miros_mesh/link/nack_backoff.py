"""The pauses after a nack: the broker did not store a message, mostly since a queue is full."""

from __future__ import annotations

import time

from miros_mesh.text import logger_of
from miros_mesh.timing.throttle import Throttle

_FIRST_PAUSE_S = 0.05
# A queue that has room again is noticed within this time.
_LONGEST_PAUSE_S = 1.0
# Of several parcels on their way a later one may find the room that an earlier one did not find,
# and overtake it. One at a time cannot, until the queue has had room for a while.
_ONE_BY_ONE_S = 10.0
_COMPLAIN_EVERY_S = 30.0

logger = logger_of(__name__)


class NackBackoff:
    """The pauses of one publisher: twice as long after each nack, short again after a confirm.

    For who has the publisher's connection alone.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._pause_s = _FIRST_PAUSE_S
        self._one_by_one_until = 0.0
        # Each nack is counted, and the log has one line in half a minute.
        self._complaints = Throttle(_COMPLAIN_EVERY_S)
        self.resume_at = 0.0
        """When (`time.monotonic`) to publish again."""

    @property
    def pausing(self) -> bool:
        """Whether to publish nothing for now."""
        return time.monotonic() < self.resume_at

    @property
    def one_by_one(self) -> bool:
        """Whether each parcel has to wait for the confirm of the one before."""
        return time.monotonic() < self._one_by_one_until

    def nacked(self, parcels: int) -> None:
        """Begin a pause, since the broker did not store so many parcels."""
        now = time.monotonic()
        self.resume_at = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        # From the last nack on: a queue that is full again and again keeps it at one by one.
        self._one_by_one_until = now + _ONE_BY_ONE_S
        if count := self._complaints.due(self._where, parcels):
            logger.warning(
                "publisher waits: %s did not store %d messages, a queue may be full; "
                "they are sent again",
                self._where,
                count,
            )

    def confirmed(self) -> None:
        """Make the next pause a short one: the broker has stored something."""
        self._pause_s = _FIRST_PAUSE_S
