"""A dead letter as people see it: what was refused, by whom and why, and never a payload."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, TypeAlias

from miros_mesh.wire.envelope import DeadLetter

Place: TypeAlias = Literal["broker", "local"]
"""Where a letter is kept: at the home broker, or on this machine."""
Content: TypeAlias = Literal["event", "frame", "note", "sealed"]
"""What is in a letter; `Letter.content` says what each means."""

# Of 2,000 letters, two with the same beginning are a thing of one in a hundred million.
_ID_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Letter:
    """What is known of a dead letter; of a sealed one only the first four."""

    id: str
    """The same at each look, and different for each letter."""
    place: Place
    """`broker`: a chart received and refused it. `local`: a broker refused what a chart sent."""
    content: Content
    """`event`; `frame` that did not open; `note` of what was too large; `sealed`, not our key."""
    size_bytes: int
    """Of the event or the frame; of a sealed letter, of the letter."""
    time: float | None = None
    """When it was set aside, in seconds since the epoch by the clock of the node that did it."""
    reason: str = ""
    """One of few words, as in the hook `dropped` or of a `LinkError`."""
    detail: str = ""
    """What the broker said, or the type of a handler's exception."""
    node: str = ""
    """The node that set it aside."""
    chart: str = ""
    """The chart that refused it, or that sent it."""
    queue: str = ""
    """The queue of the chart that refused it."""
    peer: str = ""
    """The broker that refused it, by its address without password; empty when a chart did."""
    sender_node: str = ""
    """The node that sent the event."""
    sender_chart: str = ""
    """The chart that sent the event."""
    signal: str = ""
    """The signal of the event."""
    event_id: str = ""
    """The id of the event, as in snoop records."""
    topic: str = ""
    """What it was sent under, where that is known."""
    deliveries: int = 0
    """How often the event was handled in vain."""
    digest: str = ""
    """SHA-256 of the event or the frame."""


def id_of(sealed: bytes) -> str:
    """Return the id of a sealed letter, which is made of its bytes."""
    # Sealed bytes are random, so no two letters have the same ones.
    return hashlib.sha256(sealed).hexdigest()[:_ID_DIGITS]


def letter_of(sealed: bytes, place: Place, opened: DeadLetter | None) -> Letter:
    """Return what people see of a letter; None stands for one that no key of ours opens."""
    if opened is None:
        return Letter(id=id_of(sealed), place=place, content="sealed", size_bytes=len(sealed))
    event = opened.event
    return Letter(
        id=id_of(sealed),
        place=place,
        content="event" if event else "frame" if opened.frame else "note",
        size_bytes=opened.size_bytes,
        time=opened.time,
        reason=opened.reason,
        detail=opened.detail,
        node=opened.node,
        chart=opened.chart,
        queue=opened.queue,
        peer=opened.peer,
        sender_node=event.node if event else "",
        sender_chart=event.chart if event else "",
        signal=event.signal if event else "",
        event_id=event.id if event else "",
        topic=opened.routing_key,
        deliveries=opened.deliveries,
        digest=opened.digest,
    )
