"""`Message`: an event of code that is no chart, which needs none of miros' tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from miros_mesh.networks.received import Received


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
