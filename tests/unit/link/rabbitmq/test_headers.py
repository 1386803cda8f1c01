"""What is read of a header frame: numbers of three names, whatever else a sender wrote."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from amqp.basic_message import Message
from amqp.serialization import decode_properties_basic
from amqp.spec import Basic
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.link.rabbitmq.headers import AGAIN_HEADER, wanted_properties

BEFORE = struct.pack(">HxxQ", Basic.CLASS_ID, 5)
WANTED = {AGAIN_HEADER: True, "x-delivery-count": 7, "x-acquired-count": 2**40}


def header(**properties: Any) -> bytes:
    """The payload that py-amqp, or a RabbitMQ, sends."""
    sent: bytes = Message(**properties)._serialize_properties()
    return BEFORE + sent


def read(payload: bytes) -> dict[str, Any]:
    """What py-amqp makes of it."""
    properties, end = decode_properties_basic(wanted_properties(payload), 0)
    assert end == len(wanted_properties(payload))
    assert set(properties) <= {"application_headers"}
    return dict(properties.get("application_headers", {}))


OTHERS: dict[str, Any] = {
    "compression": "application/x-gzip",
    "x-death": [{"count": 1, "queue": "queue"}],
    "small": 3,
    "half": 0.5,
    "nothing": None,
    "table": {"x-delivery-count": 9},
}


@pytest.mark.parametrize("more", [{}, {"content_type": "a/b", "content_encoding": "binary"}])
def test_numbers_of_known_names_come_through_and_nothing_else(more: dict[str, Any]) -> None:
    payload = header(application_headers=OTHERS | WANTED, **more, message_id="an id")

    assert read(payload) == WANTED
    assert wanted_properties(header(**more)) == b"\0\0"
    assert wanted_properties(header(application_headers={}, **more)) == b"\0\0"


def test_a_known_name_of_another_kind_says_nothing() -> None:
    others = {AGAIN_HEADER: "yes", "x-delivery-count": [1], "x-acquired-count": {"a": 1}}

    assert read(header(application_headers=others)) == {}


def test_of_very_many_headers_the_first_are_read() -> None:
    many = {f"name {number}": number for number in range(10_000)}

    assert read(header(application_headers=many | WANTED)) == {}
    assert read(header(application_headers=WANTED | many)) == WANTED


@given(st.binary(max_size=300))
def test_any_bytes_are_read_as_something(rubbish: bytes) -> None:
    read(BEFORE + rubbish)
    read(BEFORE + b"\x20\x00" + struct.pack(">I", len(rubbish)) + rubbish)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3))
def test_a_damaged_header_is_read_as_something(at: int, damage: bytes) -> None:
    whole = bytearray(header(application_headers=OTHERS | WANTED, content_type="a/b"))
    whole[at : at + len(damage)] = damage

    read(BEFORE + bytes(whole[len(BEFORE) :]))
