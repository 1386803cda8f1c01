"""`from_env(env_file=...)`: the ancestor's `.env`, read when asked, and no value in any error."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import ConfigError
from support.charts_at_work import KEY, OTHER_KEY

SENTINEL = "-".join(("marmalade", "in", "the", "attic"))


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.touch(0o600)
    return path


def config_of(
    path: Path, text: str, environ: dict[str, str] | None = None, **given: Any
) -> MeshConfig:
    path.write_text(text)
    return MeshConfig.from_env(environ or {}, env_file=path, **given)


def problems_of(path: Path, text: str, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        config_of(path, text, environ)
    assert SENTINEL not in str(caught.value)
    return caught.value.problems


def test_the_ancestors_file_gives_its_settings(env_file: Path) -> None:
    text = f"""
# The mesh of the house
export RABBIT_USER=peter
RABBIT_PASSWORD='my "rabbit" # $HOME'
  RABBIT_PORT="5673"

RABBIT_HEARTBEAT_INTERVAL=7
MESH_ENCRYPTION_KEY={KEY.decode()}
OF_ANOTHER_PROGRAM=1
"""
    config = config_of(env_file, text)
    assert config == MeshConfig(
        rabbit_user="peter",
        rabbit_password='my "rabbit" # $HOME',
        rabbit_port=5673,
        heartbeat_interval_s=7,
        mesh_encryption_key=KEY,
    )
    # And nothing of it gets into the environment
    assert "RABBIT_USER" not in os.environ


def test_the_environment_wins_whatever_the_two_names_are(env_file: Path) -> None:
    # Given our own names in the file, and weaker ones in the environment
    text = f"MIROS_MESH_MESH_ENCRYPTION_KEY={KEY.decode()}\nMIROS_MESH_CONNECTION_ATTEMPTS=9\n"
    environ = {"MESH_ENCRYPTION_KEY": OTHER_KEY.decode(), "CONNECTION_ATTEMPTS": "8"}
    config = config_of(env_file, text, environ)
    assert config.keys_for("mesh") == (OTHER_KEY,)
    assert config.connection_attempts == 8
    # And the program over both
    assert config_of(env_file, text, environ, connection_attempts=7).connection_attempts == 7


def test_a_broker_of_the_environment_replaces_that_of_the_file(env_file: Path) -> None:
    key = f"MESH_ENCRYPTION_KEY={KEY.decode()}"
    text = f"RABBIT_USER=u\nRABBIT_PASSWORD=p\nMIROS_MESH_RABBIT_TLS=on\n{key}"
    assert config_of(env_file, text).mode == "ancestor"
    assert config_of(env_file, text, {"MIROS_MESH_BROKER_URL": "amqp://h"}).mode == "shared"


def test_what_the_environment_replaces_is_not_read(env_file: Path) -> None:
    text = "MIROS_MESH_CONNECTION_ATTEMPTS=x\n"
    assert config_of(env_file, text, {"CONNECTION_ATTEMPTS": "8"}).connection_attempts == 8


QUOTES = "line 1 has a value of A that needs single quotes"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"A=1\n{SENTINEL}\n", "line 2 is not NAME=value"),
        (f"RABBIT_USER = {SENTINEL}\n", "line 1 is not NAME=value"),
        (f"1A={SENTINEL}\n", "line 1 is not NAME=value"),
        (f"A={SENTINEL} b\n", QUOTES),
        (f"A={SENTINEL}#b\n", QUOTES),
        (f"A=${{{SENTINEL}}}\n", QUOTES),
        (f'A="{SENTINEL}$B"\n', QUOTES),
        (f"A='{SENTINEL}\n'\n", QUOTES),
        (f"A={SENTINEL}\nA={SENTINEL}\n", "line 2 has A again, after line 1"),
        ("\nMIROS_MESH_LAN=off\n", "line 2: MIROS_MESH_LAN counts only in the environment"),
        ("\nMIROS_MESH_NODE_NAMES=x\n", "MIROS_MESH_NODE_NAMES (line 2 of "),
        (f"MIROS_MESH_CONFIRM_WINDOW={SENTINEL}\n", "MIROS_MESH_CONFIRM_WINDOW (line 1 of "),
        (f"\n\nMIROS_MESH_ENCRYPTION_KEY={SENTINEL}\n", "MIROS_MESH_ENCRYPTION_KEY (line 3 of "),
    ],
)
def test_a_line_that_cannot_be_used_is_told_by_its_number(
    env_file: Path, text: str, says: str
) -> None:
    problem = problems_of(env_file, text)[0]
    assert says in problem
    assert str(env_file) in problem


def test_a_problem_of_the_environment_is_not_blamed_on_the_file(env_file: Path) -> None:
    environ = {"MIROS_MESH_NODE_NAME": "a b", "RABBIT_PORT": "2"}
    [problem] = problems_of(env_file, "RABBIT_PORT=1\n", environ)
    assert problem.startswith("MIROS_MESH_NODE_NAME must be")


def test_all_problems_are_told_at_once(env_file: Path) -> None:
    text = "x\nMIROS_MESH_CONFIRM_WINDOW=x\nMIROS_MESH_NODE_NAME='a b'\n"
    assert len(problems_of(env_file, text, {"MIROS_MESH_FRAME_EVENTS": "0"})) == 4


@pytest.mark.parametrize(
    "secret", ["RABBIT_PASSWORD", "MIROS_MESH_BROKER_URL", "MESH_ENCRYPTION_KEY"]
)
def test_a_secret_that_others_can_read_is_refused(env_file: Path, secret: str) -> None:
    env_file.chmod(0o644)
    problems = problems_of(env_file, f"{secret}={SENTINEL}\n")
    remedy = f"run: chmod 600 {env_file}"
    assert f"it holds a secret, and is open to other users (mode 0644); {remedy}" in problems[0]
    # What names a file holds none
    assert config_of(env_file, "MIROS_MESH_CONFIRM_WINDOW=3\n").confirm_window == 3


def test_a_file_that_is_asked_for_has_to_be_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match=f"{path} cannot be read: "):
            MeshConfig.from_env({}, env_file=path)


def test_what_is_no_path_is_refused() -> None:
    for path in (3, b".env"):
        with pytest.raises(ConfigError, match="env_file must be a path, not of type"):
            MeshConfig.from_env({}, env_file=path)  # type: ignore[arg-type]


def test_a_file_that_is_no_text_is_refused(env_file: Path) -> None:
    env_file.write_bytes(b"A=\xff\n")
    with pytest.raises(ConfigError, match="it is no UTF-8"):
        MeshConfig.from_env({}, env_file=env_file)


def test_an_editor_of_windows_does_no_harm(env_file: Path) -> None:
    env_file.write_bytes(b"\xef\xbb\xbfMIROS_MESH_NODE_NAME=house\r\n\r\n# end\r\n")
    assert MeshConfig.from_env({}, env_file=env_file).node_name == "house"


def test_no_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("MIROS_MESH_NODE_NAME=house\n")
    assert MeshConfig.from_env({}).node_name is None
    assert MeshConfig.from_env({}, env_file=".env").node_name == "house"


VALUES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20),
    st.from_regex(r"['\"][ -~]*['\"]", fullmatch=True),
)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=VALUES)
def test_what_is_taken_is_what_a_shell_takes(env_file: Path, value: str) -> None:
    env_file.write_text(f"RABBIT_USER={value}\n")
    try:
        config = MeshConfig.from_env(
            {}, env_file=env_file, rabbit_password="p", mesh_encryption_key=KEY
        )
    except ConfigError:
        return
    environ = {"MIROS_MESH_LAN": "off"}
    command = f'. {shlex.quote(str(env_file))}; printf %s "$RABBIT_USER"'
    done = subprocess.run(
        ["sh", "-c", command],
        env=environ,
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.decode() == config.rabbit_user
