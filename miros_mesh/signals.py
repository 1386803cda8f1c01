"""What the library itself posts into a program's charts: names of signals, and their payloads.

They never travel: `transmit` refuses them, and so does the intake of a chart that receives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PEER_UP: Final = "PEER_UP"
"""A broker that events are sent to is there, new or again; the payload is a `PeerChange`."""
PEER_DOWN: Final = "PEER_DOWN"
"""The connection to a broker that events are sent to is lost; the payload is a `PeerChange`."""
OUTBOX_OVERFLOW: Final = "OUTBOX_OVERFLOW"
"""Events of this node will not reach a broker's charts; the payload is an `OutboxOverflow`."""

# Entered into the signal table of miros before a chart starts, and reserved on the wire.
PUBLIC_SIGNALS: Final = frozenset({PEER_UP, PEER_DOWN, OUTBOX_OVERFLOW})

CONNECTED: Final = "connected"
"""The reason of every `PEER_UP`."""


@dataclass(frozen=True, slots=True)
class PeerChange:
    """A broker came or went; `address` is without credentials, `reason` one of few words."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class OutboxOverflow:
    """How many events for a broker went since the last such signal; the oldest go first."""

    address: str
    events: int
