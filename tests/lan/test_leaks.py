"""Not one packet leaves the network that the tests made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lan.hosts import LIMIT_S, A, B, C, Lan, Street, all_hear_each_other
from support.namespaces import INTERFACE, Namespace
from support.waiting import wait_until

MACHINES = Path("/sys/class/net")
SCANNED = 253


def links(place: Namespace) -> dict[str, Any]:
    """The interfaces of a namespace with their counters, by name."""
    shown = json.loads(place.run("ip", "-j", "-d", "-s", "link"))
    return {link["ifname"]: link for link in shown}


def sent(link: Any) -> int:
    return int(link["stats64"]["tx"]["packets"])


def received(link: Any) -> int:
    return int(link["stats64"]["rx"]["packets"])


def kind_of(link: Any) -> str:
    return str(link.get("linkinfo", {}).get("info_kind", link["link_type"]))


def balanced(lan: Lan) -> int:
    """How many packets the hosts have sent, if each of them came into the switch; else 0."""
    switch = links(lan.network.switch)
    total = 0
    for number, host in enumerate(lan.network.hosts.values()):
        cable, port = links(host)[INTERFACE], switch[f"port{number}"]
        if sent(cable) != received(port) or sent(port) != received(cable):
            return 0
        total += sent(cable)
    return total


def test_not_one_packet_leaves_the_network(street: Street) -> None:
    # Given the interfaces of the machine, and what the hosts have sent so far
    lan = street.lan
    machines = {each.name for each in MACHINES.iterdir()}
    before = int(wait_until(lambda: balanced(lan), LIMIT_S))

    # When three nodes search the network, find each other and talk
    nodes = street.start(A, B, C)
    street.meet(*nodes)
    all_hear_each_other(nodes)
    for node in nodes:
        street.end(node)

    # Then every packet that a host sent came into the switch, and every one that left the switch
    # came to a host
    after = int(wait_until(lambda: balanced(lan), LIMIT_S))
    assert after - before > len(nodes) * SCANNED

    # And there is nothing else that it could go through: a host has its cable, the switch has a
    # port for each cable, neither has a way to another network, and the machine has none of it
    for host in lan.network.hosts.values():
        found = links(host)
        assert {name: kind_of(link) for name, link in found.items()} == {
            "lo": "loopback",
            INTERFACE: "veth",
        }
        assert no_way_out(host)
    ports = [f"port{number}" for number in range(len(lan.network.hosts))]
    assert {name: kind_of(link) for name, link in links(lan.network.switch).items()} == {
        "lo": "loopback",
        "switch": "bridge",
        **dict.fromkeys(ports, "veth"),
    }
    assert no_way_out(lan.network.switch)
    added = {each.name for each in MACHINES.iterdir()} - machines
    assert not added & {INTERFACE, "switch", *ports}


def no_way_out(place: Namespace) -> bool:
    """Whether its routes lead to no router, neither in IPv4 nor in IPv6."""
    routes = place.run("ip", "route") + place.run("ip", "-6", "route")
    return "default" not in routes and " via " not in routes
