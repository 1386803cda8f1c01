"""`Entrance`: the one place where the public signals of a node's charts are checked."""

from __future__ import annotations

from typing import Final

from miros import Event

from miros_mesh.discovery.safety.plain import PayloadProblemError, Reader
from miros_mesh.text import logger_of
from miros_mesh.timing.throttle import Throttle

logger = logger_of(__name__)

SAID_EVERY_S: Final = 60.0


class Entrance:
    """Gives the charts of one node what they can rely on; from any thread."""

    def __init__(self) -> None:
        # By signal: what several charts refuse, or one refuses often, is one line.
        self._said = Throttle(SAID_EVERY_S)

    def admit(self, event: Event, read: Reader) -> Event | None:
        """Return the event with its payload as `read` returns it; None refuses it, logged."""
        name = event.signal_name
        try:
            return Event(signal=name, payload=read(event.payload))
        except PayloadProblemError as problem:
            self._refuse(name, str(problem))
            return None

    def _refuse(self, name: str, problem: str) -> None:
        if times := self._said.due(name):
            more = f" ({times} of them since this was said)" if times > 1 else ""
            logger.error("a %s is ignored: %s%s", name, problem, more)
