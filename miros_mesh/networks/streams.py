"""Senders' streams put back in order: what is missing is waited for, what came twice is known.

The bookkeeping of a reliable reader (DDSI-RTPS 2.5, section 8.4.12) with a sliding window against
replay (RFC 4303, section 3.4.3). Nothing here is thread-safe.

A stream's numbers, with `_next` = 8, a window of 4, 6 given up, and items held back at 10 and 11:

| numbers | what one of them says when it comes |
| --- | --- |
| 1 to 3 | stale: older than the window, so it cannot be known whether it came before |
| 4, 5, 7 | duplicate |
| 6 | new: it was given up and comes after all |
| 8 | new: its turn has come |
| 9 | new: held back behind 8 |
| 10, 11 | duplicate of what is held back |
| from 12 | new: held back |

The holes are 8 to 9.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")

# A sender takes some 300 bytes; charts that come and go for months must not fill the memory.
MAX_SENDERS = 10_000

Range = tuple[int, int]
"""Sequence numbers from the first to the last, both included."""


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Return the same numbers in ranges that are in order and neither overlap nor touch."""
    whole: list[Range] = []
    for first, last in sorted(ranges):
        if whole and first <= whole[-1][1] + 1:
            whole[-1] = whole[-1][0], max(whole[-1][1], last)
        else:
            whole.append((first, last))
    return whole


def shared(one: Iterable[Range], other: Iterable[Range]) -> list[Range]:
    """Return the numbers that are in both, in order."""
    both: list[Range] = []
    ones, others = merged(one), merged(other)
    at, beside = 0, 0
    while at < len(ones) and beside < len(others):
        first = max(ones[at][0], others[beside][0])
        last = min(ones[at][1], others[beside][1])
        if first <= last:
            both.append((first, last))
        if ones[at][1] < others[beside][1]:
            at += 1
        else:
            beside += 1
    return both


def outside(ranges: Iterable[Range], last: int) -> list[Range]:
    """Return the numbers from 1 to `last` that are in none of the ranges, in order."""
    others, after = list[Range](), 1
    for first, end in merged(ranges):
        if first > last:
            break
        if first > after:
            others.append((after, first - 1))
        after = end + 1
    return [*others, (after, last)] if after <= last else others


def amount(ranges: Iterable[Range]) -> int:
    """Return how many numbers there are in ranges that do not overlap."""
    return sum(last - first + 1 for first, last in ranges)


class Admission(Enum):
    """What a sequence number says about its message."""

    NEW = "new"
    DUPLICATE = "duplicate"
    STALE = "stale"


@dataclass(frozen=True)
class Passed(Generic[T]):
    """What became of a wait that was given up."""

    missing: int
    """How many numbers were given up."""
    items: Sequence[T]
    """What was held back behind them, and whose turn has come."""


class Stream(Generic[T]):
    """One sender's items by number.

    `window` is how far below the next number a late item is told from a second one.
    """

    __slots__ = ("_given_up", "_held", "_lost", "_next", "_window")

    def __init__(self, first: int, window: int) -> None:
        self._window = window
        self._next = first
        """Every number below it came or was given up."""
        self._held: dict[int, tuple[T, float]] = {}
        """Items above `_next`, with the time at which they came; while it is empty nothing is
        known to be missing."""
        self._given_up: list[Range] = []
        """Numbers above `_next` that are not waited for, in order; each before an item held
        back."""
        # What was given up and may still come, in order; older than the window it is forgotten. A
        # receiver that joins late does not wait for what was sent before, but takes it.
        self._lost: list[Range] = [(1, first - 1)] if first > 1 else []

    @property
    def waits(self) -> bool:
        """Whether items are held back behind missing ones."""
        return bool(self._held)

    def admit(self, sequence: int, item: T, now: float) -> tuple[Admission, Sequence[T]]:
        """Return what the number says, and the items whose turn has come, in order."""
        if sequence == self._next:
            self._next += 1
            return Admission.NEW, (item, *self._in_turn()) if self._held else (item,)
        if sequence > self._next:
            if sequence in self._held:
                return Admission.DUPLICATE, ()
            _strike(self._given_up, sequence)
            # Since then, at least, the numbers before it have been missing.
            self._held[sequence] = item, now
            return Admission.NEW, ()
        if sequence < self._next - self._window:
            return Admission.STALE, ()
        if _strike(self._lost, sequence):
            return Admission.NEW, (item,)
        return Admission.DUPLICATE, ()

    def wants(self, sequence: int) -> bool:
        """Whether this number is waited for while later items are held back."""
        if not self.waits or sequence < self._next or sequence in self._held:
            return False
        return not any(first <= sequence <= last for first, last in self._given_up)

    def holes(self) -> list[Range]:
        """Return the numbers that are waited for before the last item that is held back."""
        holes, after = [], self._next
        known = [*self._given_up, *((sequence, sequence) for sequence in self._held)]
        for first, last in merged(known):
            if first > after:
                holes.append((after, first - 1))
            after = last + 1
        return holes

    def skip(self, numbers: Iterable[Range]) -> Passed[T]:
        """Wait for these numbers no more, of those before an item held back."""
        missing = shared(self.holes(), numbers)
        self._given_up = merged([*self._given_up, *missing])
        return Passed(amount(missing), list(self._in_turn()))

    def expire(self, before: float) -> Passed[T]:
        """Give up the numbers before the last item that has been held back since before a time."""
        old = [sequence for sequence, (_, since) in self._held.items() if since < before]
        return self.skip([(self._next, max(old) - 1)]) if old else Passed(0, ())

    def _in_turn(self) -> Iterator[T]:
        while True:
            if self._next in self._held:
                item, _ = self._held.pop(self._next)
                self._next += 1
                yield item
            elif self._given_up and self._given_up[0][0] == self._next:
                self._pass_over(self._given_up.pop(0))
            else:
                return

    def _pass_over(self, numbers: Range) -> None:
        self._lost.append(numbers)
        self._next = numbers[1] + 1
        # Not needed at every step: `admit` finds what is older stale before it looks here.
        oldest = self._next - self._window
        self._lost = [lost for lost in self._lost if lost[1] >= oldest]


