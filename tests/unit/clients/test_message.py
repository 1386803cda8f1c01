"""An event, as code that is no chart has it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from miros import Event, signals

from miros_mesh import Message
from miros_mesh.errors import SignalError
from miros_mesh.statechart.reserved import checked


def test_a_message_reads_as_an_event_of_miros_and_enters_no_table() -> None:
    message, event = Message("a_signal_of_no_chart", 3), Event(signal="knock", payload=4)
    assert (message.signal_name, message.payload, message.received) == (
        "a_signal_of_no_chart",
        3,
        None,
    )
    assert checked(message) == ("a_signal_of_no_chart", 3)
    assert checked(event) == ("knock", 4)
    assert checked(SimpleNamespace(signal_name="ring", payload=None)) == ("ring", None)
    assert "a_signal_of_no_chart" not in signals


@pytest.mark.parametrize(
    "wrong",
    ["knock", None, Message(""), SimpleNamespace(signal_name=3, payload=1), object(), Message],
)
def test_what_is_no_event_is_refused_and_told_what_one_is(wrong: Any) -> None:
    with pytest.raises(SignalError, match="signal_name"):
        checked(wrong)


@pytest.mark.parametrize("signal", ["ENTRY_SIGNAL", "REQUEST_TIMED_OUT", "miros_mesh.beat"])
def test_a_signal_of_miros_or_of_the_library_is_refused(signal: str) -> None:
    with pytest.raises(SignalError, match="own"):
        checked(Message(signal))
