"""A chart's place in a group: the queues that it shares with the others, and what it does there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, Final, NamedTuple

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import TermsError
from miros_mesh.link.ports import Delivery, QueueSpec, Subscriber
from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.frame import Settled
from miros_mesh.networks.group.partitions import owners
from miros_mesh.networks.group.sorter import Sorter
from miros_mesh.networks.inbox import Inbox, Sharing, Source
from miros_mesh.networks.letters.home import Letters, Place
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.network import Network
from miros_mesh.node.groups import Group, other_terms
from miros_mesh.node.queues import NodeQueues
from miros_mesh.node.roster import Roster
from miros_mesh.wire.envelope import Filed

# For so long may wait what a new member is still to hear of.
GROUP_KEPT_S: Final = 7 * 86_400.0
_JOIN_TIMEOUT_S: Final = 5.0


class Surroundings(NamedTuple):
    """What a seat needs of its node."""

    config: MeshConfig
    queues: NodeQueues
    mesh: Mesh
    filed: Network[Filed]
    letters: Letters
    subscriber: Subscriber
    roster: Roster
    missed: Callable[[], None]
    """To call when an event is missing."""
    filed_inbox: Callable[..., Any]
    """Makes the inbox of what is filed: a `networks.group.filed.FiledInbox`."""


class _Way(NamedTuple):
    """A queue, and who takes what comes of it."""

    spec: QueueSpec
    receive: Callable[[Delivery], None]
    lost: Callable[[], object]


class GroupSeat:
    """The place of one chart; `room` and `post` are those of its inbox.

    | group | its queue | |
    | --- | --- | --- |
    | standby | one member consumes it, others wait | |
    | share | all members consume it | |
    | share, `partition_by` | one member, the sorter | it files events in 16 further queues |
    """

    def __init__(
        self,
        node: Surroundings,
        chart: str,
        group: Group,
        rx_routing_keys: tuple[str, ...],
        *,
        room: Callable[[], int],
        post: Callable[[Arrival], None],
    ) -> None:
        self._node, self._chart, self._group = node, chart, group
        self._queue = node.queues.of_group(chart, group, rx_routing_keys)
        self._place = Place(chart, self._queue.name)
        self._sorter = self._made_sorter(group.key_of) if group.key_of else None
        sorter = self._sorter
        sharing = Sharing(self._queue.consumers != "shared", node.config.max_deliveries)
        inbox = Inbox(
            node.mesh,
            self._place,
            node.letters,
            missed=node.missed,
            kept_s=GROUP_KEPT_S,
            hears=rx_routing_keys,
            sharing=sharing,
            room=sorter.room if sorter else room,
            post=sorter.post if sorter else post,
        )
        self._ways = [_Way(self._queue, inbox.receive, inbox.begin_anew)]
        end = self._end_sorting if sorter else None
        self.sources = [Source(inbox, (self._queue.name,), lasting=True, end=end)]
        """Where the chart hears of what is for the group."""
        self.announced = ""
        """The group's queue, where others have to know who is in it."""
        if sorter:
            sorter.feed = inbox.feed
            self.announced = self._queue.name
            self._add_partitions(room, post, Sharing(False, node.config.max_deliveries))

    def _add_partitions(
        self, room: Callable[[], int], post: Callable[[Arrival], None], sharing: Sharing
    ) -> None:
        node = self._node
        specs = node.queues.of_partitions(self._queue)
        topics = [each.bindings[0].pattern for each in specs]
        self._topics = topics
        self._line = _Line(node, self._queue.name, topics, [each.name for each in specs])
        filed = node.filed_inbox(
            node.mesh,
            self._place,
            node.letters,
            filed=node.filed,
            topics=topics,
            line=self._line,
            kept_s=GROUP_KEPT_S,
            sharing=sharing,
            room=room,
            post=post,
        )
        # After the group's own queue, which says whether the members agree.
        self._ways += [
            _Way(spec, filed.receive, partial(filed.lost, topic))
            for spec, topic in zip(specs, topics, strict=True)
        ]
        self.sources.append(Source(filed, tuple(each.name for each in specs), lasting=True))

    def join(self, timeout_s: float) -> None:
        """Declare and consume the queues; each at most for so long.

        Raises the `LinkError` that prevents it, or `GroupError` where others want the group
        otherwise.
        """
        for way in self._ways:
            try:
                self._node.subscriber.add(way.spec, way.receive, timeout_s, way.lost)
            except TermsError as error:
                raise other_terms(self._chart, self._group, error) from error
        if self._sorter:
            # What it files needs the queues.
            self._sorter.start()

    def _made_sorter(self, key: Callable[[Arrival], object]) -> Sorter:
        node, numbers = self._node, count(1)
        identity = node.mesh.identity

        def encode(arrival: Arrival) -> bytes:
            origin = identity.node, self._chart, identity.incarnation, next(numbers)
            filed = Filed(*origin, arrival.envelope, arrival.topic, arrival.redelivered)
            return node.filed.encode(filed)

        def file(
            number: int, messages: Sequence[bytes], settled: Callable[[Settled], object]
        ) -> int:
            return node.filed.file(self._topics[number], messages, settled)

        return Sorter(
            f"mesh-{identity.node}-sorter-{self._chart}",
            key=key,
            encode=encode,
            file=file,
        )

    def _end_sorting(self, wait_s: float) -> None:
        if self._sorter:
            self._sorter.stop(wait_s, _JOIN_TIMEOUT_S)


class _Line:
    """Says which partitions are this node's: those that all members would give it."""

    def __init__(
        self, node: Surroundings, group: str, topics: Sequence[str], queues: Sequence[str]
    ) -> None:
        self._node, self._group = node, group
        self._numbers = {topic: number for number, topic in enumerate(topics)}
        self._queues = queues
        self._others: frozenset[str] | None = None
        self._owners: tuple[str, ...] = ()
        self._stepped_aside: dict[str, float] = {}

    def is_mine(self, topic: str) -> bool:
        """Whether to handle what comes of a partition.

        Who has stepped back and is the first again handles it for a while: the right one is not
        there, or has not joined the line yet.
        """
        others, own = self._node.roster.members(self._group), self._node.mesh.identity.node
        if others != self._others:
            self._others, self._owners = others, owners({*others, own})
            self._stepped_aside.clear()
        if self._owners[self._numbers[topic]] == own:
            return True
        now, before = time.monotonic(), self._stepped_aside.get(topic)
        if before is not None and now < before + self._node.config.heartbeat_interval_s:
            return True
        self._stepped_aside[topic] = now
        return False

    def step_aside(self, topic: str) -> None:
        """Go to the end of the line, after what is settled until now."""
        self._node.subscriber.step_aside(self._queues[self._numbers[topic]])
