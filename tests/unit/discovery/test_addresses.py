"""Which addresses may be looked at, and in which order."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.discovery import addresses
from miros_mesh.discovery.addresses import candidates, is_rfc_1918, lan_is_off, neighbours

ARP = """\
IP address       HW type     Flags       HW address            Mask     Device
192.168.1.75     0x1         0x2         02:fc:00:00:00:05     *        eth0
192.168.1.76     0x1         0x0         00:00:00:00:00:00     *        eth0
8.8.8.8          0x1         0x2         02:fc:00:00:00:06     *        eth0
rubbish
10.1.2.3         0x1         0x6         02:fc:00:00:00:07     *        eth1
"""


def texts(found) -> list[str]:
    return [str(each) for each in found]


def networks(*texts_: str) -> list[IPv4Interface]:
    return [IPv4Interface(text) for text in texts_]


def test_neighbours_are_those_that_answered_from_private_ranges(tmp_path: Path) -> None:
    table = tmp_path / "arp"
    table.write_text(ARP)
    assert texts(neighbours(table)) == ["192.168.1.75", "10.1.2.3"]


def test_a_host_without_a_table_of_neighbours_has_none(tmp_path: Path) -> None:
    assert neighbours(tmp_path / "nothing") == []


def test_candidates_go_outward_and_leave_out_own_network_and_broadcast_address() -> None:
    found = texts(candidates(networks("192.168.1.3/29")))
    assert found == ["192.168.1.4", "192.168.1.2", "192.168.1.5", "192.168.1.1", "192.168.1.6"]


def test_neighbours_come_first_if_they_are_in_a_network_of_ours() -> None:
    known = [IPv4Address("192.168.1.200"), IPv4Address("10.9.9.9")]
    found = texts(candidates(networks("192.168.1.3/24"), known))
    assert found[0] == "192.168.1.200"
    assert "10.9.9.9" not in found
    assert len(found) == len(set(found)) == 253


def test_a_neighbour_keeps_its_place_in_a_network_that_is_too_large() -> None:
    known = [IPv4Address("10.200.0.9")]
    found = candidates(networks("10.0.0.1/8"), known)
    assert found[0] == known[0]
    assert len(found) == 1024


def test_a_large_network_does_not_keep_a_small_one_out() -> None:
    found = candidates(networks("10.0.0.1/8", "192.168.1.3/24"))
    assert len(found) == 1024
    assert {IPv4Address(f"192.168.1.{last}") for last in (1, 2, *range(4, 255))} <= set(found)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1/8", "169.254.7.7/16", "192.0.2.1/24", "198.51.100.4/24", "203.0.113.9/24",
     "8.8.8.8/24", "100.64.0.1/24", "172.32.0.1/24", "192.169.0.1/24", "11.0.0.1/24"],
)  # fmt: skip
def test_no_address_of_a_range_that_is_not_set_aside_for_private_networks(address: str) -> None:
    assert candidates(networks(address)) == []


@pytest.mark.parametrize("address", ["172.16.0.1/8", "192.168.0.1/8", "10.255.255.254/6"])
def test_a_network_that_is_larger_than_its_private_range_is_left_at_the_edge(address: str) -> None:
    found = candidates(networks(address))
    assert len(found) == 1024
    assert all(is_rfc_1918(each) for each in found)


@pytest.mark.parametrize(
    ("address", "private"),
    [("10.0.0.0", True), ("10.255.255.255", True), ("172.16.0.0", True),
     ("172.31.255.255", True), ("192.168.0.0", True), ("192.168.255.255", True),
     ("9.255.255.255", False), ("11.0.0.0", False), ("172.15.255.255", False),
     ("172.32.0.0", False), ("192.167.255.255", False), ("192.169.0.0", False)],
)  # fmt: skip
def test_the_edges_of_the_private_ranges(address: str, private: bool) -> None:
    assert is_rfc_1918(IPv4Address(address)) is private


def test_a_network_of_two_has_one_other_host() -> None:
    assert texts(candidates(networks("10.0.0.0/31"))) == ["10.0.0.1"]
    assert texts(candidates(networks("10.0.0.1/32"))) == []


@given(st.integers(8, 32), st.integers(0, 2**24 - 1))
def test_candidates_are_private_new_others_and_bounded(prefix: int, host: int) -> None:
    own = IPv4Interface((0x0A000000 + host, prefix))
    found = candidates([own])
    assert len(found) <= 1024
    assert len(found) == len(set(found))
    assert own.ip not in found
    assert all(each in own.network and is_rfc_1918(each) for each in found)
    if prefix < 31:
        assert own.network.broadcast_address not in found
        assert own.network.network_address not in found


@pytest.mark.parametrize("word", ["off", "OFF", " off ", "0", "no", "false", "of", "none"])
def test_the_local_network_can_be_switched_off(word: str) -> None:
    assert lan_is_off({"MIROS_MESH_LAN": word})


def test_a_local_network_that_is_off_has_no_candidates() -> None:
    assert addresses.lan_candidates(ipv6=True) == []


@pytest.mark.parametrize("environ", [{}, {"MIROS_MESH_LAN": " "}, {"MIROS_MESH_LAN": "On"}])
def test_the_local_network_is_on_unless_it_is_switched_off(environ: dict[str, str]) -> None:
    assert not lan_is_off(environ)


def test_this_host_knows_its_own_addresses() -> None:
    assert {"127.0.0.1"} <= addresses.own_addresses()
    assert addresses.working_address() in addresses.own_addresses()


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


def test_ipv6_neighbours_have_room_beside_a_large_ipv4_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "lan_is_off", lambda: False)
    monkeypatch.setattr(addresses, "netifaces", Interfaces(netmask="255.255.0.0"))
    monkeypatch.setattr(addresses, "neighbours", list)
    monkeypatch.setattr(addresses, "ipv6_neighbours", lambda: ["fd07::9", "2001:db8::9"])
    assert "fd07::9" not in addresses.lan_candidates()
    found = addresses.lan_candidates(ipv6=True)
    assert len(found) == 1024
    assert [each for each in found if ":" in each] == ["fd07::9"]


def test_ipv6_neighbours_leave_room_for_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [f"fd07::{number:x}" for number in range(1, 3000)]
    monkeypatch.setattr(addresses, "lan_is_off", lambda: False)
    monkeypatch.setattr(addresses, "netifaces", Interfaces())
    monkeypatch.setattr(addresses, "neighbours", list)
    monkeypatch.setattr(addresses, "ipv6_neighbours", lambda: many)
    found = addresses.lan_candidates(ipv6=True)
    assert [":" in each for each in found] == [True] * 512 + [False] * 512
