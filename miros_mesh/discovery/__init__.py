"""Statecharts that find brokers and never connect to one: `Discovery` starts and stops them.

Each chart runs on a thread of its own, handles one event at a time and waits for nothing: what
blocks runs on `threads` and comes back as an event. So a chart needs no lock for its fields. (Only
the entry of its first state runs on the thread that makes it, before its own begins.)

A payload of a public signal may be anything: `safety.payloads` reads it before a handler gets it.

Locks are in what several threads share: each mailbox, `threads`, `refused_brokers`,
`sources.alien_gate`, `sources.tcp_scanner`, `safety.restarts`. None of these is taken while another
of them is held, but by the last, which is held while a dead chart is started again; that one and
the gate's are held while a hook of the observer runs.
"""

from typing import TYPE_CHECKING

from miros_mesh.doors import door

if TYPE_CHECKING:
    from miros_mesh.address import Endpoint
    from miros_mesh.discovery.addresses import own_networks
    from miros_mesh.discovery.discovery import Discovery
    from miros_mesh.discovery.ports import (
        AddressScanner,
        BrokerProbe,
        NameService,
        PeerSink,
    )
    from miros_mesh.discovery.refused_brokers import RefusedBrokers
    from miros_mesh.discovery.settings import DiscoverySettings
    from miros_mesh.discovery.verdict import Verdict
else:
    # A type checker reads the imports above, since it takes a `__getattr__` for any name at all.
    __getattr__, __dir__ = door(
        __name__,
        {
            "miros_mesh.address": ("Endpoint",),
            "miros_mesh.discovery.addresses": ("own_networks",),
            "miros_mesh.discovery.discovery": ("Discovery",),
            "miros_mesh.discovery.ports": (
                "AddressScanner",
                "BrokerProbe",
                "NameService",
                "PeerSink",
            ),
            "miros_mesh.discovery.refused_brokers": ("RefusedBrokers",),
            "miros_mesh.discovery.settings": ("DiscoverySettings",),
            "miros_mesh.discovery.verdict": ("Verdict",),
        },
    )

__all__ = [
    "AddressScanner",
    "BrokerProbe",
    "Discovery",
    "DiscoverySettings",
    "Endpoint",
    "NameService",
    "PeerSink",
    "RefusedBrokers",
    "Verdict",
    "own_networks",
]
