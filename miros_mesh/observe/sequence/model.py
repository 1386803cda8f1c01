"""A sequence diagram as values: lifelines, and numbered arrows in causal order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from miros_mesh.errors import TraceError
from miros_mesh.observe.sequence.causes import Causes, Chart, causal_order, sender
from miros_mesh.observe.sequence.names import shown
from miros_mesh.observe.snoop.selection import Selection
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord

EVERYTHING = Selection()
# Below this, the clocks of two hosts agree as well as clocks do.
_SAME_S = 0.001
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
        """The chart's name, with the node's where several charts share it."""
        return f"{self.chart} ({self.node or 'unknown node'})" if self.ambiguous else self.chart


@dataclass(frozen=True, slots=True)
class Arrow:
    """A transition: where it happened, who sent the event, and the number of what led to it."""

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
        # Whoever only sends is drawn as well.
        charts = _count(len(self.lifelines), "chart")
        return f"{_count(len(self.arrows), 'transition')}, {charts}, from {begin} UTC"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know about what is not drawn, a sentence each."""
        return tuple(self._notes())

    def first(self, arrows: int, lifelines: int) -> Diagram:
        """At most so many of each, the first ones; `cut` counts the rest."""
        if len(self.arrows) <= arrows and len(self.lifelines) <= lifelines:
            return self
        shown = set(self.lifelines[:lifelines])
        kept = [a for a in self.arrows if a.target in shown and (a.sender or a.target) in shown]
        kept = kept[:arrows]
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


def diagram(records: Iterable[SnoopRecord], selection: Selection = EVERYTHING) -> Diagram:
    """The transitions among the records, or those of them that are selected.

    Raises `TraceError` when there is none.
    """
    stream = list({_identity(record): record for record in records}.values())
    transitions = [record for record in stream if _is_transition(record)]
    if not transitions:
        raise TraceError("the trace holds no transition; charts send them after enable_snoop_trace")
    causes = Causes(stream, transitions)
    causing = [causes.of(record) for record in transitions]
    order = causal_order(transitions, causing)
    chosen = [i for i in order if selection.has(transitions[i])]
    if not chosen:
        raise TraceError(
            f"the trace holds no transition of what was asked for; it has {_names(transitions)}"
        )
    numbers = {index: number for number, index in enumerate(chosen, 1)}
    lifelines = _Lifelines(stream, [transitions[i] for i in chosen])
    missing = _missing(stream)
    begin = transitions[chosen[0]].time
    arrows = []
    for index in chosen:
        record, cause = transitions[index], causing[index]
        origin = sender(record)
        arrows.append(
            Arrow(
                number=numbers[index],
                target=lifelines.of(record),
                sender=lifelines.at(origin) if origin else None,
                cause=numbers.get(cause) if cause is not None else None,
                offset_s=record.time - begin,
                signal=record.signal or "",
                from_state=record.from_state or "",
                to_state=record.to_state or "",
                missing=missing.get(_identity(record), 0),
            )
        )
    return Diagram(
        lifelines=lifelines.all,
        arrows=tuple(arrows),
        begin=begin,
        clock_error_s=_clock_error_s(transitions, causing),
    )


class _Lifelines:
    """A chart has one lifeline, however often it or its node was started anew."""

    def __init__(self, stream: Sequence[SnoopRecord], drawn: Sequence[SnoopRecord]) -> None:
        self._nodes = {record.incarnation: record.node for record in stream}
        keys: dict[tuple[str, str], None] = {}
        for record in drawn:
            if origin := sender(record):
                keys[self._key(origin)] = None
            keys[record.node, record.chart] = None
        names = Counter(chart for _, chart in keys)
        self._lifelines = {
            (node, chart): Lifeline(node, chart, _letter(place), ambiguous=names[chart] > 1)
            for place, (node, chart) in enumerate(keys)
        }

    @property
    def all(self) -> tuple[Lifeline, ...]:
        return tuple(self._lifelines.values())

    def of(self, record: SnoopRecord) -> Lifeline:
        return self._lifelines[record.node, record.chart]

    def at(self, origin: Chart) -> Lifeline:
        return self._lifelines[self._key(origin)]

    def _key(self, origin: Chart) -> tuple[str, str]:
        incarnation, chart = origin
        return self._nodes.get(incarnation, ""), chart


def _letter(place: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    letters = ""
    while place >= 0:
        place, rest = divmod(place, 26)
        letters = chr(ord("A") + rest) + letters
        place -= 1
    return letters


def _identity(record: SnoopRecord) -> tuple[str, str, str, bool, int]:
    # Trace and spy records have numbers of their own.
    return record.node, record.incarnation, record.chart, record.kind == "spy", record.sequence


def _is_transition(record: SnoopRecord) -> bool:
    return record.kind == "trace" and record.signal is not None


def _missing(stream: Sequence[SnoopRecord]) -> dict[tuple[str, str, str, bool, int], int]:
    """Before which records of the trace network's streams there is a hole, and of what size."""
    last: dict[tuple[str, str, str], int] = {}
    holes = {}
    for record in sorted(stream, key=lambda r: r.sequence):
        if record.kind != "spy" and record.incarnation:
            chart = record.node, record.incarnation, record.chart
            hole = record.sequence - last.get(chart, record.sequence - 1) - 1
            last[chart] = record.sequence
            if hole:
                holes[_identity(record)] = hole
    return holes


def _clock_error_s(transitions: Sequence[SnoopRecord], causing: Sequence[int | None]) -> float:
    """By how much an effect was dated before its cause, at most."""
    errors = (
        transitions[cause].time - transitions[index].time
        for index, cause in enumerate(causing)
        if cause is not None
    )
    return max(0.0, max(errors, default=0.0))


def _names(transitions: Sequence[SnoopRecord]) -> str:
    pairs = list(dict.fromkeys((record.chart, record.node) for record in transitions))
    named = ", ".join(
        printable(f"chart {chart} of node {node}" if node else f"chart {chart}")
        for chart, node in pairs[:_NAMED]
    )
    more = len(pairs) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
