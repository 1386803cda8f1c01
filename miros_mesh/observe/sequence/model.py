"""A sequence diagram as plain values: lifelines, and numbered arrows in causal order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from miros_mesh.observe.sequence.names import shown

# Two hosts whose clocks NTP keeps differ by about as much.
_SAME_S = 0.001
# How many gaps are named one by one; a longer list would bury the picture.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Lifeline:
    """A chart in the picture; its names are those of the records, not yet fit for any format."""

    node: str
    chart: str
    letter: str
    ambiguous: bool = False

    @property
    def label(self) -> str:
        """The chart's name, and the node's where several charts have the same name."""
        return f"{self.chart} ({self.node or 'unknown node'})" if self.ambiguous else self.chart


@dataclass(frozen=True, slots=True)
class Arrow:
    """A transition of the chart `target`, on an event that `sender` transmitted.

    Without a `sender` the event was the chart's own. `cause` is the number of the transition that
    led to this one, `offset_s` the seconds since the first.
    """

    number: int
    target: Lifeline
    sender: Lifeline | None
    cause: int | None
    offset_s: float
    signal: str
    from_state: str
    to_state: str
    missing: int = 0
    """Records of the chart's stream that are not in the trace, between this one and the last."""


@dataclass(frozen=True, slots=True)
class Diagram:
    """Arrows in the order of their numbers; `begin` is when the first one happened (epoch)."""

    lifelines: tuple[Lifeline, ...]
    arrows: tuple[Arrow, ...]
    begin: float
    clock_error_s: float = 0.0
    cut: int = 0
    """How many transitions the trace had besides."""

    @property
    def title(self) -> str:
        """What it shows, and since when."""
        begin = datetime.fromtimestamp(self.begin, UTC).strftime("%Y-%m-%d %H:%M:%S")
        # A chart that only sends has a lifeline too.
        charts = _count(len(self.lifelines), "chart")
        return f"{_count(len(self.arrows), 'transition')}, {charts}, from {begin} UTC"

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not drawn, and why clocks and numbers may disagree: a sentence each."""
        return tuple(self._notes())

    def first(self, arrows: int, lifelines: int) -> Diagram:
        """Return so many arrows between the first so many lifelines; `cut` counts the rest."""
        if len(self.arrows) <= arrows and len(self.lifelines) <= lifelines:
            return self
        shown = set(self.lifelines[:lifelines])
        # Lifelines stand in the order in which they are needed, so the first arrow is always kept.
        kept = [a for a in self.arrows if a.target in shown and (a.sender or a.target) in shown]
        kept = kept[:arrows]
        # A lifeline without an arrow left would only take room. A None among them does no harm.
        used = {line for arrow in kept for line in (arrow.target, arrow.sender)}
        return replace(
            self,
            lifelines=tuple(line for line in self.lifelines if line in used),
            arrows=tuple(kept),
            cut=self.cut + len(self.arrows) - len(kept),
        )

    def _notes(self) -> Iterator[str]:
        if self.cut:
            yield (
                f"Cut here, {self.cut} further transitions are not drawn. "
                "Choose charts or nodes, or a shorter time. The text form has no limit."
            )
        if self.clock_error_s > _SAME_S:
            yield (
                "Times are those of each chart's own host, whose clocks disagree by "
                f"{self.clock_error_s:.3f} s or more; the numbers follow the causes."
            )
        gaps = [arrow for arrow in self.arrows if arrow.missing]
        for arrow in gaps[:_NAMED]:
            yield (
                f"Before ({arrow.number}), {_count(arrow.missing, 'record')} of "
                f"{shown(arrow.target.label)} did not reach the trace."
            )
        if len(gaps) > _NAMED:
            yield f"Records are missing in {len(gaps) - _NAMED} further places."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
