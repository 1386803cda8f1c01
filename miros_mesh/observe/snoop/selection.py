"""Which records somebody wants to see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from miros_mesh.wire.envelope import SnoopRecord

Patterns = tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """Shell patterns (`*`, `?`, `[ab]`) by what they are compared with; none of a kind: all."""

    nodes: Patterns = ()
    charts: Patterns = ()
    kinds: Patterns = ()
    signals: Patterns = ()
    states: Patterns = ()

    @classmethod
    def of(cls, **patterns: str | Iterable[str]) -> Selection:
        """Each of them one pattern, or several."""
        return cls(**{name: _patterns(given) for name, given in patterns.items()})

    def has(self, record: SnoopRecord) -> bool:
        """Whether the record is wanted."""
        return (
            self.has_sender(record.node, record.chart)
            and _matches(self.kinds, record.kind)
            and (not self.signals or _matches(self.signals, signal_of(record)))
            and (not self.states or _matches(self.states, *states_of(record)))
        )

    def has_sender(self, node: str, chart: str) -> bool:
        """Whether anything of this chart may be wanted."""
        return _matches(self.nodes, node) and _matches(self.charts, chart)


def signal_of(record: SnoopRecord) -> str:
    """The signal; a line of spy has it before its colon. Empty when there is none."""
    if record.kind == "spy" and record.signal is None:
        signal, colon, _ = record.text.rpartition(":")
        return signal if colon else ""
    return record.signal or ""


def states_of(record: SnoopRecord) -> tuple[str, ...]:
    """The states that it names: from, to; or the one of a line of spy."""
    if record.kind == "spy" and record.from_state is None:
        _, colon, state = record.text.rpartition(":")
        return (state,) if colon else ()
    return tuple(state for state in (record.from_state, record.to_state) if state)


def _patterns(given: str | Iterable[str]) -> Patterns:
    return (given,) if isinstance(given, str) else tuple(given)


def _matches(patterns: Patterns, *texts: str) -> bool:
    return not patterns or any(fnmatchcase(text, p) for p in patterns for text in texts)
