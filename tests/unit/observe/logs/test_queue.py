"""A log that is stuck, full or gone costs nobody else anything, and what it lost is said."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from miros_mesh.observe.logs import queue as log_queue
from miros_mesh.observe.logs.configure import json_handler
from miros_mesh.observe.logs.files import LineStream, WatchedFile
from miros_mesh.observe.logs.queue import QueuedHandler
from support.waiting import wait_until

Attach = Callable[[QueuedHandler], logging.Logger]
GAP = re.compile(r"(\d+) log records are missing here")
PAGE = 4096
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Terminal(io.StringIO):
    """A stream that can be stuck, or refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.moving = threading.Event()
        self.moving.set()
        self.error: OSError | None = None

    def write(self, text: str, /) -> int:
        self.moving.wait()
        if self.error:
            raise self.error
        return super().write(text)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.moving.set()


def messages(text: str) -> list[str]:
    return [json.loads(line)["message"] for line in text.splitlines()]


def test_a_stuck_terminal_keeps_nobody_waiting_and_the_gap_is_counted_and_said(
    attach: Attach,
) -> None:
    # Given a terminal that nobody reads: a pipe of one page
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PAGE)
    with os.fdopen(write_end, "w") as stuck, os.fdopen(read_end) as reader:
        handler = QueuedHandler(LineStream(stuck), capacity=20)
        logger = attach(handler)
        # When more is logged than it takes
        for number in range(100):
            logger.info("%s line %d", "x" * 1000, number)
        # Then whoever logs goes on, and what is too much is counted
        assert handler.dropped >= 100 - 20 - PAGE // 1000 - 2
        # And said, once somebody reads again
        kept = missing = 0
        while kept + missing < 100:
            line = reader.readline()
            kept += " line " in line
            missing += int(gap[1]) if (gap := GAP.match(line)) else 0
        logger.removeHandler(handler)
        handler.close()
    assert (kept, missing) == (100 - handler.dropped, handler.dropped)


def test_a_log_that_cannot_be_written_is_said_once_and_its_gap_when_it_can(
    terminal: Terminal, attach: Attach
) -> None:
    said: list[str] = []
    terminal.error = FULL
    handler = QueuedHandler(LineStream(terminal), say=said.append)
    logger = attach(handler)

    for _ in range(20):
        logger.info("lost")
    handler.flush()
    assert said == [
        "the log to a stream cannot be written: [Errno 28] No space left on device; said once"
    ]
    terminal.error = None
    logger.info("found")
    handler.flush()

    first, second = terminal.getvalue().splitlines()
    assert first == "found"
    assert second.startswith("20 log records are missing here")
    assert (handler.failed, len(said)) == (20, 1)


def test_a_stuck_log_does_not_keep_a_program_from_its_end(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_queue, "LIMIT_S", 0.1)
    said: list[str] = []
    terminal.moving.clear()
    handler = QueuedHandler(LineStream(terminal), say=said.append)
    for number in range(3):
        handler.handle(logging.makeLogRecord({"msg": f"line {number}"}))

    handler.flush()
    handler.close()

    assert len(said) == 1
    assert "is stuck" in said[0]
    terminal.moving.set()


FLOOD = """
import logging, sys
from miros_mesh.observe.logs import configure_json
configure_json(sys.argv[1] if sys.argv[1:] else None)
for number in range(20):
    logging.info("x" * 1000)
"""


@pytest.mark.parametrize("is_file", [False, True])
def test_a_program_whose_log_is_a_full_pipe_ends(tmp_path: Path, is_file: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # For both ends, so that opening it waits for neither.
    end = os.open(pipe, os.O_RDWR)
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PAGE)
    try:
        command = [sys.executable, "-c", FLOOD, *([str(pipe)] if is_file else [])]
        done = subprocess.run(
            command,
            stderr=subprocess.PIPE if is_file else end,
            timeout=log_queue.LIMIT_S + 30,
            check=True,
        )
    finally:
        os.close(end)
    if is_file:
        assert b"is stuck" in done.stderr


def test_a_program_that_ends_has_written_everything(tmp_path: Path) -> None:
    program = """
import logging, sys
from miros_mesh.observe.logs import configure_json
configure_json(sys.argv[1])
for number in range(2000):
    logging.info("line %d", number)
"""
    path = tmp_path / "log.json"
    subprocess.run([sys.executable, "-c", program, str(path)], timeout=60, check=True)

    assert messages(path.read_text()) == [f"line {n}" for n in range(2000)]


def test_a_closed_handler_has_written_everything(tmp_path: Path) -> None:
    handler = json_handler(tmp_path / "log.json")
    for number in range(1000):
        handler.handle(logging.makeLogRecord({"msg": f"line {number}"}))

    handler.close()

    assert messages((tmp_path / "log.json").read_text()) == [f"line {n}" for n in range(1000)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_what_its_parent_has_to_write(
    terminal: Terminal, attach: Attach
) -> None:
    handler = QueuedHandler(LineStream(terminal))
    terminal.moving.clear()
    attach(handler).info("of the parent")

    child = os.fork()
    if child == 0:
        started = time.monotonic()
        handler.flush()
        handler.close()
        os._exit(time.monotonic() - started >= log_queue.LIMIT_S)
    _, status = os.waitpid(child, 0)
    terminal.moving.set()

    assert status == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_logs_too(tmp_path: Path, attach: Attach) -> None:
    path = tmp_path / "log.json"
    handler = json_handler(path)
    logger = attach(handler)
    logger.info("parent")

    child = os.fork()
    if child == 0:
        logger.info("child")
        handler.flush()
        os._exit(0)
    os.waitpid(child, 0)
    handler.flush()

    assert sorted(messages(path.read_text())) == ["child", "parent"]


def test_a_folder_that_vanished_is_said_and_the_log_goes_on_when_it_is_back(
    tmp_path: Path, attach: Attach
) -> None:
    said: list[str] = []
    folder = tmp_path / "logs"
    folder.mkdir()
    handler = QueuedHandler(WatchedFile(folder / "log"), say=said.append)
    logger = attach(handler)

    folder.rename(tmp_path / "gone")
    logger.info("lost")
    handler.flush()
    folder.mkdir()
    logger.info("found")
    handler.flush()

    assert len(said) == 1
    assert (folder / "log").read_text().startswith("found\n1 log records are missing here")


def test_device_full_is_said_once_with_its_path(attach: Attach) -> None:
    said: list[str] = []
    handler = QueuedHandler(WatchedFile("/dev/full"), say=said.append)
    logger = attach(handler)

    for _ in range(50):
        logger.info("nowhere to go")
    wait_until(lambda: handler.failed == 50)

    assert len(said) == 1
    assert "/dev/full cannot be written: [Errno 28]" in said[0]
