"""`SecretFile`: a setting whose value is in a file, and may be another one tomorrow."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from miros_mesh.errors import SecretFileError
from miros_mesh.private_files import exposure


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
        try:
            # Editors and `echo` end a file with a new line; a password may begin or end with a
            # space.
            text = self.path.read_bytes().decode(errors="replace").strip("\r\n")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "no path"
            raise SecretFileError(f"names a file that cannot be read: {reason}") from None
        if not text.strip():
            raise SecretFileError("names an empty file")
        return text

    def read_private(self) -> str:
        """Do as `read`, and raise as well when other users may know what is in the file."""
        try:
            exposed = exposure(self.path)
        except (OSError, ValueError):
            # Which `read` says why.
            exposed = ""
        if exposed:
            raise SecretFileError(f"names a file that {exposed}")
        return self.read()
