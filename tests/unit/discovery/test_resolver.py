"""The hosts of a discovery with their addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from miros_mesh.address import Endpoint
from miros_mesh.discovery.addresses import own_addresses
from miros_mesh.discovery.resolver import Resolver
from miros_mesh.discovery.signals import ConnectionDiscoveryPayload
from miros_mesh.timing.lookups import Lookups

HOME = Endpoint("127.0.0.1", 5672)


class Names:
    """Two names of one host, one that the name server does not know, and one with a fault."""

    def endpoints(self, name: str, default_port: int) -> Sequence[Endpoint]:
        if name.startswith("unknown"):
            raise OSError("no such name")
        if name.startswith("faulty"):
            raise ZeroDivisionError("a fault")
        return [Endpoint("192.168.1.75", default_port), Endpoint("fd00::7", default_port)]


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    lookups = Lookups("test-lookup")
    yield Resolver(Names(), lookups, 5672, (HOME,))
    lookups.stop()


def told(*hosts: str, dead: Sequence[str] = ()) -> ConnectionDiscoveryPayload:
    return ConnectionDiscoveryPayload(hosts, (), "a source", tuple(dead))


def test_a_name_stands_for_its_addresses_and_an_address_for_itself(resolver: Resolver) -> None:
    hosts = resolver.resolve(told("red", "10.0.0.9:5673")).hosts
    assert hosts == {
        Endpoint("red", 5672): frozenset({"red", "192.168.1.75", "fd00::7"}),
        Endpoint("10.0.0.9", 5673): frozenset({"10.0.0.9"}),
    }


def test_a_name_whose_look_up_fails_stands_for_itself_and_a_fault_is_logged(
    resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    hosts = resolver.resolve(told("unknown", "faulty")).hosts
    assert set(hosts.values()) == {frozenset({"unknown"}), frozenset({"faulty"})}
    assert caplog.messages == ["the look-up of faulty:5672 failed"]


def test_home_is_at_every_address_of_this_host(resolver: Resolver) -> None:
    assert resolver.resolve(told()).home[HOME] == own_addresses() | {"127.0.0.1"}


def test_an_entry_that_is_no_host_is_logged_without_a_quotation(
    resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    resolved = resolver.resolve(told("red", "amqp://bob:dobbs@red", dead=("blue",)))
    assert list(resolved.hosts) == [Endpoint("red", 5672)]
    assert resolved.dead == (Endpoint("blue", 5672),)
    assert "entry 2 of hosts from 'a source' is ignored" in caplog.text
    assert "dobbs" not in caplog.text
