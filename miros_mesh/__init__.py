"""Networked miros statecharts: encrypted, confirmed events between processes and hosts."""

import logging

from miros_mesh.address import DEFAULT_ROUTING_KEY, BrokerAddress
from miros_mesh.charts.networked import NetworkedActiveObject, NetworkedFactory
from miros_mesh.clients.async_client import AsyncMeshClient
from miros_mesh.clients.client import MeshClient
from miros_mesh.clients.message import Message
from miros_mesh.config.settings import MeshConfig
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.dead_letters.letter import Letter
from miros_mesh.errors import ConfigError, LinkError, MeshError
from miros_mesh.health import Health
from miros_mesh.networks.received import Received
from miros_mesh.observe.snoop.monitor import SnoopMonitor
from miros_mesh.observe.snoop.watch import SnoopGap
from miros_mesh.observer import Observer
from miros_mesh.report import StopReport
from miros_mesh.sighup import reload_on_sighup
from miros_mesh.signals import (
    CHART_DOWN,
    CHART_UP,
    NO_LISTENER,
    OUTBOX_OVERFLOW,
    OUTBOX_REFUSED,
    PEER_DOWN,
    PEER_UP,
    REQUEST_TIMED_OUT,
    REQUEST_UNROUTABLE,
    ChartChange,
    NoListener,
    OutboxOverflow,
    OutboxRefused,
    PeerChange,
    RequestTimedOut,
    RequestUnroutable,
)
from miros_mesh.sigterm import stop_on_sigterm
from miros_mesh.wire.envelope import SnoopRecord
from miros_mesh.wire.payload_types import UnknownValue
from miros_mesh.wire.serializer import PayloadSerializer
from miros_mesh.wire.typed_payloads import payload

__all__ = [
    # charts
    "DEFAULT_ROUTING_KEY",
    "NetworkedActiveObject",
    "NetworkedFactory",
    "StopReport",
    "reload_on_sighup",
    "stop_on_sigterm",
    # code that is no chart
    "AsyncMeshClient",
    "MeshClient",
    "Message",
    "Received",
    # settings
    "BrokerAddress",
    "MeshConfig",
    "PayloadSerializer",
    "UnknownValue",
    "payload",
    # what the library posts into charts: miros_mesh.signals
    "CHART_DOWN",
    "CHART_UP",
    "NO_LISTENER",
    "OUTBOX_OVERFLOW",
    "OUTBOX_REFUSED",
    "PEER_DOWN",
    "PEER_UP",
    "REQUEST_TIMED_OUT",
    "REQUEST_UNROUTABLE",
    "ChartChange",
    "NoListener",
    "OutboxOverflow",
    "OutboxRefused",
    "PeerChange",
    "RequestTimedOut",
    "RequestUnroutable",
    # watching
    "Health",
    "Observer",
    "SnoopGap",
    "SnoopMonitor",
    "SnoopRecord",
    # what was refused
    "DeadLetters",
    "Letter",
    # errors; the whole tree is in miros_mesh.errors
    "ConfigError",
    "LinkError",
    "MeshError",
]

# Silent until the application configures logging; without this Python prints warnings.
logging.getLogger(__name__).addHandler(logging.NullHandler())
