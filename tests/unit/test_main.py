"""The list of commands, and what becomes of an error."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

import miros_mesh
from miros_mesh.__main__ import COMMANDS, main


def test_each_command_has_a_line_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    names = [command.__name__.split(".")[2].replace("_", "-") for command in COMMANDS]
    # A long name has its line for itself, and its help below.
    assert not [name for name in names if not re.search(rf"\n    {name}\s", shown)]


def test_a_command_returns_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen"]) == 0
    Fernet(capsys.readouterr().out.strip())


def test_an_error_of_the_library_is_a_line_and_exit_code_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sequence", "/none/at/all"]) == 1
    said = capsys.readouterr().err
    assert said == ("miros-mesh sequence: /none/at/all cannot be read: No such file or directory\n")


def test_wrong_usage_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["snoop", "--histroy", "x"])
    assert ended.value.code == 2
    assert "did you mean --history?" in capsys.readouterr().err


def test_a_source_folder_that_is_not_installed_has_the_commands_too(tmp_path: Path) -> None:
    # All that is installed, and the package without what the installation says of it.
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith("miros_mesh"):
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "miros_mesh").symlink_to(Path(miros_mesh.__file__).parent)
    shown = subprocess.run(
        [sys.executable, "-S", "-m", "miros_mesh", "--version"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (shown.stdout, shown.stderr) == ("miros-mesh unknown\n", "")
