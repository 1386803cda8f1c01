"""Senders' streams put back in order: what is missing is waited for, what came twice is known.

The bookkeeping of a reliable reader (DDSI-RTPS 2.5, section 8.4.12) with a sliding window against
replay (RFC 4303, section 3.4.3).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_SENDERS = 10_000

Range = tuple[int, int]
"""Sequence numbers from the first to the last, both included."""


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same numbers in ranges that are in order and do not overlap."""
    whole: list[Range] = []
    for first, last in sorted(ranges):
        if whole and first <= whole[-1][1] + 1:
            whole[-1] = whole[-1][0], max(whole[-1][1], last)
        else:
            whole.append((first, last))
    return whole


class Admission(Enum):
    """What a sequence number says about its message."""

    NEW = "new"
    DUPLICATE = "duplicate"
    STALE = "stale"


@dataclass(frozen=True)
class Passed(Generic[T]):
    """What a stream gives after it has waited in vain for `missing` numbers."""

    missing: int
    items: Sequence[T]


class Stream(Generic[T]):
    """One sender's items by number; `window` is how far back a late or second one is known."""

    __slots__ = ("_held", "_lost", "_next", "_window")

    def __init__(self, first: int, window: int) -> None:
        self._window = window
        self._next = first
        self._held: dict[int, tuple[T, float]] = {}
        # Whoever joins late has missed nothing that was meant for it, but may still get it.
        self._lost: list[Range] = [(1, first - 1)] if first > 1 else []

    @property
    def waits(self) -> bool:
        """Whether items are held back behind missing ones."""
        return bool(self._held)

    def admit(self, sequence: int, item: T, now: float) -> tuple[Admission, Sequence[T]]:
        """The verdict, and the items whose turn has come."""
        if sequence == self._next:
            self._next += 1
            return Admission.NEW, (item, *self._in_turn()) if self._held else (item,)
        if sequence > self._next:
            if sequence in self._held:
                return Admission.DUPLICATE, ()
            self._held[sequence] = item, now
            return Admission.NEW, ()
        if sequence < self._next - self._window:
            return Admission.STALE, ()
        return (Admission.NEW, (item,)) if self._found(sequence) else (Admission.DUPLICATE, ())

    def wants(self, sequence: int) -> bool:
        """Whether this number is missing while later items are held back."""
        return self.waits and sequence >= self._next and sequence not in self._held

    def holes(self) -> list[Range]:
        """What is missing before the last item that is held back."""
        holes, after = [], self._next
        for sequence in sorted(self._held):
            if sequence > after:
                holes.append((after, sequence - 1))
            after = sequence + 1
        return holes

    def skip(self, last: int) -> Passed[T]:
        """Wait no longer for missing numbers up to this one."""
        missing, items = 0, list[T]()
        while self._held and self._next <= last:
            missing += self._give_up(last)
            items += self._in_turn()
        return Passed(missing, items)

    def expire(self, before: float) -> Passed[T]:
        """Wait no longer for what was missing before that time already."""
        old = [sequence for sequence, (_, since) in self._held.items() if since < before]
        return self.skip(max(old) - 1) if old else Passed(0, ())

    def _give_up(self, last: int) -> int:
        first, self._next = self._next, min(last + 1, *self._held)
        missing = self._next - first
        if missing:
            self._lost.append((first, self._next - 1))
        oldest = self._next - self._window
        self._lost = [lost for lost in self._lost if lost[1] >= oldest]
        return missing

    def _in_turn(self) -> Iterator[T]:
        while self._next in self._held:
            item, _ = self._held.pop(self._next)
            self._next += 1
            yield item

    def _found(self, sequence: int) -> bool:
        """Strike a number off what was given up; False when it was not there."""
        for at, (first, last) in enumerate(self._lost):
            if first <= sequence <= last:
                rest = ((first, sequence - 1), (sequence + 1, last))
                self._lost[at : at + 1] = [part for part in rest if part[0] <= part[1]]
                return True
        return False


class Streams(Generic[T]):
    """A stream per sender; the senders that were silent for longest are forgotten first."""

    def __init__(self, window: int, senders: int = 10_000) -> None:
        self._window = window
        self._senders = senders
        self._streams: OrderedDict[tuple[str, str], Stream[T]] = OrderedDict()
        self._waiting: dict[tuple[str, str], Stream[T]] = {}

    def admit(
        self, sender: tuple[str, str], sequence: int, item: T, now: float
    ) -> tuple[Admission, Sequence[T]]:
        """As `Stream.admit`, for one sender's incarnation and chart."""
        stream = self._streams.get(sender)
        if stream is None:
            stream = self._streams[sender] = Stream(sequence, self._window)
            self._forget_one()
        else:
            self._streams.move_to_end(sender)
        verdict = stream.admit(sequence, item, now)
        self._note(sender, stream)
        return verdict

    def wants(self, sender: tuple[str, str], sequence: int) -> bool:
        """As `Stream.wants`."""
        stream = self._waiting.get(sender)
        return stream is not None and stream.wants(sequence)

    def holes(self) -> dict[tuple[str, str], list[Range]]:
        """What is missing, by sender."""
        return {sender: stream.holes() for sender, stream in self._waiting.items()}

    def skip(self, sender: tuple[str, str], last: int) -> Passed[T]:
        """As `Stream.skip`."""
        stream = self._waiting.get(sender)
        if stream is None:
            return Passed(0, ())
        passed = stream.skip(last)
        self._note(sender, stream)
        return passed

    def expire(self, before: float) -> Iterator[tuple[tuple[str, str], Passed[T]]]:
        """As `Stream.expire`, of every sender."""
        for sender, stream in list(self._waiting.items()):
            passed = stream.expire(before)
            self._note(sender, stream)
            if passed.missing:
                yield sender, passed

    def _note(self, sender: tuple[str, str], stream: Stream[T]) -> None:
        if stream.waits:
            self._waiting[sender] = stream
        elif self._waiting:
            self._waiting.pop(sender, None)

    def _forget_one(self) -> None:
        if len(self._streams) > self._senders:
            oldest = next(iter(self._streams))
            if oldest in self._waiting:
                self._streams.move_to_end(oldest)
            else:
                del self._streams[oldest]


class Gaps:
    """The highest number of each sender; the senders that were silent for longest are forgotten.

    Not thread-safe.
    """

    def __init__(self, senders: int = MAX_SENDERS) -> None:
        self._senders = senders
        self._last: OrderedDict[tuple[str, str], int] = OrderedDict()

    def before(self, sender: tuple[str, str], sequence: int) -> int:
        """How many numbers are missing before this one; none before a sender's first."""
        last = self._last.get(sender)
        if last is None:
            if len(self._last) >= self._senders:
                self._last.popitem(last=False)
            self._last[sender] = sequence
            return 0
        self._last.move_to_end(sender)
        if sequence <= last:
            return 0
        self._last[sender] = sequence
        return sequence - last - 1
