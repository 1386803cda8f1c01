"""Warns of topics under which charts send and no chart listens."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Final

from miros_mesh.observer import Observer
from miros_mesh.text import logger_of
from miros_mesh.timing.throttle import Throttle

logger = logger_of(__name__)

_COMPLAIN_EVERY_S: Final = 60.0


class NoListeners(Observer):
    """Logs a warning for each topic, once a minute at most.

    `topics` says what the node's own charts send under and listen to: a slip of the pen is near one
    of those.
    """

    def __init__(self, topics: Callable[[], Iterable[str]]) -> None:
        self._topics = topics
        self._complaints = Throttle(_COMPLAIN_EVERY_S)

    def unroutable(self, *, peer: str, topic: str, events: int) -> None:
        if times := self._complaints.due(f"{peer} {topic}", events):
            logger.warning(
                "no chart listens to %s at %s: %d event(s) went to no queue%s",
                topic,
                peer,
                times,
                self._advice(topic),
            )

    def _advice(self, topic: str) -> str:
        others = sorted({each for each in self._topics() if each != topic})
        near = difflib.get_close_matches(topic, others, n=1)
        return f"; did you mean {near[0]}?" if near else ""
