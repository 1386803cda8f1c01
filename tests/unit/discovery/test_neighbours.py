"""The kernel's answer about IPv6 neighbours; the question goes to the kernel only."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address

import pytest

from miros_mesh.discovery.addresses import _is_local_ipv6
from miros_mesh.discovery.neighbours import ipv6_neighbours, parse_neighbour

REACHABLE, FAILED = 0x02, 0x20
LOOPBACK = socket.if_nametoindex("lo")


def entry(address: str, state: int = REACHABLE) -> bytes:
    head = struct.pack("=BBHiHBB", socket.AF_INET6, 0, 0, LOOPBACK, state, 0, 0)
    hardware = struct.pack("=HH6sxx", 10, 2, b"\x02\xfc\0\0\0\x05")
    return head + hardware + struct.pack("=HH16s", 20, 1, IPv6Address(address).packed)


@pytest.mark.parametrize(
    ("address", "found"), [("fd00::7", ["fd00::7"]), ("fe80::7", ["fe80::7%lo"])]
)
def test_an_entry_gives_its_address_and_a_link_local_one_its_interface(address, found) -> None:
    assert list(parse_neighbour(entry(address))) == found


def test_an_entry_that_never_answered_gives_none() -> None:
    assert list(parse_neighbour(entry("fd00::7", FAILED))) == []


def test_a_cut_entry_gives_none() -> None:
    assert list(parse_neighbour(entry("fd00::7")[:14] + b"\x01\0")) == []


def test_the_kernel_answers_with_addresses_or_not_at_all() -> None:
    assert all(IPv6Address(each) for each in ipv6_neighbours())


@pytest.mark.parametrize(
    ("address", "local"),
    [("fd00::7", True), ("fc00::1", True), ("fe80::1%lo", True), ("2001:db8::1", False),
     ("::1", False), ("fec0::1", False)],
)  # fmt: skip
def test_only_link_local_and_rfc_4193_addresses_are_candidates(address: str, local: bool) -> None:
    assert _is_local_ipv6(address) is local
