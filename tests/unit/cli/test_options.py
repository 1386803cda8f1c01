"""What the options of several commands have in common."""

from __future__ import annotations

import argparse
import os
import pty
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import TextIO

import pytest

from miros_mesh.cli.options import seconds_up_to, wants_color


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("2.5", 2.5), ("60", 60.0)])
def test_seconds_in_the_range_are_taken(text: str, value: float) -> None:
    assert seconds_up_to(60)(text) == value


@pytest.mark.parametrize("text", ["0.9", "60.1", "-1", "nan", "inf", "soon", ""])
def test_other_seconds_are_refused_with_the_range(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="a number from 1 to 60 is needed"):
        seconds_up_to(60)(text)


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as opened:
        yield opened
    os.close(master)


@pytest.mark.parametrize(
    ("option", "variable", "colored"),
    [(False, None, True), (False, "", True), (False, "1", False), (True, None, False)],
)
def test_a_terminal_gets_colours_unless_told_otherwise(
    option: bool,
    variable: str | None,
    colored: bool,
    terminal: TextIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if variable is not None:
        monkeypatch.setenv("NO_COLOR", variable)
    with redirect_stdout(terminal):
        assert wants_color(argparse.Namespace(no_color=option)) == colored


def test_a_file_gets_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert not wants_color(argparse.Namespace(no_color=False))
