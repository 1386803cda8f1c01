"""The rings of a node, and the files that they follow."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from miros_mesh import MeshConfig
from miros_mesh.config.key_rings import KeyRings
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.wire.key_file import KEY_FILE
from miros_mesh.wire.keyring import fingerprint, generate_key

OLD, NEW, SPY = generate_key(), generate_key(), generate_key()
URL = "amqp://h"


def ids(*keys: bytes) -> tuple[str, ...]:
    return tuple(map(fingerprint, keys))


def write(file: Path, *keys: bytes) -> SecretFile:
    file.touch(0o600)
    file.write_bytes(b"\n".join(keys) + b"\n")
    return SecretFile(file)


def test_one_change_reaches_all_networks_without_keys_of_their_own() -> None:
    rings = KeyRings(
        MeshConfig(broker_url=URL, mesh_encryption_key=OLD, snoop_spy_encryption_key=SPY)
    )

    rings["mesh"].add(NEW)

    assert rings["snoop_trace"].fingerprints == ids(OLD, NEW)
    assert rings["snoop_spy"].fingerprints == ids(SPY)


def test_a_ring_becomes_what_its_file_says(tmp_path: Path) -> None:
    file = write(tmp_path / "keys", OLD)
    config = MeshConfig(broker_url=URL, mesh_encryption_key=file)
    changes: list[str] = []
    rings = KeyRings(config, lambda: changes.append("changed"))

    rings.look()
    assert not changes
    write(file.path, NEW, OLD)
    rings.look()
    rings.look()

    assert rings["mesh"].fingerprints == ids(NEW, OLD)
    assert changes == ["changed"]
    # And settings that are made of the file now are the same settings
    assert MeshConfig(broker_url=URL, mesh_encryption_key=SecretFile(file.path)) == config


def test_what_a_program_changed_itself_stays_until_the_file_says_something_else(
    tmp_path: Path,
) -> None:
    file = write(tmp_path / "keys", OLD)
    rings = KeyRings(MeshConfig(broker_url=URL, mesh_encryption_key=file))

    rings["mesh"].add(NEW)
    rings.look()

    assert rings["mesh"].fingerprints == ids(OLD, NEW)


@pytest.mark.parametrize(
    "broken", [b"", b"\n", OLD[:-2], OLD + b"\nno key"], ids=["empty", "blank", "cut", "not all"]
)
def test_a_broken_file_changes_nothing_is_told_once_and_shows_no_key(
    broken: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = write(tmp_path / "keys", OLD)
    rings = KeyRings(MeshConfig(broker_url=URL, mesh_encryption_key=file))

    file.path.write_bytes(broken)
    rings.look()
    rings.look()

    assert rings["mesh"].fingerprints == ids(OLD)
    assert list(rings.problems) == ["mesh"]
    assert len(caplog.messages) == 1
    write(file.path, NEW)
    rings.look()
    assert not rings.problems
    assert rings["mesh"].fingerprints == ids(NEW)
    assert fingerprint(NEW) in caplog.text
    for secret in (OLD, NEW, OLD[:-2]):
        assert secret.decode() not in caplog.text + str(rings.problems) + repr(rings["mesh"])


def test_a_file_that_is_away_changes_nothing(tmp_path: Path) -> None:
    file = write(tmp_path / "keys", OLD)
    rings = KeyRings(MeshConfig(broker_url=URL, mesh_encryption_key=file))

    file.path.unlink()
    rings.look()

    assert rings["mesh"].fingerprints == ids(OLD)
    assert "cannot be read" in rings.problems["mesh"]


def test_the_embedded_brokers_keys_are_followed_in_its_folder(tmp_path: Path) -> None:
    home = tmp_path / "private"
    home.mkdir(mode=0o700)
    rings = KeyRings(MeshConfig(home=home))
    (made,) = rings["mesh"].fingerprints
    file = home / KEY_FILE

    file.write_bytes(file.read_bytes() + NEW + b"\n")
    rings.look()
    assert rings["mesh"].fingerprints == (made, *ids(NEW))

    file.unlink()
    rings.look()
    assert rings["mesh"].fingerprints == (made, *ids(NEW))
    assert "mesh" in rings.problems
    assert not file.exists()
