"""A stream and a logger to log to; logging is as it was after each test."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator

import pytest

from miros_mesh.observe.logs.queue import QueuedHandler
from support.log_lines import logging_as_it_was


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    with logging_as_it_was():
        yield


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def attach() -> Iterator[Callable[[QueuedHandler], logging.Logger]]:
    """A logger with this handler and no other; the handler is closed after the test."""
    logger = logging.getLogger("unit.log_queue")
    logger.propagate = False
    logger.setLevel(logging.INFO)

    def add(handler: QueuedHandler) -> logging.Logger:
        logger.addHandler(handler)
        return logger

    yield add
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
