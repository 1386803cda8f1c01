"""Files that are moved away, that rotate, and of which the disk takes a part of a line."""

from __future__ import annotations

import errno
import fcntl
import gzip
import io
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miros_mesh.observe.logs.configure import json_handler
from miros_mesh.observe.logs.files import LineStream, WholeLines
from miros_mesh.observe.logs.queue import QueuedHandler

Attach = Callable[[QueuedHandler], logging.Logger]


PAGE = 4096


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def messages(text: str) -> list[str]:
    return [json.loads(line)["message"] for line in text.splitlines()]


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path, attach: Attach) -> None:
    path, moved = tmp_path / "log.json", tmp_path / "log.json.1"
    handler = json_handler(path)
    logger = attach(handler)

    logger.info("before")
    handler.flush()
    path.rename(moved)
    logger.info("after")
    handler.flush()

    assert (messages(moved.read_text()), messages(path.read_text())) == (["before"], ["after"])


def test_a_file_rotates_itself_and_keeps_whole_lines(tmp_path: Path, attach: Attach) -> None:
    path = tmp_path / "log.json"
    handler = json_handler(path, rotate_bytes=2_000, keep=3)
    logger = attach(handler)

    for number in range(40):
        logger.info("line %d", number)
    handler.flush()

    files = [tmp_path / f"log.json.{n}" for n in (3, 2, 1)]
    kept = [message for file in [*files, path] for message in messages(file.read_text())]
    assert kept == [f"line {n}" for n in range(40 - len(kept), 40)]
    assert all(file.stat().st_size <= 2_000 for file in [*files, path])
    assert not (tmp_path / "log.json.4").exists()


def test_a_line_of_which_the_disk_took_a_part_is_finished_first(tmp_path: Path) -> None:
    file = WholeLines(io.FileIO(tmp_path / "log", "a"))
    disk = file._file = _SmallDisk(file._file, room=7)  # type: ignore[assignment]

    file.write(b"first\n")
    file.write(b"second\n")
    with pytest.raises(OSError, match="No space"):
        file.write(b"lost\n")
    disk.room = 100
    file.write(b"third\n")
    file.close()

    assert (tmp_path / "log").read_text() == "first\nsecond\nthird\n"


def test_a_line_stands_behind_what_the_application_has_printed(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("w", encoding="latin-1") as stream:
        stream.write("printed\n")
        LineStream(stream).write("fäll")
        assert path.read_bytes() == b"printed\nf\xe4ll\n"


def test_a_stream_that_compresses_has_the_lines_compressed(tmp_path: Path) -> None:
    path = tmp_path / "out.gz"
    with gzip.open(path, "wt") as stream:
        LineStream(stream).write("line")  # type: ignore[arg-type]
    assert gzip.decompress(path.read_bytes()) == b"line\n"


def test_a_full_pipe_that_does_not_block_refuses_a_line() -> None:
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PAGE)
    os.set_blocking(write_end, False)
    with os.fdopen(read_end, "rb"), os.fdopen(write_end, "w") as stream:
        lines = LineStream(stream)
        lines.write("x" * PAGE)
        with pytest.raises(BlockingIOError):
            lines.write("lost")


class _SmallDisk:
    """A file on a disk with little room, which takes as much of a line as it can."""

    def __init__(self, file: io.FileIO, room: int) -> None:
        self._file, self.room = file, room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise FULL
        taken = self._file.write(data[: self.room])
        self.room -= taken
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
