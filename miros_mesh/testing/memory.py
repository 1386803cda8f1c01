"""A mesh without a broker, a file or a second process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from miros_mesh.config.settings import MeshConfig
from miros_mesh.embedded.memory import MemoryStore, PassOn, Publication
from miros_mesh.link.kombu_link import KombuLink
from miros_mesh.link.ports import LinkSettings
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.network import DIRECT, exchange_of
from miros_mesh.node.network_specs import MESH
from miros_mesh.node.node import NODES, Node
from miros_mesh.testing.faults import Faults, SentEvent, Split
from miros_mesh.testing.hand_clock import HandClock
from miros_mesh.testing.settling import Rest
from miros_mesh.wire.envelope import RESERVED_PREFIX, Envelope, RoutedEnvelope
from miros_mesh.wire.keyring import generate_key

_EVENTS: Final = frozenset({exchange_of(MESH.name), DIRECT})
"""The exchanges that carry events of programs."""
SETTLE_S: Final = 10.0


class MemoryMesh:
    """Charts hear each other when their configs come from the same `MemoryMesh`.

        mesh = MemoryMesh()
        a = NetworkedActiveObject("a", config=mesh.config(node_name="one"))
        b = NetworkedActiveObject("b", config=mesh.config(node_name="two"))

    It passes the same contract tests as the embedded broker and RabbitMQ. With a `clock` its nodes
    go by that: `MemoryMesh(clock=HandClock())`.
    """

    def __init__(self, *, clock: HandClock | None = None) -> None:
        self.clock = clock
        """What its nodes go by; None: the time of this machine."""
        self._store = MemoryStore()
        self._key = generate_key()
        self.faults = Faults(self._store.publish, clock)
        """What its broker does wrong."""
        # By the names of nodes. A node that has stopped is kept: what it sent last may be on its
        # way.
        self._meshes: dict[str, Mesh] = {}

    def config(self, **settings: Any) -> MeshConfig:
        """Settings of a node on this mesh; any field of `MeshConfig` may be given."""
        # `link_factory` is compared, so only configs of one mesh can be equal and share a node.
        own = {"mesh_encryption_key": self._key, "link_factory": self, "clock": self.clock}
        return MeshConfig(**{**own, **settings})

    def settle(self, timeout_s: float = SETTLE_S) -> None:
        """Wait until no event is on its way and every chart is idle.

        What waits for something else does not count: events that a fault holds or delays, those
        that a chart has deferred, and the timers of a clock or of miros. Raises `AssertionError`
        after `timeout_s`, with what is still under way, and what a function of the script raised.
        """
        Rest(self._store, self._nodes).wait(timeout_s)
        self.faults.raise_error()

    def advance(self, seconds: float, timeout_s: float = SETTLE_S) -> None:
        """Settle, turn the clock by so much, and settle again: all that follows has happened.

        Raises `ValueError` for a mesh without a clock of its own, and what `settle` and
        `HandClock.advance` raise.
        """
        if self.clock is None:
            raise ValueError("there is no clock to turn: MemoryMesh(clock=HandClock())")
        self.settle(timeout_s)
        self.clock.advance(seconds)
        self.settle(timeout_s)

    def __call__(self, settings: LinkSettings) -> KombuLink:
        """Make the link of a node on this mesh."""
        split = partial(self._split, settings.node)
        return memory_link(settings, self._store, partial(self._pass_on, split=split))

    def _pass_on(self, publication: Publication, split: Split) -> Iterable[Publication]:
        if publication.exchange not in _EVENTS:
            return (publication,)
        return self.faults.pass_on(publication, split)

    def _split(
        self, node: str, publication: Publication
    ) -> Sequence[tuple[SentEvent, Publication]]:
        """Open a frame, and seal each of its events alone, by the means of the node that sends."""
        self._meshes.update({each.name: each.mesh for each in self._nodes()})
        if (mesh := self._meshes.get(node)) is None:
            return ()
        network, topic = mesh.network, publication.routing_key
        messages = [
            (message, encoded)
            for message, encoded in zip(
                network.open_again(publication.body), network.unseal(publication.body), strict=True
            )
            # The words of the library stand alone in their frames.
            if not message.signal.startswith(RESERVED_PREFIX)
        ]
        parts = []
        for message, encoded in messages:
            part = publication
            if len(messages) > 1:
                part = publication._replace(body=network.seal([encoded], topic))
                # As a publisher does, so that the node can answer for it.
                network.publishing(part.body)
            parts.append((_sent(message, topic, mesh), part))
        return parts

    def _nodes(self) -> list[Node]:
        return [node for node in NODES.live if node.config.link_factory is self]


def _sent(message: Envelope, topic: str, mesh: Mesh) -> SentEvent:
    to = message.to if isinstance(message, RoutedEnvelope) else ""
    read = partial(mesh.payload_of, message)
    return SentEvent(message.signal, message.node, message.chart, "" if to else topic, to, read)


def memory_link(
    settings: LinkSettings, store: MemoryStore, pass_on: PassOn | None = None
) -> KombuLink:
    """Make a link between nodes of one process; `pass_on` as in `MemoryStore.dial`."""
    return KombuLink(settings, lambda _: store.dial(pass_on))
