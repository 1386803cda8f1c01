"""The only module that asks the operating system for addresses. It sends nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
)
from itertools import chain
from pathlib import Path
from typing import Final

import netifaces

from miros_mesh.discovery.neighbours import ipv6_neighbours

MOST_CANDIDATES: Final = 1024
LAN_VARIABLE: Final = "MIROS_MESH_LAN"
ARP_TABLE: Final = Path("/proc/net/arp")

# Not `is_private`, which takes loopback, link-local and documentation ranges too.
RFC_1918: Final = tuple(
    IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
RFC_4193: Final = IPv6Network("fc00::/7")
_ON: Final = frozenset({"", "on", "1", "yes", "true"})
_COMPLETE: Final = 0x2


def lan_is_off(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `MIROS_MESH_LAN` forbids to look at the local network.

    A word that is not known forbids it too: a misspelt `off` must send nothing.
    """
    return environ.get(LAN_VARIABLE, "").strip().lower() not in _ON


def own_networks() -> dict[str, tuple[IPv4Interface, ...]]:
    """The IPv4 addresses of this host with their networks, by interface, loopback included."""
    return {
        interface: found
        for interface in netifaces.interfaces()
        if (found := _addresses(netifaces.ifaddresses(interface)))
    }


def own_addresses() -> frozenset[str]:
    """Every address of this host, IPv4 and IPv6."""
    return frozenset(
        str(entry["addr"])
        for interface in netifaces.interfaces()
        for family, entries in netifaces.ifaddresses(interface).items()
        if family in (netifaces.AF_INET, netifaces.AF_INET6)
        for entry in entries
        if "addr" in entry
    )


def with_own(addresses: frozenset[str], own: frozenset[str]) -> frozenset[str]:
    """A broker of this host is there under every address of this host."""
    here = any(each in own or is_loopback(each) for each in addresses)
    return addresses | own if here else addresses


def is_loopback(text: str) -> bool:
    """Whether a host is a loopback address; a name is none."""
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False


def working_address() -> str:
    """The address by which this host is most likely known; loopback when it is on no network."""
    own = [IPv4Address(each.ip) for found in own_networks().values() for each in found]
    outside = [ip for ip in own if not ip.is_loopback]
    best = [ip for ip in outside if is_rfc_1918(ip)] + outside
    return str(best[0]) if best else "127.0.0.1"


def address_towards(other: IPv4Address | IPv6Address | None) -> str:
    """The own address in the network of another host, else that by which we are mostly known."""
    found: Iterable[IPv4Interface | IPv6Interface]
    if isinstance(other, IPv6Address):
        found = own_ipv6()
    else:
        found = chain.from_iterable(own_networks().values())
    for each in found:
        if other and other in each.network:
            return str(each.ip)
    return working_address()


def own_ipv6() -> list[IPv6Interface]:
    """The IPv6 addresses (RFC 4193) of this host with their networks.

    A link-local one means nothing to another host, which would have to add an interface of its own.
    """
    return [
        address
        for interface in netifaces.interfaces()
        for entry in netifaces.ifaddresses(interface).get(netifaces.AF_INET6, ())
        if (address := _ipv6(entry)).ip in RFC_4193
    ]


def is_rfc_1918(address: IPv4Address) -> bool:
    """Whether an address is of a range that is set aside for private networks."""
    return any(address in block for block in RFC_1918)


def neighbours(table: Path = ARP_TABLE) -> list[IPv4Address]:
    """The IPv4 hosts that the kernel has spoken with lately; private ranges only."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    return [address for line in lines if (address := _neighbour(line.split()))]


def candidates(
    networks: Iterable[IPv4Interface],
    known: Iterable[IPv4Address] = (),
    most: int = MOST_CANDIDATES,
) -> list[IPv4Address]:
    """Private addresses that may be those of other hosts of these networks, the nearest first.

    First come the neighbours that are known, then each network outward from our own address in it.
    Our own addresses, and those of a network and of its broadcast, are left out.
    """
    local = [network for network in networks if is_rfc_1918(network.ip)]
    own = {network.ip for network in local}
    edges = {edge for network in local for edge in _edges(network.network)}
    left_out = own | edges
    found: dict[IPv4Address, None] = {}
    for address in chain(_inside(known, local), _outward(local)):
        if len(found) >= most:
            break
        # A network may be larger than the private range that our own address is of.
        if address not in left_out and is_rfc_1918(address):
            found[address] = None
    return list(found)


def lan_candidates(*, ipv6: bool = False) -> list[str]:
    """The candidates of this host's networks; none where the local network is switched off."""
    if lan_is_off():
        return []
    interfaces = [each for found in own_networks().values() for each in found]
    # First, since a large IPv4 network alone has more addresses than are looked at.
    found = [each for each in ipv6_neighbours() if _is_local_ipv6(each)] if ipv6 else []
    del found[MOST_CANDIDATES // 2 :]
    most = MOST_CANDIDATES - len(found)
    return found + [str(each) for each in candidates(interfaces, neighbours(), most)]


def _addresses(families: Mapping[int, list[dict[str, str]]]) -> tuple[IPv4Interface, ...]:
    return tuple(
        IPv4Interface(f"{entry['addr']}/{entry['netmask']}")
        for entry in families.get(netifaces.AF_INET, ())
        if "addr" in entry and "netmask" in entry
    )


def _ipv6(entry: Mapping[str, str]) -> IPv6Interface:
    prefix = entry.get("netmask", "").rpartition("/")[2] or "128"
    return IPv6Interface(f"{entry['addr'].partition('%')[0]}/{prefix}")


def _neighbour(fields: list[str]) -> IPv4Address | None:
    try:
        address, flags = IPv4Address(fields[0]), int(fields[2], 16)
    except (AddressValueError, IndexError, ValueError):
        return None
    return address if flags & _COMPLETE and is_rfc_1918(address) else None


def _inside(addresses: Iterable[IPv4Address], local: list[IPv4Interface]) -> Iterator[IPv4Address]:
    for address in addresses:
        if any(address in network.network for network in local):
            yield address


def _edges(network: IPv4Network) -> Iterator[IPv4Address]:
    # In a network of two addresses both are hosts (RFC 3021).
    if network.num_addresses > 2:  # noqa: PLR2004
        yield network.network_address
        yield network.broadcast_address


def _outward(local: list[IPv4Interface]) -> Iterator[IPv4Address]:
    """All networks at the same pace: a large one must not keep a small one out."""
    walks = [_around(network) for network in sorted(local, key=lambda n: n.network.num_addresses)]
    while walks:
        for walk in list(walks):
            step = next(walk, None)
            if step is None:
                walks.remove(walk)
            else:
                yield from step


def _around(network: IPv4Interface) -> Iterator[tuple[IPv4Address, ...]]:
    own = int(network.ip)
    first = int(network.network.network_address)
    last = int(network.network.broadcast_address)
    for distance in range(1, max(own - first, last - own) + 1):
        yield tuple(
            IPv4Address(each) for each in (own + distance, own - distance) if first <= each <= last
        )


def _is_local_ipv6(text: str) -> bool:
    address = IPv6Address(text)
    return address.is_link_local or address in RFC_4193
