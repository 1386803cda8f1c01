"""Foreign text: what reaches a terminal, a log and the wire."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

import miros_mesh
from miros_mesh.text import encodable, logger_of, printable

PACKAGE = Path(miros_mesh.__file__).parent
NAME = "miros_mesh.test_text"


@given(st.text())
def test_what_is_printable_commands_no_terminal_and_loses_nothing_else(text: str) -> None:
    shown = printable(text)

    assert shown.isprintable()
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text


@given(st.text())
def test_what_is_encodable_has_a_utf_8_form_and_is_else_as_it_was(text: str) -> None:
    made = encodable(text)

    made.encode()
    if not re.search("[\ud800-\udfff]", text):
        assert made == text


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What a plain handler of an application writes of a module's lines."""
    written, logger = io.StringIO(), logger_of(NAME)
    handler = logging.StreamHandler(written)
    logger.addHandler(handler)
    logger.propagate = False
    yield written
    logger.removeHandler(handler)
    logger.propagate = True
    logger.filters.clear()


def test_a_plain_log_gets_nothing_that_commands_a_terminal(stream: io.StringIO) -> None:
    @given(st.text(), st.sampled_from([str, OSError, PurePosixPath]))
    def check(text: str, kind: type) -> None:
        stream.truncate(stream.seek(0))
        logging.getLogger(NAME).warning("of %s: %d time(s), %g s", kind(text), 3, 0.5)
        assert stream.getvalue().removesuffix("\n").isprintable()
        assert stream.getvalue().endswith(": 3 time(s), 0.5 s\n")

    check()


def test_a_line_without_arguments_stays_as_it_is(stream: io.StringIO) -> None:
    logger_of(NAME).warning("100 %")

    assert stream.getvalue() == "100 %\n"


def test_every_module_of_the_package_takes_its_logger_from_here() -> None:
    plain = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "getLogger(__name__)" in path.read_text()
    ]
    # The package itself says nothing; it only has the handler that keeps Python silent.
    assert plain == ["__init__.py"]
