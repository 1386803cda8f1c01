"""The settings of one node's discovery. None of them is secret."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from miros_mesh.address import DEFAULT_PORTS, Endpoint

Source: TypeAlias = Literal["manual", "lan", "dns"]
AlienPolicy: TypeAlias = Literal["adopt", "probe", "ignore"]

# Names of files where the settings give none; the second one is that of the ancestor's programs.
HOSTS_FILES: Final = (".miros_mesh_hosts.json", ".miros_rabbitmq_hosts.json")
LAN_CACHE_FILE: Final = ".miros_mesh_lan_cache.json"
ANCESTORS_CACHE_FILE: Final = ".miros_rabbitmq_lan_cache.json"
"""What the ancestor has found; read as a list of hosts, and never written."""
# The pause before listed hosts are looked at again: after a change, and at most.
LOOK_AGAIN_S: Final = (2.0, 60.0)
# More than what 1,024 addresses and a dead name server take.
FIRST_SEARCH_S: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class DiscoverySettings:
    """What a node gives its discovery; seconds where no other unit is named.

    What `MeshConfig` sets has its default there. The credentials are behind the `BrokerProbe`.
    """

    node: str
    """The node's name, for its threads."""
    routing_key: str
    """What the node's charts send under; scouts repeat it."""
    exchange_name: str
    """The exchange by which a broker shows that it is one of a mesh."""
    sources: tuple[Source, ...]
    """Where to look, one word for each source."""
    port: int
    """The brokers' port, where a host is listed without one."""
    home: tuple[Endpoint, ...]
    """The node's own broker, which is never found."""
    scope: str
    """What tells this mesh from others in a cache: a digest of its key, its virtual host."""
    hosts_files: tuple[Path, ...]
    """Files of hosts; one that does not exist lists none."""
    cache_path: Path
    """The file that keeps the addresses found on the local network."""
    cache_max_age_s: float
    """After this time the local network is searched again."""
    ipv6: bool
    """Whether IPv6 neighbours (link-local, RFC 4193) are candidates too."""
    dns_names: tuple[str, ...]
    """Names to look up; `_service._proto.name` asks for SRV records."""
    peer_forget_after_s: float
    """A broker that has been dead for this long is lost."""
    aliens: AlienPolicy
    """What to do with an unknown node that speaks with our key."""
    live_trace: bool
    """Whether each chart prints its transitions."""
    live_spy: bool
    """Whether each chart prints its every step."""

    # `MeshConfig` has none of these four; tests make them shorter.
    dns_interval_s: float = 15.0
    """The pause between two look-ups of the DNS names."""
    look_again_s: tuple[float, float] = LOOK_AGAIN_S
    """The pause before listed hosts are scouted again: after a change, and at most."""
    scout_timeout_s: float = 2.0
    """How long one probe may take."""
    first_search_s: float = FIRST_SEARCH_S
    """After this time the first search counts as ended."""
    origin: str = field(default_factory=lambda: secrets.token_hex(6), repr=False)
    """The node's token, by which its charts know each other's events."""


def settings_alone(routing_key: str, exchange_name: str) -> DiscoverySettings:
    """Return what a search without a node looks at: hosts files, and the local network."""
    return DiscoverySettings(
        node="alone",
        routing_key=routing_key,
        exchange_name=exchange_name,
        sources=("manual", "lan"),
        port=DEFAULT_PORTS["amqp"],
        home=(),
        scope=exchange_name,
        hosts_files=tuple(map(Path, HOSTS_FILES)),
        cache_path=Path(LAN_CACHE_FILE),
        cache_max_age_s=1800.0,
        ipv6=False,
        dns_names=(),
        peer_forget_after_s=3600.0,
        aliens="ignore",
        live_trace=False,
        live_spy=False,
    )
