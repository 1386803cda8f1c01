"""Charts on a mesh in memory that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from miros_mesh import NetworkedActiveObject
from miros_mesh.testing import HandClock, MemoryMesh
from support.charts_at_work import Handle, alone

Join = Callable[..., NetworkedActiveObject]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def mesh(clock: HandClock) -> MemoryMesh:
    return MemoryMesh(clock=clock)


@pytest.fixture
def join(mesh: MemoryMesh) -> Iterator[Join]:
    """Start a chart of one state, on a node of its own name."""
    with ExitStack() as ends:

        def launch(name: str, handle: Handle, **settings: Any) -> NetworkedActiveObject:
            chart = NetworkedActiveObject(name, config=mesh.config(node_name=name, **settings))
            chart.start_at(alone(handle))
            ends.callback(chart.stop)
            return chart

        yield launch
