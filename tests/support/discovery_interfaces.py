"""A stand-in for netifaces."""

from __future__ import annotations


class Interfaces:
    """Stands for netifaces on a host with a cable in an IPv4 and an IPv6 network."""

    AF_INET, AF_INET6 = 2, 10

    def __init__(self, netmask: str = "255.255.252.0") -> None:
        self._netmask = netmask

    def interfaces(self) -> list[str]:
        return ["lo", "lan0"]

    def ifaddresses(self, name: str) -> dict[int, list[dict[str, str]]]:
        if name == "lo":
            ours = {"addr": "127.0.0.1", "netmask": "255.0.0.0"}
            return {2: [ours], 10: [{"addr": "::1", "netmask": "ffff:ffff:ffff:ffff::/128"}]}
        return {
            2: [{"addr": "10.7.0.1", "netmask": self._netmask}],
            10: [
                {"addr": "fe80::1%lan0", "netmask": "ffff:ffff:ffff:ffff::/64"},
                {"addr": "fd07::1", "netmask": "ffff:ffff:ffff:ffff::/64"},
            ],
        }
