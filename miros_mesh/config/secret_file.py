"""`SecretFile`: a setting whose value is in a file, and may be another one tomorrow."""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from miros_mesh.errors import SecretFileError

# What a file may not allow beyond its owner, as PostgreSQL has it for the key of a client: one of
# root may be read by a group, which is how a secret reaches a process that is not root's.
_NOT_OF_ROOT: Final = 0o037
_NOT_OF_USER: Final = 0o077
_ROOT: Final = 0


@dataclass(frozen=True)
class SecretFile:
    """Names the file that holds a secret, in place of the secret itself.

    Two of one path are equal, whatever the file holds: charts go on to share a node when the secret
    has changed since the first of them started.
    """

    # Not shown: the secret itself may stand here by mistake.
    path: Path = field(repr=False)
    """Where it is; a relative path is of the folder in which the program is now."""

    def __post_init__(self) -> None:
        # The program may go to another folder, and the file is read again later.
        object.__setattr__(self, "path", Path(self.path).absolute())

    @property
    def once(self) -> bool:
        """Whether it can be read only once: the end of a pipe, as of a shell's `<(command)`."""
        return self.path.is_fifo() or self.path.is_char_device()

    def read(self) -> str:
        """Return what the file holds now, without the end of its last line.

        Raises `SecretFileError`, whose words follow the name of the setting: also for a file that
        others may read.
        """
        # Editors and `echo` end a file with a new line; a password may begin or end with a space.
        text = read_private(self.path).decode(errors="replace").strip("\r\n")
        if not text.strip():
            raise SecretFileError("names an empty file")
        return text


def read_private(path: Path) -> bytes:
    """Return what a file with a secret holds; refuse one that other users may read.

    It belongs to this user and is closed to all others (mode 600), or to root and is closed to all
    but a group (640). A link leads to the file that counts, and root may read a user's own file.
    Raises `SecretFileError`, whose words follow the name of the setting.
    """
    try:
        with path.open("rb") as file:
            # Of the open file: the path may lead to another one in the next moment.
            _refuse_readers(path, file.fileno())
            return file.read()
    except (OSError, ValueError) as error:
        if isinstance(error, SecretFileError):
            raise
        reason = getattr(error, "strerror", None) or "no path"
        # Without the path: what cannot be opened may be the secret itself, set by mistake.
        raise SecretFileError(f"names a file that cannot be read: {reason}") from None


def _refuse_readers(path: Path, descriptor: int) -> None:
    status = os.fstat(descriptor)
    # A terminal, or nothing at all; what they give is kept nowhere.
    if stat.S_ISCHR(status.st_mode):
        return
    user, mode = os.geteuid(), stat.S_IMODE(status.st_mode)
    if status.st_uid not in (_ROOT, user) and user != _ROOT:
        raise SecretFileError(
            f"names {_quoted(path)}, which belongs to another user (uid {status.st_uid}, this is "
            f"{user}); as root, run: chown {user} {_quoted(path)} && chmod 600 {_quoted(path)}"
        )
    if mode & (_NOT_OF_ROOT if status.st_uid == _ROOT else _NOT_OF_USER):
        raise SecretFileError(
            f"names {_quoted(path)}, which others may read or write (mode {mode:04o}); "
            f"{_remedy(path, descriptor, status)}"
        )


def _remedy(path: Path, descriptor: int, status: os.stat_result) -> str:
    if os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
        return (
            "it is mounted read-only: mount it with mode 0440 (Kubernetes: defaultMode: 0440, and "
            "an fsGroup; Docker: mode: 0440, and a gid)"
        )
    if status.st_uid == os.geteuid():
        return f"run: chmod 600 {_quoted(path)}"
    # Root's, and this user shall go on to read it.
    group = f"chgrp {os.getegid()} {_quoted(path)} && "
    member = status.st_gid in (os.getegid(), *os.getgroups())
    return f"as root, run: {'' if member else group}chmod 640 {_quoted(path)}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
