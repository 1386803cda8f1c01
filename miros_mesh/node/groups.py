"""Groups of charts that share the work: who may be in one, and what its queues are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from miros_mesh.errors import GroupError, TermsError
from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.group.partitions import PartitionKey
from miros_mesh.networks.network import exchange_of

GroupMode: TypeAlias = Literal["standby", "share"]
"""Whether one member of a group handles all, or all of them do."""
PartitionBy: TypeAlias = Callable[[Any], PartitionKey]
"""Takes an event, and returns what it is about: those of one key are handled in order."""

# With a chart's longest name and what the library adds, a queue's name has 255 bytes at most.
LONGEST_GROUP_BYTES: Final = 60


@dataclass(frozen=True)
class Group:
    """Charts of one name on several nodes, which share one queue."""

    name: str
    mode: GroupMode
    key_of: Callable[[Arrival], object] | None = None
    """What an event is about, as `partition_by` says."""

    @property
    def kind(self) -> str:
        """Return in one word what all of its charts have to agree on."""
        return "partition_by" if self.key_of else self.mode

    def queue(self, chart: str) -> str:
        """Return what the names of the queues of its charts begin with."""
        return f"{exchange_of('group')}.{self.name}.{chart}"


def group_of(
    name: object,
    mode: object,
    partition_by: Callable[[Any], object] | None,
    event_of: Callable[[Arrival], Any],
) -> Group | None:
    """Return the group of these arguments of a chart, or None; raises `GroupError`.

    `event_of` makes of what has arrived the event that `partition_by` takes.
    """
    if name is None:
        if mode is not None or partition_by is not None:
            raise GroupError("group_mode and partition_by are of a group: give it a name (group=)")
        return None
    named = _name_of(name)
    modes = get_args(GroupMode)
    if mode is not None and mode not in modes:
        raise GroupError(f"group_mode is one of {', '.join(modes)}, not {mode!r:.40}")
    if partition_by is None:
        return Group(named, "share" if mode == "share" else "standby")
    by = partition_by
    if not callable(by):
        raise GroupError(
            "partition_by is a function that takes an event and returns its key, not of type "
            f"{type(by).__name__}"
        )
    if mode != "share":
        raise GroupError(
            "partition_by spreads the events of a group over its charts: give group_mode='share' "
            "with it; in standby one chart has all of them, in order"
        )
    return Group(named, "share", lambda arrival: by(event_of(arrival)))


def _name_of(name: object) -> str:
    if not isinstance(name, str) or not name or not name.isprintable():
        raise GroupError("the name of a group is a text of one character at least, all printable")
    if len(name.encode()) > LONGEST_GROUP_BYTES:
        raise GroupError(
            f"the group's name has {len(name.encode())} bytes; {LONGEST_GROUP_BYTES} are the most"
        )
    return name


def other_terms(chart: str, group: Group, error: TermsError) -> GroupError:
    """Return the error of a chart that wants a group otherwise than those who are in it."""
    others = repr(error.present) if error.present else "something else"
    return GroupError(
        f"chart {chart} wants the group {group.name!r} as {error.wanted!r} (mode and topics), and "
        f"the charts that are in it have it as {others}: give all of them the same group_mode, "
        "rx_routing_key and partition_by or none, or stop the others first"
    )
