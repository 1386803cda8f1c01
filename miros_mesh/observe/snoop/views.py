"""A node and its charts as an overview shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# A node sends its status once a second. One that is silent for three of them, and half a second for
# the way, has died or is cut off.
SILENT_S = 3.5
NO_NODES = "No node tells of itself: one does while a chart of it has a snoop stream enabled."
"""What to say of an overview without a node."""


@dataclass(frozen=True, slots=True)
class ChartView:
    """A chart, when its node was heard of last."""

    name: str
    state: str
    events_per_s: float | None
    """None until its node was heard of twice."""
    last_signal: str
    handled: int
    dead: bool


@dataclass(frozen=True, slots=True)
class RequestView:
    """What a chart has asked, and waits to be answered."""

    event: str
    """The id of what it sent."""
    signal: str
    waited_s: float


@dataclass(frozen=True, slots=True)
class WorkView:
    """What a chart has to do, also one that takes part in no snoop network."""

    chart: str
    waiting: int
    """How many events wait for it in its process."""
    event: str
    """The id of the one that it is handling; empty while it rests."""
    same_for_s: float
    """For how long at least it has been the same one."""
    asks: Sequence[RequestView]
    """The oldest first, 16 at most."""
    deaf: str
    """Why it hears nothing; empty when it does."""
    group: str
    """The name of its group; empty for a chart in none."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node that takes part in a snoop network, when it was heard of last."""

    name: str
    silent_s: float
    """How many seconds ago that was."""
    consuming: bool
    outbox_events: int
    peers: Mapping[str, str]
    """`up`, `down` or `blocked`, by the peer's address without credentials."""
    charts: Sequence[ChartView]
    incarnation: str = ""
    """Of its process."""
    work: Sequence[WorkView] = ()
    """Of all of its charts; empty where a node does not tell."""

    @property
    def silent(self) -> bool:
        """Whether it should have been heard of since."""
        return self.silent_s > SILENT_S
