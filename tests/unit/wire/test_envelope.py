"""Envelopes and snoop records as values."""

from __future__ import annotations

import msgspec
import pytest

from miros_mesh.wire.envelope import Envelope, SnoopRecord

ENVELOPE = Envelope("node-1", "chart_a", "6f1c", 7, "to_inner", b"the secret plan", 1.5)
RECORD = SnoopRecord("node-1", "chart_a", "6f1c", 7, "trace", 1.5, "e->to_inner() outer->inner")


@pytest.mark.parametrize("message", [ENVELOPE, RECORD])
def test_an_id_joins_incarnation_chart_and_sequence(message: Envelope | SnoopRecord) -> None:
    assert message.id == "6f1c/chart_a/7"


def test_the_repr_of_an_envelope_shows_the_size_of_its_payload_and_not_the_payload() -> None:
    shown = repr(ENVELOPE)

    assert "<15 bytes>" in shown
    assert "secret" not in shown


@pytest.mark.parametrize("message", [ENVELOPE, RECORD])
def test_a_message_cannot_be_changed(message: Envelope | SnoopRecord) -> None:
    with pytest.raises(AttributeError):
        message.sequence = 8  # type: ignore[misc]


def test_equal_fields_make_equal_messages() -> None:
    assert msgspec.structs.replace(ENVELOPE) == ENVELOPE
    assert msgspec.structs.replace(ENVELOPE, sequence=8) != ENVELOPE


def test_the_order_of_the_fields_is_the_wire_format() -> None:
    assert Envelope.__struct_fields__ == (
        *("node", "chart", "incarnation", "sequence"),
        *("signal", "payload", "sent_at", "cause"),
    )
    assert SnoopRecord.__struct_fields__ == (
        *("node", "chart", "incarnation", "sequence"),
        *("kind", "time", "text", "signal", "from_state", "to_state", "event_id", "cause"),
    )


@pytest.mark.parametrize(
    ("incarnation", "cause", "first"),
    [
        ("again-1a2b", "6f1c/a/b/7", (("6f1c", "a/b"), 7)),
        ("again-1a2b", "6f1c", None),
        ("again-1a2b", None, None),
        ("retry-1a2b", "6f1c/chart_a/7", None),
        ("6f1c", "6f1c/chart_a/7", None),
    ],
)
def test_what_a_broker_refused_tells_its_first_number_when_it_is_put_back(
    incarnation: str, cause: str | None, first: object
) -> None:
    again = msgspec.structs.replace(ENVELOPE, incarnation=incarnation, cause=cause)
    assert again.first_sent == first
