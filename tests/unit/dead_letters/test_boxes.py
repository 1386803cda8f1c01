"""Which broker a letter goes back to, by the address that stands in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.address import BrokerAddress
from miros_mesh.config.settings import MeshConfig
from miros_mesh.dead_letters.boxes import broker_of
from miros_mesh.errors import AddressError
from miros_mesh.link.ports import Broker
from miros_mesh.node.node import home_broker
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import KEY

CLUSTER = ("amqp://peter:hush@one/v", "amqp://peter:hush@two/v")


def at(*urls: str, **settings: Any) -> MeshConfig:
    return MeshConfig(broker_url=urls, mesh_encryption_key=KEY, **settings)


def broker_for(config: MeshConfig, peer: str) -> Broker:
    return broker_of(peer, home_broker(config), config)


@pytest.mark.parametrize(
    "peer", ["", "amqp://peter@one:5672/v", "amqp://peter@two:5672/v", "amqp://mary@one:5672/v"]
)
def test_each_address_of_the_home_broker_is_all_of_it(peer: str) -> None:
    config = at(*CLUSTER)
    assert broker_for(config, peer) == home_broker(config)


@pytest.mark.parametrize("config", [MeshConfig(), MemoryMesh().config()], ids=["embedded", "own"])
def test_a_home_broker_without_an_address_is_known_by_its_name(config: MeshConfig) -> None:
    home = home_broker(config)
    assert broker_for(config, home.name) == home


@pytest.mark.parametrize("peer", ["amqp://peter@one:5672/w", "amqp://peter@three:5672/v"])
def test_another_broker_gets_the_credentials_of_the_settings(peer: str) -> None:
    (address,) = broker_for(at(*CLUSTER), peer).addresses
    assert address.redacted == peer
    assert (address.user, address.password) == ("peter", "hush")


def test_a_password_goes_encrypted_where_the_settings_encrypt() -> None:
    config = at("amqps://peter:hush@one/v")
    (address,) = broker_for(config, "amqp://peter@three:5672/v").addresses
    assert address.scheme == "amqps"


def test_a_broker_that_a_certificate_logs_in_to_is_known_without_a_user() -> None:
    config = at("amqps://one/v", "amqp://two/v", broker_cert_file="/x/node.pem")
    assert broker_for(config, "amqps://one:5671/v") == home_broker(config)
    (address,) = broker_for(config, "amqps://three:5671/v").addresses
    assert address.redacted == "amqps://three:5671/v"


@pytest.mark.parametrize("peer", ["embedded:/home/peter", "NoLink", "amqp://", "amqp://a@b:x/"])
def test_what_the_settings_do_not_lead_to_is_said_and_no_password(peer: str) -> None:
    with pytest.raises(AddressError, match="was refused by .* settings lead to") as raised:
        broker_for(at(*CLUSTER), peer)
    assert "hush" not in str(raised.value)


def test_the_embedded_broker_knows_no_other() -> None:
    with pytest.raises(AddressError, match="refused by amqp://peter@one:5672/v, .* embedded:"):
        broker_for(MeshConfig(), "amqp://peter@one:5672/v")


@given(
    user=st.text(min_size=1, max_size=20),
    host=st.sampled_from(["h", "10.0.0.7", "fd00::1", "fe80::1%eth0", "a.b_c"]),
    virtual_host=st.text(min_size=1, max_size=20),
)
def test_every_address_that_a_letter_can_have_is_read(
    user: str, host: str, virtual_host: str
) -> None:
    try:
        refuser = BrokerAddress("amqp", host, 5673, virtual_host, user, "other")
        peer = refuser.redacted
        BrokerAddress.parse(peer.replace("@", ":x@", 1))
    # No such user or virtual host comes from a URL.
    except ValueError:
        return
    (address,) = broker_for(at(*CLUSTER), peer).addresses
    assert (address.host, address.port) == (host, 5673)
    assert address.virtual_host == virtual_host
