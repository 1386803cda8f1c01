"""Connection pools: what is lent, what comes back, and which error tells of several addresses."""

from __future__ import annotations

from collections.abc import Iterator

import amqp
import kombu
import pytest

from miros_mesh.address import BrokerAddress
from miros_mesh.errors import BrokerUnreachableError, CredentialsRefusedError, LinkError
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
