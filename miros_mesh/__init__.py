"""Networked miros statecharts: encrypted, confirmed events between processes and hosts."""

from miros_mesh.address import BrokerAddress
from miros_mesh.charts import DEFAULT_ROUTING_KEY, NetworkedActiveObject, NetworkedFactory
from miros_mesh.config import MeshConfig, PayloadSerializer
from miros_mesh.errors import ConfigError, LinkError, MeshError
from miros_mesh.health import Health
from miros_mesh.observe.monitor import SnoopMonitor
from miros_mesh.observe.watch import SnoopGap
from miros_mesh.observer import Observer
from miros_mesh.report import StopReport
from miros_mesh.signals import (
    OUTBOX_OVERFLOW,
    PEER_DOWN,
    PEER_UP,
    OutboxOverflow,
    PeerChange,
)
from miros_mesh.sigterm import stop_on_sigterm
from miros_mesh.wire import SnoopRecord

__all__ = [
    # charts
    "DEFAULT_ROUTING_KEY",
    "NetworkedActiveObject",
    "NetworkedFactory",
    "StopReport",
    "stop_on_sigterm",
    # settings
    "BrokerAddress",
    "MeshConfig",
    "PayloadSerializer",
    # what the library posts into charts: miros_mesh.signals
    "OUTBOX_OVERFLOW",
    "PEER_DOWN",
    "PEER_UP",
    "OutboxOverflow",
    "PeerChange",
    # watching
    "Health",
    "Observer",
    "SnoopGap",
    "SnoopMonitor",
    "SnoopRecord",
    # errors; the whole tree is in miros_mesh.errors
    "ConfigError",
    "LinkError",
    "MeshError",
]