def _strike(ranges: list[Range], number: int) -> bool:
    """Strike a number off some ranges; return whether it was there."""
    for at, (first, last) in enumerate(ranges):
        if first <= number <= last:
            rest = ((first, number - 1), (number + 1, last))
            ranges[at : at + 1] = [part for part in rest if part[0] <= part[1]]
            return True
    return False


class Streams(Generic[T]):
    """A stream for each sender, which is an incarnation and a chart.

    Of more than so many senders the one that was silent for longest is forgotten, unless items of
    it are held back. When it speaks again it is new, and what it repeats is no duplicate.
    """

    def __init__(self, window: int, senders: int = MAX_SENDERS) -> None:
        self._window = window
        self._senders = senders
        # The least recently heard first: each admission moves its sender to the end.
        self._streams: OrderedDict[tuple[str, str], Stream[T]] = OrderedDict()
        # Those of them that hold items back, so that the others cost nothing in a look for holes.
        self._waiting: dict[tuple[str, str], Stream[T]] = {}

    def admit(
        self, sender: tuple[str, str], sequence: int, item: T, now: float
    ) -> tuple[Admission, Sequence[T]]:
        """Admit an item to the stream of a sender's incarnation and chart, as `Stream.admit`."""
        stream = self._streams.get(sender)
        if stream is None:
            # It begins with the first number heard: the ones before may have been sent before this
            # receiver listened.
            stream = self._streams[sender] = Stream(sequence, self._window)
            self._forget_one()
        else:
            self._streams.move_to_end(sender)
        verdict = stream.admit(sequence, item, now)
        self._note(sender, stream)
        return verdict

    def wants(self, sender: tuple[str, str], sequence: int) -> bool:
        """Whether a number is missing in a sender's stream, as `Stream.wants`."""
        stream = self._waiting.get(sender)
        return stream is not None and stream.wants(sequence)

    def holes(self) -> dict[tuple[str, str], list[Range]]:
        """Return the numbers that are missing, by sender; of most senders none are."""
        return {sender: stream.holes() for sender, stream in self._waiting.items()}

    def skip(self, sender: tuple[str, str], numbers: Iterable[Range]) -> Passed[T]:
        """Wait for numbers of a sender's stream no more, as `Stream.skip`."""
        stream = self._waiting.get(sender)
        if stream is None:
            return Passed(0, ())
        passed = stream.skip(numbers)
        self._note(sender, stream)
        return passed

    def expire(self, before: float) -> Iterator[tuple[tuple[str, str], Passed[T]]]:
        """Give up what was missing for too long in every stream, as `Stream.expire`."""
        # A copy, since `_note` changes it.
        for sender, stream in list(self._waiting.items()):
            passed = stream.expire(before)
            self._note(sender, stream)
            if passed.missing:
                yield sender, passed

    def _note(self, sender: tuple[str, str], stream: Stream[T]) -> None:
        """Keep `_waiting` true after a stream has changed."""
        if stream.waits:
            self._waiting[sender] = stream
        elif self._waiting:
            self._waiting.pop(sender, None)

    def _forget_one(self) -> None:
        if len(self._streams) > self._senders:
            oldest = next(iter(self._streams))
            if oldest in self._waiting:
                # Its items would never be acknowledged. One look at each call keeps the number of
                # senders near its limit, and the call short.
                self._streams.move_to_end(oldest)
            else:
                del self._streams[oldest]


class Gaps:
    """The highest number of each sender, where nothing is asked for again: for snoop records.

    Of more than so many senders the one that was silent for longest is forgotten.
    """

    def __init__(self, senders: int = MAX_SENDERS) -> None:
        self._senders = senders
        # The least recently heard first, as in `Streams`.
        self._last: OrderedDict[tuple[str, str], int] = OrderedDict()

    def before(self, sender: tuple[str, str], sequence: int) -> int:
        """Note a number; return how many are missing right before it.

        None are before a sender's first number, nor before one that comes late or again.
        """
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
