"""What became of the events that a node sent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StopReport:
    """Events that a node's charts transmitted since it started, once for each peer they were for.

    `sent` is the sum of `confirmed`, `left_over`, `dropped` and `refused`. Records of snoop, and
    what the library itself sends, are not counted.
    """

    sent: int = 0
    """Put into the outbox for a peer."""
    confirmed: int = 0
    """Stored by the peer in every queue that matched; `unroutable` of them matched none."""
    left_over: int = 0
    """Neither confirmed nor dropped: lost when the node has ended, else still on their way.

    While the node's first search goes on, also what is held for the brokers that it finds, as if
    that were one broker more."""
    dropped: int = 0
    """Gone because the outbox was full, or because their peer was lost for good."""
    refused: int = 0
    """Refused by the peer, and set aside: they are among this user's dead letters."""
    unroutable: int = 0
    """Of those confirmed: the peer has no queue for their topic, so no chart listens there."""
    unhandled: int = 0
    """Not of those sent: what the chart that stopped had received and not handled, as what it had
    deferred. Under a node name they come again; otherwise they are lost."""

    @property
    def all_confirmed(self) -> bool:
        """Whether every event was confirmed by every peer that it was for."""
        # True as well when nothing was sent.
        return self.confirmed == self.sent

    def __add__(self, other: StopReport) -> StopReport:
        return StopReport(
            self.sent + other.sent,
            self.confirmed + other.confirmed,
            self.left_over + other.left_over,
            self.dropped + other.dropped,
            self.refused + other.refused,
            self.unroutable + other.unroutable,
            self.unhandled + other.unhandled,
        )
