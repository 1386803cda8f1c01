"""Brokers that refused our credentials."""

from __future__ import annotations

from miros_mesh.address import Endpoint
from miros_mesh.discovery import refused_brokers
from miros_mesh.discovery.refused_brokers import RefusedBrokers

ADDRESS = "192.168.1.77"


def test_a_refusal_is_forgotten_after_its_time() -> None:
    now = [100.0]
    refusals = RefusedBrokers(pause_s=60, now=lambda: now[0])
    endpoint = Endpoint(ADDRESS, 5672)
    refusals.add(endpoint)
    assert endpoint in refusals
    now[0] += 60
    assert endpoint not in refusals


def test_the_oldest_of_too_many_is_forgotten(monkeypatch) -> None:
    monkeypatch.setattr(refused_brokers, "REMEMBERED", 2)
    refusals, brokers = RefusedBrokers(), [Endpoint(ADDRESS, port) for port in (1, 2, 3)]
    for each in brokers:
        refusals.add(each)
    assert [each in refusals for each in brokers] == [False, True, True]


def test_none_is_left_alone_once_the_credentials_are_others() -> None:
    refusals, broker = RefusedBrokers(), Endpoint(ADDRESS, 1)
    refusals.add(broker)

    refusals.forget()

    assert broker not in refusals
