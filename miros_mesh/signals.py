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
OUTBOX_REFUSED: Final = "OUTBOX_REFUSED"
"""A broker refused events of this node for good; the payload is an `OutboxRefused`."""
NO_LISTENER: Final = "NO_LISTENER"
"""No queue took events of this node: those of a topic at a broker, where the settings ask to be
told of them, or of one chart at all of them. The payload is a `NoListener`."""
CHART_UP: Final = "CHART_UP"
"""A chart of another node that this one hears is alive; the payload is a `ChartChange`."""
CHART_DOWN: Final = "CHART_DOWN"
"""A chart of another node has stopped, died or fallen silent; the payload is a `ChartChange`."""
REQUEST_TIMED_OUT: Final = "REQUEST_TIMED_OUT"
"""No reply to a request of this chart came in time; the payload is a `RequestTimedOut`."""
REQUEST_UNROUTABLE: Final = "REQUEST_UNROUTABLE"
"""No broker has a queue for a request of this chart; the payload is a `RequestUnroutable`."""

# Entered into the signal table of miros before a chart starts, and reserved on the wire.
PUBLIC_SIGNALS: Final = frozenset(
    {
        *(PEER_UP, PEER_DOWN, OUTBOX_OVERFLOW, OUTBOX_REFUSED, NO_LISTENER),
        *(CHART_UP, CHART_DOWN),
        *(REQUEST_TIMED_OUT, REQUEST_UNROUTABLE),
    }
)
"""All of these names."""

CONNECTED: Final = "connected"
"""The reason of every `PEER_UP`."""
ALIVE: Final = "alive"
"""The reason of every `CHART_UP`."""
SILENT: Final = "silent"
"""The reason of a `CHART_DOWN` for which there was no word."""


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


@dataclass(frozen=True, slots=True)
class OutboxRefused:
    """A broker refused events for one reason; they are among this user's dead letters now.

    All but `events` is said of the last of them.
    """

    address: str
    """Of the broker, without credentials."""
    reason: str
    """That of the `LinkError` which says why, as `message_size` or `permission`."""
    signal: str
    event_id: str
    routing_key: str
    size_bytes: int
    events: int = 1
    """How many were refused since the last such signal."""


@dataclass(frozen=True, slots=True)
class NoListener:
    """So many events found no queue since the last such signal."""

    address: str
    """Of the broker, without credentials; empty when it was all of them."""
    topic: str
    """What they were sent under, or the chart that they were for, as node/chart."""
    events: int


@dataclass(frozen=True, slots=True)
class ChartChange:
    """A chart of another node came or went.

    `reason` is `alive`, or else `stopped`, `died` when a handler raised, or `silent` when its
    process ended without a word, or is cut off.
    """

    node: str
    chart: str
    reason: str


@dataclass(frozen=True, slots=True)
class RequestTimedOut:
    """A request whose time was over before a reply was handed to its chart; a later one is dropped.

    What became of it is not known: it may have been handled, be handled still, or be lost.
    """

    id: str
    """What `request` has returned."""
    signal: str
    """Of the event that was sent."""


@dataclass(frozen=True, slots=True)
class RequestUnroutable:
    """A request that reached no one: no chart listens there, at any broker of the node."""

    id: str
    """What `request` has returned."""
    signal: str
    """Of the event that was sent."""
