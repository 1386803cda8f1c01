"""`Message`: an event of code that is no chart, which needs none of miros' tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from miros_mesh.errors import SignalError
from miros_mesh.networks.received import Received
from miros_mesh.statechart.reserved import refuse_reserved


class Sendable(Protocol):
    """What a client sends: a `Message`, an `Event` of miros, or what looks like one."""

    @property
    def signal_name(self) -> str:
        """What the handlers of charts ask for."""

    @property
    def payload(self) -> Any:
        """What the event says; None for nothing."""


@dataclass(frozen=True, slots=True)
class Message:
    """An event, as a client sends it and gets it; reads as an `Event` of miros does.

    An `Event` would enter its signal into a table of the process that never forgets one.
    """

    signal_name: str
    payload: Any = None
    received: Received | None = None
    """Where it comes from, and the token to `reply` by; None for one that was not received."""


def checked(event: Sendable) -> tuple[str, Any]:
    """Return the signal and the payload of what a program sends; raises `SignalError`."""
    signal = getattr(event, "signal_name", None)
    if not isinstance(signal, str) or not signal or not hasattr(event, "payload"):
        raise SignalError(
            "an event has a signal_name, which is a text, and a payload, as "
            f"Message('knock', 3) has; a {type(event).__name__} has not"
        )
    refuse_reserved(signal)
    return signal, event.payload
