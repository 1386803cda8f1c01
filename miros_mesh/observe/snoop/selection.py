"""Which records to show, by shell patterns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from miros_mesh.wire.envelope import SnoopRecord

Patterns = tuple[str, ...]

# As miros writes them: an event that was handled without a transition, and how long the chart's
# queues are, as in `<- Queued:(0) Deferred:(0)`.
_HOOK = ":HOOK"
_QUEUES = "<- Queued:("


@dataclass(frozen=True)
class Selection:
    """Shell patterns (`*`, `?`, `[ab]`) by what they are compared with; no pattern takes all.

    A record must fit one pattern of each field that has any.
    """

    nodes: Patterns = ()
    charts: Patterns = ()
    kinds: Patterns = ()
    signals: Patterns = ()
    states: Patterns = ()

    @classmethod
    def of(cls, **patterns: str | Iterable[str]) -> Selection:
        """Make a selection of single patterns, or of several each."""
        return cls(**{name: _patterns(given) for name, given in patterns.items()})

    def has(self, record: SnoopRecord) -> bool:
        """Tell whether to show the record."""
        return (
            self.has_sender(record.node, record.chart)
            and _matches(self.kinds, record.kind)
            # Asked first, since taking a line of spy apart costs more than a comparison.
            and (not self.signals or _matches(self.signals, signal_of(record)))
            and (not self.states or _matches(self.states, *states_of(record)))
        )

    def has_sender(self, node: str, chart: str) -> bool:
        """Tell whether there may be records of this chart to show."""
        return _matches(self.nodes, node) and _matches(self.charts, chart)


def signal_of(record: SnoopRecord) -> str:
    """Return the record's signal, empty if it has none; a line of spy has it before its colon."""
    if record.kind == "spy" and record.signal is None:
        signal, _ = _taken_apart(record.text)
        return signal
    return record.signal or ""


def states_of(record: SnoopRecord) -> tuple[str, ...]:
    """Return the states that the record names: from and to, or the one of a line of spy."""
    if record.kind == "spy" and record.from_state is None:
        _, state = _taken_apart(record.text)
        return (state,) if state else ()
    return tuple(state for state in (record.from_state, record.to_state) if state)


def _taken_apart(line: str) -> tuple[str, str]:
    """Return signal and state of a line of spy, both empty where it names none."""
    if line.startswith(_QUEUES):
        return "", ""
    handled = line.removesuffix(_HOOK)
    # `knock:HOOK` is a state of that name.
    signal, colon, state = (handled if ":" in handled else line).rpartition(":")
    return (signal, state) if colon else ("", "")


def _patterns(given: str | Iterable[str]) -> Patterns:
    # A string is a sequence of strings too: its letters would be the patterns.
    return (given,) if isinstance(given, str) else tuple(given)


def _matches(patterns: Patterns, *texts: str) -> bool:
    # `fnmatchcase`, and not `fnmatch`, which on some systems takes upper and lower case for the
    # same.
    return not patterns or any(fnmatchcase(text, p) for p in patterns for text in texts)
