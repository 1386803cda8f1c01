"""What the options of several commands have in common."""

from __future__ import annotations

import argparse
import os
import pty
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TextIO

import pytest

from miros_mesh.cli.options import add_broker, seconds_up_to, wants_color, without_passwords
from miros_mesh.config.secret_file import SecretFile


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("2.5", 2.5), ("60", 60.0)])
def test_seconds_in_the_range_are_taken(text: str, value: float) -> None:
    assert seconds_up_to(60)(text) == value


@pytest.mark.parametrize("text", ["0.9", "60.1", "-1", "nan", "inf", "soon", ""])
def test_other_seconds_are_refused_with_the_range(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="a number from 1 to 60 is needed"):
        seconds_up_to(60)(text)


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    """That of a command at a broker."""
    parser = argparse.ArgumentParser(prog="miros-mesh check")
    add_broker(parser, "the mesh at this broker")
    return parser


@pytest.mark.parametrize(
    "url",
    ["amqp://u:hush@h", "amqps://u:hu/sh@h:5671/v", "amqp://h,amqp://u:hu@sh@h", "http://u:hush@h"],
)
def test_a_password_on_the_command_line_is_warned_of_in_one_line_without_it(
    parser: argparse.ArgumentParser, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parser.parse_args(["--broker", url]).broker == url

    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("miros-mesh check: the password in --broker is in the list of processes")
    assert line.endswith("use --broker-file FILE")
    assert "hu" not in line


@pytest.mark.parametrize("url", ["amqp://h", "amqp://u@h:5672/v", "amqp://[::1]:5672/v", "h"])
def test_a_url_without_one_is_taken_in_silence(
    parser: argparse.ArgumentParser, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parser.parse_args(["--broker", url]).broker == url
    assert capsys.readouterr().err == ""


def test_a_file_stays_one_so_that_it_may_change(
    parser: argparse.ArgumentParser, tmp_path: Path
) -> None:
    chosen = parser.parse_args(["--broker-file", str(tmp_path / "url")]).broker
    assert chosen == SecretFile(tmp_path / "url")


def test_a_pipe_is_read_at_once_since_settings_are_read_several_times(
    parser: argparse.ArgumentParser,
) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"amqp://u:hush@h\n")
    os.close(writing)
    try:
        chosen = parser.parse_args(["--broker-file", f"/dev/fd/{reading}"]).broker
    finally:
        os.close(reading)
    assert chosen == "amqp://u:hush@h"


def test_an_empty_pipe_is_wrong_usage(
    parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(["--broker-file", "/dev/null"])
    assert "argument --broker-file: it names an empty file" in capsys.readouterr().err


def test_a_url_and_a_file_exclude_each_other(parser: argparse.ArgumentParser) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(["--broker", "amqp://h", "--broker-file", "/x"])


def test_complaints_are_shown_without_passwords() -> None:
    shown = without_passwords("invalid choice: 'amqp://u:hu/s@h@host:1/v' (amqps://x:y@z)")
    assert shown == "invalid choice: 'amqp://u:***@host:1/v' (amqps://x:***@z)"


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
