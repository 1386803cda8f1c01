"""Folders and files that only their user may read: refused when another user could."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from miros_mesh.errors import DiskFullError, EmbeddedStoreError
from miros_mesh.systems import is_read_only, own_uid

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
# Any right of the group or of others.
_OTHERS: Final = 0o077
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT))


def prepare_home(folder: Path) -> Path:
    """Make the folder if it is missing; refuse one that another user could read or replace."""
    folder = Path(folder).expanduser().absolute()
    with explained(folder, "be made"):
        # The umask can only take bits away. A folder that exists stays as it is: see below.
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    status = _status(folder)
    if stat.S_ISLNK(status.st_mode):
        raise EmbeddedStoreError(
            f"the folder {folder} is a symbolic link; name the folder it leads to instead: "
            f"{os.path.realpath(folder)}"
        )
    _refuse_strangers(folder, status, f"chmod 700 {folder}")
    _refuse_read_only(folder)
    # A user's own folder may still lack a right.
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise EmbeddedStoreError(
            f"the folder {folder} cannot be written; run: chmod 700 {folder}, "
            "or name another one with MIROS_MESH_HOME"
        )
    return folder


def make_once(file: Path, content: bytes) -> None:
    """Make `file` with its whole content in one step, unless another process made it first."""
    # In the same folder, since a link cannot lead to another file system.
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    with explained(file, "be made"):
        try:
            _write_private(draft, content)
            # A link is made whole or not at all, and unlike a rename it replaces no file.
            with contextlib.suppress(FileExistsError):
                os.link(draft, file)
        finally:
            draft.unlink(missing_ok=True)


def require_private(file: Path) -> None:
    """Refuse a file that is not a plain one of this user's own, closed to all others."""
    status = _status(file)
    if not stat.S_ISREG(status.st_mode):
        raise EmbeddedStoreError(f"{file} is not a plain file; remove it")
    _refuse_strangers(file, status, f"chmod 600 {file}")


def _refuse_read_only(folder: Path) -> None:
    with explained(folder, "be examined"):
        read_only = is_read_only(folder)
    if read_only:
        raise _read_only(folder)


def _read_only(path: Path) -> EmbeddedStoreError:
    return EmbeddedStoreError(
        f"{path} is on a file system that is read-only; mount it writable, or name a folder on "
        "another one with MIROS_MESH_HOME"
    )


def _write_private(file: Path, content: bytes) -> None:
    # O_EXCL also refuses a link that was put there under the same name. No program that this one
    # starts inherits it: Python sees to that on every system (PEP 446).
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(file, flags, FILE_MODE), "wb") as draft:
        draft.write(content)
        # Before the link, or a power cut could leave the name of a file without its content.
        draft.flush()
        os.fsync(draft.fileno())


def _status(path: Path) -> os.stat_result:
    # lstat: a link could lead to a place of another user's choice.
    with explained(path, "be examined"):
        return path.lstat()


def _refuse_strangers(path: Path, status: os.stat_result, remedy: str) -> None:
    uid = own_uid()
    if uid is None:
        _refuse_outside(path)
        return
    if status.st_uid != uid:
        raise EmbeddedStoreError(
            f"{path} belongs to another user (uid {status.st_uid}, this is {uid}); "
            "name a folder of your own with MIROS_MESH_HOME"
        )
    if status.st_mode & _OTHERS:
        raise EmbeddedStoreError(f"{path} is open to other users; if that is a mistake: {remedy}")


def _refuse_outside(path: Path) -> None:
    """Where files have no owner and no rights that Python knows, go by the folder they are in.

    The system itself closes the user's own folder to other users, and what is made within.
    """
    own = os.path.realpath(Path.home())
    if not Path(os.path.realpath(path)).is_relative_to(own):
        raise EmbeddedStoreError(
            f"{path} is outside of {own}, this user's own folder, and this system does not tell "
            "Python who else may read it; name a folder within with MIROS_MESH_HOME"
        )


@contextlib.contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Raise an `OSError` as an `EmbeddedStoreError` that says which path cannot `what`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(path) from error
        if error.errno == errno.EROFS:
            raise _read_only(path) from error
        raise EmbeddedStoreError(
            f"{path} cannot {what}: {error.strerror or error}; name another folder with "
            "MIROS_MESH_HOME, or make this one usable"
        ) from error
