"""A file system with faults of a test's choice: a real mount (FUSE) that this program serves.

fuse_disk.py POINT KEPT TYPE FAULTS PROGRAM ...     in a mount namespace of its own

It keeps its files in the folder KEPT. While `KEPT.frozen` exists nothing can be written. FAULTS may
be `no-locks`, refused as by an NFS without a lock daemon, or `no-map`, with no mapping to share.
`power-cut` leaves in `KEPT.left` what a disk would have that did no more than it was told to flush.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from support import small_disk

_DEVICE: Final = "/dev/fuse"
_BUFFER_BYTES: Final = 1024 * 1024 + 4096
_MAX_WRITE_BYTES: Final = 128 * 1024
_ROOT: Final = 1
_ATTRIBUTES_LAST_S: Final = 3600
# The numbers below are of <linux/fuse.h>.
_IN, _OUT = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
_ATTR, _ENTRY = struct.Struct("<6Q10I"), struct.Struct("<4QII")
_VERSION: Final = (7, 31)
_POSIX_LOCKS, _DIRECT_IO = 1 << 1, 1 << 0
_SET_MODE, _SET_OWNER, _SET_SIZE, _HAS_HANDLE = 1, 2 | 4, 8, 64
_SILENT: Final = frozenset({2, 36, 42})
_WRITING: Final = frozenset({4, 8, 9, 10, 11, 13, 16, 35})


def why_not() -> str | None:
    """Why this machine cannot have one, or None."""
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return f"needs {_DEVICE}"
    return small_disk.why_not()


def run_on(folder: Path, kept: Path, kind: str, faults: str, program: Path, *said: str) -> str:
    """What a program prints that has such a file system at `folder`."""
    kept.mkdir(mode=0o700)
    folder.mkdir(mode=0o700, exist_ok=True)
    serving = (*small_disk.prefix(), sys.executable, str(Path(__file__)))
    command = (str(folder), str(kept), kind, faults, sys.executable, str(program), *said)
    done = subprocess.run(
        [*serving, *command],
        capture_output=True,
        text=True,
        timeout=small_disk.LIMIT_S,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Disk:
    """Answers the kernel; what it is asked for it does in the folder `kept`."""

    def __init__(self, kept: Path, faults: str) -> None:
        self._faults = faults
        self._frozen = Path(f"{kept}.frozen")
        self._paths = {_ROOT: kept}
        self._numbers = {kept: _ROOT}
        self._left = Path(f"{kept}.left")
        # What a power cut spares: the content of inodes and the names in folders, as last flushed.
        self._flushed: dict[int, bytes] = {}
        self._names: dict[Path, dict[str, int]] = {}
        self._open: dict[int, int] = {}
        self._next = _ROOT
        self._answers: dict[int, Callable[[int, bytes], bytes]] = {
            1: lambda node, rest: self._entry(self._child(node, rest)),
            3: lambda node, _: self._attributes(node),
            4: self._change,
            8: self._make_node,
            9: self._make_folder,
            10: self._unlink,
            13: self._link,
            14: lambda node, rest: self._handle(node, struct.unpack_from("<I", rest)[0]),
            15: self._read,
            16: self._write,
            17: lambda *_: self._room(),
            18: self._release,
            20: self._flush,
            25: lambda *_: b"",
            26: lambda *_: self._greeting(),
            27: lambda *_: struct.pack("<QII", 0, 0, 0),
            28: self._list,
            29: lambda *_: b"",
            30: self._flush_names,
            32: lambda *_: self._refuse(errno.ENOLCK),
            33: lambda *_: self._refuse(errno.ENOLCK),
            34: lambda *_: b"",
            35: self._create,
        }

    def answer(self, request: bytes) -> bytes | None:
        """The reply to one request; None where the kernel wants none."""
        _, what, unique, node, *_ = _IN.unpack_from(request)
        if what in _SILENT:
            return None
        code, said = 0, b""
        try:
            if what in _WRITING and self._frozen.exists():
                self._refuse(errno.EROFS)
            if what not in self._answers:
                self._refuse(errno.ENOSYS)
            said = self._answers[what](node, request[_IN.size :])
        except OSError as error:
            code = -(error.errno or errno.EIO)
        return _OUT.pack(_OUT.size + len(said), code, unique) + said

    def _refuse(self, code: int) -> bytes:
        raise OSError(code, os.strerror(code))

    def _greeting(self) -> bytes:
        flags = _POSIX_LOCKS if "no-locks" in self._faults else 0
        sizes = (*_VERSION, 65536, flags, 16, 12, _MAX_WRITE_BYTES, 1, 0, 0, 0, 0)
        return struct.pack("<IIIIHHIIHHII24x", *sizes)

    def _child(self, node: int, rest: bytes) -> Path:
        return self._paths[node] / os.fsdecode(rest.split(b"\0")[0])

    def _entry(self, path: Path) -> bytes:
        facts = path.lstat()
        if path not in self._numbers:
            self._next += 1
            self._numbers[path] = self._next
            self._paths[self._next] = path
        number = self._numbers[path]
        return _ENTRY.pack(number, 0, 0, _ATTRIBUTES_LAST_S, 0, 0) + _packed(number, facts)

    def _facts(self, node: int) -> os.stat_result:
        # Of a file that was removed while it is open only the descriptor is left.
        for handle, owner in self._open.items():
            if owner == node:
                return os.fstat(handle)
        return self._paths[node].lstat()

    def _attributes(self, node: int) -> bytes:
        return struct.pack("<QII", _ATTRIBUTES_LAST_S, 0, 0) + _packed(node, self._facts(node))

    def _change(self, node: int, rest: bytes) -> bytes:
        valid, _, handle, size = struct.unpack_from("<IIQQ", rest)
        (mode,) = struct.unpack_from("<I", rest, 68)
        if valid & _SET_SIZE:
            os.truncate(handle if valid & _HAS_HANDLE else self._paths[node], size)
        if valid & _SET_MODE:
            self._paths[node].chmod(stat.S_IMODE(mode))
        return self._attributes(node)

    def _make_node(self, node: int, rest: bytes) -> bytes:
        mode, device = struct.unpack_from("<II", rest)
        path = self._child(node, rest[16:])
        os.mknod(path, mode, device)
        return self._entry(path)

    def _make_folder(self, node: int, rest: bytes) -> bytes:
        path = self._child(node, rest[8:])
        path.mkdir(mode=struct.unpack_from("<I", rest)[0])
        return self._entry(path)

    def _unlink(self, node: int, rest: bytes) -> bytes:
        path = self._child(node, rest)
        path.unlink()
        # The next file of that name is another one.
        self._numbers.pop(path, None)
        return b""

    def _link(self, node: int, rest: bytes) -> bytes:
        path = self._child(node, rest[8:])
        os.link(self._paths[struct.unpack_from("<Q", rest)[0]], path)
        return self._entry(path)

    def _handle(self, node: int, flags: int) -> bytes:
        writes = flags & (os.O_WRONLY | os.O_RDWR)
        if writes and self._frozen.exists():
            self._refuse(errno.EROFS)
        # The kernel reads before it writes a part of a page.
        descriptor = os.open(self._paths[node], (os.O_RDWR if writes else 0) | (flags & os.O_TRUNC))
        self._open[descriptor] = node
        return struct.pack("<QII", descriptor, _DIRECT_IO if "no-map" in self._faults else 0, 0)

    def _create(self, node: int, rest: bytes) -> bytes:
        flags, mode = struct.unpack_from("<II", rest)
        path = self._child(node, rest[16:])
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | (flags & os.O_EXCL), mode))
        entry = self._entry(path)
        return entry + self._handle(self._numbers[path], flags & ~os.O_TRUNC)

    def _read(self, _: int, rest: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", rest)
        return os.pread(handle, size, offset)

    def _write(self, _: int, rest: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", rest)
        return struct.pack("<II", os.pwrite(handle, rest[40 : 40 + size], offset), 0)

    def _release(self, _: int, rest: bytes) -> bytes:
        (handle,) = struct.unpack_from("<Q", rest)
        del self._open[handle]
        os.close(handle)
        return b""

    def _flush(self, _: int, rest: bytes) -> bytes:
        (handle,) = struct.unpack_from("<Q", rest)
        facts = os.fstat(handle)
        self._flushed[facts.st_ino] = os.pread(handle, facts.st_size, 0)
        return b""

    def _flush_names(self, node: int, _: bytes) -> bytes:
        folder = self._paths[node]
        self._names[folder] = {each.name: each.lstat().st_ino for each in folder.iterdir()}
        return b""

    def cut_power(self) -> None:
        """Write down what is left."""
        self._leave(self._paths[_ROOT], self._left)

    def _leave(self, folder: Path, left: Path) -> None:
        left.mkdir(mode=0o700)
        for name, inode in self._names.get(folder, {}).items():
            if (folder / name).is_dir():
                self._leave(folder / name, left / name)
            elif inode in self._flushed:
                (left / name).touch(0o600)
                (left / name).write_bytes(self._flushed[inode])

    def _room(self) -> bytes:
        free = 1 << 20
        return struct.pack("<5Q4I24x", free, free, free, free, free, 4096, 255, 4096, 0)

    def _list(self, node: int, rest: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", rest)
        said = b""
        for number, path in enumerate(sorted(self._paths[node].iterdir()), start=1):
            raw = os.fsencode(path.name)
            entry = struct.pack("<QQII", number, number, len(raw), 0) + raw
            entry += b"\0" * (-len(entry) % 8)
            if number > offset and len(said) + len(entry) <= size:
                said += entry
        return said


def _packed(number: int, facts: os.stat_result) -> bytes:
    times = (int(facts.st_atime), int(facts.st_mtime), int(facts.st_ctime), 0, 0, 0)
    owner = (facts.st_mode, facts.st_nlink, facts.st_uid, facts.st_gid, 0, 4096, 0)
    return _ATTR.pack(number, facts.st_size, facts.st_blocks, *times, *owner)


def _mount(point: str, kind: str) -> int:
    device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40700,user_id={os.getuid()},group_id={os.getgid()}"
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"disk", os.fsencode(point), kind.encode(), 0, options.encode()):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return device


def _serve(device: int, disk: Disk, program: list[str]) -> int:
    child = subprocess.Popen(program)
    end = os.pidfd_open(child.pid)
    poller = select.poll()
    for descriptor in (device, end):
        poller.register(descriptor, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in poller.poll()]
        if device in ready:
            # A request that was interrupted is gone.
            with contextlib.suppress(FileNotFoundError):
                if (said := disk.answer(os.read(device, _BUFFER_BYTES))) is not None:
                    os.write(device, said)
        elif end in ready:
            if "power-cut" in sys.argv:
                disk.cut_power()
            return child.wait()


if __name__ == "__main__":
    at, files, type_, wrong = sys.argv[1:5]
    # No orderly end: the mount goes with the namespace.
    os._exit(_serve(_mount(at, type_), Disk(Path(files), wrong), sys.argv[5:]))
