"""SIGTERM ends a program in good order."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from miros_mesh import MeshConfig, stop_on_sigterm
from miros_mesh.errors import LifecycleError
from support.actor import Actor
from support.charts_at_work import KEY, Heard, Launch, Recorder
from support.waiting import wait_until

PROGRAM = Path(__file__).parent / "programs" / "until_sigterm.py"
END_LIMIT_S = 30.0


@pytest.fixture(params=["embedded", "rabbitmq"])
def config(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MeshConfig:
    """The settings of this process; those of the program come from the environment."""
    recorder = Recorder()
    # A busy machine takes its time
    monkeypatch.setenv("MIROS_MESH_DRAIN_TIMEOUT_S", "20")
    if request.param == "embedded":
        return MeshConfig(observers=(recorder,))
    url = request.getfixturevalue("vhost_url")
    monkeypatch.setenv("MIROS_MESH_BROKER_URL", url)
    monkeypatch.setenv("MESH_ENCRYPTION_KEY", KEY.decode())
    return MeshConfig(broker_url=url, mesh_encryption_key=KEY, observers=(recorder,))


@pytest.mark.parametrize("signals", [1, 3])
@pytest.mark.parametrize("moment", ["amid_sending", "amid_waiting", "amid_stopping"])
def test_what_was_transmitted_arrives_and_the_charts_say_goodbye(
    moment: str, signals: int, config: MeshConfig, launch: Launch
) -> None:
    # Given a program that sends
    heard, (recorder,) = Heard(), config.observers
    assert isinstance(recorder, Recorder)
    launch("listener", config, heard)
    with Actor(PROGRAM, moment) as program:
        said = program.heard()
        # When SIGTERM comes, once or more often
        for _ in range(signals):
            program.signal(signal.SIGTERM)
        rest = program.lines_until_end()
        # Then it ends in time and with success
        assert program.wait(END_LIMIT_S) == 0
    # And all arrives that was transmitted, in order, and both charts said goodbye
    sent = [line["sent"]["first"] for line in (said, *rest) if line.get("sent")]
    wait_until(lambda: set(recorder.goodbyes) == {"first", "second"}, END_LIMIT_S)
    wait_until(lambda: len(heard) >= (sent[0] if sent else 200), END_LIMIT_S)
    numbers = [number for _, number in heard.payloads]
    assert numbers == list(range(len(numbers)))
    # The last one may have been in the outbox already when its transmit was broken off
    assert not sent or len(numbers) <= sent[0] + 1
    assert [line["said"] for line in rest] == ["finally"] * (moment != "amid_stopping")


def test_it_is_installed_in_the_main_thread_alone() -> None:
    errors: list[LifecycleError] = []

    def install() -> None:
        try:
            stop_on_sigterm()
        except LifecycleError as error:
            errors.append(error)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=install)
    thread.start()
    thread.join()
    assert "outside the main thread" in str(errors[0])
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_program_without_charts_ends_as_well() -> None:
    code = (
        "import miros_mesh, os, signal; miros_mesh.stop_on_sigterm(); "
        "os.kill(os.getpid(), signal.SIGTERM); print('still here')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
