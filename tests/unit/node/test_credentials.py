"""Who a node is at its brokers, while the files of its settings change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from miros_mesh.address import BrokerAddress, Endpoint
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.config.settings import MeshConfig
from miros_mesh.node.credentials import Credentials
from miros_mesh.node.node import Node
from miros_mesh.node.search.settings import refusals_of
from support.charts_at_work import KEY

FOUND = BrokerAddress("amqp", "10.7.0.9", 5672, user="peter", password="old")


class Changes:
    """Counts how often other credentials were read."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a password."""
    path = tmp_path / "password"
    path.touch(0o600)
    path.write_text("old\n")
    return path


@pytest.fixture
def url_file(tmp_path: Path) -> Path:
    """The file of two URLs."""
    path = tmp_path / "url"
    path.touch(0o600)
    path.write_text("amqp://peter:old@one/v,amqp://peter:old@two/v\n")
    return path


def ancestor(file: Path) -> MeshConfig:
    return MeshConfig(
        rabbit_user="peter", rabbit_password=SecretFile(file), mesh_encryption_key=KEY
    )


def shared(file: Path) -> MeshConfig:
    return MeshConfig(broker_url=SecretFile(file), mesh_encryption_key=KEY)


def logins(credentials: Credentials, *addresses: BrokerAddress) -> list[tuple[str, str]]:
    """User and password at each; there is no problem."""
    now = [credentials(address) for address in addresses]
    assert [problem for _, problem in now] == [""] * len(now)
    return [(address.user, address.password) for address, _ in now]


def test_without_a_file_an_address_stays_as_it_is() -> None:
    config = MeshConfig(broker_url="amqp://peter:old@one", mesh_encryption_key=KEY)
    [address] = config.brokers

    assert Credentials(config, Changes())(address) == (address, "")


def test_two_users_at_one_place_each_stay_who_they_are() -> None:
    urls = ("amqp://right:pw@one/v", "amqp://wrong:no@one/v")
    config = MeshConfig(broker_url=urls, mesh_encryption_key=KEY)

    each = logins(Credentials(config, Changes()), *config.brokers)

    assert each == [("right", "pw"), ("wrong", "no")]


def test_two_users_at_one_place_each_follow_their_own_line_of_the_file(url_file: Path) -> None:
    url_file.write_text("amqp://a:old@one/v,amqp://b:old@two/v,amqp://c:old@one/v")
    config, changes = shared(url_file), Changes()
    credentials = Credentials(config, changes)
    assert [user for user, _ in logins(credentials, *config.brokers)] == ["a", "b", "c"]
    assert changes.count == 0

    url_file.write_text("amqp://b:1@two/v,amqp://a:2@one/v,amqp://d:3@one/v")

    assert logins(credentials, *config.brokers, FOUND) == [
        ("a", "2"),
        ("b", "1"),
        ("d", "3"),
        ("a", "2"),
    ]


def test_a_user_whose_line_is_gone_from_the_file_keeps_what_it_had(url_file: Path) -> None:
    url_file.write_text("amqp://a:old@one/v,amqp://b:old@one/v")
    config = shared(url_file)
    credentials = Credentials(config, Changes())
    url_file.write_text("amqp://a:new@one/v")

    one, two = (credentials(address) for address in config.brokers)

    assert (one[0].password, two[0].user, two[0].password) == ("new", "b", "old")
    assert "start anew" in two[1]


def test_a_password_is_read_at_each_call_for_found_brokers_too(file: Path) -> None:
    config, changes = ancestor(file), Changes()
    credentials = Credentials(config, changes)
    assert logins(credentials, *config.brokers, FOUND) == [("peter", "old")] * 2

    file.write_text("new")

    assert logins(credentials, *config.brokers, FOUND) == [("peter", "new")] * 2
    assert changes.count == 1


def test_each_broker_of_a_file_of_urls_has_its_own_user_and_password(url_file: Path) -> None:
    config = shared(url_file)
    credentials = Credentials(config, Changes())

    url_file.write_text("amqp://paul:b@two/v amqp://mary:a@one/v")

    assert logins(credentials, *config.brokers) == [("mary", "a"), ("paul", "b")]


def test_a_file_that_names_other_brokers_needs_a_restart_and_gives_them_no_password(
    url_file: Path,
) -> None:
    config = shared(url_file)
    credentials = Credentials(config, Changes())
    url_file.write_text("amqp://peter:new@one/v,amqp://peter:secret@three/v")

    one, two = (credentials(address) for address in config.brokers)

    assert (one[0].password, two[0].password) == ("new", "old")
    assert (
        one[1]
        == two[1]
        == ("broker_url names other brokers now, for which the program has to start anew")
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "names a file that cannot be read: No such file or directory"),
        ("\n", "names an empty file"),
    ],
)
def test_without_a_file_of_use_the_last_password_stands_and_the_reason_is_told(
    file: Path, content: str | None, why: str
) -> None:
    config = ancestor(file)
    credentials = Credentials(config, Changes())
    file.write_text("new")
    credentials(config.brokers[0])

    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    address, problem = credentials(config.brokers[0])

    assert (address.password, problem) == ("new", f"rabbit_password {why}")

    file.touch(0o600)
    file.write_text("newest")
    assert logins(credentials, *config.brokers) == [("peter", "newest")]


def test_a_malformed_url_in_the_file_is_told_and_not_quoted(url_file: Path) -> None:
    config = shared(url_file)
    url_file.write_text("amqp://peter:se/cret@one")

    address, problem = Credentials(config, Changes())(config.brokers[0])

    assert address.password == "old"
    assert problem.startswith("broker_url: the broker URL ")
    assert "cret" not in problem


def test_a_pipe_is_read_once_since_a_second_time_would_wait_for_ever(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    pipe.touch(0o600)
    pipe.write_text("old")
    config = ancestor(pipe)
    pipe.unlink()
    os.mkfifo(pipe)

    assert Credentials(config, Changes())(config.brokers[0]) == (config.brokers[0], "")


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device_is_read_once(device: str) -> None:
    assert SecretFile(Path(device)).once


def test_a_folder_in_place_of_the_file_is_told(file: Path) -> None:
    config = ancestor(file)
    file.unlink()
    file.mkdir()

    _, problem = Credentials(config, Changes())(config.brokers[0])

    assert problem == "rabbit_password names a file that cannot be read: Is a directory"


def test_a_node_looks_again_at_brokers_that_refused_an_earlier_password(file: Path) -> None:
    config = ancestor(file)
    node, found = Node(config), Endpoint("10.7.0.9", 5672)
    link: Any = node._link
    refusals = refusals_of(config)
    refusals.add(found)
    link._looks._credentials(FOUND)
    assert found in refusals

    file.write_text("new")
    link._looks._credentials(FOUND)

    assert found not in refusals
    node.stop()
