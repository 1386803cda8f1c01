"""What the deployments stand on: secrets as the script makes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.deployed import make_secrets


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what the broker and the nodes get."""
    folder = tmp_path_factory.mktemp("secrets")
    make_secrets(folder)
    return folder
