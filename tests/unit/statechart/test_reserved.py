"""Signals that no event of a program may carry."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from miros_mesh.errors import SignalError
from miros_mesh.signals import PUBLIC_SIGNALS
from miros_mesh.statechart.reserved import RESERVED_SIGNALS, checked


def test_no_event_of_the_network_may_carry_a_signal_of_miros_or_of_the_library() -> None:
    assert RESERVED_SIGNALS > PUBLIC_SIGNALS
    assert {"ENTRY_SIGNAL", "STOP_ACTIVE_OBJECT_SIGNAL"} < RESERVED_SIGNALS


@pytest.mark.parametrize("signal", ["ENTRY_SIGNAL", "NO_LISTENER", "miros_mesh.hello"])
def test_an_event_of_a_program_under_such_a_signal_is_refused_by_name(signal: str) -> None:
    with pytest.raises(SignalError, match=signal):
        checked(SimpleNamespace(signal_name=signal, payload=None))


def test_any_other_signal_is_a_programs_own() -> None:
    assert checked(SimpleNamespace(signal_name="knock", payload=3)) == ("knock", 3)
