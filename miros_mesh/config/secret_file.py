"""`SecretFile`: a setting whose value is in a file, and may be another one tomorrow."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from miros_mesh.errors import SecretFileError
from miros_mesh.systems import own_uid

# Any right of the group or of others; and what is too much in a file of root.
_OTHERS: Final = 0o077
_OTHERS_OF_ROOT: Final = 0o037


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

        Raises `SecretFileError`, whose words follow the name of the setting.
        """
        return self._read(private=False)

    def read_private(self) -> str:
        """Do as `read`, and raise for a file that other users may read, too.

        One of root may be readable by its group, as where an orchestrator puts secrets.
        """
        return self._read(private=True)

    def _read(self, *, private: bool) -> str:
        try:
            with self.path.open("rb") as file:
                if private:
                    # Of the open file: another one may have its name by now.
                    _refuse_open(os.fstat(file.fileno()))
                # Editors and `echo` end a file with a new line; a password may begin or end with a
                # space.
                text = file.read().decode(errors="replace").strip("\r\n")
        except SecretFileError:
            raise
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no path"
            raise SecretFileError(f"names a file that cannot be read: {reason}") from None
        if not text.strip():
            raise SecretFileError("names an empty file")
        return text


def _refuse_open(status: os.stat_result) -> None:
    uid = own_uid()
    # A pipe has no name by which others could open it; and some systems know no such rights.
    if uid is None or not stat.S_ISREG(status.st_mode):
        return
    if status.st_uid not in (uid, 0):
        raise SecretFileError("names a file of another user; this one has to own it")
    others = _OTHERS if status.st_uid == uid else _OTHERS_OF_ROOT
    if status.st_mode & others:
        raise SecretFileError("names a file that other users may read or change; run: chmod 600")
