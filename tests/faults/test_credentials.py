"""A broker refuses to be connected to again: it is told, and once it is put right all goes on."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kombu
import pytest
from prometheus_client import CollectorRegistry

from faults.conftest import PATIENT, Others, settings
from faults.relay import HOST, Relay
from faults.traffic import Handled, events_through
from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.networks.network import exchange_of
from miros_mesh.observe.metrics.observer import MetricsObserver
from support.charts_at_work import KEY, Heard, Launch, event
from support.rabbitmq_server import RabbitServer, erlang_string
from support.scraped import scraped
from support.waiting import wait_until

LIMIT_S = 30.0
OLD = "secret-of-yesterday"
NEW = "secret-of-today"


@dataclass
class Account:
    """A user of the broker, whose password is in a file that the nodes read."""

    server: RabbitServer
    relay: Relay
    vhost: str
    file: Path
    user: str

    def settings(self, **changes: Any) -> MeshConfig:
        return settings(SecretFile(self.file), **changes)

    def change(self, password: str) -> None:
        """Change the password at the broker."""
        words = f"{erlang_string(self.user)}, {erlang_string(password)}, <<>>"
        self.server.eval(f"ok = rabbit_auth_backend_internal:change_password({words})")

    def write(self, password: str) -> None:
        """Change the password in the file."""
        url = self.server.url(self.vhost, self.user, password)
        self.file.touch(0o600)
        self.file.write_text(url.replace(f":{self.server.port}/", f":{self.relay.port}/"))

    def allow(self) -> None:
        """Let the user do everything in the virtual host."""
        self.server.set_permissions(self.user, self.vhost)

    def forbid(self) -> None:
        """Let the user do nothing in the virtual host any more."""
        words = ", ".join(map(erlang_string, (self.user, self.vhost)))
        self.server.eval(f"rabbit_auth_backend_internal:clear_permissions({words}, <<>>)")


@pytest.fixture
def account(rabbitmq: RabbitServer, relay: Relay, tmp_path: Path) -> Iterator[Account]:
    user = f"own-{secrets.token_hex(4)}"
    made = Account(rabbitmq, relay, rabbitmq.new_vhost(), tmp_path / "url", user)
    rabbitmq.add_user(user, OLD)
    made.allow()
    made.write(OLD)
    yield made
    rabbitmq.delete_user(user)


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def sender(
    account: Account, launch: Launch, handled: Handled, registry: CollectorRegistry
) -> NetworkedActiveObject:
    """One that sends to a receiver on another node; its metrics go to the registry."""
    launch("receiver", account.settings(), handled)
    observers = (MetricsObserver(registry),)
    return launch("sender", account.settings(observers=observers), Heard())


def outage(chart: NetworkedActiveObject) -> str | None:
    """Why the home broker of a chart is away."""
    health = chart.health()
    found = health.outages.get(health.home)
    return found.reason if found else None


def lines(caplog: pytest.LogCaptureFixture, *words: str) -> list[str]:
    """What was said of attempts to connect that failed, with all of these words."""
    said = [text for text in caplog.messages if "cannot connect, and keeps trying" in text]
    return [text for text in said if all(word in text for word in words)]


def test_password_rotated(
    account: Account, sender: NetworkedActiveObject, handled: Handled
) -> None:
    with events_through("password rotated, then cut", sender, handled):
        account.change(NEW)
        account.write(NEW)
        account.relay.cut()
    wait_until(lambda: sender.health().ready)


def test_password_rotated_at_the_broker_first(
    account: Account,
    sender: NetworkedActiveObject,
    handled: Handled,
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
    others: Others,
) -> None:
    """The others are of another user."""
    fault = "password rotated, the file later"
    beside = settings(account.server.url(account.vhost), **PATIENT)
    with others(fault, beside, beside), events_through(fault, sender, handled):
        account.change(NEW)
        account.relay.cut()
        wait_until(lambda: outage(sender) == "credentials", LIMIT_S)
        home = sender.health().home
        refused = f"connection_failures_total/{home}/credentials"
        wait_until(lambda: scraped(registry).get(refused, 0) >= 2, LIMIT_S)
        assert not sender.health().ready
        assert all("credentials, since" in each for each in sender.health().unready)
        assert lines(caplog, "publisher", f"{HOST}:{account.relay.port}", "refused the user")
        assert lines(caplog, "subscriber", "refused the user or the password")
        account.write(NEW)
    wait_until(lambda: sender.health().ready)
    assert sender.health().outages == {}
    assert OLD not in caplog.text
    assert NEW not in caplog.text


def test_password_rotated_while_its_file_is_away(
    account: Account,
    sender: NetworkedActiveObject,
    handled: Handled,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with events_through("password rotated, its file away", sender, handled):
        account.file.unlink()
        account.relay.cut()
        # The old one is good, until it is changed.
        wait_until(lambda: "still takes an old password" in caplog.text, LIMIT_S)
        wait_until(lambda: sender.health().ready, LIMIT_S)
        account.change(NEW)
        account.relay.cut()
        wait_until(lambda: outage(sender) == "credentials_file", LIMIT_S)
        wait_until(lambda: lines(caplog, "names a file that cannot be read: No such file"), LIMIT_S)
        account.write(NEW)
    wait_until(lambda: sender.health().ready)


def test_charts_that_start_after_a_rotation_share_the_node(
    account: Account, launch: Launch
) -> None:
    before = account.settings(observers=())
    first = launch("first", before, Heard())
    account.change(NEW)
    account.write(NEW)

    after = account.settings(observers=())
    second = launch("second", after, Heard())

    assert before.brokers != after.brokers
    assert first.health().node == second.health().node


def test_virtual_host_deleted_and_made_again(
    account: Account,
    sender: NetworkedActiveObject,
    handled: Handled,
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with events_through("virtual host deleted and made again", sender, handled):
        account.server.delete_vhost(account.vhost)
        wait_until(lambda: outage(sender) == "virtual_host", LIMIT_S)
        wait_until(lambda: lines(caplog, "publisher", "virtual host"), LIMIT_S)
        wait_until(lambda: lines(caplog, "subscriber", "virtual host"), LIMIT_S)
        home = sender.health().home
        assert scraped(registry)[f"connection_failures_total/{home}/virtual_host"]
        account.server.eval(f"rabbit_vhost:add({erlang_string(account.vhost)}, <<>>)")
        account.allow()
    wait_until(lambda: sender.health().ready)


def test_rights_and_exchange_gone_before_the_virtual_host(
    account: Account, sender: NetworkedActiveObject, handled: Handled
) -> None:
    """RabbitMQ takes them in this order when it deletes a virtual host, and the connections last."""
    with events_through("rights taken, and the exchange deleted", sender, handled):
        account.forbid()
        with kombu.Connection(account.server.url(account.vhost)) as administrator:
            administrator.channel().exchange_delete(exchange_of("mesh"))
        wait_until(lambda: outage(sender) == "virtual_host", LIMIT_S)
        account.allow()
    wait_until(lambda: sender.health().ready)
    assert sender.stop().refused == 0


@pytest.mark.parametrize("order", [1, -1], ids=["good_first", "refused_first"])
def test_of_two_users_of_one_broker_the_one_that_it_takes_is_used(
    order: int, rabbitmq: RabbitServer, vhost: str, launch: Launch
) -> None:
    # Given two URLs of one place, with a user that the broker takes and one that it refuses
    urls = (rabbitmq.url(vhost), rabbitmq.url(vhost, "stranger", "wrong"))[::order]
    config, heard = MeshConfig(broker_url=urls, mesh_encryption_key=KEY), Heard()

    # When charts start there
    launch("receiver", config.overridden(node_name="house"), heard)
    sender = launch("sender", config, Heard())

    # Then they come in as the good one
    sender.transmit(event("hello"))
    wait_until(lambda: heard == [("hello", None)])
