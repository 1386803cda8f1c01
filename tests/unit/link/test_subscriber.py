"""What a subscriber does without."""

from __future__ import annotations

import kombu
import pytest

from miros_mesh.link.connections import ConnectionPools
from miros_mesh.link.ports import Broker
from miros_mesh.link.subscriber import BrokerSubscriber
from miros_mesh.observer import Observer
from support.memory_connection import memory_connection


def test_dead_letters_for_which_there_is_no_channel_are_done_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    subscriber = BrokerSubscriber(
        name="mesh-test",
        broker=Broker("memory"),
        pools=ConnectionPools(lambda _: memory_connection()),
        attempts=1,
        observer=Observer(),
    )
    # Kombu's own transport, since ours has no limit; it raises the error of py-amqp.
    with kombu.Connection("memory://") as connection:
        connection.connect()
        transport = connection.transport
        transport.channel_max = len(transport._used_channel_ids)
        connection.channel()

        subscriber._keep_dead_letters(connection)

    assert "dead letters are not kept: memory refuses the queue for them" in caplog.text
    subscriber.stop(0)
