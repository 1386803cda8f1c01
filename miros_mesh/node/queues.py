"""What a node declares at its broker: the names of its queues and what each of them is like."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from miros_mesh.address import SHORT_STRING_BYTES, direct_topic
from miros_mesh.config.settings import MeshConfig
from miros_mesh.link.ports import Binding, QueueSpec, Terms
from miros_mesh.networks.group.partitions import PARTITIONS
from miros_mesh.networks.network import DIRECT, NOTES_KEPT_S, exchange_of
from miros_mesh.node.groups import Group
from miros_mesh.wire.identity import Identity

# A watcher that stopped reading loses the oldest records; the broker does not lose its memory.
SNOOP_QUEUE_FRAMES = 10_000
# A process that crashes while it starts leaves one each time; a note holds all that older ones do.
DEATH_NOTES = 300
# The newest is enough; another one may come before that is acknowledged.
MARK_NOTES = 2
# With full frames these would be gigabytes, and a broker short of memory takes no events either.
SNOOP_QUEUE_BYTES = 64 * 1024 * 1024


# Of a queue that is of use to one process only, which comes back within this time or never.
PRIVATE_EXPIRES_S = 120.0
# Of a queue that the next process of a node name finds: an afternoon's repair, or a night.
NAMED_EXPIRES_S = 86_400.0


# Of a group whose members share the work: what one has is not given to another.
MOST_SHARED_FRAMES = 10


@dataclass(frozen=True)
class NodeQueues:
    """Names and describes the queues that one node declares."""

    config: MeshConfig
    identity: Identity

    @property
    def lasting(self) -> bool:
        """Whether the queues of its charts outlive the node."""
        return self.config.node_name is not None

    @property
    def name_lock(self) -> str | None:
        """The queue that says that the node's name is taken; None for a generated one."""
        return exchange_of(f"name.{self.config.node_name}") if self.lasting else None

    def of_chart(self, chart: str, rx_routing_keys: Sequence[str]) -> QueueSpec:
        """Return the queue in which a chart's events wait: of these topics, and for it alone."""
        return QueueSpec(
            # Without the incarnation: the next process of a node name finds what this one has left.
            name=chart_queue(self.identity.node, chart, topics_of(rx_routing_keys)),
            bindings=(
                *(Binding(exchange_of("mesh"), pattern) for pattern in rx_routing_keys),
                Binding(DIRECT, direct_topic(self.identity.node, chart)),
            ),
            prefetch=self.config.prefetch_frames,
            expires_s=self._chart_expires_s,
            replicated=self.lasting,
            delete_on_stop=not self.lasting,
            chart=chart,
            dead_letters=True,
        )

    def of_group(self, chart: str, group: Group, rx_routing_keys: Sequence[str]) -> QueueSpec:
        """Return the queue in which the events of a group's charts wait."""
        terms = f"{group.kind} {topics_of(rx_routing_keys)}"
        return QueueSpec(
            # With its terms in the name, since members of other ones may not change what it is: a
            # group that comes back with other ones has a queue of its own.
            name=f"{group.queue(chart)}.{_digest(terms)}",
            bindings=tuple(Binding(exchange_of("mesh"), each) for each in rx_routing_keys),
            # Members that wait must not be left without, while one holds more than it handles.
            prefetch=min(self.config.prefetch_frames, MOST_SHARED_FRAMES),
            expires_s=NAMED_EXPIRES_S,
            replicated=True,
            delete_on_stop=False,
            chart=chart,
            dead_letters=True,
            consumers="shared" if group.kind == "share" else "standby",
            terms=Terms(f"{group.queue(chart)}.terms", terms),
        )

    def of_ancestors(
        self, chart: str, exchange: str, rx_routing_keys: Sequence[str], group: Group | None
    ) -> QueueSpec:
        """Return the queue of what nodes of miros-rabbitmq send to a chart, or to its group."""
        bindings = tuple(Binding(exchange, each, durable=False) for each in rx_routing_keys)
        if group:
            ours = self.of_group(chart, group, rx_routing_keys)
            return replace(
                ours,
                name=f"{ours.name}.old",
                bindings=bindings,
                expires_s=PRIVATE_EXPIRES_S,
                terms=None,
                dead_letters=False,
            )
        digest = _digest(topics_of(rx_routing_keys))
        return QueueSpec(
            name=f"{exchange_of('old')}.{self.identity.node}.{chart}.{digest}",
            bindings=bindings,
            prefetch=self.config.prefetch_frames,
            expires_s=PRIVATE_EXPIRES_S,
            chart=chart,
        )

    def of_ancestors_lines(self, network: str, exchange: str) -> QueueSpec:
        """Return the queue of what a snoop network of miros-rabbitmq brings for the watchers."""
        return replace(self.of_watchers(network), bindings=(Binding(exchange, "#", durable=False),))

    def of_partitions(self, group: QueueSpec) -> list[QueueSpec]:
        """Return the queues in which the events of a group wait that are filed by their keys."""
        names = [f"{group.name}.p{number}" for number in range(PARTITIONS)]
        return [
            replace(group, name=name, bindings=(Binding(exchange_of("group"), name),), terms=None)
            for name in names
        ]

    def of_deaths(self, network: str, routing_key: str) -> QueueSpec:
        """Return the queue in which a process of the node's name leaves notes for the next one."""
        return QueueSpec(
            name=f"{exchange_of(network)}.{self.identity.node}",
            bindings=(Binding(exchange_of(network), routing_key),),
            prefetch=self.config.prefetch_frames,
            expires_s=self._chart_expires_s,
            replicated=True,
            # Of use is the newest alone.
            max_length=DEATH_NOTES,
            delete_on_stop=False,
        )

    def of_marks(self, network: str, routing_key: str) -> QueueSpec:
        """Return the queue in which a process of the node's name leaves how far it has come."""
        return replace(
            self.of_deaths(network, routing_key), expires_s=NOTES_KEPT_S, max_length=MARK_NOTES
        )

    def of_repair(self, network: str, routing_key: str) -> QueueSpec:
        """Return the queue of what other nodes ask for again, and of answers to this one."""
        return QueueSpec(
            name=self._private(network),
            bindings=(Binding(exchange_of(network), routing_key),),
            prefetch=self.config.prefetch_frames,
            expires_s=PRIVATE_EXPIRES_S,
        )

    def of_watchers(self, network: str) -> QueueSpec:
        """Return the queue of what a network brings for the node's watchers, or for its roster."""
        return QueueSpec(
            name=self._private(network),
            bindings=(Binding(exchange_of(network), "#"),),
            prefetch=self.config.prefetch_frames,
            expires_s=PRIVATE_EXPIRES_S,
            max_length=SNOOP_QUEUE_FRAMES,
            # The embedded broker would add sizes up at each publication, and keeps its own on disk.
            max_bytes=SNOOP_QUEUE_BYTES if self.config.brokers else None,
        )

    @property
    def _chart_expires_s(self) -> float:
        given = self.config.queue_expires_s
        if given is not None:
            return given
        return NAMED_EXPIRES_S if self.lasting else PRIVATE_EXPIRES_S

    def network(self, queue: QueueSpec) -> str:
        """Return the network of a queue that is one of ours."""
        # A chart may be bound to addresses alone, which are on an exchange of their own.
        exchange = exchange_of("mesh") if queue.chart else queue.bindings[0].exchange
        return exchange.removeprefix(exchange_of(""))

    def _private(self, network: str) -> str:
        # Of this start of the node alone: what waits for an earlier one is of no use to it.
        return f"{exchange_of(network)}.{self.identity.node}.{self.identity.incarnation}"


def topics_of(rx_routing_keys: Sequence[str]) -> str:
    """Return one text for the patterns that a chart hears; of a single one that itself."""
    if not rx_routing_keys:
        # Notes have no empty text, and no pattern is like this one.
        return "#none"
    text = " ".join(rx_routing_keys)
    if len(rx_routing_keys) == 1 or len(text.encode()) <= SHORT_STRING_BYTES:
        return text
    return hashlib.blake2s(text.encode()).hexdigest()


def chart_queue(node: str, chart: str, topics: str) -> str:
    """Return the name of a chart's queue for these `topics_of`.

    AMQP lists no bindings: a chart that comes back for other topics needs a new queue.
    """
    return f"{exchange_of('mesh')}.{node}.{chart}.{_digest(topics)}"


def _digest(topics: str) -> str:
    # Short, as a queue's name has 255 bytes: it tells only the topics of one chart apart.
    return hashlib.blake2s(topics.encode(), digest_size=4).hexdigest()
