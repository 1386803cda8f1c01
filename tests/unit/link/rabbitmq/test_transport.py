"""Frames of a delivery: whatever a sender wrote into them, only the body comes through."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import pytest
from amqp.serialization import dumps, loads
from amqp.spec import Basic, Channel
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.link.rabbitmq.frame_reader import AmqpFrame
from miros_mesh.link.rabbitmq.transport import cautious_frame_handler

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
CHANNEL = 7
names = st.text(st.characters(codec="ascii"), max_size=60)
any_word = st.binary(max_size=255)


def received(*frames: AmqpFrame, closing: bool = False) -> list[tuple[Any, ...]]:
    """What py-amqp dispatches of these frames: channel, method, arguments, message."""
    dispatched: list[tuple[Any, ...]] = []
    channels = {CHANNEL: SimpleNamespace(is_closing=closing)}
    handle = cautious_frame_handler(
        SimpleNamespace(bytes_recv=0, channels=channels),
        lambda *facts: dispatched.append(facts),
    )
    for frame in frames:
        handle(frame)
    return dispatched


def method(signature: tuple[int, int], arguments: bytes) -> AmqpFrame:
    return METHOD, CHANNEL, struct.pack(">HH", *signature) + arguments


def shortstr(word: bytes) -> bytes:
    return bytes([len(word)]) + word


def header(body: bytes, properties: bytes) -> AmqpFrame:
    return HEADER, CHANNEL, struct.pack(">HxxQ", Basic.CLASS_ID, len(body)) + properties


routing_keys = any_word | names.map(str.encode)


def readable(word: bytes) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError:
        return ""


@given(names, st.integers(0, 2**63), st.booleans(), names, routing_keys, any_word, st.binary())
def test_a_delivery_keeps_where_it_came_and_its_body_and_nothing_else(
    consumer: str,
    tag: int,
    redelivered: bool,
    exchange: str,
    routing_key: bytes,
    content_type: bytes,
    body: bytes,
) -> None:
    arguments = dumps("sLbs", (consumer, tag, redelivered, exchange)) + shortstr(routing_key)
    properties = struct.pack(">H", 0x8000) + shortstr(content_type)
    frames = [method(Basic.Deliver, arguments), header(body, properties)]

    (delivery,) = received(*frames, *([(BODY, CHANNEL, body)] if body else []))

    channel, signature, payload, message = delivery
    assert (channel, signature) == (CHANNEL, Basic.Deliver)
    assert loads("sLbss", payload, 4)[0] == [
        *(consumer, tag, redelivered, exchange, readable(routing_key)),
    ]
    assert message.properties == {}
    assert message.body == (body or "")


@given(st.integers(0, 2**63), st.booleans(), names, any_word, st.integers(0, 2**32 - 1))
def test_what_was_asked_for_keeps_its_tag_its_exchange_and_how_much_is_left(
    tag: int, redelivered: bool, exchange: str, routing_key: bytes, left: int
) -> None:
    arguments = dumps("Lbs", (tag, redelivered, exchange)) + shortstr(routing_key)
    frames = [method(Basic.GetOk, arguments + struct.pack(">I", left)), header(b"x", b"\0\0")]

    ((_, signature, payload, _),) = received(*frames, (BODY, CHANNEL, b"x"))

    assert signature == Basic.GetOk
    assert loads("Lbssl", payload, 4)[0] == [tag, redelivered, exchange, "", left]


@pytest.mark.parametrize("signature", [Basic.Ack, Basic.Nack, Basic.ConsumeOk, Basic.QosOk])
def test_every_other_method_comes_through_as_it_is(signature: tuple[int, int]) -> None:
    arguments = b"\x05hello\x00\x01\x02\x03\x04"

    (answer,) = received(method(signature, arguments))

    assert answer == (CHANNEL, signature, struct.pack(">HH", *signature) + arguments, None)


def test_a_channel_that_closes_gets_its_answers_and_no_delivery() -> None:
    body = b"late"
    arguments = dumps("sLbs", ("consumer", 1, False, "exchange")) + shortstr(b"key")
    delivery = [method(Basic.Deliver, arguments), header(body, b"\0\0"), (BODY, CHANNEL, body)]

    assert len(received(*delivery)) == 1
    ((_, answered, *_),) = received(*delivery, method(Channel.CloseOk, b""), closing=True)

    assert answered == Channel.CloseOk


def test_a_heartbeat_ends_the_wait_for_input() -> None:
    """Else an event transmitted just then would leave half a second later."""
    handle = cautious_frame_handler(SimpleNamespace(bytes_recv=0), lambda *_: None)
    assert handle((HEARTBEAT, 0, b""))
    assert not handle(method(Basic.Deliver, dumps("sLbs", ("c", 1, False, "e")) + shortstr(b"k")))
