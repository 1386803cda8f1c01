"""What a broker has refused of late, so that it is not asked about each parcel anew."""

from __future__ import annotations

import math
import time
from typing import Final

from miros_mesh.errors import LinkError, MessageTooLargeError, PermissionDeniedError
from miros_mesh.link.ports import Parcel

# Each refusal costs a channel. A permission that is back, or a limit that was raised, is noticed
# within this time.
_BELIEVED_S: Final = 1.0


class KnownRefusals:
    """The refusals of one connection, for its publisher's thread alone.

    A permission holds for an exchange and a topic, a size for all that is as large.
    """

    def __init__(self) -> None:
        self._forbidden: dict[tuple[str, str], tuple[float, LinkError]] = {}
        """By exchange and topic: until when it is believed, and the refusal."""
        self._too_large_bytes = math.inf
        """The smallest size, sealed, that was refused and not confirmed since."""
        self._too_large: tuple[float, LinkError | None] = 0.0, None

    def learn(self, parcel: Parcel, error: LinkError) -> None:
        """Remember why a parcel was refused."""
        believed = time.monotonic() + _BELIEVED_S, error
        if isinstance(error, PermissionDeniedError):
            self._forbidden[parcel.exchange, parcel.routing_key] = believed
        elif isinstance(error, MessageTooLargeError):
            self._too_large_bytes = min(self._too_large_bytes, len(parcel.seal()))
            self._too_large = believed

    def forget(self, parcel: Parcel, size_bytes: int) -> None:
        """Forget what a parcel disproves that was confirmed."""
        self._forbidden.pop((parcel.exchange, parcel.routing_key), None)
        if size_bytes >= self._too_large_bytes:
            self._too_large_bytes = math.inf

    def too_large(self, parcel: Parcel) -> bool:
        """Whether one that was not larger has been refused."""
        return len(parcel.seal()) >= self._too_large_bytes

    def refusal(self, parcel: Parcel) -> LinkError | None:
        """Return why the broker would refuse it, if it has said so within the last second."""
        until, error = self._forbidden.get((parcel.exchange, parcel.routing_key), (0.0, None))
        if error is None and self.too_large(parcel):
            until, error = self._too_large
        return error if time.monotonic() < until else None
