"""Warns of topics under which charts send and no chart listens."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Final

from miros_mesh.address import DIRECT_TOPICS, is_direct
from miros_mesh.observer import Observer
from miros_mesh.text import logger_of
from miros_mesh.timing.throttle import Throttle

logger = logger_of(__name__)

_COMPLAIN_EVERY_S: Final = 60.0


class NoListeners(Observer):
    """Logs a warning for each topic, and for all addresses of charts, once a minute at most.

    `topics` says what the node's own charts send under and listen to: a slip of the pen is near one
    of those.
    """

    def __init__(self, topics: Callable[[], Iterable[str]]) -> None:
        self._topics = topics
        self._complaints = Throttle(_COMPLAIN_EVERY_S)

    def unroutable(self, *, peer: str, topic: str, events: int) -> None:
        if is_direct(topic):
            self._no_such_chart(peer, topic, events)
        elif times := self._complaints.due(f"{peer} {topic}", events):
            logger.warning(
                "no chart listens to %s at %s: %d event(s) went to no queue%s",
                topic,
                peer,
                times,
                self._advice(topic),
            )

    def _no_such_chart(self, peer: str, topic: str, events: int) -> None:
        # Of all addresses together: those of who has asked are not the program's choice.
        if times := self._complaints.due(f"{peer} {DIRECT_TOPICS}", events):
            logger.warning(
                "%d event(s) for one chart each found no queue at %s, the last one under %s: those "
                "charts have ended, or are at another broker",
                times,
                peer,
                topic,
            )

    def _advice(self, topic: str) -> str:
        others = sorted({each for each in self._topics() if each != topic})
        near = difflib.get_close_matches(topic, others, n=1)
        return f"; did you mean {near[0]}?" if near else ""
