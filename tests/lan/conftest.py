"""A network of four hosts for every test of this folder, and a street of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lan.hosts import Lan, Street
from rabbitmq_server import find_programs


@pytest.fixture(scope="package")
def lan(private_networks: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    """Three hosts with a RabbitMQ each, and one without."""
    programs = find_programs()
    if programs is None:
        pytest.skip("no rabbitmq-server")
    with Lan(tmp_path_factory.mktemp("lan"), programs) as lan:
        yield lan


@pytest.fixture
def street(lan: Lan, tmp_path: Path) -> Iterator[Street]:
    """The network for one test."""
    street = Street(lan, tmp_path)
    try:
        yield street
    finally:
        street.close()
