"""Which addresses of the local network are worth a connection. It sends nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address
from itertools import chain

from miros_mesh.discovery.addresses import (
    MOST_CANDIDATES,
    RFC_4193,
    is_rfc_1918,
    lan_is_off,
    own_networks,
)
from miros_mesh.discovery.sources.neighbours import ipv4_neighbours, ipv6_neighbours


def lan_candidates(*, ipv6: bool = False) -> list[str]:
    """Return the addresses to look at in this host's networks, `MOST_CANDIDATES` at most.

    With `ipv6` the IPv6 neighbours come first and get half of the places at most, since a large
    IPv4 network alone has more addresses than are looked at. None where the local network is
    switched off.
    """
    if lan_is_off():
        return []
    interfaces = [each for found in own_networks().values() for each in found]
    found = [each for each in ipv6_neighbours() if _is_local_ipv6(each)] if ipv6 else []
    del found[MOST_CANDIDATES // 2 :]
    most = MOST_CANDIDATES - len(found)
    return found + [str(each) for each in candidates(interfaces, ipv4_neighbours(), most)]


def candidates(
    networks: Iterable[IPv4Interface],
    known: Iterable[IPv4Address] = (),
    most: int = MOST_CANDIDATES,
) -> list[IPv4Address]:
    """Return private addresses that other hosts of these networks may have, the nearest first.

    First come the neighbours that are known, then each network outward from this host's address in
    it. This host's addresses, and those of a network and of its broadcast, are left out.
    """
    local = [network for network in networks if is_rfc_1918(network.ip)]
    own = {network.ip for network in local}
    edges = {edge for network in local for edge in _edges(network.network)}
    left_out = own | edges
    # A dictionary for its order: each address once, where it came first.
    found: dict[IPv4Address, None] = {}
    for address in chain(_inside(known, local), _outward(local)):
        if len(found) >= most:
            break
        # A network may be larger than the private range that our address is of.
        if address not in left_out and is_rfc_1918(address):
            found[address] = None
    return list(found)


def _inside(addresses: Iterable[IPv4Address], local: list[IPv4Interface]) -> Iterator[IPv4Address]:
    for address in addresses:
        # What is promised is that only this host's own networks are looked at.
        if any(address in network.network for network in local):
            yield address


def _edges(network: IPv4Network) -> Iterator[IPv4Address]:
    # In a network of two addresses both are hosts (RFC 3021).
    if network.num_addresses > 2:  # noqa: PLR2004
        yield network.network_address
        yield network.broadcast_address


def _outward(local: list[IPv4Interface]) -> Iterator[IPv4Address]:
    """Go through all networks at the same pace, so that a large one keeps no small one out."""
    # Generators: of a /8 only the steps up to the limit are ever made.
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
