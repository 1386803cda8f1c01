"""The kernel's tables of neighbours; the question goes to the kernel only."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from miros_mesh.discovery.sources.candidates import _is_local_ipv6
from miros_mesh.discovery.sources.neighbours import (
    ipv4_neighbours,
    ipv6_neighbours,
    parse_neighbour,
)

REACHABLE, FAILED = 0x02, 0x20
LOOPBACK = socket.if_nametoindex("lo")

ARP = """\
IP address       HW type     Flags       HW address            Mask     Device
192.168.1.75     0x1         0x2         02:fc:00:00:00:05     *        eth0
192.168.1.76     0x1         0x0         00:00:00:00:00:00     *        eth0
8.8.8.8          0x1         0x2         02:fc:00:00:00:06     *        eth0
rubbish
10.1.2.3         0x1         0x6         02:fc:00:00:00:07     *        eth1
"""


def test_neighbours_are_those_that_answered_from_private_ranges(tmp_path: Path) -> None:
    table = tmp_path / "arp"
    table.write_text(ARP)
    assert list(map(str, ipv4_neighbours(table))) == ["192.168.1.75", "10.1.2.3"]


def test_a_host_without_a_table_of_neighbours_has_none(tmp_path: Path) -> None:
    assert ipv4_neighbours(tmp_path / "nothing") == []


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
