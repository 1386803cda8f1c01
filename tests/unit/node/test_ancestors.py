"""Where a node's home broker is, as it tells ancestors."""

from __future__ import annotations

import errno

import pytest

from miros_mesh.address import BrokerAddress
from miros_mesh.discovery import addresses
from miros_mesh.node import ancestors
from miros_mesh.node.ancestors import HomeAddress


def home(host: str) -> HomeAddress:
    return HomeAddress(BrokerAddress("amqp", host, 5672, user="u", password="p"))


@pytest.mark.parametrize("host", ["10.1.2.3", "rabbit.example.org"])
def test_a_broker_that_others_reach_is_told_as_it_is(host: str) -> None:
    assert home(host)() == host


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_in_place_of_loopback_the_address_of_the_host_is_told(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "lan_is_off", lambda: False)
    found = iter(["192.168.1.7", "10.0.0.7"])
    monkeypatch.setattr(addresses, "working_address", lambda: next(found))
    monkeypatch.setattr(ancestors, "_ADDRESS_KEPT_S", 3600.0)
    address = home(host)
    # Asked once, and not for each event.
    assert [address(), address()] == ["192.168.1.7"] * 2
    # In another network it has another one.
    monkeypatch.setattr(ancestors, "_ADDRESS_KEPT_S", 0.0)
    assert address() == "10.0.0.7"


def test_where_the_local_network_is_switched_off_it_is_not_told() -> None:
    assert home("localhost")() == "127.0.0.1"


def test_where_a_host_may_not_be_asked_for_its_address_it_is_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused() -> str:
        raise OSError(errno.EAFNOSUPPORT, "no netlink")

    monkeypatch.setattr(addresses, "lan_is_off", lambda: False)
    monkeypatch.setattr(addresses, "working_address", refused)
    assert home("localhost")() == "127.0.0.1"
