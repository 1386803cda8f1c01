"""From snoop records to a diagram: which transitions are drawn, in which order, and from where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from miros_mesh.errors import TraceError
from miros_mesh.observe.sequence.causes import Causes, Chart, causal_order, sender
from miros_mesh.observe.sequence.model import Arrow, Diagram, Lifeline
from miros_mesh.observe.snoop.selection import Selection
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord

EVERYTHING = Selection()
_NAMED = 10

RecordKey = tuple[str, str, str, bool, int]
"""Node, incarnation, chart, whether it is of the spy, sequence: what one record has alone."""


def diagram(records: Iterable[SnoopRecord], selection: Selection = EVERYTHING) -> Diagram:
    """Draw up the transitions among the records, or those of them that are selected.

    A record that is there twice counts once. Raises `TraceError` when there is no transition.
    """
    # A log may hold a record twice, as when two readers wrote into one file.
    stream = list({_key(record): record for record in records}.values())
    transitions = [record for record in stream if _is_transition(record)]
    if not transitions:
        raise TraceError("the trace holds no transition; charts send them after enable_snoop_trace")
    causes = Causes(stream, transitions)
    # Of all transitions, also of those that are not drawn: these may stand between two that are.
    causing = [causes.of(record) for record in transitions]
    order = causal_order(transitions, causing)
    # Chosen in the order of all, so that a part of a diagram has the order of the whole.
    chosen = [i for i in order if selection.has(transitions[i])]
    if not chosen:
        raise TraceError(
            f"the trace holds no transition of what was asked for; it has {_names(transitions)}"
        )
    numbers = {index: number for number, index in enumerate(chosen, 1)}
    lifelines = _Lifelines(stream, [transitions[i] for i in chosen])
    # Of the whole trace as well: what is not selected is not missing.
    missing = _missing(stream)
    begin = transitions[chosen[0]].time

    def arrow(index: int) -> Arrow:
        record, cause = transitions[index], causing[index]
        origin = sender(record)
        return Arrow(
            number=numbers[index],
            target=lifelines.of(record),
            sender=lifelines.at(origin) if origin else None,
            # A cause that was not chosen has no number.
            cause=numbers.get(cause) if cause is not None else None,
            offset_s=record.time - begin,
            signal=record.signal or "",
            from_state=record.from_state or "",
            to_state=record.to_state or "",
            missing=missing.get(_key(record), 0),
        )

    return Diagram(
        lifelines=lifelines.all,
        arrows=tuple(arrow(index) for index in chosen),
        begin=begin,
        clock_error_s=_clock_error_s(transitions, causing),
    )


class _Lifelines:
    """The lifelines of what is drawn: one a chart, however often its node was started."""

    def __init__(self, stream: Sequence[SnoopRecord], drawn: Sequence[SnoopRecord]) -> None:
        # The id of an event has the incarnation of its sender; the name of its node is in records
        # alone.
        self._nodes = {record.incarnation: record.node for record in stream}
        keys: dict[tuple[str, str], None] = {}
        for record in drawn:
            # The sender first: it stands at the left of what it causes.
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
    """Count in letters: A, B, ... Z, AA, AB, ..."""
    letters = ""
    while place >= 0:
        place, rest = divmod(place, 26)
        letters = chr(ord("A") + rest) + letters
        place -= 1
    return letters


def _key(record: SnoopRecord) -> RecordKey:
    # Trace and spy records have numbers of their own.
    return record.node, record.incarnation, record.chart, record.kind == "spy", record.sequence


def _is_transition(record: SnoopRecord) -> bool:
    return record.kind == "trace" and record.signal is not None


def _missing(stream: Sequence[SnoopRecord]) -> dict[RecordKey, int]:
    """Return how many records are missing before a record of the trace network, where any are."""
    last: dict[tuple[str, str, str], int] = {}
    holes = {}
    # Scribbles count: they are numbered in the stream of the transitions. Printed records have no
    # numbers of their own.
    for record in sorted(stream, key=lambda r: r.sequence):
        if record.kind != "spy" and record.incarnation:
            chart = record.node, record.incarnation, record.chart
            hole = record.sequence - last.get(chart, record.sequence - 1) - 1
            last[chart] = record.sequence
            if hole:
                holes[_key(record)] = hole
    return holes


def _clock_error_s(transitions: Sequence[SnoopRecord], causing: Sequence[int | None]) -> float:
    """Return by how much an effect was dated before its cause, at most."""
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
