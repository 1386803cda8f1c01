"""The last events that charts handled, with what caused each and what it led to, on all hosts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from miros_mesh.observe.sequence.causes import Chart, Handled, sender
from miros_mesh.wire.envelope import SnoopRecord

# Bounds the memory: a record has some hundred bytes, and its places in the tables as much again.
MAX_MOMENTS: Final = 20_000
# A chain that is longer has no reader.
LONGEST_CHAIN: Final = 100
MOST_EFFECTS: Final = 200


@dataclass(slots=True)
class Moment:
    """A chart's handling of one event: its transition, or the first line of its spy."""

    number: int
    """Counted from 1, in the order in which they came."""
    record: SnoopRecord
    sender: Chart | None
    """The chart that transmitted the event, by the incarnation of its node; None for its own."""
    cause: Handled | None
    """The handling that led to this one, which need not be known here."""

    @property
    def transition(self) -> bool:
        """Whether the chart made a transition; else it handled the event, or ignored it."""
        return self.record.kind == "trace"

    @property
    def handled(self) -> Handled:
        """What it is alone on the mesh."""
        record = self.record
        return record.incarnation, record.chart, record.event_id or ""


class Moments:
    """The last `limit` moments; the oldest are forgotten first. Not thread-safe."""

    def __init__(self, limit: int = MAX_MOMENTS) -> None:
        self._limit = limit
        self._last = 0
        self._moments: dict[int, Moment] = {}
        self._numbers: dict[Handled, int] = {}
        self._effects: dict[Handled, list[int]] = {}
        # What to tell readers, in turn: a moment once more when its transition came after its spy.
        self._told: deque[int] = deque(maxlen=limit)
        self.total = 0
        """How many were told so far; where a reader begins that wants what comes from now on."""

    def note(self, record: SnoopRecord) -> Moment | None:
        """Take a record; return its moment if it is a new one."""
        if record.event_id is None or (record.kind == "trace" and record.signal is None):
            return None
        handled = record.incarnation, record.chart, record.event_id
        number = self._numbers.get(handled)
        if number is None:
            return self._add(record, handled)
        known = self._moments[number]
        if record.kind == "trace" and not known.transition:
            known.record = record
            self._tell(number)
        return None

    def get(self, number: int) -> Moment | None:
        """Return a moment by its number; None for one that is forgotten."""
        return self._moments.get(number)

    def cause_of(self, moment: Moment) -> Moment | None:
        """Return the moment that led to it, if that is known."""
        number = self._numbers.get(moment.cause) if moment.cause else None
        return None if number is None else self._moments[number]

    def latency_s(self, moment: Moment) -> float | None:
        """Return the time from its cause to it by both hosts' clocks; None without a cause."""
        cause = self.cause_of(moment)
        return moment.record.time - cause.record.time if cause else None

    def met(self, moment: Moment) -> Iterator[Moment]:
        """Yield the moments whose cause is known since this one was noted.

        Itself, and those that it led to: their hosts may have told of them first.
        """
        if self.cause_of(moment):
            yield moment
        for number in self._effects.get(moment.handled, ()):
            # One that is its own cause, as a broken log may say.
            if number != moment.number:
                yield self._moments[number]

    def chain(self, moment: Moment) -> list[Moment]:
        """Return what led to it, the first cause first and the moment itself last."""
        chain, seen = [moment], {moment.number}
        while len(chain) < LONGEST_CHAIN and (cause := self.cause_of(chain[-1])):
            if cause.number in seen:
                break
            seen.add(cause.number)
            chain.append(cause)
        return chain[::-1]

    def effects(self, moment: Moment) -> list[tuple[int, Moment]]:
        """Return all that it led to, each with its distance, nearer ones first."""
        found: list[tuple[int, Moment]] = []
        seen, waiting = {moment.number}, deque([(0, moment)])
        while waiting and len(found) < MOST_EFFECTS:
            distance, each = waiting.popleft()
            for number in self._effects.get(each.handled, ()):
                if number not in seen:
                    seen.add(number)
                    effect = distance + 1, self._moments[number]
                    found.append(effect)
                    waiting.append(effect)
        return found[:MOST_EFFECTS]

    def since(self, total: int, most: int) -> tuple[list[Moment], int]:
        """Return what was told after `total`, `most` at most at equal distances, and how many more.

        Those that are forgotten by now count as well.
        """
        came = self.total - total
        waiting = list(self._told)[-came:] if came > 0 else []
        step = max(len(waiting) / most, 1)
        picked = [waiting[int(at * step)] for at in range(min(most, len(waiting)))]
        # One may be told again behind, and be forgotten meanwhile.
        moments = [m for number in dict.fromkeys(picked) if (m := self._moments.get(number))]
        return moments, max(came - len(picked), 0)

    def newest(self) -> Iterator[Moment]:
        """Yield all of them, the one that came last first."""
        return reversed(self._moments.values())

    def __len__(self) -> int:
        return len(self._moments)

    def _add(self, record: SnoopRecord, handled: Handled) -> Moment:
        origin = sender(record)
        cause = (*(origin or handled[:2]), record.cause) if record.cause else None
        self._last = number = self._last + 1
        moment = self._moments[number] = Moment(number, record, origin, cause)
        self._numbers[handled] = number
        if cause:
            self._effects.setdefault(cause, []).append(number)
        if number > self._limit:
            self._forget(number - self._limit)
        self._tell(number)
        return moment

    def _tell(self, number: int) -> None:
        self._told.append(number)
        self.total += 1

    def _forget(self, number: int) -> None:
        moment = self._moments.pop(number)
        del self._numbers[moment.handled]
        if moment.cause and (effects := self._effects.get(moment.cause)):
            effects.remove(number)
            if not effects:
                del self._effects[moment.cause]
