"""`Ancestors`: a node's part in a mesh of miros-rabbitmq, as the setting `ancestors` says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from miros_mesh.address import BrokerAddress
from miros_mesh.config.key_rings import KeyRings
from miros_mesh.config.settings import MeshConfig
from miros_mesh.discovery import addresses
from miros_mesh.errors import MeshError
from miros_mesh.link.ports import QueueSpec, Subscriber
from miros_mesh.networks.ancestor import network as specs
from miros_mesh.networks.ancestor.network import AncestorNetwork
from miros_mesh.networks.ancestor.snoop import AncestorLines
from miros_mesh.networks.inbox import Inbox, Source
from miros_mesh.networks.letters.home import Letters, Place
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.snoop.records import SnoopNetwork
from miros_mesh.node.groups import Group
from miros_mesh.node.queues import NodeQueues
from miros_mesh.observer import Observer
from miros_mesh.text import logger_of
from miros_mesh.wire.ancestor.events import EventCodec
from miros_mesh.wire.ancestor.lines import LineCodec
from miros_mesh.wire.envelope import ENVELOPE_BYTES, Envelope
from miros_mesh.wire.freshness import Limits
from miros_mesh.wire.serializer import PayloadSerializer

logger = logger_of(__name__)

# JSON may escape each character of a text as six, and Fernet adds a third and 73 bytes.
_LARGEST_IN_JSON: Final = 8
_LOOPBACK: Final = "127.0.0.1"
# Their program knows no other.
_THEIR_VIRTUAL_HOST: Final = "/"
# A host that moves to another network has another address there.
_ADDRESS_KEPT_S: Final = 60.0


class Ancestors:
    """Hears what nodes of miros-rabbitmq send, and with "both" sends them what its charts do.

    Nothing that was heard is ever sent on: an event crosses from its sender's node to their
    exchange, and from their exchange to each chart that hears it.
    """

    def __init__(
        self,
        config: MeshConfig,
        keys: KeyRings,
        mesh: Mesh,
        trace: SnoopNetwork,
        spy: SnoopNetwork,
        serializer: PayloadSerializer,
        inbox: Callable[..., Inbox],
    ) -> None:
        """Take part beside these networks; `inbox` makes what a chart hears by, `AncestorInbox`."""
        self._inbox = inbox
        self._config, self._mesh = config, mesh
        _say_where_they_are(config)
        self._observer: Observer = mesh.observer
        address = HomeAddress(config.brokers[0])
        limits = Limits(window_s=config.replay_window_s, clock_error_s=config.clock_error_s)
        most = (config.max_event_bytes + ENVELOPE_BYTES) * _LARGEST_IN_JSON
        codec = EventCodec(
            keys["mesh"],
            serializer,
            config.payloads,
            address=address,
            heard=self._heard,
            max_event_bytes=config.max_event_bytes,
            max_bytes=most,
        )
        self._events = AncestorNetwork(specs.MESH, codec, self._observer, limits)

        def lines(spec: specs.AncestorSpec, stream: Any, ours: SnoopNetwork) -> AncestorLines:
            codec = LineCodec(
                keys[f"snoop_{stream}"],  # type: ignore[index]
                stream,
                max_line_bytes=config.max_event_bytes,
                max_bytes=most,
            )
            network = AncestorNetwork(spec, codec, self._observer, limits)
            return AncestorLines(network, mesh.identity, self._observer, ours)

        shown = {
            trace.network.name: (specs.TRACE, lines(specs.TRACE, "trace", trace)),
            spy.network.name: (specs.SPY, lines(specs.SPY, "spy", spy)),
        }
        self.lines: Mapping[str, AncestorLines] = {name: each for name, (_, each) in shown.items()}
        """Their snoop networks, each by the name of ours."""
        self._exchanges = {spec.name: spec.exchange for spec, _ in shown.values()}
        self.networks: Sequence[AncestorNetwork[Any]] = ()
        """What is sent to them."""
        if config.ancestors == "both":
            sent = [each.network for each in self.lines.values()]
            self.networks = (self._events, *sent)  # type: ignore[arg-type]
            mesh.also = self._transmit
            trace.also = self.lines[trace.network.name].send
            spy.also = self.lines[spy.network.name].send

    @property
    def exchanges(self) -> tuple[str, ...]:
        """What every publisher declares for them."""
        return tuple(each.exchange for each in self.networks)

    def queue_of(self, queues: NodeQueues, network: str) -> QueueSpec | None:
        """Return the queue of one of their snoop networks; None for any other network."""
        exchange = self._exchanges.get(network)
        return queues.of_ancestors_lines(network, exchange) if exchange else None

    def source(
        self,
        queues: NodeQueues,
        subscriber: Subscriber,
        letters: Letters,
        place: Place,
        rx_routing_keys: tuple[str, ...],
        group: Group | None,
        **ways: Any,
    ) -> tuple[Source, Callable[[float], object]]:
        """Return what one chart hears of them by, and what begins it within so many seconds.

        `ways` are `room` and `post` of the chart. That raises the `LinkError` that prevents it.
        """
        spec = queues.of_ancestors(place.chart, specs.MESH.exchange, rx_routing_keys, group)
        inbox = self._inbox(
            self._mesh,
            place,
            letters,
            ancestors=self._events,
            max_deliveries=self._config.max_deliveries if group else 0,
            hears=rx_routing_keys,
            **ways,
        )
        begin = partial(subscriber.add, spec, inbox.receive, lost=inbox.begin_anew)
        return Source(inbox, (spec.name,), lasting=False), lambda timeout_s: begin(
            timeout_s=timeout_s
        )

    def _transmit(self, topic: str, event: Envelope) -> None:
        """Send them an event that has gone to the mesh; what cannot go to them is counted."""
        try:
            self._events.send(topic, event, persistent=False)
        except MeshError as error:
            self._observer.dropped(network=self._events.name, reason="payload", events=1)
            self._events.complain("payload", error)

    def _heard(self, address: str) -> None:
        """Hear where one of them is, which may be a broker that discovery does not know."""
        self._mesh.claimed(f"{address}:{self._config.brokers[0].port}")


def _say_where_they_are(config: MeshConfig) -> None:
    virtual_host = config.brokers[0].virtual_host
    if virtual_host != _THEIR_VIRTUAL_HOST:
        logger.warning(
            "ancestors=%s: nodes of miros-rabbitmq are in the virtual host %s, and this one is in "
            "%s, where it hears none",
            config.ancestors,
            _THEIR_VIRTUAL_HOST,
            virtual_host,
        )


class HomeAddress:
    """Where the home broker is, as other hosts know it: what an ancestor sends with each event."""

    def __init__(self, home: BrokerAddress) -> None:
        self._home = home
        self._known = ("", -_ADDRESS_KEPT_S)

    def __call__(self) -> str:
        """Return its IPv4 address, or its host as the settings name it."""
        host = self._home.host
        if host != "localhost" and not addresses.is_loopback(host):
            return host
        if addresses.lan_is_off():
            return _LOOPBACK
        now = time.monotonic()
        known, at = self._known
        if now - at >= _ADDRESS_KEPT_S:
            known = _own_address()
            self._known = known, now
        return known


def _own_address() -> str:
    try:
        return addresses.working_address()
    except OSError:
        # This process may not ask for it, which must end no chart that transmits.
        return _LOOPBACK
