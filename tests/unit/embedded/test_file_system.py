"""Which file systems the embedded broker can be on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from miros_mesh.embedded import file_system
from miros_mesh.errors import UnfitFileSystemError

ROOT = "27 1 0:1 / / rw,relatime - ext4 /dev/vda rw"


def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Have the kernel's list say this."""
    listed = tmp_path / "mountinfo"
    listed.write_text("\n".join((ROOT, *lines)) + "\n")
    monkeypatch.setattr(file_system, "_MOUNTS", listed)


def test_a_local_folder_is_fit_and_left_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "local"
    folder.mkdir()

    file_system.require_fit(folder)

    assert file_system.type_of(folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"])
def test_what_other_machines_can_use_is_refused_by_name_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mounted(tmp_path, monkeypatch, f"40 27 0:50 / {tmp_path} rw shared:1 - {kind} server:/home rw")

    with pytest.raises(UnfitFileSystemError) as caught:
        file_system.require_fit(tmp_path)

    assert (caught.value.folder, caught.value.file_system) == (str(tmp_path), kind)
    assert f"{tmp_path} is on a file system ({kind})" in str(caught.value)
    assert "home=" in str(caught.value)


def test_the_nearest_mount_counts_and_the_last_of_two_at_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "near").mkdir()
    mounted(
        tmp_path,
        monkeypatch,
        f"40 27 0:50 / {tmp_path} rw - nfs4 server:/ rw",
        f"41 40 0:51 / {tmp_path}/near rw - tmpfs below rw",
        f"42 41 0:52 / {tmp_path}/near rw master:1 propagate_from:2 - btrfs /dev/vdb rw",
        f"43 27 0:53 / {tmp_path}/nearly rw - cifs //server/x rw",
    )

    assert file_system.type_of(tmp_path / "near") == "btrfs"
    assert file_system.type_of(tmp_path) == "nfs4"


def test_a_mount_that_lies_hidden_below_another_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "near").mkdir()
    device = tmp_path.stat().st_dev
    above = f"{os.major(device)}:{os.minor(device)}"
    mounted(
        tmp_path,
        monkeypatch,
        f"40 27 0:50 / {tmp_path}/near rw - nfs server:/ rw",
        f"41 27 {above} / {tmp_path} rw - xfs /dev/vdb rw",
    )

    assert file_system.type_of(tmp_path / "near") == "xfs"


def test_white_space_in_the_name_of_a_mount_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my own\tdisk"
    folder.mkdir()
    point = str(folder).replace(" ", r"\040").replace("\t", r"\011")
    mounted(tmp_path, monkeypatch, f"40 27 0:50 / {point} rw - nfs server:/ rw")

    assert file_system.type_of(folder) == "nfs"


def test_a_system_that_lists_no_mounts_is_no_reason_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_system, "_MOUNTS", tmp_path / "not there")

    assert file_system.type_of(tmp_path) is None
    file_system.require_fit(tmp_path)


def test_a_list_that_says_something_else_is_read_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted(tmp_path, monkeypatch, "", "x", "1 2 3 - ", "- nfs")

    assert file_system.type_of(tmp_path) == "ext4"
    file_system.require_fit(tmp_path)
