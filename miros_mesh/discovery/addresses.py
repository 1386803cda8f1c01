"""The only module that asks the operating system for addresses. It sends nothing."""

from __future__ import annotations

from ipaddress import IPv4Interface

import netifaces


def own_networks() -> dict[str, tuple[IPv4Interface, ...]]:
    """The IPv4 addresses of this host with their networks, by interface, loopback included."""
    return {
        interface: found
        for interface in netifaces.interfaces()
        if (found := _addresses(netifaces.ifaddresses(interface)))
    }


def _addresses(families: dict[int, list[dict[str, str]]]) -> tuple[IPv4Interface, ...]:
    return tuple(
        IPv4Interface(f"{entry['addr']}/{entry['netmask']}")
        for entry in families.get(netifaces.AF_INET, ())
        if "addr" in entry and "netmask" in entry
    )
