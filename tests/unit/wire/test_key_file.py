"""The key that the processes of one user share."""

from __future__ import annotations

import base64
import os
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from miros_mesh.errors import EmbeddedStoreError
from miros_mesh.private_files import prepare_home
from miros_mesh.wire.key_file import load_or_create_keys
from support.actor import Actor

SCRIPT = Path(__file__).parents[2] / "contract" / "embedded_actor.py"
STRANGER = 54_321

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A prepared folder."""
    return prepare_home(tmp_path / "home-of-the-mesh")


def test_the_key_is_made_once_and_is_a_fernet_key_for_its_owner_only(home: Path) -> None:
    key = load_or_create_keys(home)[0]

    assert load_or_create_keys(home)[0] == key
    assert len(base64.urlsafe_b64decode(key)) == 32
    (file,) = home.iterdir()
    assert file.name == "mesh.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_twenty_processes_that_come_at_once_get_the_same_key(tmp_path: Path) -> None:
    home = tmp_path / "new"
    with ExitStack() as stack:
        makers = [stack.enter_context(Actor(SCRIPT, "make_key", home)) for _ in range(20)]
        for maker in makers:
            maker.heard()
        for maker in makers:
            maker.tell()
        keys = {maker.heard()["key"] for maker in makers}

    assert keys == {load_or_create_keys(home)[0].decode()}
    assert [file.name for file in home.iterdir()] == ["mesh.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_reach_is_refused(home: Path, mode: int) -> None:
    load_or_create_keys(home)[0]
    (home / "mesh.key").chmod(mode)

    with pytest.raises(EmbeddedStoreError, match=r"mesh\.key is open to other users.*chmod 600"):
        load_or_create_keys(home)[0]


@pytest.mark.parametrize(
    "content", [b"", b"short", b"!" * 44, base64.b64encode(b"\xff" * 32), b"A" * 44 + b"A" * 44]
)
def test_a_file_that_holds_no_key_is_refused_without_being_quoted(
    home: Path, content: bytes
) -> None:
    load_or_create_keys(home)[0]
    (home / "mesh.key").write_bytes(content)

    with pytest.raises(EmbeddedStoreError, match="holds no Fernet key") as caught:
        load_or_create_keys(home)[0]

    assert not content or content.decode() not in str(caught.value)


@pytest.mark.parametrize("make", ["mkdir", "symlink"])
def test_what_is_no_plain_file_is_refused(home: Path, make: str) -> None:
    file = home / "mesh.key"
    if make == "mkdir":
        file.mkdir(mode=0o600)
    else:
        file.symlink_to("/dev/zero")

    with pytest.raises(EmbeddedStoreError, match="not a plain file"):
        load_or_create_keys(home)[0]


@as_root
def test_the_key_of_another_user_is_refused(home: Path) -> None:
    load_or_create_keys(home)[0]
    os.chown(home / "mesh.key", STRANGER, STRANGER)

    with pytest.raises(EmbeddedStoreError, match="belongs to another user"):
        load_or_create_keys(home)[0]
