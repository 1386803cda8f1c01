"""Names to endpoints; SRV records from a name server of this test's own, on loopback."""

from __future__ import annotations

import importlib

import pytest

from miros_mesh.address import Endpoint
from miros_mesh.discovery.sources.name_service import SystemNames, is_srv
from support.name_server import name_server


def test_a_name_gives_its_addresses_with_the_brokers_port() -> None:
    assert Endpoint("127.0.0.1", 5672) in SystemNames().endpoints("localhost", 5672)


def test_an_address_gives_itself() -> None:
    assert list(SystemNames().endpoints("127.0.7.1:5673", 5672)) == [Endpoint("127.0.7.1", 5673)]


def test_a_service_gives_the_targets_and_ports_of_its_records() -> None:
    service = "_amqp._tcp.rabbit.example."
    records = {service: ["0 0 5673 127.0.7.1.", "10 5 5674 127.0.7.2."]}
    with name_server(**records) as resolver:
        found = SystemNames(resolver).endpoints(service, 5672)
    assert list(found) == [Endpoint("127.0.7.1", 5673), Endpoint("127.0.7.2", 5674)]


def test_a_service_that_does_not_exist_cannot_be_known_now() -> None:
    with name_server() as resolver, pytest.raises(OSError, match="no SRV records"):
        SystemNames(resolver).endpoints("_amqp._tcp.nowhere.example.", 5672)


def test_without_dnspython_a_service_says_what_to_install(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(OSError, match=r"miros-mesh\[srv\]"):
        SystemNames().endpoints("_amqp._tcp.rabbit.example", 5672)


@pytest.mark.parametrize(
    ("name", "srv"), [("_amqp._tcp.x.org", True), ("x.org", False), ("_dmarc.x.org", False)]
)
def test_a_service_is_told_from_a_name(name: str, srv: bool) -> None:
    assert is_srv(name) is srv
