"""What the embedded broker needs of a file system: one machine, locks, and memory to share."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from miros_mesh.errors import UnfitFileSystemError
from miros_mesh.private_files import FILE_MODE, explained
from miros_mesh.systems import lock_range

_MOUNTS: Final = Path("/proc/self/mountinfo")
# White space in the names of that file: \040.
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
# Another machine may have the same folder: it shares no memory with this one, and rings no doorbell
# here, so each would take the other's consumers for dead. A probe from one machine cannot show it.
_OF_MANY_MACHINES: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs"}
    | {"nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs"}
    | {"fuse.ceph", "fuse.davfs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs"}
    | {"fuse.sshfs"}
)
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
_NO_MAP: Final = frozenset({errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
_PAGE_BYTES: Final = mmap.PAGESIZE


def require_fit(folder: Path) -> None:
    """Raise `UnfitFileSystemError` if SQLite cannot share a database in this folder.

    What cannot be asked for, such as the type where there is no `/proc`, is no reason to refuse.
    """
    kind = type_of(folder)
    if kind in _OF_MANY_MACHINES:
        raise UnfitFileSystemError(folder, kind, "other machines can use it too")
    # A file of its own: closing any descriptor of SQLite's file would end SQLite's locks on it.
    with explained(folder, "be written"), _probe(folder) as descriptor:
        with _refused(_NO_LOCKS, folder, kind, "it has no locks"):
            lock_range(descriptor)
        # Only the name of the length: no block is written.
        os.ftruncate(descriptor, _PAGE_BYTES)
        with _refused(_NO_MAP, folder, kind, "it has no memory to share between processes"):
            mmap.mmap(descriptor, _PAGE_BYTES).close()


def type_of(folder: Path) -> str | None:
    """Return the type of the file system, as `mount` calls it; None where it cannot be told."""
    try:
        path, device = os.path.realpath(folder), folder.stat().st_dev
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    here = f"{os.major(device)}:{os.minor(device)}"
    above = [mount for line in lines if (mount := _Mount.read(line)) and mount.holds(path)]
    # The number of the device first: a mount may lie hidden below another. And not it alone: btrfs
    # gives its parts numbers that are not listed. Of equals the later one lies on top.
    above.sort(key=lambda mount: (mount.device == here, len(mount.point)))
    return above[-1].kind if above else None


class _Mount(NamedTuple):
    device: str
    point: str
    kind: str

    @classmethod
    def read(cls, line: str) -> _Mount | None:
        """Read a line (see proc(5)); None for one that is of another form."""
        before, _, after = line.partition(" - ")
        match before.split(" "), after.split(" "):
            case [_, _, device, _, point, *_], [kind, *_] if kind:
                return cls(device, _OCTAL.sub(lambda code: chr(int(code[1], 8)), point), kind)
        return None

    def holds(self, path: str) -> bool:
        """Whether a path is at or below it."""
        return path == self.point or path.startswith(self.point.rstrip("/") + "/")


def make_lasting(folder: Path) -> None:
    """Have the names that lead to a folder, and those in it, outlive a loss of power."""
    for each in (folder, *folder.parents):
        # A folder that this user may pass but not read is an older one, of another user.
        with contextlib.suppress(PermissionError):
            _sync_folder(each)


def _sync_folder(folder: Path) -> None:
    """Write the names in a folder to its disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # What some file systems without a disk say.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _probe(folder: Path) -> Iterator[int]:
    """Give a file without a name, which is gone however this process ends."""
    name = folder / f".probe.{secrets.token_hex(8)}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(name, flags, FILE_MODE)
    try:
        name.unlink()
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _refused(errors: frozenset[int], folder: Path, kind: str | None, why: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in errors:
            raise
        raise UnfitFileSystemError(folder, kind, f"{why} ({error.strerror})") from error
