"""What charts and clients may be called."""

from __future__ import annotations

import pytest

from miros_mesh import AsyncMeshClient, MeshClient
from miros_mesh.config.names import LONGEST_NAME_BYTES, checked_name
from miros_mesh.errors import ConfigError


@pytest.mark.parametrize("name", ["door", "Tür 1", "x" * LONGEST_NAME_BYTES])
def test_any_name_that_can_be_printed_is_fine(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["do\nor", "\x1b[31m", "ü" * 71])
def test_what_cannot_be_printed_or_is_too_long_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="chart's name"):
        checked_name(name)


@pytest.mark.parametrize("client", [MeshClient, AsyncMeshClient])
def test_a_client_leaves_room_for_the_names_of_its_streams(
    client: type[MeshClient | AsyncMeshClient],
) -> None:
    client(name="x" * 120)
    with pytest.raises(ConfigError, match="client's name has 121 bytes"):
        client(name="x" * 121)
