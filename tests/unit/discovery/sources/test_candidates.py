"""Which addresses of the local network are looked at, and in which order."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.discovery import addresses
from miros_mesh.discovery.addresses import is_rfc_1918
from miros_mesh.discovery.sources import candidates as candidates_module
from miros_mesh.discovery.sources.candidates import candidates, lan_candidates
from support.discovery_interfaces import Interfaces


def texts(found) -> list[str]:
    return [str(each) for each in found]


def networks(*texts_: str) -> list[IPv4Interface]:
    return [IPv4Interface(text) for text in texts_]


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


def test_a_local_network_that_is_off_has_no_candidates() -> None:
    assert lan_candidates(ipv6=True) == []


def test_ipv6_neighbours_have_room_beside_a_large_ipv4_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(candidates_module, "lan_is_off", lambda: False)
    monkeypatch.setattr(addresses, "netifaces", Interfaces(netmask="255.255.0.0"))
    monkeypatch.setattr(candidates_module, "ipv4_neighbours", list)
    monkeypatch.setattr(candidates_module, "ipv6_neighbours", lambda: ["fd07::9", "2001:db8::9"])
    assert "fd07::9" not in lan_candidates()
    found = lan_candidates(ipv6=True)
    assert len(found) == 1024
    assert [each for each in found if ":" in each] == ["fd07::9"]


def test_ipv6_neighbours_leave_room_for_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [f"fd07::{number:x}" for number in range(1, 3000)]
    monkeypatch.setattr(candidates_module, "lan_is_off", lambda: False)
    monkeypatch.setattr(addresses, "netifaces", Interfaces())
    monkeypatch.setattr(candidates_module, "ipv4_neighbours", list)
    monkeypatch.setattr(candidates_module, "ipv6_neighbours", lambda: many)
    found = lan_candidates(ipv6=True)
    assert [":" in each for each in found] == [True] * 512 + [False] * 512
