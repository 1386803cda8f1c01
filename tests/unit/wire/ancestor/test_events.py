"""Events of the ancestor: opened, checked, and put in the form that all others have; and back."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from miros import Event, signals

from miros_mesh.errors import (
    ClockError,
    FrameError,
    MalformedFrameError,
    OldFrameError,
    OversizeFrameError,
    PayloadError,
    UndecryptableFrameError,
    WrongTopicError,
)
from miros_mesh.networks.network import UNNUMBERED
from miros_mesh.wire.ancestor.codec import ANCESTOR, INCARNATION
from miros_mesh.wire.ancestor.events import EventCodec
from miros_mesh.wire.envelope import Envelope
from miros_mesh.wire.freshness import Freshness
from miros_mesh.wire.keyring import KeyRing, generate_key
from miros_mesh.wire.serializer import MsgpackSerializer

KEY, TOPIC, ADDRESS = generate_key(), "heya.man", "192.168.1.75"
serializer = MsgpackSerializer()
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner, max_size=4)
    ),
    max_leaves=10,
)


class Heard(list[str]):
    """The addresses that were heard."""


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def codec(heard: Heard) -> EventCodec:
    return made(heard)


def made(heard: Heard, **more: Any) -> EventCodec:
    settings: dict[str, Any] = {"max_event_bytes": 10_000, "max_bytes": 80_000}
    return EventCodec(
        KeyRing([KEY]),
        serializer,
        {},
        address=lambda: "10.0.0.7",
        heard=heard.append,
        **settings | more,
    )


def token(value: object, key: bytes = KEY, at: float | None = None, protocol: int = 3) -> bytes:
    """As an ancestor's publisher makes it."""
    at = time.time() if at is None else at
    return Fernet(key).encrypt_at_time(pickle.dumps(value, protocol), int(at))


def event_of(signal: str, payload: object = None) -> tuple[str, str]:
    return ADDRESS, Event.dumps(Event(signal=getattr(signals, signal), payload=payload))


def opened(codec: EventCodec, body: bytes, topic: str = TOPIC) -> list[Envelope]:
    return codec.receive(body, topic, Freshness(), again=False).messages


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_an_event_of_an_ancestor_is_like_any_other(
    codec: EventCodec, heard: Heard, protocol: int
) -> None:
    (event,) = opened(codec, token(event_of("PING", {"a": [1, None]}), protocol=protocol))

    assert (event.node, event.chart, event.incarnation) == (ADDRESS, ANCESTOR, INCARNATION)
    assert event.signal == "PING"
    assert serializer.loads(event.payload) == {"a": [1, None]}
    assert abs(event.sent_at - time.time()) < 60
    assert event.cause is None
    assert heard == [ADDRESS]


def test_one_body_has_one_number_and_two_of_one_event_have_two(codec: EventCodec) -> None:
    body, other = token(event_of("PING")), token(event_of("PING"))
    first, again, second = (opened(codec, each)[0] for each in (body, body, other))

    assert first.id == again.id != second.id


@given(json_values)
def test_each_payload_of_json_comes_and_goes(payload: Any) -> None:
    codec = made(Heard())
    (event,) = opened(codec, token((ADDRESS, json.dumps({"signal_name": "A", "payload": payload}))))
    assert serializer.loads(event.payload) == payload

    body = codec.encode(envelope("A", payload))
    address, text = pickle.loads(body)
    assert address == "10.0.0.7"
    assert json.loads(text) == {"signal_name": "A", "payload": payload}


def test_ours_are_what_an_ancestor_reads_and_no_node_of_ours_takes_them(
    codec: EventCodec, heard: Heard
) -> None:
    sealed = codec.seal([codec.encode(envelope("PING", [1]))], TOPIC)

    # As its consumer does.
    address, text = pickle.loads(Fernet(KEY).decrypt(sealed))
    event = Event.loads(text)
    assert (address, event.signal_name, event.payload) == ("10.0.0.7", "PING", [1])
    assert opened(codec, sealed) == []
    assert heard == []


def test_a_scout_says_nothing(codec: EventCodec, heard: Heard) -> None:
    assert opened(codec, token("4D1F09A3C2E7")) == []
    assert heard == []


@pytest.mark.parametrize("payload", [b"x", {1, 2}, float("nan"), float("inf")], ids=repr)
def test_what_json_has_not_is_not_sent(codec: EventCodec, payload: object) -> None:
    with pytest.raises(PayloadError, match="PING cannot go to miros-rabbitmq"):
        codec.encode(envelope("PING", payload))


class WriteOnly(MsgpackSerializer):
    def loads(self, data: bytes) -> Any:
        raise KeyError("hush")


def test_what_a_program_s_serializer_cannot_read_is_not_sent_and_not_quoted() -> None:
    codec = EventCodec(
        KeyRing([KEY]), WriteOnly(), {}, address=str, max_event_bytes=1_000, max_bytes=8_000
    )
    with pytest.raises(PayloadError, match="KeyError") as told:
        codec.encode(envelope("PING", 1))
    assert "hush" not in str(told.value)


def test_a_tuple_goes_as_a_list_as_it_always_has(codec: EventCodec) -> None:
    _, text = pickle.loads(codec.encode(envelope("PING", (1, 2))))
    assert json.loads(text)["payload"] == [1, 2]


