"""A delivery: what it says of how often it came."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from miros_mesh.link.rabbitmq.consumer import Consumer, MessageDelivery
from miros_mesh.link.rabbitmq.headers import AGAIN_HEADER


def delivery(headers: dict[str, Any] | None, *, returned: bool) -> MessageDelivery:
    message = SimpleNamespace(headers=headers, delivery_info={"redelivered": returned})
    return MessageDelivery(cast("Consumer", None), message)


@pytest.mark.parametrize(
    ("headers", "returned", "redelivered", "deliveries"),
    [
        (None, False, False, 1),
        ({}, True, True, 2),
        ({AGAIN_HEADER: True}, False, True, 2),
        ({AGAIN_HEADER: False}, False, False, 1),
        ({"x-delivery-count": 0}, False, False, 1),
        ({"x-delivery-count": 4}, True, True, 5),
        # From RabbitMQ 4.0 on, of one that was given back and not failed.
        ({"x-acquired-count": 4, "x-delivery-count": 1}, True, True, 5),
        ({"x-delivery-count": 0, AGAIN_HEADER: True}, False, True, 2),
        # Anybody may send anything.
        ({"x-delivery-count": "many"}, True, True, 2),
        ({"x-delivery-count": -9}, False, False, 1),
    ],
)
def test_it_tells_how_often_it_came(
    headers: dict[str, Any] | None, *, returned: bool, redelivered: bool, deliveries: int
) -> None:
    made = delivery(headers, returned=returned)

    assert (made.returned, made.redelivered, made.deliveries) == (returned, redelivered, deliveries)
