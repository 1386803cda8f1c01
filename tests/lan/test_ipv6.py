"""IPv6 neighbours are looked at only where the settings ask for it."""

from __future__ import annotations

import json
from ipaddress import ip_address

import pytest

from lan.hosts import LINK_LOCAL, RFC_4193, A, B, Street, hear
from support.namespaces import INTERFACE

SPEAK = "import socket, sys; socket.create_connection((sys.argv[1], 5672), 5).close()"


def link_local(street: Street, host: str) -> str:
    """The address that a host's kernel gave itself."""
    shown = json.loads(street.lan.network[host].run("ip", "-j", "-6", "address"))
    return next(
        str(found["local"])
        for interface in shown
        for found in interface["addr_info"]
        if interface["ifname"] == INTERFACE and ip_address(found["local"]).is_link_local
    )


def have_spoken(street: Street, kind: str) -> str:
    """Two hosts know each other as IPv6 neighbours; the address of the second."""
    if kind == "link-local":
        street.renumber(LINK_LOCAL)
        address = f"{link_local(street, B)}%{INTERFACE}"
    else:
        street.renumber(RFC_4193)
        address = street.address(B)
    street.lan.network[A].run("python3", "-c", SPEAK, address)
    return address


def test_a_neighbour_that_did_not_search_answers(street: Street) -> None:
    """The other one says where it lives, in the network that both are on."""
    have_spoken(street, "RFC 4193")
    bob = street.start(B, discovery="manual")[0]

    ada = street.start(A, discovery_ipv6=True)[0]

    bob.wait_up(street.addresses(A))
    hear(bob, [ada], "answer")


@pytest.mark.parametrize("kind", ["link-local", "RFC 4193"])
def test_ipv6_neighbours_are_found_when_the_settings_ask_for_it(street: Street, kind: str) -> None:
    address = have_spoken(street, kind)
    bob = street.start(B, discovery="manual")[0]

    ada = street.start(A, discovery_ipv6=True)[0]

    ada.wait_up({address})
    hear(ada, [bob], "word")


def test_ipv6_neighbours_are_left_alone_otherwise(street: Street) -> None:
    have_spoken(street, "RFC 4193")
    street.start(B)
    street.sniff(A)
    ada = street.start(A)[0]
    ada.wait_for("searched", source="lan", found=0)
    assert street.sniffed(A) == []
    assert ada.verdicts() == {}
