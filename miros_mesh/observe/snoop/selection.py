"""Which records to show, by shell patterns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from miros_mesh.wire.envelope import SnoopRecord

Patterns = tuple[str, ...]


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
        signal, colon, _ = record.text.rpartition(":")
        return signal if colon else ""
    return record.signal or ""


def states_of(record: SnoopRecord) -> tuple[str, ...]:
    """Return the states that the record names: from and to, or the one of a line of spy."""
    if record.kind == "spy" and record.from_state is None:
        _, colon, state = record.text.rpartition(":")
        return (state,) if colon else ()
    return tuple(state for state in (record.from_state, record.to_state) if state)


def _patterns(given: str | Iterable[str]) -> Patterns:
    # A string is a sequence of strings too: its letters would be the patterns.
    return (given,) if isinstance(given, str) else tuple(given)


def _matches(patterns: Patterns, *texts: str) -> bool:
    # `fnmatchcase`, and not `fnmatch`, which on some systems takes upper and lower case for the
    # same.
    return not patterns or any(fnmatchcase(text, p) for p in patterns for text in texts)
