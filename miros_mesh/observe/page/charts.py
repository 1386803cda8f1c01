"""What was seen of one chart: its states, which is within which, and the transitions between."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

from miros_mesh.observe.snoop.selection import signal_of, states_of
from miros_mesh.wire.envelope import SnoopRecord

# A chart that makes up names of states, or of signals, must not fill the memory.
MAX_TRANSITIONS: Final = 300
PATH: Final = 12
_QUEUES: Final = re.compile(r"<- Queued:\((\d{1,9})\) Deferred:\((\d{1,9})\)")
_HOOK: Final = ":HOOK"
# How the last line of a step begins, as of `_QUEUES`.
_END: Final = "<-"

Transition = tuple[str, str, str]
"""From, signal, to; a hook, which is handled without a transition, has no `to`."""


class Nesting:
    """Which state is within which, as a chart's spy shows it; not thread-safe.

    It shows that of those which the chart leaves together, or goes down to when another has begun.
    Nothing is taken of a step of which a line is missing. The way down is read from what miros
    asks: it may enter a state of another way (miros 4.2.1). It counts once its target begins, since
    that of a state without a spy would run into the next one.
    """

    __slots__ = ("_begun", "_closed", "_last", "_left", "_outer", "_way", "_whole")

    def __init__(self) -> None:
        # Empty where it is said to be several: there are several states of that name.
        self._outer: dict[str, str] = {}
        self._last = "", 0
        self._begin(whole=False)

    def note(self, record: SnoopRecord) -> None:
        """Take the next line of the spy."""
        if self._last != (record.incarnation, record.sequence - 1):
            self._begin(whole=record.sequence == 1)
        self._last = record.incarnation, record.sequence
        if record.text.startswith(_END):
            self._begin(whole=True)
        elif self._whole:
            signal, _, state = record.text.partition(":")
            if take := _LINES.get(signal):
                take(self, state)

    def as_json(self) -> dict[str, str]:
        """Return the states that are within others, each with the innermost of these."""
        return {state: outer for state, outer in self._outer.items() if outer}

    def _begin(self, *, whole: bool) -> None:
        self._whole = whole
        # Of the step: what was left last, what has begun last, and what was asked since, until
        # something is entered.
        self._left, self._begun = "", ""
        self._way: list[str] = []
        self._closed = True

    def leave(self, state: str) -> None:
        """Leave a state; what was left before it is within it."""
        self._learn(self._left, state)
        self._left = state

    def ask(self, state: str) -> None:
        """Ask a state for the one around it, which is asked next on the way down."""
        if not self._closed and len(self._way) < MAX_TRANSITIONS:
            self._way.append(state)

    def enter(self, _: str) -> None:
        """Enter a state: by now all on the way down were asked."""
        self._closed = True

    def begin(self, state: str) -> None:
        """Begin with a state, or none yet, which may lead down to one within it."""
        if self._way[:1] == [state]:
            for inner, outer in pairwise((*self._way, self._begun)):
                self._learn(inner, outer)
        self._begun, self._way, self._closed = state, [], False

    def _learn(self, state: str, outer: str) -> None:
        known = self._outer.get(state)
        if not (state and outer) or (known is None and len(self._outer) >= MAX_TRANSITIONS):
            return
        contradicts = known not in (None, outer) or self._is_within(outer, state)
        self._outer[state] = "" if contradicts else outer

    def _is_within(self, state: str, other: str) -> bool:
        while state and state != other:
            state = self._outer.get(state, "")
        return bool(state)


_LINES: Final[Mapping[str, Callable[[Nesting, str], None]]] = {
    "START": Nesting.begin,
    "EXIT_SIGNAL": Nesting.leave,
    "ENTRY_SIGNAL": Nesting.enter,
    "INIT_SIGNAL": Nesting.begin,
    "SEARCH_FOR_SUPER_SIGNAL": Nesting.ask,
}


class ChartSeen:
    """The states and transitions of a chart, from its records; not thread-safe."""

    __slots__ = (
        *("_counts", "_nesting", "deferred", "missing", "path", "queued", "records", "state"),
        "unlisted",
    )

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
        self._nesting = Nesting()
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
        self._nesting.note(record)
        if record.text.startswith(_END):
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
            "within": self._nesting.as_json(),
            "path": [list(each) for each in self.path],
            "transitions": [
                {"from": source, "signal": signal, "to": target, "count": count}
                for (source, signal, target), count in self._counts.items()
            ],
        }
