"""The roll of a node: which charts it has, told to nodes whose charts want to know.

| step | who | what |
| --- | --- | --- |
| 1 | every node | says what is new of a chart at once: it is alive, has died, or has stopped |
| 2 | every node with charts | says at intervals which it has: a word may be lost |
| 3 | a node that asked | hears of both; in `node.roster` it keeps who is alive |

Without a node that asked the broker drops it, as a node status that has no watcher.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias

from miros_mesh.errors import MeshError
from miros_mesh.networks.network import UNNUMBERED, Network
from miros_mesh.wire.envelope import (
    MAX_LISTED,
    GroupedRoll,
    HeldKeys,
    KeyedRoll,
    NodeRoll,
    RollEntry,
)
from miros_mesh.wire.identity import Identity

ROUTING_KEY: Final = "roll"
# A thousand entries of a name with 140 bytes and a topic with 255.
LARGEST_ROLL_BYTES: Final = 512 * 1024

_Said: TypeAlias = tuple[str, str, str, int, float, float, bool, tuple[RollEntry, ...]]
"""What each roll says."""


class Roll:
    """The roll of this node, which is said every `interval_s`. Thread-safe, and never waits.

    It holds the first `MAX_LISTED` charts that join, until they leave; of others it says nothing.
    With `keys` each roll names the node's keys, too, and the groups of its charts.
    """

    def __init__(
        self,
        network: Network[NodeRoll],
        identity: Identity,
        interval_s: float,
        keys: Callable[[], tuple[HeldKeys, ...]] | None = None,
    ) -> None:
        self.network = network
        self._identity = identity
        self._interval_s = interval_s
        self._keys = keys
        self._started = time.time()
        # Changed one entry at a time, by the threads that use charts: no two have one name. Others
        # copy it in one step.
        self._charts: dict[str, RollEntry] = {}
        self._groups: dict[str, str] = {}
        """Of those charts that share work by keys: the queue of the group."""

    def joined(self, chart: str, topic: str, group: str = "") -> None:
        """Say that a chart is alive, which sends under this topic, and is in this group."""
        if group:
            self._groups[chart] = group
        if len(self._charts) < MAX_LISTED:
            entry = self._charts[chart] = RollEntry(chart, topic, "alive")
            self._say((entry,))
        else:
            self.network.complain(
                "roll_full", f"chart {chart} is one too many: CHART_UP is told of {MAX_LISTED}"
            )

    def died(self, chart: str) -> None:
        """Say that a handler of the chart has raised."""
        if known := self._charts.get(chart):
            entry = self._charts[chart] = _entry(known, "died")
            self._say((entry,))

    def left(self, chart: str) -> None:
        """Say that the chart has stopped."""
        self._groups.pop(chart, None)
        if known := self._charts.pop(chart, None):
            self._say((_entry(known, "stopped"),))

    def say(self) -> None:
        """Say which charts the node has."""
        said = False
        while not said:
            # In this order. What a chart says of itself after this has a later number than this
            # one, or makes it say all again.
            last = self.network.sequence_of(self._identity.node)
            charts = list(self._charts.values())
            # A listener node has none, and nothing to say.
            said = not charts or self._say(charts, whole=True, after=last)

    def _say(
        self, charts: Iterable[RollEntry], *, whole: bool = False, after: int | None = None
    ) -> bool:
        """Return whether it is done: nothing was said since the number `after`."""
        node, incarnation = self._identity.node, self._identity.incarnation
        origin = node, node, incarnation, UNNUMBERED
        entries = tuple(charts)
        said = *origin, self._started, float(self._interval_s), whole, entries
        try:
            roll = self._roll(said)
            return self.network.send(ROUTING_KEY, roll, counted=False, after=after) > 0
        except MeshError as error:
            self.network.complain("roll", error)
            return True

    def _roll(self, said: _Said) -> NodeRoll:
        if not self._keys:
            return NodeRoll(*said)
        *_, charts = said
        known = dict(self._groups)
        groups = tuple((each.name, known[each.name]) for each in charts if each.name in known)
        keys = self._keys()
        return GroupedRoll(*said, keys, groups) if groups else KeyedRoll(*said, keys)


def _entry(known: RollEntry, state: Literal["died", "stopped"]) -> RollEntry:
    return RollEntry(known.name, known.topic, state)
