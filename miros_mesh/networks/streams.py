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

A stream begins with the first number heard. Was that an old one that came late, or was put back by
hand, then what is missing behind it may have been sent before the receiver listened, and is not
owed to it. `Clock` tells old ones; such a stream is `unsure` of its holes.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from miros_mesh.networks.ranges import Range, amount, merged, shared, strike, within

T = TypeVar("T")

# A sender takes some 300 bytes; charts that come and go for months must not fill the memory.
MAX_SENDERS = 10_000


class Admission(Enum):
    """What a sequence number says about its message."""

    NEW = "new"
    DUPLICATE = "duplicate"
    STALE = "stale"


@dataclass(frozen=True)
class Passed(Generic[T]):
    """What became of a wait that was given up."""

    missing: int
    """How many numbers were given up, of those that may be owed."""
    items: Sequence[T]
    """What was held back behind them, and whose turn has come."""


class Clock:
    """The clock of a node that sends: when a receiver began to listen, by that clock."""

    __slots__ = ("__weakref__", "began")

    def __init__(self) -> None:
        self.began = -math.inf
        """Not before this time; what was sent earlier was sent before the receiver listened.

        So much tells an item by when it was sent, and by how long the receiver had listened when it
        came. It was on its way, and waited in a queue perhaps: the freshest tells most.
        """


class _Held(NamedTuple, Generic[T]):
    """An item that waits for earlier ones."""

    item: T
    since: float
    sent_at: float


class Stream(Generic[T]):
    """One sender's items by number.

    `window` is how far below the next number a late item is told from a second one. A `fresh`
    receiver has a queue that kept nothing: what comes late and is older than the receiver is stale.
    """

    __slots__ = (
        *("_fresh", "_given_up", "_held", "_last_sent_at"),
        *("_lost", "_next", "_window", "clock", "first"),
    )

    def __init__(
        self, first: int, window: int, clock: Clock | None = None, *, fresh: bool = False
    ) -> None:
        self._window = window
        self.clock = clock or Clock()
        self._fresh = fresh
        self._next = first
        """Every number below it came or was given up."""
        self.first = first
        """Numbers below it may have been sent before the receiver listened."""
        self._last_sent_at = math.inf
        """When the item was sent whose turn came last."""
        self._held: dict[int, _Held[T]] = {}
        """Items above `_next`; while it is empty nothing is known to be missing."""
        self._given_up: list[Range] = []
        """Numbers above `_next` that are not waited for, in order; each before an item held
        back."""
        # What was given up and may still come, in order; older than the window it is forgotten. A
        # receiver that joins late does not wait for what was sent before, but takes it.
        self._lost: list[Range] = [(1, first - 1)] if first > 1 else []

    @property
    def passed(self) -> int:
        """The number up to which every item came in turn or was given up."""
        return self._next - 1

    @property
    def waits(self) -> bool:
        """Whether items are held back behind missing ones."""
        return bool(self._held)

    @property
    def unsure(self) -> bool:
        """Whether what is missing next may have been sent before the receiver listened."""
        return self._last_sent_at < self.clock.began

    def admit(
        self, sequence: int, item: T, now: float, sent_at: float = 0.0
    ) -> tuple[Admission, Sequence[T]]:
        """Return what the number says, and the items whose turn has come, in order."""
        if sequence == self._next:
            self._next += 1
            self._last_sent_at = sent_at
            return Admission.NEW, (item, *self._in_turn()) if self._held else (item,)
        if sequence > self._next:
            if sequence in self._held:
                return Admission.DUPLICATE, ()
            strike(self._given_up, sequence)
            # Since then, at least, the numbers before it have been missing.
            self._held[sequence] = _Held(item, now, sent_at)
            return Admission.NEW, ()
        late = self._late(sequence, sent_at)
        return late, (item,) if late is Admission.NEW else ()

    def has(self, sequence: int) -> bool:
        """Whether it is known that the item of this number came."""
        if sequence >= self._next:
            return sequence in self._held
        return sequence >= self._next - self._window and not within(self._lost, sequence)

    def wants(self, sequence: int) -> bool:
        """Whether this number is waited for while later items are held back."""
        if not self.waits or sequence < self._next or sequence in self._held:
            return False
        return not within(self._given_up, sequence)

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

    def pass_over(self, last: int) -> Passed[T]:
        """Wait no more for missing numbers up to this one, which are not owed."""
        self.first = max(self.first, last + 1)
        return Passed(0, self.skip([(self._next, last)]).items)

    def pass_old(self, before: float) -> Passed[T]:
        """Pass over what is missing before an old item that is held back since before a time.

        What its sender, which does not answer, has sent before it is older than the receiver, too.
        """
        began = self.clock.began
        old = [
            sequence
            for sequence, held in self._held.items()
            if held.since < before and held.sent_at < began
        ]
        return self.pass_over(max(old) - 1) if old else Passed(0, ())

    def expire(self, before: float) -> Passed[T]:
        """Give up the numbers before the last item that has been held back since before a time."""
        old = [sequence for sequence, held in self._held.items() if held.since < before]
        if not old:
            return Passed(0, ())
        # Of a sender that does not answer it is never known which of them were owed.
        unsure = shared(self.holes(), [(self._next, min(max(old), self._sure()) - 1)])
        passed = self.skip([(self._next, max(old) - 1)])
        return Passed(passed.missing - amount(unsure), passed.items)

    def _late(self, sequence: int, sent_at: float) -> Admission:
        """Return what a number says that comes after its turn."""
        if sequence < self._next - self._window:
            return Admission.STALE
        if not within(self._lost, sequence):
            return Admission.DUPLICATE
        if self._fresh and sequence < self.first and sent_at < self.clock.began:
            return Admission.STALE
        strike(self._lost, sequence)
        return Admission.NEW

    def _sure(self) -> int:
        """Return the first number of which all later ones are owed."""
        if not self.unsure:
            return self._next
        began = self.clock.began
        sure = (sequence for sequence, held in self._held.items() if held.sent_at >= began)
        return min(sure, default=max(self._held))

    def _in_turn(self) -> Iterator[T]:
        while True:
            if self._next in self._held:
                item, _, self._last_sent_at = self._held.pop(self._next)
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


