"""What a node does with a broker that discovery found, and what discovery learns of it."""

from __future__ import annotations

from typing import Any

import pytest

from miros_mesh.address import Endpoint
from miros_mesh.config.settings import MeshConfig
from miros_mesh.discovery import addresses
from miros_mesh.link.ports import Broker
from miros_mesh.node.search.bridge import DiscoveryBridge
from miros_mesh.observer import Observer
from support.charts_at_work import KEY
from support.discovery_interfaces import Interfaces

CONFIG = MeshConfig(rabbit_user="peter", rabbit_password="rabbit", mesh_encryption_key=KEY)
FOUND = Endpoint("10.7.0.9", 5672)
NAME = "amqp://peter@10.7.0.9:5672//"


class Listener:
    """A discovery that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def peer_up(self, endpoint: Endpoint) -> None:
        self.told.append(("up", endpoint))

    def peer_down(self, endpoint: Endpoint) -> None:
        self.told.append(("down", endpoint))

    def alien_spoke(self, claim: str) -> None:
        self.told.append(("alien", claim))


class Publishers:
    """The node's peers, with as many events left for each that is removed."""

    def __init__(self, left: int = 0) -> None:
        self.names: list[str] = []
        self.left = left

    def add(self, broker: Broker, *, patient: bool) -> None:
        assert patient
        self.names.append(broker.name)

    def remove(self, broker: Broker, timeout_s: float) -> int:
        self.names.remove(broker.name)
        return self.left


class Drops(Observer):
    def __init__(self) -> None:
        self.drops: list[tuple[str, int]] = []

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self.drops.append((reason, events))


class Network:
    """A mesh that notes what is claimed when it says hello."""

    def __init__(self) -> None:
        self.claim = ""
        self.claimed: Any = None
        self.observer = Drops()
        self.hellos: list[str] = []

    def hello(self) -> None:
        self.hellos.append(self.claim)


def attached(
    config: MeshConfig = CONFIG, left: int = 0
) -> tuple[DiscoveryBridge, Listener, Publishers, Network]:
    bridge, discovery, peers, mesh = (
        DiscoveryBridge(config),
        Listener(),
        Publishers(left),
        Network(),
    )
    bridge.attach(discovery, peers, mesh)
    return bridge, discovery, peers, mesh


def test_a_found_broker_gets_a_publisher_and_a_lost_one_gives_it_back() -> None:
    bridge, _, peers, mesh = attached()
    bridge.found(FOUND)
    assert peers.names == [NAME]
    bridge.lost(FOUND)
    assert peers.names == []
    assert mesh.observer.drops == []


def test_what_waited_for_a_lost_broker_is_counted_and_logged(caplog) -> None:
    bridge, _, _, mesh = attached(left=3)
    bridge.found(FOUND)
    bridge.lost(FOUND)
    assert mesh.observer.drops == [("peer_lost", 3)]
    assert caplog.messages == [f"{NAME} is given up; 3 events for it are lost"]


def test_discovery_is_told_of_the_connections_of_its_brokers_only() -> None:
    bridge, discovery, *_ = attached()
    bridge.found(FOUND)
    bridge.peer_up(peer=NAME)
    bridge.peer_down(peer=NAME, reason="broken")
    bridge.peer_up(peer="amqp://peter@127.0.0.1:5672//")
    bridge.lost(FOUND)
    bridge.peer_down(peer=NAME, reason="stopped")
    assert discovery.told == [("up", FOUND), ("down", FOUND)]


def test_discovery_is_told_of_the_claims_of_unknown_nodes() -> None:
    _, discovery, _, mesh = attached()
    mesh.claimed("10.7.0.7:5672")
    assert discovery.told == [("alien", "10.7.0.7:5672")]


def test_before_it_is_attached_a_bridge_does_nothing() -> None:
    DiscoveryBridge(CONFIG).peer_up(peer=NAME)


def test_other_hosts_are_told_an_address_in_their_network_for_a_loopback_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses, "netifaces", Interfaces())
    bridge, _, _, mesh = attached()
    bridge.found(FOUND)
    bridge.found(Endpoint("fd07::9", 5672))
    bridge.found(Endpoint("127.0.0.1", 5673))
    assert mesh.hellos == ["10.7.0.1:5672", "[fd07::1]:5672", "127.0.0.1:5672"]


def test_nothing_is_claimed_before_a_broker_is_found_that_it_may_be_claimed_towards() -> None:
    bridge, _, _, mesh = attached()
    assert mesh.claim == ""
    bridge.found(FOUND)
    assert mesh.claim


def test_an_address_that_others_can_use_is_told_as_it_is() -> None:
    bridge, *_, mesh = attached(CONFIG.overridden(rabbit_host="broker.example"))
    bridge.found(FOUND)
    assert mesh.claim == "broker.example:5672"
