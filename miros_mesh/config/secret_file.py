"""`SecretFile`: a setting whose value is in a file, and may be another one tomorrow."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from miros_mesh.errors import SecretFileError
from miros_mesh.systems import exposure

# Of any secret; a device gives bytes without end.
_MOST_BYTES: Final = 1024 * 1024


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
        try:
            return self.path.is_fifo() or self.path.is_char_device()
        except OSError:
            # In a folder that this user may not enter: `read` says so.
            return False

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

    Which is refused says `exposure`. Raises `SecretFileError`, whose words follow the name of the
    setting.
    """
    try:
        with path.open("rb") as file:
            # Of the open file: the path may lead to another one in the next moment.
            if exposed := exposure(path, file.fileno()):
                raise SecretFileError(f"names {shlex.quote(str(path))}, which {exposed}")
            content = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, SecretFileError):
            raise
        reason = getattr(error, "strerror", None) or "no path"
        # Without the path: what cannot be opened may be the secret itself, set by mistake.
        raise SecretFileError(f"names a file that cannot be read: {reason}") from None
    if len(content) > _MOST_BYTES:
        raise SecretFileError(
            f"names a file of more than {_MOST_BYTES:,} bytes, which is no secret"
        )
    return content
