"""The folder of the embedded broker and the key in it: for the eyes of one user only."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from miros_mesh.errors import EmbeddedStoreError
from miros_mesh.validation import key_problems

KEY_FILE: Final = "mesh.key"
KEY_BYTES: Final = 32
FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600
_OTHERS: Final = 0o077


def prepare_home(folder: Path) -> Path:
    """Make the folder if it is missing; refuse one that anybody else could read or replace."""
    folder = Path(folder).expanduser().absolute()
    with _explained(folder, "be made"):
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    status = _status(folder)
    if stat.S_ISLNK(status.st_mode):
        raise EmbeddedStoreError(
            f"the folder {folder} is a symbolic link; name the folder it leads to instead: "
            f"{os.path.realpath(folder)}"
        )
    _refuse_strangers(folder, status, f"chmod 700 {folder}")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise EmbeddedStoreError(
            f"the folder {folder} cannot be written; run: chmod 700 {folder}, "
            "or name another one with MIROS_MESH_HOME"
        )
    return folder


def load_or_create_key(folder: Path) -> bytes:
    """The Fernet key in `folder`; the first process to ask makes it and all get the same."""
    file = folder / KEY_FILE
    if not os.path.lexists(file):
        fresh = base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES))
        make_once(file, fresh + b"\n")
    require_private(file)
    with _explained(file, "be read"):
        key = file.read_bytes().strip()
    if any(key_problems(KEY_FILE, (key,))):
        raise EmbeddedStoreError(
            f"the file {file} holds no Fernet key ({KEY_BYTES} bytes as url-safe base64); put back "
            "the right key, or remove the file to have a new one made"
        )
    return key


def make_once(file: Path, content: bytes) -> None:
    """Let `file` appear with its whole content, unless another process made it first."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    with _explained(file, "be made"):
        try:
            _write_private(draft, content)
            with contextlib.suppress(FileExistsError):
                os.link(draft, file)
        finally:
            draft.unlink(missing_ok=True)


def require_private(file: Path) -> None:
    """Refuse a file that is not a plain one of this user's own, closed to everybody else."""
    status = _status(file)
    if not stat.S_ISREG(status.st_mode):
        raise EmbeddedStoreError(f"{file} is not a plain file; remove it")
    _refuse_strangers(file, status, f"chmod 600 {file}")


def _write_private(file: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(file, flags, FILE_MODE), "wb") as draft:
        draft.write(content)
        draft.flush()
        os.fsync(draft.fileno())


def _status(path: Path) -> os.stat_result:
    with _explained(path, "be examined"):
        return path.lstat()


def _refuse_strangers(path: Path, status: os.stat_result, remedy: str) -> None:
    if status.st_uid != os.geteuid():
        raise EmbeddedStoreError(
            f"{path} belongs to another user (uid {status.st_uid}, this is {os.geteuid()}); "
            "name a folder of your own with MIROS_MESH_HOME"
        )
    if status.st_mode & _OTHERS:
        raise EmbeddedStoreError(f"{path} is open to other users; if that is a mistake: {remedy}")


@contextlib.contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedStoreError(
            f"{path} cannot {what}: {error.strerror or error}; name another folder with "
            "MIROS_MESH_HOME, or mend this one"
        ) from error
