"""What is sent while a node's first search goes on, kept for the brokers that it finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from miros_mesh.link.outbox import Outbox
from miros_mesh.link.ports import Broker, Parcel
from miros_mesh.report import StopReport

TO_COME: Final = Broker("brokers to come")
"""Under this name it is told when there is no room for more."""


class Hold:
    """The outbox of the brokers that are still searched for, with the bounds of any other.

    Networks fill it as they fill publishers, and give what it has to each publisher that comes. It
    is thrown away when the search has ended, by `Peers`, behind whose lock it comes and goes.
    """

    broker = TO_COME

    def __init__(self, *, max_events: int, max_bytes: int) -> None:
        # Nothing is taken out of it: each publisher that comes gets all.
        self._outbox = Outbox(max_events=max_events, max_bytes=max_bytes)

    def put(self, parcel: Parcel) -> Sequence[Parcel]:
        """Keep a parcel; returns what was dropped to make room. Never waits."""
        return self._outbox.put(parcel)

    def grown(self, parcel: Parcel, size_bytes: int, events: int = 1) -> Sequence[Parcel]:
        """Count events that a parcel took since it was put; returns what was dropped for them."""
        return self._outbox.grown(parcel, size_bytes, events)

    def parcels(self, network: str) -> Sequence[Parcel]:
        """Return what is kept of a network, in the order in which it was sent."""
        return [parcel for parcel in self._outbox.waiting() if parcel.network == network]

    def report(self) -> StopReport:
        """Say what has become of the events, as if they were for one more broker."""
        return self._outbox.report()
