"""Which transition led to which, and an order in which no effect stands before its cause."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from miros_mesh.wire.envelope import MAX_SEQUENCE, SnoopRecord

_LONGEST_NUMBER = len(str(MAX_SEQUENCE))

Chart = tuple[str, str]
"""The incarnation of its node, and its name: unique on a mesh."""

Handled = tuple[str, str, str]
"""A chart, and the id of an event that it handled."""


def sender(record: SnoopRecord) -> Chart | None:
    """Return the other chart that transmitted the event; None for one of the chart's own."""
    transmitted = _transmitted(record)
    return transmitted[0] if transmitted else None


def _transmitted(record: SnoopRecord) -> tuple[Chart, int] | None:
    """Return the other chart, and the place of the event among all that it transmitted."""
    if record.event_id is None:
        return None
    # `incarnation/chart/number`, as `Origin.id` writes it. The chart's name may hold slashes, so
    # the number is what follows the last one.
    incarnation, _, rest = record.event_id.partition("/")
    chart, _, last = rest.rpartition("/")
    # Events of the chart's own are called start and local-1, local-2, ...
    if not (chart and last.isdecimal() and len(last) <= _LONGEST_NUMBER):
        return None
    transmitter = incarnation, chart
    return None if transmitter == _chart(record) else (transmitter, int(last))


class Causes:
    """The transitions that led to the transitions of a trace, by their index in it."""

    def __init__(self, records: Iterable[SnoopRecord], transitions: Sequence[SnoopRecord]) -> None:
        self._transitions: dict[Handled, int] = {}
        for index, record in enumerate(transitions):
            if key := _handled(record):
                # The first one, where an event led to several.
                self._transitions.setdefault(key, index)
        # The first record of each event, of the spy too: it has those that made no transition.
        self._records: dict[Handled, SnoopRecord] = {}
        for record in records:
            if key := _handled(record):
                self._records.setdefault(key, record)

    def of(self, record: SnoopRecord) -> int | None:
        """Return the nearest transition whose handling led to the record, if the trace has it."""
        # From cause to cause, until one is a transition. What a broken log made a circle ends too.
        seen: set[Handled] = set()
        step: SnoopRecord | None = record
        while step is not None and step.cause is not None:
            # The cause is an event that the transmitting chart handled; of an event of the chart's
            # own, one that it handled itself.
            handled = (*(sender(step) or _chart(step)), step.cause)
            if handled in self._transitions:
                return self._transitions[handled]
            if handled in seen:
                return None
            seen.add(handled)
            step = self._records.get(handled)
        return None


def causal_order(records: Sequence[SnoopRecord], causes: Sequence[int | None]) -> list[int]:
    """Return indices so that causes stand before effects and each chart's records in sequence.

    What neither decides is in the order of time, where a chart whose clock is behind is moved up to
    what caused its transitions. Printed records, which have no incarnation, keep the order of their
    lines. Contradictions, which no mesh produces, are resolved by time.
    """
    # Kahn's topological sort, with a heap that gives the earliest of those that may come next.
    before = _predecessors(records, causes)
    after: list[list[int]] = [[] for _ in records]
    for index, earlier in enumerate(before):
        for cause in earlier:
            after[cause].append(index)
    # How many of its predecessors are not in the order yet; `before` has sets, so none counts
    # twice.
    open_causes = [len(earlier) for earlier in before]
    moments = [record.time for record in records]
    ready = [(moments[i], i) for i in range(len(records)) if not open_causes[i]]
    heapq.heapify(ready)
    # What is left in a circle, where nothing is ready, comes in the order of time.
    by_time = iter(sorted(range(len(records)), key=lambda i: (moments[i], i)))
    done = [False] * len(records)
    order: list[int] = []
    while len(order) < len(records):
        moment, index = heapq.heappop(ready) if ready else _next(by_time, moments, done)
        done[index] = True
        order.append(index)
        for effect in after[index]:
            # A clock that is behind: its chart's later transitions move up with this one, as they
            # come after.
            moments[effect] = max(moments[effect], moment)
            open_causes[effect] -= 1
            if not open_causes[effect] and not done[effect]:
                heapq.heappush(ready, (moments[effect], effect))
    return order


def _next(indices: Iterable[int], moments: list[float], done: list[bool]) -> tuple[float, int]:
    index = next(i for i in indices if not done[i])
    return moments[index], index


def _predecessors(records: Sequence[SnoopRecord], causes: Sequence[int | None]) -> list[set[int]]:
    before: list[set[int]] = [set() for _ in records]
    streams: dict[tuple[str, Chart] | None, list[int]] = {}
    for index, record in enumerate(records):
        # Printed records of all charts are one stream, in the order in which they were printed.
        key = (record.node, _chart(record)) if record.incarnation else None
        streams.setdefault(key, []).append(index)
        cause = causes[index]
        if cause is not None and cause != index:
            before[index].add(cause)
    for stream in streams.values():
        # The index decides between equal numbers, which only a broken log has.
        for earlier, later in pairwise(sorted(stream, key=lambda i: (records[i].sequence, i))):
            before[later].add(earlier)
    for effect, cause in _caused_earlier(records, causes):
        before[effect].add(cause)
    return before


def _caused_earlier(
    records: Sequence[SnoopRecord], causes: Sequence[int | None]
) -> Iterator[tuple[int, int]]:
    """Yield effects of an unknown cause with the cause of what their sender transmitted before.

    A sender transmits in order, so they cannot stand before that cause.
    """
    streams: dict[Chart, list[tuple[int, int]]] = {}
    for index, record in enumerate(records):
        if transmitted := _transmitted(record):
            chart, number = transmitted
            streams.setdefault(chart, []).append((number, index))
    for stream in streams.values():
        last_known: int | None = None
        for _, index in sorted(stream):
            cause = causes[index]
            if cause is not None:
                last_known = cause
            elif last_known is not None:
                yield index, last_known


def _chart(record: SnoopRecord) -> Chart:
    return record.incarnation, record.chart


def _handled(record: SnoopRecord) -> Handled | None:
    return (*_chart(record), record.event_id) if record.event_id else None
