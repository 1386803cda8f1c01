"""One JSON object in a file that thousands of processes read and write at once.

A reader gets a whole content and no update is lost. Content is replaced in one piece, so a reader
needs no lock; a writer holds an advisory lock on a file beside it, for which writers queue in the
kernel.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from miros_mesh.discovery.safety.plain import DEEPEST, PayloadProblemError, content
from miros_mesh.errors import UnsupportedError
from miros_mesh.systems import HAS_FILE_LOCKS, lock_file, unlock_file
from miros_mesh.text import logger_of

logger = logger_of(__name__)

# Read into memory as a whole; what a chart writes has a fraction of it.
LARGEST_BYTES: Final = 4 * 1024 * 1024
TOO_LARGE: Final = f"it is larger than {LARGEST_BYTES} bytes"
NO_FILE: Final = "it is no file"
TOO_DEEP: Final = f"its lists and objects are nested deeper than {DEEPEST} levels"
FOREIGN: Final = "it is JSON, but not what is written there"
_OWNER_ONLY: Final = 0o600

Object = dict[str, Any]


class ForeignFileError(Exception):
    """The file holds something else than this library writes."""


@dataclass(frozen=True)
class Content:
    """The content of a file and its times; zeros where there is no file."""

    data: Object
    modified_at: float = 0.0
    created_at: float = 0.0
    there: bool = True


class Lock:
    """A writer's lock, held until `release`, or until it is garbage."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        # To know a forked child, which inherits this object and the descriptor.
        self._process = os.getpid()

    def release(self) -> None:
        """Let the next writer in; a second call does nothing.

        In a forked child the lock is the parent's, and stays locked.
        """
        # Taken out before it is closed, so that a second call finds none.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # A process forked meanwhile has the descriptor too; closing ours is not enough.
            if self._process == os.getpid():
                unlock_file(descriptor)
            os.close(descriptor)

    def __del__(self) -> None:
        # Last resort: an event with a lock may be dropped on the way to its chart.
        self.release()


def anything(_: Object) -> bool:
    """Accept any JSON object as a file's content."""
    return True


class JsonFile:
    """A file of one JSON object.

    `ours` accepts or refuses what was read; `foreign` is the log's word for what it refuses. `tidy`
    is applied to what is written.
    """

    def __init__(
        self,
        path: Path,
        *,
        default: Mapping[str, Any],
        ours: Callable[[Object], bool] = anything,
        tidy: Callable[[Object], Object] = lambda data: data,
        foreign: str = FOREIGN,
    ) -> None:
        self.path = path
        self._foreign = foreign
        self._default = default
        self._ours = ours
        self._tidy = tidy
        # Written and read on the threads of the pool, one job of a chart at a time.
        self._said = ""

    @property
    def default(self) -> Object:
        """The content where there is no file."""
        return dict(self._default)

    def lock(self) -> Lock:
        """Wait for the lock. The wait has no limit and cannot be ended: use a thread of its own.

        Raises `OSError`, and `UnsupportedError` where files have no such locks.
        """
        if not HAS_FILE_LOCKS:
            raise UnsupportedError(
                "files that processes share are read, and never written: that needs locks which go "
                "with their process (flock), and this system has none"
            )
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A file of its own, never replaced or removed: a lock on the content's file would be on the
        # old one after the next write. No link is followed, which another user may have put there.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(f"{self.path}.lock", flags, _OWNER_ONLY)
        try:
            lock_file(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return Lock(descriptor)

    def read(self) -> Content:
        """Return the content; the default for no file, or a foreign one, which is logged."""
        try:
            return self._load()
        except FileNotFoundError:
            return Content(self.default, there=False)
        except ForeignFileError as error:
            if self._said != str(error):
                self._said = str(error)
                logger.warning("%s is ignored: %s", self.path, error)
            return Content(self.default)

    def merge(self, update: Mapping[str, Any]) -> Object:
        """Merge an update into the file, and return the new content; the caller holds the lock.

        A foreign file is renamed to `.set-aside` first. Raises `OSError`, and `ForeignFileError`
        for an update that would make the file one.
        """
        try:
            data = self._load().data
        except FileNotFoundError:
            data = self.default
        except ForeignFileError as error:
            self._set_aside(error)
            data = self.default
        data = merged(data, update)
        # A program may publish any update; the tidying takes it for one of ours.
        if not self._ours(data):
            raise ForeignFileError(f"an update is left out: {self._foreign}")
        data = self._tidy(data)
        raw = json.dumps(data, indent=2, sort_keys=True).encode()
        if len(raw) > LARGEST_BYTES:
            raise ForeignFileError(f"an update is left out: {TOO_LARGE}")
        self._replace(raw)
        return data

    def _load(self) -> Content:
        with open(self.path, "rb", opener=_opened_at_once) as file:
            # Of the open file: the name may stand for a newer one already.
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise ForeignFileError(NO_FILE)
            # One byte more tells a file that is too large, without reading all of it.
            raw = file.read(LARGEST_BYTES + 1)
        if not raw.strip():
            return Content(self.default, about.st_mtime, about.st_ctime)
        return Content(self._parsed(raw), about.st_mtime, about.st_ctime)

    def _parsed(self, raw: bytes) -> Object:
        if len(raw) > LARGEST_BYTES:
            raise ForeignFileError(TOO_LARGE)
        try:
            data = json.loads(raw)
        except json.JSONDecodeError as error:
            raise ForeignFileError(f"line {error.lineno}: {error.msg}") from None
        # `ValueError`: bytes that are not UTF-8, or too many digits in a number.
        except (ValueError, RecursionError) as error:
            raise ForeignFileError(f"it is no JSON ({type(error).__name__})") from None
        if not isinstance(data, dict):
            raise ForeignFileError(self._foreign)
        try:
            # Every chart reads it so: one that refused the content would wait for it for ever.
            content(data)
        except PayloadProblemError:
            # It is not too large: a file of so many bytes has fewer characters and values.
            raise ForeignFileError(TOO_DEEP) from None
        if not self._ours(data):
            raise ForeignFileError(self._foreign)
        return data

    def _set_aside(self, error: ForeignFileError) -> None:
        aside = self.path.with_name(f"{self.path.name}.set-aside")
        self.path.replace(aside)
        # A warning, unless the reader has logged the same already.
        level = logging.INFO if self._said == str(error) else logging.WARNING
        logger.log(
            level, "%s is replaced (%s); its old content is in %s", self.path, error, aside.name
        )

    def _replace(self, raw: bytes) -> None:
        # The lock makes one name enough, so that killed processes leave one such file at most.
        new = f"{self.path}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(new, flags, _OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            # The file may be left over from a killed process, with another mode.
            os.fchmod(descriptor, _OWNER_ONLY)
            # Not forced to the disk: what a power failure spoils is foreign then, and made anew.
            file.write(raw)
        # Within one folder a rename is atomic: a reader gets the old content or the new one.
        os.replace(new, self.path)  # noqa: PTH105 - the name is a text, to be one with its lock


def _opened_at_once(path: str, flags: int) -> int:
    # A pipe in its place would be waited for, for ever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> Object:
    """Return both as one: the newer value wins, dictionaries inside are merged likewise."""
    result = dict(old)
    for key, value in new.items():
        before = result.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        result[key] = merged(before, value) if both else value  # type: ignore[arg-type]
    return result
