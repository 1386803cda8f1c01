"""The addresses of this host, and which kinds of address may be looked at. It sends nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
)
from itertools import chain
from typing import Final

import netifaces

# What a search of the local network looks at; the kernel has places for as many neighbours
# (`net.ipv4.neigh.default.gc_thresh3`, unless the host sets another number).
MOST_CANDIDATES: Final = 1024
LAN_VARIABLE: Final = "MIROS_MESH_LAN"

# Not `is_private`, which takes loopback, link-local and documentation ranges too.
RFC_1918: Final = tuple(
    IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
RFC_4193: Final = IPv6Network("fc00::/7")
_ON: Final = frozenset({"", "on", "1", "yes", "true"})


def lan_is_off(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether `MIROS_MESH_LAN` forbids looking at the local network.

    An unknown word forbids it too: a misspelt `off` must send nothing.
    """
    # Read at each call, not at import: what a program or a test sets later counts.
    variables = os.environ if environ is None else environ
    return variables.get(LAN_VARIABLE, "").strip().lower() not in _ON


def own_networks() -> dict[str, tuple[IPv4Interface, ...]]:
    """Return this host's IPv4 addresses with their networks, by interface, loopback included.

    Raises `OSError` where this process may not ask for them; so do all others below.
    """
    return {
        interface: found for interface, families in _interfaces() if (found := _addresses(families))
    }


def own_addresses() -> frozenset[str]:
    """Return every address of this host, IPv4 and IPv6, link-local ones with their interface."""
    return frozenset(
        str(entry["addr"])
        for _, families in _interfaces()
        for family, entries in families.items()
        if family in (netifaces.AF_INET, netifaces.AF_INET6)
        for entry in entries
        if "addr" in entry
    )


def with_own(addresses: frozenset[str], own: frozenset[str]) -> frozenset[str]:
    """Return a broker's addresses; if one is of this host, with all others that this host has."""
    # So a broker that is listed at loopback and found at this host's address is one.
    here = any(each in own or is_loopback(each) for each in addresses)
    return addresses | own if here else addresses


def is_loopback(text: str) -> bool:
    """Return whether a host is a loopback address; a name is not one, whatever it stands for."""
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False


def working_address() -> str:
    """Return the address by which other hosts most likely know this one.

    A private one if there is any; loopback when this host is on no network.
    """
    own = [IPv4Address(each.ip) for found in own_networks().values() for each in found]
    outside = [ip for ip in own if not ip.is_loopback]
    # A private one first: other nodes look at no other that this one claims.
    best = [ip for ip in outside if is_rfc_1918(ip)] + outside
    return str(best[0]) if best else "127.0.0.1"


def address_towards(other: IPv4Address | IPv6Address | None) -> str:
    """Return this host's address in the network of another host, else `working_address`."""
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
    """Return this host's private IPv6 addresses (RFC 4193) with their networks.

    Link-local ones are left out: another host cannot use them without adding its own interface.
    """
    return [
        address
        for _, families in _interfaces()
        for entry in families.get(netifaces.AF_INET6, ())
        if (address := _ipv6(entry)).ip in RFC_4193
    ]


def is_rfc_1918(address: IPv4Address) -> bool:
    """Return whether an address is of a range that is set aside for private networks."""
    return any(address in block for block in RFC_1918)


def _interfaces() -> Iterator[tuple[str, Mapping[int, list[dict[str, str]]]]]:
    # The kernel is asked at each call: a host may join a network while a node runs.
    for interface in netifaces.interfaces():
        try:
            families = netifaces.ifaddresses(interface)
        except ValueError:
            # Gone since it was listed, as those of containers come and go.
            continue
        yield interface, families


def _addresses(families: Mapping[int, list[dict[str, str]]]) -> tuple[IPv4Interface, ...]:
    return tuple(
        # An entry without a netmask names no network that could be searched.
        IPv4Interface(f"{entry['addr']}/{entry['netmask']}")
        for entry in families.get(netifaces.AF_INET, ())
        if "addr" in entry and "netmask" in entry
    )


def _ipv6(entry: Mapping[str, str]) -> IPv6Interface:
    # netifaces writes `ffff:ffff:ffff:ffff::/64`, and the interface behind the address:
    # `fe80::1%eth0`. Without a netmask the address is a network of its own.
    prefix = entry.get("netmask", "").rpartition("/")[2] or "128"
    return IPv6Interface(f"{entry['addr'].partition('%')[0]}/{prefix}")
