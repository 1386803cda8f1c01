"""What a broker has refused of late, so that it is not asked about each parcel anew."""

from __future__ import annotations

import math
import time
from typing import Final, NamedTuple

from miros_mesh.errors import LinkError, MessageTooLargeError, PermissionDeniedError
from miros_mesh.link.ports import Parcel

# Each refusal costs a channel. A permission that is back, or a limit that was raised, is noticed
# within this time.
_BELIEVED_S: Final = 1.0
# A reason that we do not know may be one event's own, and no other's of its topic; not when so many
# are refused one after the other.
_IN_A_ROW: Final = 3


class _Believed(NamedTuple):
    error: LinkError
    until: float
    """By the monotonic clock."""

    def now(self) -> LinkError | None:
        return self.error if time.monotonic() < self.until else None


class KnownRefusals:
    """The refusals of one connection, for who has that alone.

    A missing exchange holds for all its topics, a permission for an exchange and a topic, a size
    for all that is as large. Any other reason holds for an exchange and a topic as well, once
    several single events were refused there and none was taken between.
    """

    def __init__(self) -> None:
        self._missing: dict[str, _Believed] = {}
        """By exchange."""
        self._forbidden: dict[tuple[str, str], _Believed] = {}
        """By exchange and topic."""
        self._in_a_row: dict[tuple[str, str], int] = {}
        """By exchange and topic: how often it was refused for a reason that we do not know."""
        self._too_large_bytes = math.inf
        """The smallest size, sealed, that was refused and not confirmed since."""
        self._too_large: _Believed | None = None

    def learn_missing(self, exchange: str, error: LinkError) -> None:
        """Remember that there is no such exchange, and why it cannot be declared."""
        self._missing[exchange] = _believed(error)

    def learn(self, parcel: Parcel, error: LinkError) -> None:
        """Remember why a parcel was refused."""
        topic = parcel.exchange, parcel.routing_key
        if isinstance(error, MessageTooLargeError):
            self._too_large_bytes = min(self._too_large_bytes, len(parcel.seal()))
            self._too_large = _believed(error)
        elif isinstance(error, PermissionDeniedError) or self._is_lasting(parcel):
            self._forbidden[topic] = _believed(error)

    def forget(self, parcel: Parcel, size_bytes: int) -> None:
        """Forget what a parcel disproves that was confirmed."""
        topic = parcel.exchange, parcel.routing_key
        self._missing.pop(parcel.exchange, None)
        self._forbidden.pop(topic, None)
        self._in_a_row.pop(topic, None)
        if size_bytes >= self._too_large_bytes:
            self._too_large_bytes = math.inf

    def too_large(self, parcel: Parcel) -> bool:
        """Whether one that was not larger has been refused."""
        return self._too_large_bytes < math.inf and len(parcel.seal()) >= self._too_large_bytes

    def refusal(self, parcel: Parcel) -> LinkError | None:
        """Return why the broker would refuse it, if it has said so within the last second."""
        topic = parcel.exchange, parcel.routing_key
        for believed in (self._missing.get(parcel.exchange), self._forbidden.get(topic)):
            if believed and (error := believed.now()):
                return error
        if self._too_large and self.too_large(parcel):
            return self._too_large.now()
        return None

    def _is_lasting(self, parcel: Parcel) -> bool:
        # Of several events in one parcel, one may be meant.
        if parcel.events > 1:
            return False
        topic = parcel.exchange, parcel.routing_key
        self._in_a_row[topic] = self._in_a_row.get(topic, 0) + 1
        return self._in_a_row[topic] >= _IN_A_ROW


def _believed(error: LinkError) -> _Believed:
    return _Believed(error, time.monotonic() + _BELIEVED_S)
