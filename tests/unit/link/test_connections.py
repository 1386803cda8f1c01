"""Connection pools: what is lent, what comes back, and which error tells of several addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import amqp
import kombu
import pytest

from miros_mesh.address import BrokerAddress
from miros_mesh.errors import (
    BrokerUnreachableError,
    CredentialsFileError,
    CredentialsRefusedError,
    LinkError,
)
from miros_mesh.link.connections import CONNECTIONS_PER_ADDRESS, ConnectionPools
from miros_mesh.link.ports import Broker
from support.memory_connection import memory_connection

DOWN, REFUSING, WORKING = (
    BrokerAddress("amqp", host, 5672, user="peter", password="rabbit")
    for host in ("down", "refusing", "working")
)


def dial(address: BrokerAddress | None) -> kombu.Connection:
    if address == DOWN:
        raise ConnectionRefusedError(111, "refused")
    if address == REFUSING:
        raise amqp.AccessRefused("no")
    return memory_connection()


@pytest.fixture
def pools() -> Iterator[ConnectionPools]:
    made = ConnectionPools(dial)
    yield made
    made.close()


def test_a_connection_belongs_to_one_borrower_until_it_is_given_back(
    pools: ConnectionPools,
) -> None:
    broker = Broker("one", (WORKING,))
    lent = [pools.open(broker) for _ in range(CONNECTIONS_PER_ADDRESS)]
    assert len(set(map(id, lent))) == CONNECTIONS_PER_ADDRESS

    with pytest.raises(BrokerUnreachableError, match="4 connections there already"):
        pools.open(broker)
    pools.give_back(lent[0], broken=False)

    assert pools.open(broker).connected


@pytest.mark.parametrize("broken", [False, True])
def test_what_is_given_back_is_connected_anew(pools: ConnectionPools, *, broken: bool) -> None:
    broker = Broker("one", (WORKING,))
    connection = pools.open(broker)
    first = connection.connection

    pools.give_back(connection, broken=broken)
    again = [pools.open(broker) for _ in range(CONNECTIONS_PER_ADDRESS)]

    assert all(each.connected and each.connection is not first for each in again)


def test_the_addresses_are_tried_in_their_order(pools: ConnectionPools) -> None:
    assert pools.open(Broker("cluster", (DOWN, REFUSING, WORKING))).connected


@pytest.mark.parametrize("addresses", [(DOWN, REFUSING), (REFUSING, DOWN)])
def test_a_failure_tells_of_all_addresses_and_is_retryable_if_one_is(
    pools: ConnectionPools, addresses: tuple[BrokerAddress, ...]
) -> None:
    with pytest.raises(BrokerUnreachableError) as raised:
        pools.open(Broker("cluster", addresses))

    assert raised.value.retryable
    assert all(address.redacted in str(raised.value) for address in addresses)


def test_a_failure_at_every_address_that_needs_a_person_is_not_retryable(
    pools: ConnectionPools,
) -> None:
    with pytest.raises(LinkError) as raised:
        pools.open(Broker("cluster", (REFUSING, REFUSING)))

    assert type(raised.value) is CredentialsRefusedError


class Login:
    """Credentials that change, and a broker that takes those of one password."""

    def __init__(self) -> None:
        self.password = "old"
        self.problem = ""
        self.right = "old"

    def now(self, address: BrokerAddress) -> tuple[BrokerAddress, str]:
        return replace(address, password=self.password), self.problem

    def dial(self, address: BrokerAddress | None) -> kombu.Connection:
        assert address
        if address.password != self.right:
            raise amqp.AccessRefused("no")
        return memory_connection()


@pytest.fixture
def login() -> Login:
    return Login()


@pytest.fixture
def asking(login: Login) -> Iterator[ConnectionPools]:
    made = ConnectionPools(login.dial, login.now)
    yield made
    made.close()


def test_each_connection_is_made_with_the_credentials_of_the_moment(
    asking: ConnectionPools, login: Login
) -> None:
    broker = Broker("one", (WORKING,))
    first = asking.open(broker)

    login.right = "new"
    login.password = "wrong"
    with pytest.raises(CredentialsRefusedError) as raised:
        asking.open(broker)
    login.password = "new"

    assert type(raised.value) is CredentialsRefusedError
    assert asking.open(broker).connected
    assert first.connected
    # Both are of one pool, whose places are as many as ever.
    for _ in range(CONNECTIONS_PER_ADDRESS - 2):
        asking.open(broker)
    with pytest.raises(BrokerUnreachableError, match="4 connections there already"):
        asking.open(broker)


def test_a_refusal_of_old_credentials_says_why_they_are_old(
    asking: ConnectionPools, login: Login
) -> None:
    asking.give_back(asking.open(Broker("one", (WORKING,))), broken=False)
    login.password, login.problem = "wrong", "its file is empty"

    with pytest.raises(
        CredentialsFileError, match="refused the .*; they are old: its file is empty"
    ):
        asking.open(Broker("one", (WORKING,)))


def test_old_credentials_that_are_still_good_connect_and_are_told(
    asking: ConnectionPools, login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    login.problem = "its file is empty"

    assert asking.open(Broker("one", (WORKING,))).connected

    assert caplog.messages == [f"{WORKING} still takes an old password: its file is empty"]
