"""Settings that leave the broker of the environment aside: said once, and by name alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from miros_mesh import MeshConfig, NetworkedActiveObject, Observer
from miros_mesh.node import unread_broker
from miros_mesh.node.unread_broker import warn_of_unread_broker
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import KEY, Heard, alone

URL = "amqp://peter:hush-4711@there//"


@pytest.fixture(autouse=True)
def _unsaid() -> Iterator[None]:
    unread_broker._warn.cache_clear()
    yield
    unread_broker._warn.cache_clear()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MIROS_MESH_BROKER_URL", URL),
        ("MIROS_MESH_BROKER_URL_FILE", "/run/secrets/hush-4711"),
        ("MIROS_MESH_RABBIT_USER", "hush-4711"),
        ("RABBIT_USER", "hush-4711"),
    ],
)
def test_a_broker_of_the_environment_that_is_not_read_is_told_once(
    variable: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(variable, value)

    warn_of_unread_broker(MeshConfig())
    warn_of_unread_broker(MeshConfig(observers=(Observer(),)))

    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert line.getMessage().startswith(f"{variable} is set, and the settings")
    assert "MeshConfig.from_env(...)" in line.getMessage()
    assert "hush-4711" not in caplog.text


def test_what_means_what_it_does_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    # Without a variable, or with an empty one
    warn_of_unread_broker(MeshConfig())
    monkeypatch.setenv("MIROS_MESH_BROKER_URL", "")
    warn_of_unread_broker(MeshConfig())
    # With one that is read
    monkeypatch.setenv("MIROS_MESH_BROKER_URL", URL)
    monkeypatch.setenv("MIROS_MESH_ENCRYPTION_KEY", KEY.decode())
    warn_of_unread_broker(MeshConfig.from_env())
    # With another broker, a folder or a link of the program's own
    warn_of_unread_broker(
        MeshConfig(rabbit_user="a", rabbit_password="b", mesh_encryption_key=KEY.decode())
    )
    warn_of_unread_broker(MeshConfig(home=tmp_path))
    warn_of_unread_broker(MemoryMesh().config())

    assert caplog.records == []


def test_a_chart_that_starts_is_what_tells_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MIROS_MESH_BROKER_URL", URL)
    chart = NetworkedActiveObject("alone", config=MeshConfig(observers=(Observer(),)))
    assert caplog.records == []

    chart.start_at(alone(Heard()))
    chart.stop()

    assert caplog.text.count("MIROS_MESH_BROKER_URL is set") == 1
