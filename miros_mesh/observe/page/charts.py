"""What was seen of one chart: its states, the transitions between them, and how many of each."""

from __future__ import annotations

import re
from collections import deque
from typing import Any, Final

from miros_mesh.observe.snoop.selection import signal_of, states_of
from miros_mesh.wire.envelope import SnoopRecord

# A chart that makes up names of states, or of signals, must not fill the memory.
MAX_TRANSITIONS: Final = 300
PATH: Final = 12
_QUEUES: Final = re.compile(r"<- Queued:\((\d{1,9})\) Deferred:\((\d{1,9})\)")
_HOOK: Final = ":HOOK"

Transition = tuple[str, str, str]
"""From, signal, to; a hook, which is handled without a transition, has no `to`."""


class ChartSeen:
    """The states and transitions of a chart, from its records; not thread-safe."""

    __slots__ = ("_counts", "deferred", "missing", "path", "queued", "records", "state", "unlisted")

    def __init__(self) -> None:
        self.state = ""
        """The last one that a record named; empty before the first."""
        self.records = 0
        self.missing = 0
        """Records that it sent and that did not come, or came too fast to be read."""
        self.queued: int | None = None
        """How many events waited in its queue after the last one; None without a spy."""
        self.deferred: int | None = None
        self.path: deque[Transition] = deque(maxlen=PATH)
        """Its last transitions, the newest last."""
        self.unlisted = 0
        """How many were of a kind that is one too many."""
        self._counts: dict[Transition, int] = {}

    def note(self, record: SnoopRecord) -> None:
        """Take the next record of the chart."""
        self.records += 1
        if record.kind == "trace" and record.signal is not None:
            transition = record.from_state or "", record.signal, record.to_state or ""
            self.state = record.to_state or self.state
            self.path.append(transition)
            self._count(transition)
        elif record.kind == "spy":
            self._spied(record)

    def _spied(self, record: SnoopRecord) -> None:
        if record.text.startswith("<-"):
            if found := _QUEUES.match(record.text):
                self.queued, self.deferred = int(found[1]), int(found[2])
        elif record.text.endswith(_HOOK):
            state = next(iter(states_of(record)), "")
            self._count((state, signal_of(record), ""))

    def _count(self, transition: Transition) -> None:
        if transition in self._counts or len(self._counts) < MAX_TRANSITIONS:
            self._counts[transition] = self._counts.get(transition, 0) + 1
        else:
            self.unlisted += 1

    def as_json(self) -> dict[str, Any]:
        """Return what a browser draws its state diagram from."""
        return {
            "state": self.state,
            "records": self.records,
            "missing": self.missing,
            "queued": self.queued,
            "deferred": self.deferred,
            "unlisted": self.unlisted,
            "path": [list(each) for each in self.path],
            "transitions": [
                {"from": source, "signal": signal, "to": target, "count": count}
                for (source, signal, target), count in self._counts.items()
            ],
        }
