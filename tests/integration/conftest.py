"""Meshes of every kind, and charts that stop with their test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import KEY, Ground, Handle, Heard, Launch, alone


@pytest.fixture(params=["embedded", "memory", "rabbitmq"])
def ground(request: pytest.FixtureRequest) -> Ground:
    """One mesh of each kind; settings go to `MeshConfig`."""
    if request.param == "embedded":
        return Ground(MeshConfig)
    if request.param == "memory":
        return Ground(MemoryMesh().config)
    return _on_rabbitmq(request.getfixturevalue("vhost_url"))


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Start a chart of one state; what it handles goes to `handle`. It stops after the test."""
    with ExitStack() as running:

        def start(
            name: str,
            config: MeshConfig,
            handle: Handle | None = None,
            *,
            spied: bool = True,
            **arguments: Any,
        ) -> NetworkedActiveObject:
            chart = NetworkedActiveObject(name, config=config, **arguments)
            chart.start_at(alone(Heard() if handle is None else handle, spied=spied))
            running.callback(chart.stop)
            return chart

        yield start


def _on_rabbitmq(url: str) -> Ground:
    return Ground(
        lambda **settings: MeshConfig(broker_url=url, mesh_encryption_key=KEY, **settings)
    )
