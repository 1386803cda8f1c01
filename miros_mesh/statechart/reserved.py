"""The signals that no event of a program may carry: those of miros, and this library's own."""

from __future__ import annotations

from typing import Any

from miros import signals

from miros_mesh.errors import SignalError
from miros_mesh.signals import PUBLIC_SIGNALS
from miros_mesh.wire.envelope import RESERVED_PREFIX

INNER_SIGNALS = frozenset(
    name for name, number in signals.items() if number <= signals.highest_inner_signal
)
"""The signals by which miros drives its charts."""
RESERVED_SIGNALS = INNER_SIGNALS | PUBLIC_SIGNALS
"""What no event of the network may carry: miros' signals, and this library's own."""


def checked(event: object) -> tuple[str, Any]:
    """Return the signal and the payload of what a program sends; raises `SignalError`."""
    signal = getattr(event, "signal_name", None)
    if not isinstance(signal, str) or not signal or not hasattr(event, "payload"):
        raise SignalError(
            "an event has a signal_name, which is a text, and a payload, as Event(signal='knock') "
            f"and Message('knock', 3) have; a {type(event).__name__} has not"
        )
    if signal in RESERVED_SIGNALS or signal.startswith(RESERVED_PREFIX):
        raise SignalError(
            f"{signal} belongs to miros or to miros_mesh and cannot be transmitted; "
            "send an event with a signal of your own"
        )
    return signal, event.payload
