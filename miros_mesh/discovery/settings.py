"""What one node's discovery has to know; nothing of it is secret."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from miros_mesh.address import DEFAULT_PORTS, Endpoint
from miros_mesh.discovery import scout
from miros_mesh.discovery.sources import dns, lan, man_net
from miros_mesh.discovery.sources.aliens import AlienPolicy

Source: TypeAlias = Literal["manual", "lan", "dns"]


@dataclass(frozen=True, kw_only=True)
class DiscoverySettings:
    """Seconds where nothing else is said. The credentials are behind the probe."""

    node: str
    """The node's name, for its threads."""
    routing_key: str
    """What the node's charts send under; scouts repeat it."""
    exchange_name: str
    """The exchange that makes a broker one of a mesh."""
    sources: tuple[Source, ...] = ("manual", "lan")
    """Where to look."""
    port: int = DEFAULT_PORTS["amqp"]
    """The brokers' port, where a host is listed without one."""
    home: tuple[Endpoint, ...] = ()
    """The node's own broker, which need not be found."""
    scope: str = ""
    """What tells this mesh from others in a cache: a digest of its key, its virtual host."""
    hosts_files: tuple[Path, ...] = (Path(man_net.HOSTS_FILE), Path(man_net.ANCESTORS_HOSTS_FILE))
    """Files of hosts; one that does not exist lists none."""
    cache_path: Path = Path(lan.DEFAULT_FILE)
    """Where the addresses of the local network are kept."""
    cache_max_age_s: float = lan.TIME_OUT_MINUTES * 60
    """After this time the local network is searched again."""
    ipv6: bool = False
    """Whether IPv6 neighbours (link-local, RFC 4193) are candidates too."""
    dns_names: tuple[str, ...] = ()
    """Names to look up; `_service._proto.name` asks for SRV records."""
    dns_interval_s: float = dns.INTERVAL_S
    """How often."""
    look_again_s: tuple[float, float] = (man_net.SOON_S, man_net.SELDOM_S)
    """How soon, and at last how seldom, the listed hosts are scouted again."""
    scout_timeout_s: float = scout.SCOUT_TIMEOUT_S
    """How long one probe may take."""
    refused_pause_s: float = 600.0
    """How long a broker that refused our credentials is left alone."""
    peer_forget_after_s: float = 3600.0
    """A broker that has been dead for this long is lost."""
    aliens: AlienPolicy = "adopt"
    """What to do with a stranger that speaks with our key."""
    live_trace: bool = False
    """Whether each chart prints its transitions."""
    live_spy: bool = False
    """Whether each chart prints its every step."""
    origin: str = field(default_factory=lambda: secrets.token_hex(6), repr=False)
    """The node's token, by which its charts know each other's events."""
