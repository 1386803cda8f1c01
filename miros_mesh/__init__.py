"""Networked miros statecharts: encrypted, confirmed events between processes and hosts."""

import logging
from typing import TYPE_CHECKING

from miros_mesh.doors import door

if TYPE_CHECKING:
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
    from miros_mesh.service.sighup import reload_on_sighup
    from miros_mesh.service.sigterm import stop_on_sigterm
    from miros_mesh.service.systemd import notify_systemd
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
    from miros_mesh.wire.envelope import SnoopRecord
    from miros_mesh.wire.payload_types import UnknownValue
    from miros_mesh.wire.serializer import PayloadSerializer
    from miros_mesh.wire.typed_payloads import payload
else:
    # A type checker reads the imports above, since it takes a `__getattr__` for any name at all.
    __getattr__, __dir__ = door(
        __name__,
        {
            "miros_mesh.address": ("DEFAULT_ROUTING_KEY", "BrokerAddress"),
            "miros_mesh.charts.networked": ("NetworkedActiveObject", "NetworkedFactory"),
            "miros_mesh.clients.async_client": ("AsyncMeshClient",),
            "miros_mesh.clients.client": ("MeshClient",),
            "miros_mesh.clients.message": ("Message",),
            "miros_mesh.config.settings": ("MeshConfig",),
            "miros_mesh.dead_letters.dead_letters": ("DeadLetters",),
            "miros_mesh.dead_letters.letter": ("Letter",),
            "miros_mesh.errors": ("ConfigError", "LinkError", "MeshError"),
            "miros_mesh.health": ("Health",),
            "miros_mesh.networks.received": ("Received",),
            "miros_mesh.observe.snoop.monitor": ("SnoopMonitor",),
            "miros_mesh.observe.snoop.watch": ("SnoopGap",),
            "miros_mesh.observer": ("Observer",),
            "miros_mesh.report": ("StopReport",),
            "miros_mesh.service.sighup": ("reload_on_sighup",),
            "miros_mesh.service.sigterm": ("stop_on_sigterm",),
            "miros_mesh.service.systemd": ("notify_systemd",),
            "miros_mesh.signals": (
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
            ),
            "miros_mesh.wire.envelope": ("SnoopRecord",),
            "miros_mesh.wire.payload_types": ("UnknownValue",),
            "miros_mesh.wire.serializer": ("PayloadSerializer",),
            "miros_mesh.wire.typed_payloads": ("payload",),
        },
    )

__all__ = [
    # charts
    "DEFAULT_ROUTING_KEY",
    "NetworkedActiveObject",
    "NetworkedFactory",
    "StopReport",
    "notify_systemd",
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
