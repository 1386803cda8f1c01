"""The signals that no event of a program may carry: those of miros, and this library's own."""

from __future__ import annotations

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


def refuse_reserved(signal: str) -> None:
    """Raise `SignalError` for an event that a program sends under such a signal."""
    if signal in RESERVED_SIGNALS or signal.startswith(RESERVED_PREFIX):
        raise SignalError(
            f"{signal} belongs to miros or to miros_mesh and cannot be transmitted; "
            "send an event with a signal of your own"
        )
