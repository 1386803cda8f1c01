"""A delivery is read in one step as py-amqp reads it, or left to py-amqp."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.link.rabbitmq.frame_reader import delivery_at
from miros_mesh.link.rabbitmq.headers import AGAIN_HEADER

AGAIN = (
    b"\x20\0"
    + struct.pack(">I", len(AGAIN_HEADER) + 3)
    + bytes([len(AGAIN_HEADER)])
    + AGAIN_HEADER.encode()
    + b"t\1"
)


def test_a_delivery_is_read_in_one_step() -> None:
    data = b"before" + delivery(b"body") + b"behind"
    found = delivery_at(data, 6)
    assert found is not None
    assert (found.channel, found.consumer_tag, found.delivery_tag) == (3, "tag", 7)
    assert found.delivery_info == {"redelivered": False, "routing_key": "a.b"}
    assert (found.body, found.headers) == (b"body", {})
    assert data[found.end :] == b"behind"


def test_the_brokers_word_that_it_came_before_is_kept() -> None:
    found = delivery_at(delivery(b"body", redelivered=1), 0)
    assert found is not None
    assert found.delivery_info["redelivered"] is True


def test_a_part_of_a_delivery_is_none_yet() -> None:
    whole = delivery(b"body")
    assert not any(delivery_at(whole[:size], 0) for size in range(len(whole)))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"properties": AGAIN}, id="headers that are wanted"),
        pytest.param({"routing_key": b"\xff"}, id="a routing key that is no text"),
        pytest.param({"consumer_tag": b"\xff"}, id="a tag that is no text"),
        pytest.param({"body_size": 5}, id="a body in several frames"),
        pytest.param({"body_channel": 4}, id="another channel's body"),
        pytest.param({"method": b"\0\x3c\0\x32"}, id="another method"),
        pytest.param({"more": b"!"}, id="more than the arguments"),
        pytest.param({"end": b"!"}, id="another end"),
    ],
)
def test_what_is_otherwise_is_left_to_py_amqp(other: dict[str, Any]) -> None:
    assert delivery_at(delivery(b"body", **other), 0) is None


@given(st.binary(max_size=200), st.integers(0, 10))
def test_nothing_that_a_broker_may_send_raises(data: bytes, at: int) -> None:
    delivery_at(data, at)


@given(st.data())
def test_nothing_that_is_like_a_delivery_raises(data: st.DataObject) -> None:
    whole = bytearray(delivery(b"body"))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[at] = data.draw(st.integers(0, 255))
    delivery_at(bytes(whole), 0)


def delivery(
    body: bytes,
    *,
    redelivered: int = 0,
    properties: bytes = b"\0\0",
    routing_key: bytes = b"a.b",
    consumer_tag: bytes = b"tag",
    body_size: int | None = None,
    body_channel: int = 3,
    method: bytes = b"\0\x3c\0\x3c",
    more: bytes = b"",
    end: bytes = b"\xce",
) -> bytes:
    """The frames of a delivery."""
    arguments = _short(consumer_tag) + struct.pack(">QB", 7, redelivered) + _short(b"exchange")
    size = len(body) if body_size is None else body_size
    return (
        _frame(1, 3, method + arguments + _short(routing_key) + more)
        + _frame(2, 3, struct.pack(">HHQ", 60, 0, size) + properties)
        + _frame(3, body_channel, body, end)
    )


def _frame(kind: int, channel: int, payload: bytes, end: bytes = b"\xce") -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


def _short(text: bytes) -> bytes:
    return bytes([len(text)]) + text
