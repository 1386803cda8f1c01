"""A network of four hosts for every test of this folder, and a street of its own for each test."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lan.hosts import Lan, Street


@pytest.fixture(scope="package")
def lan(
    private_networks: None, rabbitmq_programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lan]:
    """Three hosts with a RabbitMQ each, and one without."""
    with Lan(tmp_path_factory.mktemp("lan"), rabbitmq_programs) as lan:
        yield lan


@pytest.fixture(autouse=True)
def _turn() -> Iterator[None]:
    """Let the runs of one machine take turns: a search fills the kernel's table of neighbours.

    All networks of a kernel share it (`net.ipv4.neigh.default.gc_thresh3`).
    """
    file = Path(tempfile.gettempdir()) / f"miros-mesh-lan-{os.getuid()}.lock"
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def street(lan: Lan, tmp_path: Path) -> Iterator[Street]:
    """The network for one test."""
    street = Street(lan, tmp_path)
    try:
        yield street
    finally:
        street.close()