class Streams(Generic[T]):
    """A stream for each sender, which is an incarnation and a chart.

    Of more than so many senders the one that was silent for longest is forgotten, unless items of
    it are held back. When it speaks again it is new, and what it repeats is no duplicate.

    `since` is the (monotonic) time from which the receiver listens; `fresh` as in `Stream`.
    """

    def __init__(
        self,
        window: int,
        senders: int = MAX_SENDERS,
        *,
        since: float = 0.0,
        fresh: bool = False,
    ) -> None:
        self._window = window
        self._senders = senders
        self._since = since
        self._fresh = fresh
        # By node: one that was started anew has the clock that it had.
        self._clocks: WeakValueDictionary[str, Clock] = WeakValueDictionary()
        # The least recently heard first: each admission moves its sender to the end.
        self._streams: OrderedDict[tuple[str, str], Stream[T]] = OrderedDict()
        # Those of them that hold items back, so that the others cost nothing in a look for holes.
        self._waiting: dict[tuple[str, str], Stream[T]] = {}

    def admit(
        self,
        sender: tuple[str, str],
        sequence: int,
        item: T,
        now: float,
        *,
        node: str = "",
        sent_at: float = 0.0,
    ) -> tuple[Admission, Sequence[T]]:
        """Admit an item to the stream of a sender's incarnation and chart, as `Stream.admit`.

        `sent_at` is by the clock of the sender's node.
        """
        stream = self._streams.get(sender)
        if stream is None:
            # It begins with the first number heard: the ones before may have been sent before this
            # receiver listened.
            clock = self._clocks.setdefault(node, Clock())
            stream = Stream(sequence, self._window, clock, fresh=self._fresh)
            self._streams[sender] = stream
            self._forget_one()
        else:
            self._streams.move_to_end(sender)
        clock, began = stream.clock, sent_at - (now - self._since)
        clock.began = max(clock.began, began)
        verdict = stream.admit(sequence, item, now, sent_at)
        self._note(sender, stream)
        return verdict

    def has(self, sender: tuple[str, str], sequence: int) -> bool:
        """Whether it is known that an item of a sender's stream came, as `Stream.has`."""
        stream = self._streams.get(sender)
        return stream is not None and stream.has(sequence)

    def wants(self, sender: tuple[str, str], sequence: int) -> bool:
        """Whether a number is missing in a sender's stream, as `Stream.wants`."""
        stream = self._waiting.get(sender)
        return stream is not None and stream.wants(sequence)

    def firsts(self, senders: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return, of those senders that were heard, from which number on all is owed."""
        known = {sender: self._streams.get(sender) for sender in senders}
        return {sender: stream.first for sender, stream in known.items() if stream}

    def passed(self) -> dict[tuple[str, str], int]:
        """Return how far each sender's stream has come, the most recently heard last."""
        return {sender: stream.passed for sender, stream in self._streams.items()}

    def unsure(self, sender: tuple[str, str]) -> bool:
        """Whether a sender's stream is unsure of its holes, as `Stream.unsure`."""
        stream = self._waiting.get(sender)
        return stream is not None and stream.unsure

    def holes(self) -> dict[tuple[str, str], list[Range]]:
        """Return the numbers that are missing, by sender; of most senders none are."""
        return {sender: stream.holes() for sender, stream in self._waiting.items()}

    def skip(self, sender: tuple[str, str], numbers: Iterable[Range]) -> Passed[T]:
        """Wait for numbers of a sender's stream no more, as `Stream.skip`."""
        return self._pass(sender, lambda stream: stream.skip(numbers))

    def pass_over(self, sender: tuple[str, str], last: int) -> Passed[T]:
        """Pass over what a sender does not owe, as `Stream.pass_over`."""
        return self._pass(sender, lambda stream: stream.pass_over(last))

    def pass_old(self, before: float) -> Iterator[tuple[tuple[str, str], Passed[T]]]:
        """Pass over what is older than the receiver in every stream, as `Stream.pass_old`."""
        # A copy, here and below, since `_pass` changes it.
        for sender in [each for each, stream in self._waiting.items() if stream.unsure]:
            yield sender, self._pass(sender, lambda stream: stream.pass_old(before))

    def expire(self, before: float) -> Iterator[tuple[tuple[str, str], Passed[T]]]:
        """Give up what was missing for too long in every stream, as `Stream.expire`."""
        for sender in list(self._waiting):
            yield sender, self._pass(sender, lambda stream: stream.expire(before))

    def _pass(self, sender: tuple[str, str], change: Callable[[Stream[T]], Passed[T]]) -> Passed[T]:
        stream = self._waiting.get(sender)
        if stream is None:
            return Passed(0, ())
        passed = change(stream)
        self._note(sender, stream)
        return passed

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

    def before(self, sender: tuple[str, str], sequence: int) -> int | None:
        """Note a number; return how many are missing right before it, none before the first.

        None for one that comes again: a sender's numbers never come late, only twice.
        """
        last = self._last.get(sender)
        if last is None:
            if len(self._last) >= self._senders:
                self._last.popitem(last=False)
            self._last[sender] = sequence
            return 0
        self._last.move_to_end(sender)
        if sequence <= last:
            return None
        self._last[sender] = sequence
        return sequence - last - 1
