"""The guard that keeps the tests on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from support.lan_guard import OFF, VARIABLE, LanGuardError

# Set aside for documentation: nobody has it, should the guard ever fail.
NOBODY = "192.0.2.1"


def test_the_local_network_is_off_for_every_test_and_what_it_starts() -> None:
    assert os.environ[VARIABLE] == OFF
    said = subprocess.check_output(
        [sys.executable, "-c", f"import os; print(os.environ[{VARIABLE!r}])"], text=True
    )
    assert said.strip() == OFF


def test_a_test_cannot_remove_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LanGuardError):
        os.unsetenv(VARIABLE)
    with pytest.raises(LanGuardError):
        os.putenv(VARIABLE, "on")


def test_a_test_cannot_start_a_program_without_the_word() -> None:
    with pytest.raises(LanGuardError):
        subprocess.run([sys.executable, "-c", ""], env={"PATH": os.defpath}, check=False)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_test_cannot_speak_to_another_machine(kind: int) -> None:
    with socket.socket(socket.AF_INET, kind) as sock, pytest.raises(LanGuardError):
        sock.connect((NOBODY, 5672))