BAD: dict[str, tuple[Callable[[], bytes], type[FrameError]]] = {
    "another key": (lambda: token(event_of("A"), generate_key()), UndecryptableFrameError),
    "no token": (lambda: b"x" * 100, UndecryptableFrameError),
    "nothing": (lambda: b"", UndecryptableFrameError),
    "not base64": (lambda: token(event_of("A")) + b"\n", UndecryptableFrameError),
    "too large": (lambda: b"x" * 80_001, OversizeFrameError),
    "one text": (lambda: token("hello"), MalformedFrameError),
    "no address": (lambda: token(("here", event_of("A")[1])), MalformedFrameError),
    "IPv6": (lambda: token(("::1", event_of("A")[1])), MalformedFrameError),
    "no JSON": (lambda: token((ADDRESS, "hello")), MalformedFrameError),
    "a list": (lambda: token((ADDRESS, "[]")), MalformedFrameError),
    "no payload": (lambda: token((ADDRESS, '{"signal_name": "A"}')), MalformedFrameError),
    "more": (
        lambda: token((ADDRESS, '{"signal_name": "A", "payload": 1, "x": 1}')),
        MalformedFrameError,
    ),
    "no name": (
        lambda: token((ADDRESS, '{"signal_name": "", "payload": 1}')),
        MalformedFrameError,
    ),
    "a number for a name": (
        lambda: token((ADDRESS, '{"signal_name": 1, "payload": 1}')),
        MalformedFrameError,
    ),
    "NaN": (
        lambda: token((ADDRESS, '{"signal_name": "A", "payload": NaN}')),
        MalformedFrameError,
    ),
    "half a surrogate pair": (
        lambda: token((ADDRESS, '{"signal_name": "A", "payload": "\\ud800"}')),
        MalformedFrameError,
    ),
    "a mark of the byte order": (
        lambda: token((ADDRESS, '\ufeff{"signal_name": "A", "payload": 1}')),
        MalformedFrameError,
    ),
    "two values": (
        lambda: token((ADDRESS, '{"signal_name": "A", "payload": 1} 2')),
        MalformedFrameError,
    ),
    "many digits": (
        lambda: token((ADDRESS, '{"signal_name": "A", "payload": 1e' + "9" * 5_000 + "}")),
        MalformedFrameError,
    ),
    "a large number": (
        lambda: token((ADDRESS, '{"signal_name": "A", "payload": ' + "1" * 40 + "}")),
        MalformedFrameError,
    ),
    "deep": (
        lambda: token(
            (ADDRESS, '{"signal_name": "A", "payload": ' + "[" * 3000 + "]" * 3000 + "}")
        ),
        MalformedFrameError,
    ),
    "a large payload": (lambda: token(event_of("A", "x" * 20_000)), MalformedFrameError),
    "a word of the library": (
        lambda: token((ADDRESS, '{"signal_name": "miros_mesh.hello", "payload": 1}')),
        MalformedFrameError,
    ),
    "long ago": (lambda: token(event_of("A"), at=time.time() - 3600), OldFrameError),
    "tomorrow": (lambda: token(event_of("A"), at=time.time() + 86_400), ClockError),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_wrong_is_refused_by_its_reason(codec: EventCodec, bad: str) -> None:
    body, error = BAD[bad]
    with pytest.raises(error):
        opened(codec, body())


def test_why_a_payload_is_refused_is_told_and_none_of_it(codec: EventCodec) -> None:
    deep = '["hush", ' + "[" * 100 + "]" * 101
    with pytest.raises(MalformedFrameError, match="64 levels") as told:
        opened(codec, token((ADDRESS, '{"signal_name": "A", "payload": ' + deep + "}")))
    assert "hush" not in str(told.value)


@pytest.mark.parametrize("bad", ["long ago", "tomorrow", "a large payload", "no address"])
def test_where_a_sender_is_is_heard_of_what_is_taken_alone(
    codec: EventCodec, heard: Heard, bad: str
) -> None:
    body, _ = BAD[bad]
    with pytest.raises(FrameError):
        opened(codec, body())
    assert heard == []


def test_of_a_name_that_stands_twice_the_last_counts_as_for_an_ancestor(codec: EventCodec) -> None:
    text = '{"signal_name": "A", "payload": 1, "payload": {"a": 1, "a": 2}, "signal_name": "B"}'
    (event,) = opened(codec, token((ADDRESS, text)))
    theirs = Event.loads(text)
    assert (event.signal, serializer.loads(event.payload)) == (theirs.signal_name, theirs.payload)


def test_a_topic_that_a_queue_is_not_for_is_refused(codec: EventCodec) -> None:
    freshness = Freshness(is_for=lambda topic: topic == "other")
    with pytest.raises(WrongTopicError):
        codec.receive(token(event_of("A")), TOPIC, freshness, again=False)


@given(st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    codec, body = made(Heard()), bytearray(token(event_of("PING", "hello")))
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] = data.draw(st.integers(0, 255).filter(lambda each: each != body[place]))
    with pytest.raises(UndecryptableFrameError):
        opened(codec, bytes(body))


def test_what_waits_is_opened_with_a_key_that_was_removed(codec: EventCodec) -> None:
    ring = codec._keyring
    sealed = codec.seal([codec.encode(envelope("PING", 1))], TOPIC)
    new = generate_key()
    ring.add(new)
    ring.use(new)
    ring.remove(KEY)

    (event,) = codec.decoded(codec.unseal(sealed))
    assert event.signal == "PING"
    with pytest.raises(UndecryptableFrameError):
        opened(codec, sealed)


def envelope(signal: str, payload: object) -> Envelope:
    try:
        data = serializer.dumps(payload)
    except PayloadError:
        data = MsgpackSerializer().dumps(None)
    return Envelope("n", "c", "i", UNNUMBERED, signal, data, time.time())
