"""Charts, observers and meshes for tests that let charts talk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import kombu
from miros import Event, return_status, signals, spy_on

from miros_mesh import DEFAULT_ROUTING_KEY, MeshConfig, NetworkedActiveObject, Observer
from miros_mesh.embedded.transport import dial as embedded
from miros_mesh.node import network_specs as specs
from miros_mesh.node.node import Node
from miros_mesh.signals import PUBLIC_SIGNALS
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import Origin
from miros_mesh.wire.key_file import load_or_create_keys
from miros_mesh.wire.keyring import KeyRing
from miros_mesh.wire.signing import Signer

KEY = b"u3Uc-qAi9iiCv3fkBfRUAKrM1gH8w51-nVU8M8A73Jg="
OTHER_KEY = b"8GPlL8pNEJ1nW0pm2m3hGVtDO2EDcIrSqI10Q9mI2lU="

State = Callable[[Any, Event], Any]
Handle = Callable[[NetworkedActiveObject, Event], object]
Launch = Callable[..., NetworkedActiveObject]


def alone(handle: Handle, *, spied: bool = True) -> State:
    """The one state of a chart that hands every event of its program to `handle`."""

    def listening(chart: NetworkedActiveObject, event: Event) -> int:
        if signals.is_inner_signal(event.signal_name):
            chart.temp.fun = chart.top
            return return_status.SUPER
        handle(chart, event)
        return return_status.HANDLED

    return spy_on(listening) if spied else listening


class Heard(list[tuple[str, Any]]):
    """What a chart handled of a program's events, in order: signal name and payload."""

    def __call__(self, _: NetworkedActiveObject, event: Event) -> None:
        if event.signal_name not in PUBLIC_SIGNALS:
            self.append((event.signal_name, event.payload))

    @property
    def payloads(self) -> list[Any]:
        return [payload for _, payload in self]


class Recorder(Observer):
    """Keeps what a node tells its observers."""

    def __init__(self) -> None:
        self.drops: list[tuple[str, str, int]] = []
        self.deaths: list[tuple[str, BaseException]] = []
        self.goodbyes: list[str] = []
        self.peers = 0

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self.drops.append((network, reason, events))

    def chart_died(self, *, chart: str, error: BaseException) -> None:
        self.deaths.append((chart, error))

    def chart_left(self, *, node: str, chart: str) -> None:
        self.goodbyes.append(chart)

    def peer_up(self, *, peer: str) -> None:
        self.peers += 1


@dataclass(frozen=True)
class Ground:
    """A mesh to test on. Charts of equal node names share a node, others have one of their own."""

    make: Callable[..., MeshConfig]

    def node(self, name: str, **settings: Any) -> MeshConfig:
        return self.make(**{"node_name": name, **settings})


def node_of(chart: Any) -> Node:
    """The node of a chart that runs."""
    node = chart._session.node
    assert isinstance(node, Node)
    return node


def keys_of(config: MeshConfig) -> tuple[bytes, ...]:
    """The keys of a node's mesh, also where the node made its key itself."""
    return config.keys_for("mesh") or (load_or_create_keys(config.home_folder)[0],)


def seal(
    config: MeshConfig,
    *messages: Origin,
    network: str = "mesh",
    topic: str = DEFAULT_ROUTING_KEY,
    key: bytes | None = None,
    signer: Signer | None = None,
) -> bytes:
    """A frame as a member of the mesh would seal it now for a topic."""
    kinds: tuple[type[Any], ...] = (type(messages[0]),)
    if kinds[0] in specs.MESH.extended:
        kinds = (specs.MESH.carries, *specs.MESH.extended)
    codec = Codec(
        network,
        KeyRing((key,) if key else keys_of(config), cipher=config.cipher),
        kinds[0],
        extended=kinds[1:],
        max_frame_bytes=64 * 1024 * 1024,
        label=config.label,
        signer=signer,
    )
    return codec.seal([codec.encode(each) for each in messages], topic)


def publish(
    config: MeshConfig,
    body: str | bytes,
    *,
    network: str = "mesh",
    routing_key: str = "miros.mesh",
    **properties: Any,
) -> None:
    """Put a message on the exchange of a network, past the library."""
    url = config.broker_url[0] if isinstance(config.broker_url, tuple) else None
    with kombu.Connection(url) if url else embedded(config.home_folder) as connection:
        kombu.Producer(connection.channel(), auto_declare=False).publish(
            body,
            exchange=f"miros_mesh.v1.{network}",
            routing_key=routing_key,
            **{"content_type": "application/data", "content_encoding": "binary", **properties},
        )


def event(signal: str, payload: Any = None) -> Event:
    return Event(signal=signal, payload=payload)
