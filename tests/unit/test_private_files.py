"""Folders and files that only their owner may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from miros_mesh import private_files
from miros_mesh.errors import EmbeddedStoreError
from miros_mesh.private_files import make_once, prepare_home, require_private

STRANGER = 54_321

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A prepared folder."""
    return prepare_home(tmp_path / "home-of-the-mesh")


def test_the_folder_is_made_with_its_parents_for_its_owner_only(tmp_path: Path) -> None:
    made = prepare_home(tmp_path / "a" / "b")

    assert made == tmp_path / "a" / "b"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_folder_that_is_there_is_taken_as_it_is(home: Path) -> None:
    assert prepare_home(home) == home


def test_a_relative_folder_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert prepare_home(Path("here")) == tmp_path / "here"


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_folder_open_to_others_is_refused(home: Path, mode: int) -> None:
    home.chmod(mode)

    with pytest.raises(EmbeddedStoreError, match="open to other users.*chmod 700"):
        prepare_home(home)


def test_a_symbolic_link_is_refused_and_its_target_named(home: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(home)

    with pytest.raises(EmbeddedStoreError, match=f"symbolic link.*{home}"):
        prepare_home(link)


def test_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")

    with pytest.raises(EmbeddedStoreError):
        prepare_home(link)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(EmbeddedStoreError, match="file/home cannot be made.*MIROS_MESH_HOME"):
        prepare_home(tmp_path / "file" / "home")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o600)

    with pytest.raises(EmbeddedStoreError, match="cannot be made"):
        prepare_home(tmp_path / "file")


@as_root
def test_the_folder_of_another_user_is_refused(home: Path) -> None:
    os.chown(home, STRANGER, STRANGER)

    with pytest.raises(EmbeddedStoreError, match="belongs to another user"):
        prepare_home(home)


@pytest.fixture
def _no_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system where Python is not told who owns a file."""
    monkeypatch.setattr(private_files, "own_uid", lambda: None)


@pytest.mark.usefixtures("_no_owners")
def test_where_files_have_no_owner_a_folder_within_the_users_own_is_taken() -> None:
    folder = prepare_home(Path.home() / "deep" / "mesh")
    file = folder / "file"
    make_once(file, b"content")
    require_private(file)
    assert file.read_bytes() == b"content"


@pytest.mark.usefixtures("_no_owners")
def test_where_files_have_no_owner_any_other_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedStoreError, match="is outside of .*MIROS_MESH_HOME"):
        prepare_home(tmp_path / "elsewhere")
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedStoreError, match="is outside of"):
        require_private(tmp_path / "file")


@pytest.mark.usefixtures("_no_owners")
def test_where_files_have_no_owner_a_link_leads_no_folder_out_unseen(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (Path.home() / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EmbeddedStoreError, match="is outside of"):
        prepare_home(Path.home() / "link" / "mesh")
