"""The addresses of this host, and which kinds of address may be looked at."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import netifaces
import pytest

from miros_mesh.discovery import addresses
from miros_mesh.discovery.addresses import is_rfc_1918, lan_is_off
from support.discovery_interfaces import Interfaces


@pytest.mark.parametrize(
    ("address", "private"),
    [("10.0.0.0", True), ("10.255.255.255", True), ("172.16.0.0", True),
     ("172.31.255.255", True), ("192.168.0.0", True), ("192.168.255.255", True),
     ("9.255.255.255", False), ("11.0.0.0", False), ("172.15.255.255", False),
     ("172.32.0.0", False), ("192.167.255.255", False), ("192.169.0.0", False)],
)  # fmt: skip
def test_the_edges_of_the_private_ranges(address: str, private: bool) -> None:
    assert is_rfc_1918(IPv4Address(address)) is private


@pytest.mark.parametrize("word", ["off", "OFF", " off ", "0", "no", "false", "of", "none"])
def test_the_local_network_can_be_switched_off(word: str) -> None:
    assert lan_is_off({"MIROS_MESH_LAN": word})


@pytest.mark.parametrize("environ", [{}, {"MIROS_MESH_LAN": " "}, {"MIROS_MESH_LAN": "On"}])
def test_the_local_network_is_on_unless_it_is_switched_off(environ: dict[str, str]) -> None:
    assert not lan_is_off(environ)


def test_this_host_knows_its_own_addresses() -> None:
    assert {"127.0.0.1"} <= addresses.own_addresses()
    assert addresses.working_address() in addresses.own_addresses()


@pytest.mark.parametrize(
    ("other", "own"),
    [
        ("10.7.3.9", "10.7.0.1"),
        ("192.168.0.9", "10.7.0.1"),
        ("fd07::9", "fd07::1"),
        ("fd08::9", "10.7.0.1"),
        ("fe80::9%lan0", "10.7.0.1"),
        (None, "10.7.0.1"),
    ],
)
def test_a_host_says_its_address_in_the_network_of_the_other_one(
    monkeypatch: pytest.MonkeyPatch, other: str | None, own: str
) -> None:
    monkeypatch.setattr(addresses, "netifaces", Interfaces())
    towards = ip_address(other) if other else None
    assert addresses.address_towards(towards) == own


def test_an_interface_that_goes_while_it_is_asked_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The real netifaces raises for it, on the thread of a chart that transmits, say."""
    found = addresses.own_addresses(), addresses.own_networks(), addresses.own_ipv6()
    listed = [*netifaces.interfaces(), "veth-gone"]
    monkeypatch.setattr(netifaces, "interfaces", lambda: listed)
    again = addresses.own_addresses(), addresses.own_networks(), addresses.own_ipv6()
    assert again == found
    assert addresses.working_address()
