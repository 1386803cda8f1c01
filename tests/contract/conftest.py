"""A post office at one broker of each kind, for what all of them promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from miros_mesh.address import BrokerAddress
from miros_mesh.embedded.memory import MemoryStore
from miros_mesh.link.kombu_link import amqp_link, embedded_link
from miros_mesh.link.ports import Broker
from miros_mesh.testing.memory import memory_link
from support.post_office import PostOffice


@pytest.fixture(params=["embedded", "memory", "rabbitmq"])
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PostOffice]:
    """A post office at one broker of each kind."""
    made = _office(request, tmp_path)
    yield made
    made.close()


def _office(request: pytest.FixtureRequest, tmp_path: Path) -> PostOffice:
    if request.param == "rabbitmq":
        address = BrokerAddress.parse(request.getfixturevalue("vhost_url"))
        return PostOffice(amqp_link, Broker(address.redacted, (address,)))
    if request.param == "embedded":
        folder = tmp_path / "broker"
        return PostOffice(lambda settings: embedded_link(settings, folder), Broker("embedded"))
    store = MemoryStore()
    return PostOffice(lambda settings: memory_link(settings, store), Broker("memory"))
