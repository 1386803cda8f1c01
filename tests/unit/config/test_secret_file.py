"""A secret in a file, and settings that compare by the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from miros_mesh.config.secret_file import SecretFile
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import SecretFileError
from support.charts_at_work import KEY


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("old\n")
    return path


def test_it_is_what_the_file_holds_at_the_moment(file: Path) -> None:
    secret = SecretFile(file)
    assert secret.read() == "old"

    file.write_text("new\r\n")

    assert secret.read() == "new"


def test_it_shows_neither_the_secret_nor_the_path(file: Path) -> None:
    assert repr(SecretFile(file)) == "SecretFile()"


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_one_is_no_secret(file: Path, content: str) -> None:
    file.write_text(content)

    with pytest.raises(SecretFileError, match="^names an empty file$"):
        SecretFile(file).read()


def test_one_that_cannot_be_read_says_why_and_not_where(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match=r"^names a file that cannot be read: Is a dir\w+$"):
        SecretFile(tmp_path).read()


def test_a_relative_path_stays_where_it_was(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = SecretFile(Path(file.name))

    monkeypatch.chdir("/")

    assert secret.read() == "old"
    assert secret == SecretFile(file)


@pytest.mark.parametrize(
    ("variable", "contents"),
    [
        ("RABBIT_PASSWORD", ("old", "new")),
        ("BROKER_URL", ("amqp://u:old@h", "amqp://other:new@h")),
    ],
)
def test_settings_of_one_file_are_equal_whatever_it_holds(
    file: Path, tmp_path: Path, variable: str, contents: tuple[str, str]
) -> None:
    environ = {f"MIROS_MESH_{variable}_FILE": str(file), "MIROS_MESH_ENCRYPTION_KEY": KEY}
    if variable == "RABBIT_PASSWORD":
        environ["RABBIT_USER"] = "u"
    elsewhere = tmp_path / "elsewhere"
    made = []
    for content in contents:
        for path in (file, elsewhere):
            path.write_text(content)
        made.append(MeshConfig.from_env(environ))
    before, after = made

    assert [each.brokers[0].password for each in made] == ["old", "new"]
    assert before == after
    assert hash(before) == hash(after)
    other = MeshConfig.from_env(environ | {f"MIROS_MESH_{variable}_FILE": str(elsewhere)})
    assert after.brokers == other.brokers
    assert after != other


def test_settings_of_a_file_tell_what_it_holds_now(file: Path) -> None:
    config = MeshConfig(rabbit_user="u", rabbit_password=SecretFile(file), mesh_encryption_key=KEY)
    file.write_text("new")

    assert [broker.password for broker in config.brokers] == ["old"]
    assert [broker.password for broker in config.brokers_now()] == ["new"]
    assert "'old'" not in repr(config)
    assert ":old@" not in repr(config)
    # With other settings beside it the file is read anew.
    assert config.overridden(outbox_events=7).brokers == config.brokers_now()


def test_a_password_given_directly_has_no_file() -> None:
    config = MeshConfig(rabbit_user="u", rabbit_password="p", mesh_encryption_key=KEY)
    assert config.credentials_file is None
